//! Same-key work of one process queues here, first come first served, in front of the lease.
//!
//! Whoever holds a lease hands it on to the next in line without touching storage, as long as enough of its life is left
//! and at most [`MOST_TURNS`] times in a row. Then it goes back, and the next in line stays away from the storage for as long
//! as waiters elsewhere pause between two requests, so that other instances get their turn. At most one task per key talks to
//! the storage. A key without waiters leaves nothing behind: memory does not grow with the keys seen.
//!
//! It knows nothing of blobs: it wraps any [`Locks`].

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Acquired, Error, LONGEST_PAUSE, Lease, LockName, Locks, Renewed};

/// How often in a row a lease is handed on inside one process. Two requests then serve 16 messages, and another instance
/// waits for 15 writes at most before its turn comes.
pub const MOST_TURNS: u32 = 15;

/// Locks with a local queue in front.
#[derive(Debug)]
pub struct Local {
    storage: Arc<dyn Locks>,
    lines: Arc<Lines>,
}

#[derive(Debug, Default)]
struct Lines(Mutex<HashMap<LockName, VecDeque<oneshot::Sender<Turn>>>>);

/// What the next in line gets.
#[derive(Debug)]
enum Turn {
    /// The lease itself.
    Lease(Lease),
    /// The head of the line: ask the storage.
    Ask(Place),
}

/// The head of the line of one key. Dropping it lets the next in line ask the storage.
pub struct Place {
    name: LockName,
    lines: Arc<Lines>,
    /// Until then the storage belongs to other instances.
    rests_until: Option<Instant>,
    passed_on: bool,
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Place").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Local {
    /// Puts a local queue in front of `storage`.
    pub fn new(storage: Arc<dyn Locks>) -> Self {
        Self { storage, lines: Arc::default() }
    }

    /// How many keys are being worked on or waited for.
    pub fn keys(&self) -> usize {
        self.lines.lock().len()
    }

    async fn ask(&self, place: Place, deadline: Instant) -> Result<Acquired, Error> {
        if let Some(until) = place.rests_until {
            sleep_until(until.min(deadline)).await;
        }
        let wait = deadline.saturating_duration_since(Instant::now());
        let acquired = self.storage.acquire(&place.name, wait).await?;
        Ok(match acquired {
            Acquired::Held(mut lease) => {
                lease.place = Some(place);
                Acquired::Held(lease)
            }
            Acquired::Busy => Acquired::Busy,
        })
    }
}

#[async_trait]
impl Locks for Local {
    async fn acquire(&self, name: &LockName, wait: Duration) -> Result<Acquired, Error> {
        let deadline = Instant::now() + wait;
        let mut line = match self.lines.join(name) {
            Joined::Head(place) => return self.ask(place, deadline).await,
            Joined::Line(line) => line,
        };
        let turn = if let Ok(turn) = timeout_at(deadline, &mut line).await {
            turn.ok()
        } else {
            // The turn may have come in the very moment in which the wait ended.
            line.close();
            line.try_recv().ok()
        };
        match turn {
            Some(Turn::Lease(lease)) => Ok(Acquired::Held(lease)),
            Some(Turn::Ask(place)) => self.ask(place, deadline).await,
            None => Ok(Acquired::Busy),
        }
    }

    async fn renew(&self, lease: &mut Lease) -> Result<Renewed, Error> {
        self.storage.renew(lease).await
    }

    async fn release(&self, mut lease: Lease) {
        let fresh = Instant::now() < lease.renewal_due();
        let used_up = !fresh || lease.turns == MOST_TURNS;
        if !used_up {
            lease.turns += 1;
            match self.lines.hand_on(lease) {
                None => return,
                Some(unwanted) => lease = unwanted,
            }
        }
        let mut place = lease.place.take();
        self.storage.release(lease).await;
        if let Some(place) = place.as_mut().filter(|_| used_up) {
            place.rests_until = Some(Instant::now() + LONGEST_PAUSE);
        }
        drop(place);
    }
}

enum Joined {
    Head(Place),
    Line(oneshot::Receiver<Turn>),
}

impl Lines {
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<LockName, VecDeque<oneshot::Sender<Turn>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, name: &LockName) -> Joined {
        let mut lines = self.lock();
        if let Some(line) = lines.get_mut(name) {
            let (turn, wait) = oneshot::channel();
            line.push_back(turn);
            return Joined::Line(wait);
        }
        lines.insert(name.clone(), VecDeque::new());
        Joined::Head(Place { name: name.clone(), lines: self.clone(), rests_until: None, passed_on: false })
    }

    fn next(&self, name: &LockName) -> Option<oneshot::Sender<Turn>> {
        self.lock().get_mut(name)?.pop_front()
    }

    /// Gives the lease to the first waiter that is still there, or back.
    fn hand_on(&self, mut lease: Lease) -> Option<Lease> {
        while let Some(waiter) = self.next(&lease.name) {
            match waiter.send(Turn::Lease(lease)) {
                Ok(()) => return None,
                Err(Turn::Lease(unwanted)) => lease = unwanted,
                Err(Turn::Ask(_)) => unreachable!("a lease was sent"),
            }
        }
        Some(lease)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.passed_on {
            return;
        }
        loop {
            let waiter = {
                let mut lines = self.lines.lock();
                let waiter = lines.get_mut(&self.name).and_then(VecDeque::pop_front);
                if waiter.is_none() {
                    lines.remove(&self.name);
                }
                waiter
            };
            let Some(waiter) = waiter else { return };
            let place = Place {
                name: self.name.clone(),
                lines: self.lines.clone(),
                rests_until: self.rests_until,
                passed_on: false,
            };
            match waiter.send(Turn::Ask(place)) {
                Ok(()) => return,
                // The waiter has gone. Its place must not pass the head on a second time.
                Err(Turn::Ask(mut place)) => place.passed_on = true,
                Err(Turn::Lease(_)) => unreachable!("a place was sent"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
