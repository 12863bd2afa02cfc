use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::sync::Barrier;
use tokio::time::{advance, sleep};

use super::*;
use crate::lock::memory::{Fault, MemoryLocks, Request};

const LIFE: Duration = Duration::from_secs(15);
const WAIT: Duration = Duration::from_secs(10);
const SECOND: Duration = Duration::from_secs(1);
const MESSAGES_PER_LEASE: usize = MOST_TURNS as usize + 1;

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
        let mut waiting = self.local.acquire(&self.name, wait);
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

/// The lease of a waiter whose turn has come.
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
    assert_eq!(turn_of(process.local.acquire(&name, WAIT)).name(), &name);
}

#[tokio::test(start_paused = true)]
async fn after_its_turns_a_lease_goes_back_and_the_storage_is_asked_again() {
    let process = Process::new();
    let mut held = process.take().await;
    let mut line: VecDeque<_> = (0..MESSAGES_PER_LEASE).map(|_| process.stand_in_line(WAIT)).collect();
    let last = line.pop_back().expect("there are sixteen");
    for waiting in line {
        process.local.release(held).await;
        held = turn_of(waiting);
    }
    assert_eq!((process.requests(), held.id()), ((1, 0), "lease-1"));
    process.local.release(held).await;
    assert_eq!((lease(last.await).id(), process.requests()), ("lease-2", (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn another_process_gets_its_turn_after_sixteen_messages() {
    for work in [Duration::from_millis(10), Duration::from_millis(90)] {
        let ours = Process::new();
        let theirs = Process::beside(&ours.storage);
        let served = Mutex::new(Vec::new());
        let serve = async |process: &Process, who: &'static str| {
            process.serve(work).await;
            served.lock().expect("nobody panics with it").push(who);
        };
        let many = join_all((0..4 * MESSAGES_PER_LEASE).map(|_| serve(&ours, "ours")));
        tokio::join!(many, serve(&theirs, "theirs"));
        let served = served.into_inner().expect("nobody panics with it");
        assert_eq!(served.iter().position(|who| *who == "theirs"), Some(MESSAGES_PER_LEASE), "{work:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_process_gets_its_turn_after_a_third_of_a_lease() {
    let ours = Process::new();
    let theirs = Process::beside(&ours.storage);
    let begun = Instant::now();
    let many = join_all((0..30).map(|_| ours.serve(SECOND)));
    let one = async {
        theirs.serve(Duration::ZERO).await;
        begun.elapsed()
    };
    let (_, waited) = tokio::join!(many, one);
    assert!(waited <= LIFE / 3 + LONGEST_PAUSE, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lease_past_its_third_is_not_handed_on_but_released() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    advance(LIFE / 3).await;
    process.local.release(first).await;
    assert_eq!((lease(second.await).id(), process.requests()), ("lease-2", (2, 1)));
}

#[tokio::test(start_paused = true)]
async fn a_rest_for_the_others_does_not_lengthen_the_wait() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(LIFE / 3 + LONGEST_PAUSE / 2);
    advance(LIFE / 3).await;
    let begun = Instant::now();
    process.local.release(first).await;
    assert_eq!((lease(second.await).id(), begun.elapsed()), ("lease-2", LONGEST_PAUSE / 2));
}

#[tokio::test(start_paused = true)]
async fn nobody_rests_who_did_not_use_up_a_lease() {
    let process = Process::new();
    let begun = Instant::now();
    for _ in 0..2 * MESSAGES_PER_LEASE {
        process.serve(Duration::ZERO).await;
    }
    assert!(begun.elapsed() < LONGEST_PAUSE, "one after the other there is no line");
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_was_renewed_is_handed_on() {
    let process = Process::new();
    let mut first = process.take().await;
    let second = process.stand_in_line(WAIT);
    advance(LIFE / 3).await;
    assert!(matches!(process.local.renew(&mut first).await, Ok(Renewed::Extended)));
    process.local.release(first).await;
    assert_eq!((turn_of(second).id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_is_told_busy_after_its_wait_and_the_line_goes_on() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(4 * SECOND);
    let third = process.stand_in_line(WAIT);
    let begun = Instant::now();
    assert!(matches!(second.await, Ok(Acquired::Busy)));
    assert_eq!(begun.elapsed(), 4 * SECOND);
    process.local.release(first).await;
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-1", (1, 0)));
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
    assert_eq!((begun.elapsed(), process.local.keys()), (WAIT, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_left_the_line_is_passed_over() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    drop(second);
    process.local.release(first).await;
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-1", (1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_lease_goes_back_when_all_who_waited_have_left() {
    let process = Process::new();
    let first = process.take().await;
    let waiting: Vec<_> = (0..3).map(|_| process.stand_in_line(WAIT)).collect();
    drop(waiting);
    process.local.release(first).await;
    assert_eq!((process.requests(), process.local.keys()), ((1, 1), 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_with_the_lease_on_its_way_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(2 * LIFE);
    let begun = Instant::now();
    process.local.release(first).await;
    drop(second);
    // Nobody releases the lease that was on its way, so the next one waits at the storage until it has lapsed.
    assert_eq!(lease(third.await).id(), "lease-2");
    assert_eq!((begun.elapsed(), process.requests(), process.local.keys()), (LIFE, (2, 0), 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_when_told_to_ask_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(WAIT);
    let third = process.stand_in_line(WAIT);
    process.storage.break_lease(&process.name);
    drop(first);
    drop(second);
    assert_eq!((turn_of(third).id(), process.requests()), ("lease-2", (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_leaves_while_it_asks_lets_the_next_ask() {
    let process = Process::new();
    let rival = process.storage.acquire(&process.name, WAIT).await;
    let first = process.stand_in_line(WAIT);
    let second = process.stand_in_line(WAIT);
    drop(first);
    process.storage.release(lease(rival)).await;
    assert_eq!(turn_of(second).id(), "lease-2");
    assert_eq!(process.storage.count(Request::Acquire), 3);
}

#[tokio::test(start_paused = true)]
async fn whoever_leaves_while_releasing_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    process.storage.fail(Request::Release, [Fault::Hanging]);
    let mut releasing = process.local.release(first);
    assert!(releasing.as_mut().now_or_never().is_none());
    let second = process.stand_in_line(LIFE);
    drop(releasing);
    assert_eq!(lease(second.await).id(), "lease-2");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_storage_reaches_the_one_who_asked_and_the_next_asks_again() {
    for fault in [Fault::Refused, Fault::Unreachable] {
        let process = Process::new();
        let first = process.take().await;
        let second = process.stand_in_line(WAIT);
        let third = process.stand_in_line(WAIT);
        process.storage.fail(Request::Acquire, [fault]);
        process.storage.break_lease(&process.name);
        drop(first);
        assert!(second.now_or_never().expect("its turn has come").is_err(), "{fault:?}");
        assert_eq!((turn_of(third).id(), process.requests()), ("lease-2", (3, 0)), "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_dropped_lets_the_next_ask() {
    let process = Process::new();
    let first = process.take().await;
    let second = process.stand_in_line(LIFE);
    let begun = Instant::now();
    drop(first);
    assert_eq!(lease(second.await).id(), "lease-2");
    assert_eq!((begun.elapsed(), process.requests()), (LIFE, (2, 0)));
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_however_its_message_ended() {
    let process = Process::new();
    process.serve(SECOND).await;
    assert_eq!(process.local.keys(), 0, "released");
    process.storage.fail(Request::Acquire, [Fault::Unreachable]);
    assert!(process.local.acquire(&process.name, WAIT).await.is_err());
    assert_eq!(process.local.keys(), 0, "not granted");
    drop(process.take().await);
    assert_eq!(process.local.keys(), 0, "lapsing");
    assert!(matches!(process.local.acquire(&process.name, SECOND).await, Ok(Acquired::Busy)));
    assert_eq!(process.local.keys(), 0, "busy");
    drop(process.stand_in_line(WAIT));
    assert_eq!(process.local.keys(), 0, "cancelled");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_whose_holder_panicked() {
    let process = Arc::new(Process::new());
    let holder = process.clone();
    let task = tokio::spawn(async move {
        let _lease = holder.take().await;
        panic!("a defect in the work");
    });
    assert!(task.await.expect_err("it panics").is_panic());
    assert_eq!(process.local.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_left_of_a_key_whose_tasks_were_aborted() {
    let process = Arc::new(Process::new());
    let barrier = Arc::new(Barrier::new(2));
    let (holder, here) = (process.clone(), barrier.clone());
    let task = tokio::spawn(async move {
        let _lease = holder.take().await;
        here.wait().await;
        pending::<()>().await;
    });
    barrier.wait().await;
    assert_eq!(process.local.keys(), 1);
    task.abort();
    assert!(task.await.expect_err("it was aborted").is_cancelled());
    assert_eq!(process.local.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_hundred_messages_for_one_key_need_at_most_forty_requests() {
    let process = Process::new();
    join_all((0..200).map(|_| process.serve(Duration::from_millis(50)))).await;
    assert!(process.storage.count_all() <= 40, "{} requests", process.storage.count_all());
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}

/// On real threads: turns come in the very moment in which waits end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_lease_gets_lost_between_a_turn_and_a_wait_that_ends() {
    let process = Arc::new(Process::new());
    let working = Arc::new(AtomicBool::new(false));
    let tasks = (0..2_000).map(|message| {
        let (process, working) = (process.clone(), working.clone());
        tokio::spawn(async move {
            let wait = Duration::from_micros(message % 7 * 300);
            let Ok(Acquired::Held(lease)) = process.local.acquire(&process.name, wait).await else { return };
            assert!(!working.swap(true, Ordering::SeqCst), "two hold one lock");
            tokio::task::yield_now().await;
            working.store(false, Ordering::SeqCst);
            process.local.release(lease).await;
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("no two hold one lock");
    }
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}
