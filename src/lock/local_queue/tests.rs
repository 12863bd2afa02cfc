mod leaving;

use std::pin::Pin;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;
use crate::lock::memory::{Fault, MemoryLocks, Request};

const LIFE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);

type Waiting<'a> = Pin<Box<dyn Future<Output = Result<Acquired, Error>> + Send + 'a>>;

/// One process and the storage that it shares with others.
struct Process {
    storage: Arc<MemoryLocks>,
    local: Local,
    name: LockName,
}

impl Process {
    fn new() -> Self {
        Self::beside(&Arc::new(MemoryLocks::new(LIFE)))
    }

    fn beside(storage: &Arc<MemoryLocks>) -> Self {
        Self { storage: storage.clone(), local: Local::new(storage.clone()), name: LockName::new("contacts-1f2e3d") }
    }

    async fn take(&self) -> Lease {
        lease(self.local.acquire(&self.name, WAIT).await)
    }

    /// Asks, and has to wait.
    fn stand_in_line(&self, wait: Duration) -> Waiting<'_> {
        let mut waiting: Waiting<'_> = Box::pin(self.local.acquire(&self.name, wait));
        assert!(!has_turn(&mut waiting), "there is nothing to wait for");
        waiting
    }

    /// One message: acquire, work, release.
    async fn serve(&self, work: Duration) {
        let lease = lease(self.local.acquire(&self.name, 600 * SECOND).await);
        sleep(work).await;
        self.local.release(lease).await;
    }

    fn requests(&self) -> (usize, usize) {
        (self.storage.count(Request::Acquire), self.storage.count(Request::Release))
    }
}

fn lease(acquired: Result<Acquired, Error>) -> Lease {
    match acquired {
        Ok(Acquired::Held(lease)) => lease,
        other => panic!("the lock should be ours: {other:?}"),
    }
}

fn has_turn(waiting: &mut Waiting<'_>) -> bool {
    waiting.as_mut().now_or_never().is_some()
}

/// The lease of a waiter to whom it was handed on.
fn turn_of(waiting: Waiting<'_>) -> Lease {
    lease(waiting.now_or_never().expect("its turn has come"))
}

#[tokio::test(start_paused = true)]
async fn waiters_get_their_turn_in_the_order_in_which_they_came() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let mut third = process.stand_in_line(WAIT);
    let mut fourth = process.stand_in_line(WAIT);
    process.local.release(first).await;
    assert!(!has_turn(&mut fourth) && !has_turn(&mut third));
    process.local.release(turn_of(second)).await;
    assert!(!has_turn(&mut fourth));
    process.local.release(turn_of(third)).await;
    process.local.release(turn_of(fourth)).await;
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_handed_on_without_asking_the_storage() {
    let process = Process::new();
    let first = process.take().await;
    let id = first.id().to_owned();
    let second = process.stand_in_line(WAIT);
    process.local.release(first).await;
    assert_eq!(turn_of(second).id(), id);
    assert_eq!(process.requests(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn different_keys_do_not_wait_for_each_other() {
    let process = Process::new();
    let _first = process.take().await;
    let name = LockName::new("contacts-other");
    assert_eq!(lease(process.local.acquire(&name, Duration::ZERO).await).name(), &name);
}

#[tokio::test(start_paused = true)]
async fn after_its_turns_a_lease_goes_back_and_the_storage_is_asked_again_after_a_while() {
    let process = Process::new();
    let mut held = process.take().await;
    let mut line: VecDeque<_> = (0..MOST_TURNS).map(|_| process.stand_in_line(WAIT)).collect();
    let last = line.pop_back().expect("there are as many as turns");
    for waiting in line {
        process.local.release(held).await;
        held = turn_of(waiting);
    }
    assert_eq!((process.requests(), held.id()), ((1, 0), "lease-1"));
    let begun = Instant::now();
    process.local.release(held).await;
    assert_eq!((lease(last.await).id(), process.requests()), ("lease-2", (2, 1)));
    assert_eq!(begun.elapsed(), YIELD, "others may go first");
}

#[tokio::test(start_paused = true)]
async fn a_tenure_ends_after_its_longest_time_however_few_had_a_turn() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    advance(LONGEST_TENURE / 2).await;
    process.local.release(first).await;
    let second = turn_of(second);
    advance(LONGEST_TENURE / 2).await;
    process.local.release(second).await;
    assert_eq!((lease(third.await).id(), process.requests()), ("lease-2", (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_past_its_third_is_renewed_before_it_is_handed_on() {
    // Leases whose third is over before their tenure is.
    let storage = Arc::new(MemoryLocks::new(LONGEST_TENURE));
    let process = Process::beside(&storage);
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    advance(LONGEST_TENURE / 2).await;
    process.local.release(first).await;
    let second = turn_of(second);
    assert_eq!((second.id(), storage.count(Request::Renew)), ("lease-1", 1));
    assert!(second.renewal_due() > Instant::now());
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_cannot_be_renewed_goes_back_instead() {
    for fault in [Fault::Unreachable, Fault::Refused, Fault::Hanging] {
        let storage = Arc::new(MemoryLocks::new(LONGEST_TENURE));
        let process = Process::beside(&storage);
        let first = process.take().await;
        let second = process.stand_in_line(WAIT);
        advance(LONGEST_TENURE / 2).await;
        storage.fail(Request::Renew, [fault]);
        process.local.release(first).await;
        assert_eq!(lease(second.await).id(), "lease-2", "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_share_a_hot_key_by_halves_and_ask_seldom() {
    for work in [20, 50, 100] {
        let work = Duration::from_millis(work);
        let ours = Process::new();
        let theirs = Process::beside(&ours.storage);
        let served = Mutex::new([0_u32; 2]);
        let until = Instant::now() + 60 * SECOND;
        let busy = async |process: &Process, who: usize| {
            while Instant::now() < until {
                process.serve(work).await;
                served.lock().expect("nobody panics with it")[who] += 1;
            }
        };
        let many = join_all((0..24).map(|number| match number % 2 {
            0 => busy(&ours, 0),
            _ => busy(&theirs, 1),
        }));
        many.await;
        let [our_turns, their_turns] = served.into_inner().expect("nobody panics with it");
        let share = f64::from(our_turns.min(their_turns)) / f64::from(our_turns + their_turns);
        assert!(share >= 0.35, "{our_turns} turns against {their_turns}, work of {work:?}");
        // Whoever does not work waits: of two minutes in all, what was not spent on the work.
        let waited = (120 * SECOND).saturating_sub(work * (our_turns + their_turns)).as_secs_f64();
        let questions = u32::try_from(ours.storage.count(Request::Acquire)).expect("some hundreds");
        assert!(f64::from(questions) / waited <= 3.0, "{questions} questions in {waited:.0} s, work of {work:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nobody_yields_who_did_not_use_up_a_tenure() {
    let process = Process::new();
    let begun = Instant::now();
    for _ in 0..2 * MOST_TURNS {
        process.serve(Duration::ZERO).await;
    }
    assert_eq!(begun.elapsed(), Duration::ZERO, "one after the other there is no line");
}

#[tokio::test(start_paused = true)]
async fn two_hundred_messages_for_one_key_ask_the_storage_forty_times_at_most() {
    let process = Process::new();
    join_all((0..200).map(|_| process.serve(Duration::from_millis(80)))).await;
    assert!(process.storage.count_all() <= 40, "{} requests", process.storage.count_all());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_busy_after_its_wait_and_the_line_goes_on() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(2 * SECOND);
    let third = process.stand_in_line(WAIT);
    let begun = Instant::now();
    assert!(matches!(second.await, Ok(Acquired::Busy)));
    assert_eq!(begun.elapsed(), 2 * SECOND);
    process.local.release(first).await;
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn another_processs_lock_is_busy_after_the_wait_and_not_before() {
    let ours = Process::new();
    let theirs = Process::beside(&ours.storage);
    let _held = theirs.take().await;
    let begun = Instant::now();
    assert!(matches!(ours.local.acquire(&ours.name, WAIT).await, Ok(Acquired::Busy)));
    assert_eq!((begun.elapsed(), ours.local.keys()), (WAIT, 0));
}

#[tokio::test(start_paused = true)]
async fn the_time_in_line_counts_against_the_wait_at_the_storage() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let begun = Instant::now();
    let (second, ()) = tokio::join!(second, async {
        sleep(4 * SECOND).await;
        drop(first);
    });
    assert!(matches!(second, Ok(Acquired::Busy)), "what was not released lives on at the storage");
    assert_eq!(begun.elapsed(), WAIT);
}
