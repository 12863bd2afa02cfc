pub(crate) mod memory;

use std::cell::Cell;
use std::future::pending;
use std::iter::repeat_n;
use std::sync::Arc;

use tokio::time::{advance, sleep};

use super::bulkhead::RENEW_TIMEOUT;
use super::*;
use memory::{Fault, MemoryLocks, Request};

const LIFE: Duration = Duration::from_secs(15);
/// The lease's life minus [`MARGIN`].
const LIFE_FOR_WORK: Duration = Duration::from_secs(13);
const SECOND: Duration = Duration::from_secs(1);

fn name() -> LockName {
    LockName::new("contacts-1f2e3d")
}

async fn take(locks: &MemoryLocks) -> Lease {
    match locks.try_acquire(&name()).await.expect("no fault is scripted for it") {
        Some(lease) => lease,
        None => panic!("the lock should be free"),
    }
}

/// [`run_under_lease`], on these locks.
async fn run<T>(locks: &Arc<MemoryLocks>, lease: &mut Lease, work: impl Future<Output = T>) -> Result<T, LeaseLost> {
    run_under_lease(&Bulkhead::new(locks.clone(), 1), lease, work).await
}

async fn is_held_for(locks: &MemoryLocks, span: Duration) -> bool {
    sleep(span).await;
    matches!(locks.try_acquire(&name()).await, Ok(None))
}

#[tokio::test(start_paused = true)]
async fn one_lease_at_a_time_is_granted_until_it_is_released() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let lease = take(&locks).await;
    assert!(is_held_for(&locks, 14 * SECOND).await);
    locks.release(lease).await;
    take(&locks).await;
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_not_released_expires_after_its_life() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    drop(take(&locks).await);
    assert!(is_held_for(&locks, 14 * SECOND).await);
    advance(SECOND).await;
    take(&locks).await;
}

#[tokio::test(start_paused = true)]
async fn an_expired_lease_is_renewed_unless_another_holder_took_the_lock() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    advance(2 * LIFE).await;
    assert!(matches!(locks.renew(&mut lease).await, Ok(true)));
    advance(2 * LIFE).await;
    let _rival = take(&locks).await;
    assert!(matches!(locks.renew(&mut lease).await, Ok(false)));
    locks.release(lease).await;
    assert!(locks.is_held(&name()), "what was lost cannot be released");
}

#[test]
fn a_lease_counts_from_the_moment_before_its_request() {
    let begun = Instant::now();
    let mut lease = Lease::new(name(), "id".to_owned(), begun, LIFE);
    assert_eq!((lease.renewal_due(), lease.deadline()), (begun + 5 * SECOND, begun + LIFE_FOR_WORK));
    lease.extend(begun + 4 * SECOND);
    assert_eq!((lease.renewal_due(), lease.deadline()), (begun + 9 * SECOND, begun + 4 * SECOND + LIFE_FOR_WORK));
}

#[tokio::test(start_paused = true)]
async fn quick_work_needs_no_storage_request() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    assert_eq!(run(&locks, &mut lease, async { 7 }).await, Ok(7));
    assert_eq!((locks.count_all(), locks.is_held(&name())), (1, true));
}

#[tokio::test(start_paused = true)]
async fn slow_work_is_renewed_at_a_third() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    let begun = Instant::now();
    run(&locks, &mut lease, sleep(LIFE / 3)).await.expect("done before anything is due");
    assert_eq!(locks.count(Request::Renew), 0);
    run(&locks, &mut lease, sleep(SECOND)).await.expect("covered by the renewal");
    assert_eq!(locks.count(Request::Renew), 1);
    assert_eq!(lease.deadline(), begun + LIFE / 3 + LIFE_FOR_WORK);
}

#[tokio::test(start_paused = true)]
async fn ninety_seconds_of_work_take_one_lease_and_seventeen_renewals() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    let rival = async { is_held_for(&locks, 89 * SECOND).await };
    let (work, kept_out) = tokio::join!(run(&locks, &mut lease, sleep(90 * SECOND)), rival);
    assert_eq!((work, kept_out), (Ok(()), true));
    assert_eq!(locks.count(Request::Renew), 17);
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stops_the_work_at_once() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    locks.break_lease(&name());
    let (begun, witness) = (Instant::now(), Arc::new(()));
    let part = witness.clone();
    let work = async move {
        pending::<()>().await;
        drop(part);
    };
    assert_eq!(run(&locks, &mut lease, work).await, Err(LeaseLost));
    assert_eq!((begun.elapsed(), Arc::strong_count(&witness)), (LIFE / 3, 1));
}

#[tokio::test(start_paused = true)]
async fn without_renewals_the_work_stops_at_the_deadline() {
    for (fault, renewals) in [(Fault::Unreachable, 16), (Fault::Refused, 16), (Fault::Hanging, 4)] {
        let locks = Arc::new(MemoryLocks::new(LIFE));
        let mut lease = take(&locks).await;
        locks.fail(Request::Renew, repeat_n(fault, 100));
        let begun = Instant::now();
        assert_eq!(run(&locks, &mut lease, pending::<()>()).await, Err(LeaseLost), "{fault:?}");
        assert_eq!(begun.elapsed(), LIFE_FOR_WORK, "{fault:?}");
        assert_eq!(locks.count(Request::Renew), renewals, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_before_the_deadline_needs_no_renewal_to_succeed() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    locks.fail(Request::Renew, repeat_n(Fault::Hanging, 100));
    let work = sleep(Duration::from_millis(12_999));
    assert_eq!(run(&locks, &mut lease, work).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_failed_renewal_is_repeated_and_the_work_continues() {
    for (fault, repeated_after) in [
        (Fault::Unreachable, RENEW_RETRY_PAUSE),
        (Fault::Refused, RENEW_RETRY_PAUSE),
        (Fault::Hanging, RENEW_TIMEOUT + RENEW_RETRY_PAUSE),
    ] {
        let locks = Arc::new(MemoryLocks::new(LIFE));
        let mut lease = take(&locks).await;
        locks.fail(Request::Renew, [fault]);
        let begun = Instant::now();
        assert_eq!(run(&locks, &mut lease, sleep(9 * SECOND)).await, Ok(()), "{fault:?}");
        assert_eq!(locks.count(Request::Renew), 2, "{fault:?}");
        assert_eq!(lease.deadline(), begun + LIFE / 3 + repeated_after + LIFE_FOR_WORK, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_suspended_past_its_lease_does_not_poll_its_work_again() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    let polls = Cell::new(0);
    let mut slow = pin!(sleep(SECOND));
    let work = poll_fn(|cx| {
        polls.set(polls.get() + 1);
        slow.as_mut().poll(cx)
    });
    // Work, renewal and deadline are all due when it wakes.
    let (held, ()) = tokio::join!(run(&locks, &mut lease, work), advance(LIFE));
    assert_eq!((held, polls.get(), locks.count(Request::Renew)), (Err(LeaseLost), 1, 0));
}

#[tokio::test(start_paused = true)]
async fn no_work_runs_under_an_expired_lease() {
    let locks = Arc::new(MemoryLocks::new(LIFE));
    let mut lease = take(&locks).await;
    advance(LIFE_FOR_WORK).await;
    let work = async { unreachable!("the deadline has passed") };
    assert_eq!(run::<()>(&locks, &mut lease, work).await, Err(LeaseLost));
}
