mod bounded;
mod cancelled;

use std::pin::Pin;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;
use crate::lock::tests::memory::{Fault, MemoryLocks, Request};

const LIFE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
/// The messages that are admitted at once.
const WIDTH: usize = 4;

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Acquired, Error>> + Send + 'a>>;

/// One process, and the storage that it shares with others.
struct Process {
    storage: Arc<MemoryLocks>,
    local: LocalQueue,
    name: LockName,
}

impl Process {
    fn new() -> Self {
        Self::beside(&Arc::new(MemoryLocks::new(LIFE)))
    }

    fn beside(storage: &Arc<MemoryLocks>) -> Self {
        Self {
            storage: storage.clone(),
            local: LocalQueue::new(storage.clone(), WIDTH),
            name: LockName::new("contacts-1f2e3d"),
        }
    }

    async fn take(&self) -> HeldLock {
        held(self.local.acquire(&self.name, WaitLimits::new(WAIT), || ()).await)
    }

    /// A caller that has to wait.
    fn enqueue(&self, wait: Duration) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(self.local.acquire(&self.name, WaitLimits::new(wait), || ()));
        assert!(!is_ready(&mut waiting), "the lock is free");
        waiting
    }

    /// One message: acquire, work, release.
    async fn serve(&self, work: Duration) {
        let held = held(self.local.acquire(&self.name, WaitLimits::new(600 * SECOND), || ()).await);
        sleep(work).await;
        self.local.release(held).await;
    }

    fn requests(&self) -> (usize, usize) {
        (self.storage.count(Request::Acquire), self.storage.count(Request::Release))
    }
}

fn held(acquired: Result<Acquired, Error>) -> HeldLock {
    match acquired {
        Ok(Acquired::Held(held)) => held,
        other => panic!("the lock should be ours: {other:?}"),
    }
}

fn is_ready(waiting: &mut Waiting<'_>) -> bool {
    waiting.as_mut().now_or_never().is_some()
}

/// The lock that was handed to a waiter.
fn handed_on(waiting: Waiting<'_>) -> HeldLock {
    held(waiting.now_or_never().expect("the lease was handed on"))
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_order_of_arrival() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let mut third = process.enqueue(WAIT);
    let mut fourth = process.enqueue(WAIT);
    process.local.release(first).await;
    assert!(!is_ready(&mut fourth) && !is_ready(&mut third));
    process.local.release(handed_on(second)).await;
    assert!(!is_ready(&mut fourth));
    process.local.release(handed_on(third)).await;
    process.local.release(handed_on(fourth)).await;
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_handed_on_without_a_storage_request() {
    let process = Process::new();
    let first = process.take().await;
    let id = first.lease.id().to_owned();
    let second = process.enqueue(WAIT);
    process.local.release(first).await;
    assert_eq!(handed_on(second).lease.id(), id);
    assert_eq!(process.requests(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_wait_for_each_other() {
    let process = Process::new();
    let _first = process.take().await;
    let name = LockName::new("contacts-other");
    assert_eq!(held(process.local.acquire(&name, WaitLimits::new(Duration::ZERO), || ()).await).lease.name(), &name);
}

#[tokio::test(start_paused = true)]
async fn after_a_full_session_the_lease_is_released_and_requested_again_after_a_while() {
    let process = Process::new();
    let mut holder = process.take().await;
    let mut waiters: VecDeque<_> = (0..MAX_SESSION_USES).map(|_| process.enqueue(WAIT)).collect();
    let last = waiters.pop_back().expect("there are many");
    for waiting in waiters {
        process.local.release(holder).await;
        holder = handed_on(waiting);
    }
    assert_eq!((process.requests(), holder.lease.id()), ((1, 0), "lease-1"));
    let begun = Instant::now();
    process.local.release(holder).await;
    assert_eq!((held(last.await).lease.id(), process.requests()), ("lease-2", (2, 1)));
    assert_eq!(begun.elapsed(), YIELD, "other processes go first");
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_does_not_delay_the_next_one() {
    let process = Process::new();
    // The lease of a process that ended: it expires by itself.
    drop(Process::beside(&process.storage).take().await);
    let begun = Instant::now();
    let holder = held(process.local.acquire(&process.name, WaitLimits::new(2 * LIFE), || ()).await);
    assert!((LIFE..LIFE + YIELD).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let next = process.enqueue(WAIT);
    advance(MAX_SESSION).await;
    let begun = Instant::now();
    process.local.release(holder).await;
    held(next.await);
    assert_eq!(begun.elapsed(), YIELD);
}

#[tokio::test(start_paused = true)]
async fn a_session_ends_after_its_maximum_time() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let third = process.enqueue(WAIT);
    advance(MAX_SESSION / 2).await;
    process.local.release(first).await;
    let second = handed_on(second);
    advance(MAX_SESSION / 2).await;
    process.local.release(second).await;
    assert_eq!((held(third.await).lease.id(), process.requests()), ("lease-2", (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_past_its_third_is_renewed_before_it_is_handed_on() {
    // A short life, so that the renewal is due within the session.
    let storage = Arc::new(MemoryLocks::new(MAX_SESSION));
    let process = Process::beside(&storage);
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    advance(MAX_SESSION / 2).await;
    process.local.release(first).await;
    let second = handed_on(second);
    assert_eq!((second.lease.id(), storage.count(Request::Renew)), ("lease-1", 1));
    assert!(second.lease.renewal_due() > Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_is_released_instead() {
    for fault in [Fault::Unreachable, Fault::Refused, Fault::Hanging] {
        let storage = Arc::new(MemoryLocks::new(MAX_SESSION));
        let process = Process::beside(&storage);
        let first = process.take().await;
        let second = process.enqueue(WAIT);
        advance(MAX_SESSION / 2).await;
        storage.fail(Request::Renew, [fault]);
        process.local.release(first).await;
        assert_eq!(held(second.await).lease.id(), "lease-2", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_a_hot_key_by_halves_with_few_requests() {
    for work in [20, 50, 100] {
        let work = Duration::from_millis(work);
        let ours = Process::new();
        let theirs = Process::beside(&ours.storage);
        let served = Mutex::new([0_u32; 2]);
        let until = Instant::now() + 60 * SECOND;
        let busy = async |process: &Process, who: usize| {
            while Instant::now() < until {
                process.serve(work).await;
                served.lock().expect("no panic")[who] += 1;
            }
        };
        let many = join_all((0..24).map(|number| match number % 2 {
            0 => busy(&ours, 0),
            _ => busy(&theirs, 1),
        }));
        many.await;
        let [our_turns, their_turns] = served.into_inner().expect("no panic");
        let share = f64::from(our_turns.min(their_turns)) / f64::from(our_turns + their_turns);
        assert!(share >= 0.35, "{our_turns} turns against {their_turns}, work of {work:?}");
        // The part of two minutes that both processes together spent waiting.
        let waited = (120 * SECOND).saturating_sub(work * (our_turns + their_turns)).as_secs_f64();
        let requests = u32::try_from(ours.storage.count(Request::Acquire)).expect("some hundreds");
        assert!(f64::from(requests) / waited <= 3.0, "{requests} requests in {waited:.0} s, work of {work:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_does_not_yield_before_a_full_session() {
    let process = Process::new();
    let begun = Instant::now();
    for _ in 0..2 * MAX_SESSION_USES {
        process.serve(Duration::ZERO).await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "without waiters there is no session");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_messages_for_one_key_need_at_most_forty_requests() {
    let process = Process::new();
    join_all((0..200).map(|_| process.serve(Duration::from_millis(80)))).await;
    assert!(process.storage.count_all() <= 40, "{} requests", process.storage.count_all());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_gets_busy_after_its_wait_and_the_queue_goes_on() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(2 * SECOND);
    let third = process.enqueue(WAIT);
    let begun = Instant::now();
    assert!(matches!(second.await, Ok(Acquired::Busy)));
    assert_eq!(begun.elapsed(), 2 * SECOND);
    process.local.release(first).await;
    assert_eq!((handed_on(third).lease.id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_lock_of_another_process_is_busy_after_the_wait_and_not_before() {
    let ours = Process::new();
    let theirs = Process::beside(&ours.storage);
    let _held = theirs.take().await;
    let begun = Instant::now();
    assert!(matches!(ours.local.acquire(&ours.name, WaitLimits::new(WAIT), || ()).await, Ok(Acquired::Busy)));
    assert_eq!((begun.elapsed(), ours.local.keys()), (WAIT, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_in_the_queue_counts_against_the_wait_at_the_storage() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.enqueue(WAIT);
    let begun = Instant::now();
    let (second, ()) = tokio::join!(second, async {
        sleep(4 * SECOND).await;
        drop(first);
    });
    assert!(matches!(second, Ok(Acquired::Busy)), "a lease that was not released lives on at the storage");
    assert_eq!(begun.elapsed(), WAIT);
}
