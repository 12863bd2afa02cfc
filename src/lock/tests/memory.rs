//! In-memory locks for tests: exclusive, expiring on tokio's clock like blob leases, with faults on demand.

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::lock::{Error, Lease, LockName, Locks};

/// A kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Request {
    Acquire,
    Renew,
    Release,
    Tombstone,
    PutTombstone,
}

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answered with 403.
    Refused,
    /// No connection; the request is not executed.
    Unreachable,
    /// No answer; the request is not executed.
    Hanging,
    /// Executed after a delay.
    Late(Duration),
}

/// The lock storage that all processes of a test share.
#[derive(Debug)]
pub(crate) struct MemoryLocks {
    life: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    holders: HashMap<LockName, Holder>,
    tombstones: HashMap<LockName, String>,
    faults: VecDeque<(Request, Fault)>,
    requests: Vec<Request>,
    in_flight: Vec<Request>,
    /// The most of each kind that were in flight at once.
    most: HashMap<Request, usize>,
    granted: u32,
}

#[derive(Debug)]
struct Holder {
    id: String,
    until: Instant,
}

impl MemoryLocks {
    /// Locks whose leases live for `life`.
    pub(crate) fn new(life: Duration) -> Self {
        Self { life, state: Mutex::default() }
    }

    /// The next requests of that kind fail, one per fault.
    pub(crate) fn fail(&self, request: Request, faults: impl IntoIterator<Item = Fault>) {
        self.state().faults.extend(faults.into_iter().map(|fault| (request, fault)));
    }

    /// Breaks the lease without notifying its holder, as an operator may.
    pub(crate) fn break_lease(&self, name: &LockName) {
        self.state().holders.remove(name);
    }

    /// Breaks every lease.
    pub(crate) fn break_all(&self) {
        self.state().holders.clear();
    }

    /// The number of requests of that kind.
    pub(crate) fn count(&self, request: Request) -> usize {
        self.state().requests.iter().filter(|asked| **asked == request).count()
    }

    /// The number of all requests.
    pub(crate) fn count_all(&self) -> usize {
        self.state().requests.len()
    }

    /// The most requests of that kind that were in flight at once.
    pub(crate) fn most(&self, request: Request) -> usize {
        self.state().most.get(&request).copied().unwrap_or_default()
    }

    /// Whether a lease on `name` is alive.
    pub(crate) fn is_held(&self, name: &LockName) -> bool {
        self.state().holders.get(name).is_some_and(|holder| Instant::now() < holder.until)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, request: Request) -> Result<(), Error> {
        let _in_flight = InFlight(self, request);
        let fault = {
            let mut state = self.state();
            state.requests.push(request);
            state.in_flight.push(request);
            let now = state.in_flight.iter().filter(|sent| **sent == request).count();
            let most = state.most.entry(request).or_default();
            *most = now.max(*most);
            let scripted = state.faults.iter().position(|(failing, _)| *failing == request);
            scripted.and_then(|position| state.faults.remove(position))
        };
        match fault.map(|(_, fault)| fault) {
            None => Ok(()),
            Some(Fault::Refused) => Err(Error::Refused { status: 403, code: "AuthorizationFailure".to_owned() }),
            Some(Fault::Unreachable) => Err(Error::Unreachable { sent: false, problem: "no connection" }),
            Some(Fault::Hanging) => pending().await,
            Some(Fault::Late(delay)) => {
                sleep(delay).await;
                Ok(())
            }
        }
    }

    fn take(&self, name: &LockName) -> Option<Lease> {
        let begun = Instant::now();
        let mut state = self.state();
        if state.holders.get(name).is_some_and(|holder| begun < holder.until) {
            return None;
        }
        state.granted += 1;
        let id = format!("lease-{}", state.granted);
        state.holders.insert(name.clone(), Holder { id: id.clone(), until: begun + self.life });
        Some(Lease::new(name.clone(), id, begun, self.life))
    }
}

/// A request without an answer yet.
struct InFlight<'a>(&'a MemoryLocks, Request);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let in_flight = &mut self.0.state().in_flight;
        let sent = in_flight.iter().position(|sent| *sent == self.1);
        sent.map(|position| in_flight.swap_remove(position));
    }
}

#[async_trait]
impl Locks for MemoryLocks {
    async fn try_acquire(&self, name: &LockName) -> Result<Option<Lease>, Error> {
        self.receive(Request::Acquire).await?;
        Ok(self.take(name))
    }

    async fn renew(&self, lease: &mut Lease) -> Result<bool, Error> {
        let begun = Instant::now();
        self.receive(Request::Renew).await?;
        let mut state = self.state();
        // An expired lease can be renewed while no other holder has the lock.
        match state.holders.get_mut(lease.name()).filter(|holder| holder.id == lease.id()) {
            None => Ok(false),
            Some(holder) => {
                holder.until = begun + self.life;
                lease.extend(begun);
                Ok(true)
            }
        }
    }

    async fn release(&self, lease: Lease) {
        if self.receive(Request::Release).await.is_err() {
            return;
        }
        let mut state = self.state();
        if state.holders.get(lease.name()).is_some_and(|holder| holder.id == lease.id()) {
            state.holders.remove(lease.name());
        }
    }

    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error> {
        self.receive(Request::Tombstone).await?;
        Ok(self.state().tombstones.get(name).cloned())
    }

    async fn put_tombstone(&self, name: &LockName, id: &str, tombstone: &str) -> Result<bool, Error> {
        self.receive(Request::PutTombstone).await?;
        let mut state = self.state();
        let alive = state.holders.get(name).is_some_and(|holder| holder.id == id && Instant::now() < holder.until);
        if !alive {
            return Ok(false);
        }
        state.tombstones.insert(name.clone(), tombstone.to_owned());
        Ok(true)
    }
}
