//! Requests in flight to the storage are bounded by kind, however many keys there are and however slow the storage is.

use std::iter::repeat_n;

use super::super::release::MAX_RELEASES;
use super::*;

const MANY: usize = 1_000;
/// Longer than any of these tests.
const LONG: Duration = Duration::from_mins(10);
const SLOW: Duration = Duration::from_millis(10);

fn key(number: usize) -> LockName {
    LockName::new(format!("contacts-{number}"))
}

impl Process {
    /// Requests of that kind take `delay` from now on.
    fn slow(&self, request: Request, delay: Duration) {
        self.storage.fail(request, repeat_n(Fault::Late(delay), 10 * MANY));
    }

    /// Acquires `count` different locks at once, within `wait` each; with the time that each took.
    async fn acquire_many(&self, count: usize, wait: Duration) -> Vec<(Result<Acquired, Error>, Duration)> {
        let begun = Instant::now();
        let acquire = async |number| {
            let acquired = self.local.acquire(&key(number), WaitLimits::new(wait), || ()).await;
            (acquired, begun.elapsed())
        };
        join_all((0..count).map(acquire)).await
    }

    async fn take_many(&self, count: usize) -> Vec<HeldLock> {
        self.acquire_many(count, LONG).await.into_iter().map(|(acquired, _)| held(acquired)).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn many_locks_are_requested_a_few_at_a_time() {
    let process = Process::new();
    process.slow(Request::Acquire, SLOW);
    let begun = Instant::now();
    let locks = process.take_many(MANY).await;
    assert_eq!((locks.len(), process.storage.most(Request::Acquire)), (MANY, WIDTH));
    assert_eq!(begun.elapsed(), SLOW * 250);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_not_be_sent_within_its_wait_is_an_error_and_not_busy() {
    let process = Process::new();
    process.slow(Request::Acquire, 2 * WAIT);
    let answers = process.acquire_many(MANY, WAIT).await;
    let unsent =
        |(acquired, took): &&(_, _)| matches!(acquired, Err(Error::Unreachable { sent: false, .. })) && *took == WAIT;
    assert_eq!((answers.iter().filter(unsent).count(), process.requests()), (MANY - WIDTH, (WIDTH, 0)));
}

#[tokio::test(start_paused = true)]
async fn polls_are_bounded_end_in_time_and_delay_no_first_request() {
    let ours = Process::new();
    let theirs = Process::beside(&ours.storage);
    let _locks = theirs.take_many(MANY).await;
    ours.slow(Request::Acquire, SLOW);
    let fresh = async {
        sleep(WAIT / 2).await;
        let begun = Instant::now();
        ours.take().await;
        begun.elapsed()
    };
    let (answers, took) = tokio::join!(ours.acquire_many(MANY, WAIT), fresh);
    assert_eq!(took, SLOW);
    for (acquired, took) in answers {
        assert!(
            matches!(acquired, Ok(Acquired::Busy)) && (WAIT..=WAIT + SLOW).contains(&took),
            "{acquired:?} {took:?}"
        );
    }
    assert!(ours.storage.most(Request::Acquire) <= WIDTH + WIDTH / 2, "{}", ours.storage.most(Request::Acquire));
}

#[tokio::test(start_paused = true)]
async fn a_lease_is_renewed_and_released_while_a_thousand_acquisitions_hang() {
    let process = Process::new();
    let mut lock = process.take().await;
    process.storage.fail(Request::Acquire, repeat_n(Fault::Hanging, MANY));
    let work = async {
        lock.run(sleep(2 * LIFE)).await.expect("it is renewed");
        process.local.release(lock).await;
    };
    let begun = Instant::now();
    tokio::select! {
        answers = process.acquire_many(MANY, LONG) => panic!("the storage hangs: {answers:?}"),
        () = work => {}
    }
    assert_eq!((begun.elapsed(), process.storage.is_held(&process.name)), (2 * LIFE, false));
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_renewal_begins_when_it_may_be_sent() {
    let process = Process::new();
    let mut locks = process.take_many(WIDTH).await;
    process.slow(Request::Renew, SECOND * 3 / 2);
    let work = locks.iter_mut().map(|lock| lock.run(sleep(9 * SECOND)));
    assert_eq!(join_all(work).await, [Ok(()); WIDTH]);
    let renewals = (process.storage.most(Request::Renew), process.storage.count(Request::Renew));
    assert_eq!(renewals, (WIDTH / 2, WIDTH), "none has timed out");
}

#[tokio::test(start_paused = true)]
async fn many_releases_are_sent_a_few_at_a_time_and_nothing_waits_for_them() {
    let process = Process::new();
    let locks = process.take_many(MANY).await;
    process.slow(Request::Release, SLOW);
    let begun = Instant::now();
    for lock in locks {
        process.local.release_in_background(lock);
    }
    process.local.all_released().await;
    assert_eq!((begun.elapsed(), process.storage.most(Request::Release)), (SLOW * 250, WIDTH));
    assert_eq!((process.requests(), process.local.keys()), ((MANY, MANY), 0));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_expires_before_it_may_be_released_is_left_to_that() {
    let process = Process::new();
    let locks = process.take_many(MANY).await;
    process.slow(Request::Release, 2 * LIFE);
    for lock in locks {
        process.local.release_in_background(lock);
    }
    process.local.all_released().await;
    assert_eq!((process.requests(), process.local.keys()), ((MANY, WIDTH), 0));
}

#[tokio::test(start_paused = true)]
async fn beyond_the_most_releases_leases_are_left_to_expire() {
    let process = Process::new();
    let locks = process.take_many(MAX_RELEASES + 10).await;
    for lock in locks {
        process.local.release_in_background(lock);
    }
    process.local.all_released().await;
    assert_eq!((process.requests(), process.local.keys()), ((MAX_RELEASES + 10, MAX_RELEASES), 0));
}
