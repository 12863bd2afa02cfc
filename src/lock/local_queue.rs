//! Same-key work of one process queues here, first come first served, in front of the lease.
//!
//! Whoever holds a lease hands it on to the next in line without touching storage, renewing it when less than two thirds of
//! its life are left. A tenure ends after [`MOST_TURNS`] turns or [`LONGEST_TENURE`]; then the lease goes back, and the next in
//! line lets others go first for [`YIELD`]. At most one task per key talks to the storage. A key without work leaves nothing
//! behind: memory does not grow with the keys seen.
//!
//! Nothing is lost by cancellation: a lease that was granted to, or handed to, somebody who no longer waits goes to the next
//! in line or back to the storage. Whoever is done with a lease need not wait for that either ([`Local::release_soon`]); who ends
//! the process does ([`Local::all_released`]).
//!
//! It knows nothing of blobs: it wraps any [`Locks`], and uses tokio's own primitives only.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::poll_schedule::{LONGEST_PAUSE, Rhythm};
use super::{Asked, Buried, Error, Lease, LockName, Locks, Lost, Renewed, hold, renew_now};
use crate::telemetry::trace;

/// How many pieces of work one tenure serves. 40 writes then cost two storage requests instead of eighty, and the rest that
/// follows ([`YIELD`]) costs a process that is alone with a hot key an eighth of its time at 80 ms a write. Twice as many would
/// not change that: tenures of such writes end by [`LONGEST_TENURE`] already.
pub const MOST_TURNS: u32 = 40;

/// How long one tenure is handed on at most: with the default wait of 10 s, two other instances get their turn in time.
pub const LONGEST_TENURE: Duration = Duration::from_secs(3);

/// How long the next in line waits after a full tenure before it asks again. It is longer than the longest pause of a waiter
/// (`rhythm::LONGEST_PAUSE`), so every other process that waits for the key asks meanwhile.
pub const YIELD: Duration = Duration::from_millis(400);

/// Leases on their way back that nobody waits for. With more than these the storage is slower than the work, and the work has to
/// wait for it.
const MOST_UNDER_WAY: usize = 256;

/// Locks with a local queue in front.
#[derive(Debug, Clone)]
pub struct Local {
    shared: Arc<Shared>,
}

/// What asking for a lock, and waiting for it, leads to.
#[derive(Debug)]
pub enum Acquired {
    /// It is ours until the lease ends.
    Held(Lease),
    /// Somebody else held it for the whole wait.
    Busy,
}

#[derive(Debug)]
struct Shared {
    storage: Arc<dyn Locks>,
    lines: Mutex<HashMap<LockName, Line>>,
    /// Leases on their way to the next in line, or back.
    releases: TaskTracker,
}

/// The work on one key in this process, but for the piece at its head.
#[derive(Debug, Default)]
struct Line {
    waiters: VecDeque<oneshot::Sender<Turn>>,
    rhythm: Rhythm,
    /// Others go first until then.
    others_until: Option<Instant>,
}

/// What the next in line gets.
#[derive(Debug)]
enum Turn {
    /// The lease itself.
    Lease(Offer),
    /// The head of the line: ask the storage.
    Ask(Head),
}

/// The head of the line of one key. Dropping it makes the next in line the head.
struct Head {
    name: LockName,
    shared: Arc<Shared>,
    gone: bool,
}

/// A lease on its way to somebody who may have stopped waiting. Dropped on the way, it goes to the next in line or back.
#[derive(Debug)]
struct Offer {
    lease: Option<Lease>,
    shared: Arc<Shared>,
}

const _: () = assert!(LONGEST_PAUSE.as_millis() < YIELD.as_millis());

/// What this process knows of a lease beyond the storage.
#[derive(Debug)]
pub(super) struct Tenure {
    head: Head,
    since: Instant,
    turns: u32,
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Local {
    /// Puts a local queue in front of `storage`.
    pub fn new(storage: Arc<dyn Locks>) -> Self {
        let (lines, releases) = (Mutex::default(), TaskTracker::new());
        // Whoever waits for them waits for those there are; others may still come.
        releases.close();
        Self { shared: Arc::new(Shared { storage, lines, releases }) }
    }

    /// How many keys are being worked on or waited for.
    pub fn keys(&self) -> usize {
        self.shared.lines().len()
    }

    /// Takes the lock, waiting at most `wait` for whoever holds it.
    ///
    /// # Errors
    /// When it is not known whether the lock could be had.
    pub async fn acquire(&self, name: &LockName, wait: Duration) -> Result<Acquired, Error> {
        let deadline = Instant::now() + wait;
        let mut turn = match self.shared.join(name) {
            Joined::Head(head) => return self.shared.ask(head, deadline).await,
            Joined::Line(turn) => turn,
        };
        let turn = if let Ok(turn) = timeout_at(deadline, &mut turn).await {
            turn.ok()
        } else {
            // The turn may have come in the very moment in which the wait ended.
            turn.close();
            turn.try_recv().ok()
        };
        match turn {
            Some(Turn::Lease(offer)) => Ok(Acquired::Held(offer.take())),
            Some(Turn::Ask(head)) => self.shared.ask(head, deadline).await,
            None => Ok(Acquired::Busy),
        }
    }

    /// Runs `work` inside the lease, renewing it as needed.
    ///
    /// # Errors
    /// [`Lost`] when the lease ended first. The work was dropped where it stood, so a request of it may still be under way.
    pub async fn hold<T>(&self, lease: &mut Lease, work: impl Future<Output = T>) -> Result<T, Lost> {
        hold(self.shared.storage.as_ref(), lease, work).await
    }

    /// What stands on the lock since the record's row was deleted.
    ///
    /// # Errors
    /// When the storage gave no usable answer.
    pub async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error> {
        self.shared.storage.tombstone(name).await
    }

    /// Leaves a tombstone on the lock, under the lease `id`.
    ///
    /// # Errors
    /// When it is not known whether it stands there.
    pub async fn bury(&self, name: &LockName, id: &str, tombstone: &str) -> Result<Buried, Error> {
        self.shared.storage.bury(name, id, tombstone).await
    }

    /// Hands the lease on to the next in line, or gives it back, and waits until that is done.
    pub async fn release(&self, lease: Lease) {
        let released = self.shared.begin_release(lease);
        released.await.unwrap_or_else(|_| tracing::warn!("a lease was not released; it lapses by itself"));
    }

    /// Begins to hand the lease on or to give it back, and waits only where some hundreds of others are under way. Who wants the
    /// same lock in this process waits for the release; the storage knows of nobody else.
    pub async fn release_soon(&self, lease: Lease) {
        if self.shared.releases.len() >= MOST_UNDER_WAY {
            return self.release(lease).await;
        }
        self.shared.begin_release(lease);
    }

    /// Waits until no lease is on its way back.
    pub async fn all_released(&self) {
        self.shared.releases.wait().await;
    }
}

enum Joined {
    Head(Head),
    Line(oneshot::Receiver<Turn>),
}

impl Shared {
    fn lines(&self) -> MutexGuard<'_, HashMap<LockName, Line>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(self: &Arc<Self>, name: &LockName) -> Joined {
        let mut lines = self.lines();
        if let Some(line) = lines.get_mut(name) {
            let (turn, wait) = oneshot::channel();
            line.waiters.push_back(turn);
            return Joined::Line(wait);
        }
        lines.insert(name.clone(), Line::default());
        Joined::Head(Head { name: name.clone(), shared: self.clone(), gone: false })
    }

    /// Asks the storage until the lock is there or the deadline has come.
    async fn ask(self: &Arc<Self>, head: Head, deadline: Instant) -> Result<Acquired, Error> {
        let begun = Instant::now();
        let (rhythm, others_until) = self.past(&head.name);
        let mut wait = rhythm.wait();
        let mut next = begun + wait.first(others_until.saturating_duration_since(begun));
        loop {
            // However short the wait is, the lock is asked for once, and for the last time when the wait ends.
            let turn = next.min(deadline);
            // A timer that is due already would still take up to a millisecond.
            if turn > Instant::now() {
                sleep_until(turn).await;
            }
            let offer = self.ask_once(&head.name).await?;
            let after = begun.elapsed();
            if let Some(offer) = offer {
                self.learn(&head.name, |rhythm| rhythm.learn(&wait, after));
                let mut lease = offer.take();
                lease.tenure = Some(Tenure { head, since: Instant::now(), turns: 1 });
                return Ok(Acquired::Held(lease));
            }
            if Instant::now() >= deadline {
                return Ok(Acquired::Busy);
            }
            next = Instant::now() + wait.next(after, fastrand::f64());
        }
    }

    /// One question, in a task of its own: if whoever asks leaves, a lease that is granted goes back.
    async fn ask_once(self: &Arc<Self>, name: &LockName) -> Result<Option<Offer>, Error> {
        let (answer, answered) = oneshot::channel();
        let (shared, name) = (self.clone(), name.clone());
        tokio::spawn(async move {
            let asked = shared.storage.ask(&name).await.map(|asked| match asked {
                Asked::Granted(lease) => Some(Offer { lease: Some(lease), shared: shared.clone() }),
                Asked::Held => None,
            });
            drop(answer.send(asked));
        });
        let panicked = || Error::Unreachable { problem: "the question for the lock was not finished".to_owned() };
        answered.await.unwrap_or_else(|_| Err(panicked()))
    }

    fn past(&self, name: &LockName) -> (Rhythm, Instant) {
        let lines = self.lines();
        let line = lines.get(name);
        let now = Instant::now();
        (line.map(|line| line.rhythm).unwrap_or_default(), line.and_then(|line| line.others_until).unwrap_or(now))
    }

    fn learn(&self, name: &LockName, lesson: impl FnOnce(&mut Rhythm)) {
        if let Some(line) = self.lines().get_mut(name) {
            lesson(&mut line.rhythm);
        }
    }

    /// In a task of its own, so that a caller who leaves does not take the lease along.
    fn begin_release(self: &Arc<Self>, lease: Lease) -> JoinHandle<()> {
        // Not entered: what is logged meanwhile is the record's.
        let (shared, span) = (self.clone(), trace::release());
        let release = async move {
            shared.release(lease).await;
            drop(span);
        };
        self.releases.spawn(release.in_current_span())
    }

    /// Hands the lease on, or gives it back.
    async fn release(self: Arc<Self>, lease: Lease) {
        let Some(mut lease) = self.hand_on(lease).await else { return };
        let tenure = lease.tenure.take();
        self.storage.release(lease).await;
        if let Some(used_up) = tenure.as_ref().filter(|tenure| !tenure.goes_on()) {
            let until = Instant::now() + YIELD;
            if let Some(line) = self.lines().get_mut(&used_up.head.name) {
                line.others_until = Some(until);
            }
        }
        drop(tenure);
    }

    /// Gives the lease to the first in line who still waits; `None` when that is done.
    async fn hand_on(self: &Arc<Self>, mut lease: Lease) -> Option<Lease> {
        let going_on = lease.tenure.as_ref().is_some_and(Tenure::goes_on);
        if !going_on || !self.has_waiters(&lease.name) {
            return Some(lease);
        }
        if Instant::now() >= lease.renewal_due() {
            match renew_now(self.storage.as_ref(), &mut lease).await {
                Ok(Renewed::Extended) => {}
                Ok(Renewed::Lost) | Err(_) => return Some(lease),
            }
        }
        while let Some(waiter) = self.next(&lease.name) {
            if let Some(tenure) = &mut lease.tenure {
                tenure.turns += 1;
            }
            match waiter.send(Turn::Lease(Offer { lease: Some(lease), shared: self.clone() })) {
                Ok(()) => return None,
                Err(Turn::Lease(offer)) => lease = offer.take(),
                Err(Turn::Ask(_)) => unreachable!("a lease was sent"),
            }
        }
        Some(lease)
    }

    fn has_waiters(&self, name: &LockName) -> bool {
        self.lines().get(name).is_some_and(|line| line.waiters.iter().any(|waiter| !waiter.is_closed()))
    }

    fn next(&self, name: &LockName) -> Option<oneshot::Sender<Turn>> {
        self.lines().get_mut(name)?.waiters.pop_front()
    }
}

impl Tenure {
    pub(super) fn is_handed_on(&self) -> bool {
        self.turns > 1
    }

    fn goes_on(&self) -> bool {
        self.turns < MOST_TURNS && self.since.elapsed() < LONGEST_TENURE
    }
}

impl Offer {
    fn take(mut self) -> Lease {
        self.lease.take().expect("an offer is taken or dropped, once")
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        let Some(lease) = self.lease.take() else { return };
        let shared = self.shared.clone();
        // Without a runtime the process is ending, and the lease lapses.
        if let Ok(runtime) = Handle::try_current() {
            shared.releases.spawn_on(shared.clone().release(lease), &runtime);
        }
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        if self.gone {
            return;
        }
        loop {
            let waiter = {
                let mut lines = self.shared.lines();
                let waiter = lines.get_mut(&self.name).and_then(|line| line.waiters.pop_front());
                if waiter.is_none() {
                    lines.remove(&self.name);
                }
                waiter
            };
            let Some(waiter) = waiter else { return };
            let head = Head { name: self.name.clone(), shared: self.shared.clone(), gone: false };
            match waiter.send(Turn::Ask(head)) {
                Ok(()) => return,
                // Nobody waits there any more. This head goes on looking, the one that came back must not.
                Err(Turn::Ask(mut head)) => head.gone = true,
                Err(Turn::Lease(_)) => unreachable!("a head was sent"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
