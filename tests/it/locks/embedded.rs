//! Lost leases, lost answers and request counts per lock, on the embedded store: it is strict where Azurite is not,
//! counts requests, and ends leases on demand.

use std::time::Duration;

use dataverse_sync::lock::Renewed;
use dataverse_sync::lock::local_queue::{Acquired, HeldLock};
use stand_ins::storage::{Counts, Effect, Fault, LeaseState, Op};
use tokio::time::timeout;

use super::{Account, LONG, Place as _, acquire, embedded, fresh, held, is_busy};

#[tokio::test]
async fn an_uncontended_lock_costs_two_requests() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    locks.release(held(&locks, &name, LONG).await).await;
    let before = storage.counts();
    locks.release(held(&locks, &name, LONG).await).await;
    assert_eq!(storage.counts().since(&before), Counts { acquire: 1, release: 1, ..Counts::default() });
}

#[tokio::test]
async fn the_first_lock_of_a_record_costs_four_requests() {
    let (storage, locks) = embedded().await;
    locks.release(held(&locks, &fresh(), LONG).await).await;
    let before = storage.counts();
    locks.release(held(&locks, &fresh(), LONG).await).await;
    let expected = Counts { acquire: 2, put_blob: 1, release: 1, ..Counts::default() };
    assert_eq!(storage.counts().since(&before), expected);
}

#[tokio::test]
async fn a_lock_blob_is_empty_and_is_never_written_again() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    locks.release(held(&locks, &name, LONG).await).await;
    let blob = || storage.blob("sync-locks", name.as_str()).expect("it was created");
    let created = blob();
    assert_eq!(created.length, 0);
    let mut lease = held(&locks, &name, LONG).await;
    locks.renew(&mut lease).await.expect("the storage answers");
    locks.release(lease).await;
    assert_eq!(blob(), created);
}

#[tokio::test]
async fn a_waiter_polls_seldom() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let lease = held(&locks, &name, LONG).await;
    let before = storage.counts();
    let wait = Duration::from_secs(3);
    assert!(matches!(acquire(&locks, &name, wait).await, Ok(Acquired::Busy)));
    let asked = storage.counts().since(&before).acquire;
    assert!((4..=20).contains(&asked), "{asked} requests in {wait:?}");
    locks.release(lease).await;
}

#[tokio::test]
async fn an_expired_lease_that_was_taken_is_lost() {
    let (storage, locks) = embedded().await;
    let (rival, name) = (Account(storage.connection_string()).locks("sync-locks"), fresh());
    let mut lapsed = held(&locks, &name, LONG).await;
    assert_eq!(storage.expire_leases(None), 1);
    let mut taken = held(&rival, &name, Duration::ZERO).await;
    let deadline = lapsed.deadline();
    assert_eq!(locks.renew(&mut lapsed).await.expect("the storage answers"), Renewed::Lost);
    assert_eq!(lapsed.deadline(), deadline, "what is lost has no more time than before");
    assert_eq!(rival.renew(&mut taken).await.expect("the storage answers"), Renewed::Extended);
    locks.release(lapsed).await;
    assert!(is_busy(&locks, &name).await, "the release of a lost lease does not free another holder's");
}

#[tokio::test]
async fn an_expired_lease_that_was_not_taken_is_renewed() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let mut lease = held(&locks, &name, LONG).await;
    assert_eq!(storage.expire_leases(None), 1);
    assert_eq!(locks.renew(&mut lease).await.expect("the storage answers"), Renewed::Extended);
    assert!(is_busy(&locks, &name).await);
}

#[tokio::test]
async fn a_lease_that_an_operator_broke_is_lost() {
    let (storage, locks) = embedded().await;
    let mut lease = held(&locks, &fresh(), LONG).await;
    assert_eq!(storage.break_leases(None), 1);
    assert_eq!(locks.renew(&mut lease).await.expect("the storage answers"), Renewed::Lost);
}

#[tokio::test]
async fn a_waiter_takes_over_when_the_lease_of_a_crashed_holder_ends() {
    let (storage, locks) = embedded().await;
    let (heir, name) = (Account(storage.connection_string()).locks("sync-locks"), fresh());
    let crashed = held(&locks, &name, LONG).await.id().to_owned();
    let mut waiter = Box::pin(acquire(&heir, &name, LONG));
    let early = timeout(Duration::from_millis(200), &mut waiter).await;
    assert!(early.is_err(), "it waits while the lease lives: {early:?}");
    assert_eq!(storage.expire_leases(None), 1);
    let Ok(Acquired::Held(HeldLock { lease, .. })) = waiter.await else { panic!("the lock was free") };
    assert_ne!(lease.id(), crashed);
}

#[tokio::test]
async fn an_acquire_whose_answer_was_lost_is_repeated_and_holds() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    locks.release(held(&locks, &name, LONG).await).await;
    let before = storage.counts();
    storage.fault(Fault::times(2, Op::Acquire, Effect::DropAfter));
    let lease = held(&locks, &name, LONG).await;
    let counts = storage.counts().since(&before);
    assert_eq!((counts.acquire, counts.acquire_conflict), (3, 0), "its own lease is no contention");
    let [view] = &storage.leases()[..] else { panic!("one blob, one lease") };
    assert_eq!((view.id.as_str(), view.state), (lease.id(), LeaseState::Leased));
    locks.release(lease).await;
    assert!(!is_busy(&locks, &name).await, "and is given back whole");
}

#[tokio::test]
async fn a_release_whose_answer_was_lost_is_repeated() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let lease = held(&locks, &name, LONG).await;
    let before = storage.counts();
    storage.fault(Fault::once(Op::Release, Effect::DropBefore));
    storage.fault(Fault::once(Op::Release, Effect::DropAfter));
    locks.release(lease).await;
    assert_eq!(storage.counts().since(&before).release, 3);
    assert!(!is_busy(&locks, &name).await);
}
