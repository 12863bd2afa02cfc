//! The simulated lease service, the network to it, and processes that can stop.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::lock::{Error, Lease, LockName, Locks};
use tokio::time::{Instant, sleep, sleep_until};

use super::Holder;

/// As in `lock::blob`: a client waits this long for an answer, and repeats an acquire twice.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const MAX_REPEATS: usize = 2;

/// The service's state of one blob.
#[derive(Debug, Clone, Copy)]
struct Held {
    id: u64,
    until: Instant,
}

#[derive(Default)]
struct State {
    leases: HashMap<LockName, Held>,
    tombstones: HashMap<LockName, String>,
    ids: u64,
    acting: HashMap<LockName, Holder>,
    retired: HashSet<(LockName, Holder)>,
    violation: Option<String>,
    events: Vec<String>,
    is_fault_free: bool,
}

/// The service, which also checks that holders are exclusive.
pub(crate) struct Service {
    state: Mutex<State>,
    begun: Mutex<Option<Instant>>,
    belief: Duration,
}

impl Service {
    pub(crate) fn new() -> Arc<Self> {
        Self::believing_longer(Duration::ZERO)
    }

    /// A deliberate bug: clients count a lease's life from `belief` after the request was sent.
    pub(crate) fn believing_longer(belief: Duration) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), begun: Mutex::default(), belief })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Adds a line to the log.
    pub(crate) fn log(&self, line: &str) {
        let begun = *self.begun.lock().expect("no holder panics").get_or_insert_with(Instant::now);
        let line = format!("{:>9.3} s  {line}", begun.elapsed().as_secs_f64());
        self.state().events.push(line);
    }

    pub(crate) fn events(&self) -> String {
        self.state().events.join("\n")
    }

    pub(crate) fn violation(&self) -> Option<String> {
        self.state().violation.clone()
    }

    pub(crate) fn calm_down(&self) {
        self.state().is_fault_free = true;
    }

    pub(crate) fn is_calm(&self) -> bool {
        self.state().is_fault_free
    }

    /// Records that a holder acts. It is a violation to act after another holder has acted.
    pub(crate) fn act(&self, name: &LockName, holder: Holder) {
        let mut state = self.state();
        let before = state.acting.insert(name.clone(), holder);
        if let Some(before) = before.filter(|before| *before != holder) {
            state.retired.insert((name.clone(), before));
        }
        if state.retired.contains(&(name.clone(), holder)) {
            state.violation.get_or_insert(format!("{holder:?} acts on {name} after {before:?} did"));
        }
    }

    fn acquire(&self, name: &LockName, id: u64, life: Duration) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let taken = state.leases.get(name).is_some_and(|held| held.id != id && now < held.until);
        if !taken {
            state.leases.insert(name.clone(), Held { id, until: now + life });
        }
        !taken
    }

    /// An expired lease can be renewed while no other holder has taken it.
    fn renew(&self, name: &LockName, id: u64, life: Duration) -> bool {
        let mut state = self.state();
        match state.leases.get_mut(name) {
            Some(held) if held.id == id => {
                held.until = Instant::now() + life;
                true
            }
            _ => false,
        }
    }

    fn put_tombstone(&self, name: &LockName, id: &str, tombstone: &str) -> bool {
        let mut state = self.state();
        let held = state.leases.get(name).filter(|held| held.id.to_string() == id && Instant::now() < held.until);
        if held.is_none() {
            return false;
        }
        state.tombstones.insert(name.clone(), tombstone.to_owned());
        true
    }

    fn release(&self, name: &LockName, id: u64) {
        let mut state = self.state();
        if state.leases.get(name).is_some_and(|held| held.id == id) {
            state.leases.remove(name);
        }
    }
}

/// One process, whose tasks run only while it is not stopped.
pub(crate) struct Process {
    number: usize,
    stopped_until: Mutex<Option<Instant>>,
}

impl Process {
    pub(crate) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self { number, stopped_until: Mutex::default() })
    }

    pub(crate) fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn stop_for(&self, length: Duration) {
        *self.stopped_until.lock().expect("no holder panics") = Some(Instant::now() + length);
    }

    fn stopped(&self) -> Option<Instant> {
        self.stopped_until.lock().expect("no holder panics").filter(|until| Instant::now() < *until)
    }

    async fn running(&self) {
        while let Some(until) = self.stopped() {
            sleep_until(until).await;
        }
    }

    /// Runs `work` only while the process is not stopped.
    pub(crate) async fn freezing<T>(&self, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        loop {
            self.running().await;
            let polled = std::future::poll_fn(|cx| {
                // Woken while stopped: wait for the end of the stop first.
                if self.stopped().is_some() {
                    return Poll::Ready(None);
                }
                match work.as_mut().poll(cx) {
                    Poll::Ready(done) => Poll::Ready(Some(done)),
                    Poll::Pending if self.stopped().is_some() => Poll::Ready(None),
                    Poll::Pending => Poll::Pending,
                }
            });
            if let Some(done) = polled.await {
                return done;
            }
        }
    }
}

/// A process's connection to the service.
pub(crate) struct Remote {
    service: Arc<Service>,
    process: Arc<Process>,
    life: Duration,
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").field("process", &self.process.number).finish_non_exhaustive()
    }
}

impl Remote {
    pub(crate) fn new(service: Arc<Service>, process: Arc<Process>, life: Duration) -> Self {
        Self { service, process, life }
    }

    /// Usually a few milliseconds; with faults sometimes seconds.
    fn leg(&self) -> Duration {
        let is_slow = !self.service.is_calm() && fastrand::u8(..20) == 0;
        Duration::from_millis(fastrand::u64(1..if is_slow { 3_000 } else { 20 }))
    }

    /// One request: there, executed, back. Each direction may be slow or lose it, and the service may fail.
    async fn request<T>(&self, execute: impl FnOnce(&Service) -> T) -> Result<T, Error> {
        self.process.running().await;
        let weather = if self.service.is_calm() { 255 } else { fastrand::u8(..100) };
        let lost = Error::Unreachable { sent: true, problem: "no answer in time" };
        if weather < 3 {
            sleep(REQUEST_TIMEOUT).await;
            self.process.running().await;
            return Err(lost);
        }
        sleep(self.leg()).await;
        if weather < 6 {
            self.process.running().await;
            return Err(Error::Service { status: 503, code: "ServerBusy".to_owned() });
        }
        let answer = execute(&self.service);
        if weather < 9 {
            sleep(REQUEST_TIMEOUT).await;
            self.process.running().await;
            return Err(lost);
        }
        sleep(self.leg()).await;
        self.process.running().await;
        Ok(answer)
    }
}

fn number(lease: &Lease) -> u64 {
    lease.id().parse().expect("ids are numbers here")
}

#[async_trait]
impl Locks for Remote {
    async fn try_acquire(&self, name: &LockName) -> Result<Option<Lease>, Error> {
        let id = {
            let mut state = self.service.state();
            state.ids += 1;
            state.ids
        };
        let mut repeats = 0;
        loop {
            let begun = Instant::now() + self.service.belief;
            match self.request(|service| service.acquire(name, id, self.life)).await {
                Ok(true) => return Ok(Some(Lease::new(name.clone(), id.to_string(), begun, self.life))),
                Ok(false) => return Ok(None),
                Err(error) if repeats == MAX_REPEATS => return Err(error),
                Err(_) => repeats += 1,
            }
        }
    }

    async fn renew(&self, lease: &mut Lease) -> Result<bool, Error> {
        let begun = Instant::now() + self.service.belief;
        let (name, id) = (lease.name().clone(), number(lease));
        if self.request(|service| service.renew(&name, id, self.life)).await? {
            lease.extend(begun);
            return Ok(true);
        }
        Ok(false)
    }

    async fn release(&self, lease: Lease) {
        for _ in 0..=MAX_REPEATS {
            if self.request(|service| service.release(lease.name(), number(&lease))).await.is_ok() {
                return;
            }
        }
    }

    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error> {
        self.request(|service| service.state().tombstones.get(name).cloned()).await
    }

    async fn put_tombstone(&self, name: &LockName, id: &str, tombstone: &str) -> Result<bool, Error> {
        self.request(|service| service.put_tombstone(name, id, tombstone)).await
    }
}
