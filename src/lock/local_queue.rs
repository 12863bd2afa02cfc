//! A FIFO queue per key, in front of the lease: work of one process on one key waits here.
//!
//! The holder of a lease hands it to the next waiter without a storage request, and renews it first when a third of its life has
//! passed. A session of handoffs ends after [`MAX_SESSION_USES`] or [`MAX_SESSION`]; then the lease is released, and the next
//! waiter leaves the lock to other processes for [`YIELD`]. At most one task per key talks to the storage, and
//! [`Bulkhead`] bounds the requests of all keys. A key without work leaves nothing behind: memory does not grow with the number of
//! keys seen.
//!
//! A caller may be cancelled at any time: a lease that was granted or handed to it goes to the next waiter or back to the
//! storage.

mod release;
mod wait_limits;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::task::TaskTracker;
use tracing::Instrument as _;

use super::bulkhead::{Bulkhead, LockRequest, SendPermit};
use super::poll_schedule::{MAX_PAUSE, PollSchedule};
use super::{Error, Lease, LeaseLost, LockName, Locks, run_under_lease};
use release::release;
pub use wait_limits::WaitLimits;

/// How often a lease is used in one session. 40 writes then cost two storage requests instead of eighty, and [`YIELD`] costs a
/// process that is alone with a hot key an eighth of its time at 80 ms a write. Twice as many would not change that: sessions of
/// such writes end by [`MAX_SESSION`] already.
const MAX_SESSION_USES: u32 = 40;

/// The longest session: with the default wait of 10 s, two other instances get the lock in time.
const MAX_SESSION: Duration = Duration::from_secs(3);

/// How long the next waiter leaves the lock to other processes after a full session. Longer than [`MAX_PAUSE`], so every other
/// process that waits for the key requests it meanwhile.
const YIELD: Duration = Duration::from_millis(400);

const _: () = assert!(MAX_PAUSE.as_millis() < YIELD.as_millis());

/// No request was sent, because others were ahead of it for too long.
const NO_PERMIT: Error = Error::Unreachable { sent: false, problem: "too many requests were waiting" };

/// [`Locks`] with a local queue in front. Clones share it.
#[derive(Debug, Clone)]
pub struct LocalQueue {
    shared: Arc<Shared>,
}

/// The answer after waiting for a lock.
#[derive(Debug)]
pub enum Acquired {
    /// The lock is ours until the lease expires.
    Held(HeldLock),
    /// Another holder had it for the whole wait.
    Busy,
}

/// A lease, and the place at the head of its key's queue. [`LocalQueue::release`] gives both back. Dropped instead, the lease
/// expires by itself, which is right when the outcome of a write is unknown; the next waiter then polls the storage.
#[derive(Debug)]
pub struct HeldLock {
    /// The lease.
    pub lease: Lease,
    head: QueueHead,
    /// When the session began: since then the lease has been handed on within this process.
    since: Instant,
    uses: u32,
}

#[derive(Debug)]
struct Shared {
    storage: Bulkhead,
    queues: Mutex<HashMap<LockName, KeyQueue>>,
    releases: TaskTracker,
}

/// The waiters for one key behind its [`QueueHead`].
#[derive(Debug, Default)]
struct KeyQueue {
    waiters: VecDeque<oneshot::Sender<Wakeup>>,
    schedule: PollSchedule,
    /// Until then the lock is left to other processes.
    yields_until: Option<Instant>,
}

/// The message to the next waiter.
#[derive(Debug)]
enum Wakeup {
    /// The lease itself.
    Lease(LeaseHandoff),
    /// The head of the queue: poll the storage.
    Poll(QueueHead),
    /// The storage gave no usable answer to the head of the queue, and would give none to those behind it.
    Failed(Error),
}

/// The head of one key's queue. Dropping it makes the next waiter the head.
#[derive(Debug)]
struct QueueHead {
    name: LockName,
    shared: Arc<Shared>,
}

/// A lock in transit to a caller that may be cancelled. Dropped in transit, it is released in the background.
#[derive(Debug)]
struct LeaseHandoff(Option<HeldLock>);

impl LocalQueue {
    /// Puts a local queue in front of `storage`, for messages of which `width` are admitted at once.
    pub fn new(storage: Arc<dyn Locks>, width: usize) -> Self {
        let storage = Bulkhead::new(storage, width);
        let releases = TaskTracker::new();
        // A closed tracker still takes tasks; `wait` needs it closed.
        releases.close();
        Self { shared: Arc::new(Shared { storage, queues: Mutex::default(), releases }) }
    }

    /// How many keys are in use or waited for.
    pub fn keys(&self) -> usize {
        self.shared.queues().len()
    }

    /// Takes the lock, waiting within `limits` for other holders. Calls `on_held` as soon as another holder is known, of this process
    /// or of another, and perhaps again.
    ///
    /// # Errors
    /// When it is not known whether the lock was granted, to this caller or to the one in front of it.
    pub async fn acquire(
        &self,
        name: &LockName,
        limits: WaitLimits,
        mut on_held: impl FnMut() + Send,
    ) -> Result<Acquired, Error> {
        let (wakeup, request) = match self.shared.join(name) {
            Ok(head) => (Some(Wakeup::Poll(head)), LockRequest::First),
            Err(waiter) => {
                on_held();
                (wait_until(limits.in_line_until, waiter).await, LockRequest::Poll)
            }
        };
        match wakeup {
            Some(Wakeup::Lease(handoff)) => Ok(Acquired::Held(handoff.take())),
            Some(Wakeup::Poll(head)) => {
                let deadline = limits.for_others_until.max(Instant::now() + limits.for_others).min(limits.latest);
                poll_storage(head, request, deadline, &mut on_held).await
            }
            Some(Wakeup::Failed(error)) => Err(error),
            None => Ok(Acquired::Busy),
        }
    }

    /// Hands the lease to the next waiter, or releases it, and waits until that is done.
    pub async fn release(&self, held: HeldLock) {
        if self.shared.releases.spawn(release(held).in_current_span()).await.is_err() {
            tracing::warn!("a lease was not released; it expires by itself");
        }
    }

    /// Hands the lease to the next waiter, or releases it, in the background. Waiters of this process still get the lock only
    /// after the release.
    pub fn release_in_background(&self, held: HeldLock) {
        self.shared.releases.spawn(release(held).in_current_span());
    }

    /// Waits until all background releases are done.
    pub async fn all_released(&self) {
        self.shared.releases.wait().await;
    }
}

impl HeldLock {
    /// Runs `work` under the lease, and renews the lease when a renewal is due.
    ///
    /// # Errors
    /// [`LeaseLost`] when the lease ended first. The work was dropped where it stood, so a request of it may still be in flight.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> Result<T, LeaseLost> {
        run_under_lease(&self.head.shared.storage, &mut self.lease, work).await
    }

    /// The storage that granted the lease.
    pub(crate) fn storage(&self) -> Arc<dyn Locks> {
        self.head.shared.storage.storage().clone()
    }

    /// Whether another task of this process held the lease before.
    pub(crate) fn is_handed_on(&self) -> bool {
        self.uses > 1
    }

    fn is_session_over(&self) -> bool {
        self.uses >= MAX_SESSION_USES || self.since.elapsed() >= MAX_SESSION
    }
}

impl Shared {
    fn queues(&self) -> MutexGuard<'_, HashMap<LockName, KeyQueue>> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Becomes the head of the queue when there is none, else a waiter.
    fn join(self: &Arc<Self>, name: &LockName) -> Result<QueueHead, oneshot::Receiver<Wakeup>> {
        let mut queues = self.queues();
        if let Some(queue) = queues.get_mut(name) {
            let (wakeup, waiter) = oneshot::channel();
            queue.waiters.push_back(wakeup);
            return Err(waiter);
        }
        queues.insert(name.clone(), KeyQueue::default());
        Ok(QueueHead { name: name.clone(), shared: self.clone() })
    }
}

impl KeyQueue {
    /// The first waiter that has not left.
    fn pop(&mut self) -> Option<oneshot::Sender<Wakeup>> {
        while let Some(waiter) = self.waiters.pop_front() {
            if !waiter.is_closed() {
                return Some(waiter);
            }
        }
        None
    }

    fn has_waiters(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.is_closed())
    }
}

async fn wait_until(deadline: Instant, mut waiter: oneshot::Receiver<Wakeup>) -> Option<Wakeup> {
    if let Ok(wakeup) = timeout_at(deadline, &mut waiter).await {
        return wakeup.ok();
    }
    // The wakeup may have arrived at the moment when the wait ended.
    waiter.close();
    waiter.try_recv().ok()
}

/// Requests the lock until it is granted or the deadline has passed; at least once, and for the last time at the deadline.
async fn poll_storage(
    mut head: QueueHead,
    mut request: LockRequest,
    deadline: Instant,
    on_held: &mut (dyn FnMut() + Send),
) -> Result<Acquired, Error> {
    let begun = Instant::now();
    let (schedule, yields_until) = head.with_queue(|queue| (queue.schedule, queue.yields_until)).unwrap_or_default();
    let (mut wait, first) = schedule.wait();
    let mut next = yields_until.unwrap_or(begun).max(begun + first);
    loop {
        let at = next.min(deadline);
        // Even an expired timer takes up to a millisecond.
        if at > Instant::now() {
            sleep_until(at).await;
        }
        let Some(permit) = head.shared.storage.permit(request, deadline).await else {
            return if request == LockRequest::Poll { Ok(Acquired::Busy) } else { Err(NO_PERMIT) };
        };
        match try_acquire(head, permit).await {
            Wakeup::Lease(handoff) => {
                let lock = handoff.take();
                lock.head.with_queue(|queue| queue.schedule.learn(&wait, begun.elapsed()));
                return Ok(Acquired::Held(lock));
            }
            Wakeup::Poll(_) if Instant::now() >= deadline => return Ok(Acquired::Busy),
            Wakeup::Poll(same) => (head, request) = (same, LockRequest::Poll),
            Wakeup::Failed(error) => return Err(error),
        }
        on_held();
        next = Instant::now() + wait.next(begun.elapsed(), fastrand::f64());
    }
}

/// One request, in a task of its own: when the caller is cancelled, the dropped result releases a granted lease.
async fn try_acquire(head: QueueHead, permit: SendPermit) -> Wakeup {
    let request = async move {
        match head.shared.storage.try_acquire(&head.name, permit).await {
            Ok(Some(lease)) => {
                let lock = HeldLock { lease, head, since: Instant::now(), uses: 1 };
                Wakeup::Lease(LeaseHandoff(Some(lock)))
            }
            Ok(None) => Wakeup::Poll(head),
            Err(error) => {
                for waiter in head.with_queue(|queue| std::mem::take(&mut queue.waiters)).unwrap_or_default() {
                    drop(waiter.send(Wakeup::Failed(error.clone())));
                }
                Wakeup::Failed(error)
            }
        }
    };
    let panicked = Error::Unreachable { sent: true, problem: "the request for the lock was not finished" };
    tokio::spawn(request).await.unwrap_or(Wakeup::Failed(panicked))
}

impl LeaseHandoff {
    fn take(mut self) -> HeldLock {
        self.0.take().expect("a handoff is taken once")
    }
}

impl Drop for LeaseHandoff {
    fn drop(&mut self) {
        // Without a runtime the process is ending, and the lease expires by itself.
        if let (Some(held), Ok(runtime)) = (self.0.take(), Handle::try_current()) {
            let shared = held.head.shared.clone();
            shared.releases.spawn_on(release(held), &runtime);
        }
    }
}

impl QueueHead {
    fn with_queue<T>(&self, change: impl FnOnce(&mut KeyQueue) -> T) -> Option<T> {
        self.shared.queues().get_mut(&self.name).map(change)
    }
}

impl Drop for QueueHead {
    fn drop(&mut self) {
        let waiter = {
            let mut queues = self.shared.queues();
            let waiter = queues.get_mut(&self.name).and_then(KeyQueue::pop);
            if waiter.is_none() {
                queues.remove(&self.name);
            }
            waiter
        };
        if let Some(waiter) = waiter {
            // If the waiter leaves in this moment, the rejected head is dropped and moves on to the next one.
            let head = Self { name: self.name.clone(), shared: self.shared.clone() };
            drop(waiter.send(Wakeup::Poll(head)));
        }
    }
}

#[cfg(test)]
mod tests;
