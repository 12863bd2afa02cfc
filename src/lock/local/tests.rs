mod leaving;

use std::pin::Pin;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::{advance, sleep};

use super::*;
use crate::lock::memory::{MemoryLocks, Request};

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
async fn two_hundred_messages_for_one_key_need_at_most_forty_requests() {
    let process = Process::new();
    join_all((0..200).map(|_| process.serve(Duration::from_millis(50)))).await;
    assert!(process.storage.count_all() <= 40, "{} requests", process.storage.count_all());
    assert_eq!((process.local.keys(), process.storage.is_held(&process.name)), (0, false));
}
