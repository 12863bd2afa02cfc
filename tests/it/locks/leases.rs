//! Lost leases, lost answers and request counts per lock, on the embedded store: it is strict where Azurite is not,
//! counts requests, and ends leases on demand.

use std::time::Duration;

use stand_ins::storage::{Counts, Effect, Fault, LeaseState, Op};

use super::{Account, LONG, LeaseStore as _, embedded, fresh, held, is_busy};

#[tokio::test]
async fn an_uncontended_lock_costs_two_requests_and_the_first_one_of_a_record_four() {
    let (storage, locks) = embedded().await;
    // Creates the container.
    locks.release(held(&locks, &fresh(), LONG).await).await;
    let name = fresh();
    let first = Counts { acquire: 2, put_blob: 1, release: 1, ..Counts::default() };
    for expected in [first, Counts { acquire: 1, release: 1, ..Counts::default() }] {
        let before = storage.counts();
        locks.release(held(&locks, &name, LONG).await).await;
        assert_eq!(storage.counts().since(&before), expected);
    }
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
async fn an_expired_lease_is_renewed_unless_another_holder_took_it() {
    let (storage, locks) = embedded().await;
    let (rival, name) = (Account(storage.connection_string()).locks("sync-locks"), fresh());
    let mut lapsed = held(&locks, &name, LONG).await;
    assert_eq!(storage.expire_leases(None), 1);
    assert!(locks.renew(&mut lapsed).await.expect("the storage answers"));
    assert!(is_busy(&rival, &name).await);
    assert_eq!(storage.expire_leases(None), 1);
    let mut taken = held(&rival, &name, Duration::ZERO).await;
    let deadline = lapsed.deadline();
    assert!(!locks.renew(&mut lapsed).await.expect("the storage answers"));
    assert_eq!(lapsed.deadline(), deadline, "what is lost has no more time than before");
    assert!(rival.renew(&mut taken).await.expect("the storage answers"));
    locks.release(lapsed).await;
    assert!(is_busy(&locks, &name).await, "the release of a lost lease does not free another holder's");
    // As an operator would.
    assert_eq!(storage.break_leases(None), 1);
    assert!(!rival.renew(&mut taken).await.expect("the storage answers"));
}

#[tokio::test]
async fn an_acquire_or_a_release_whose_answer_was_lost_is_repeated() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    locks.release(held(&locks, &name, LONG).await).await;
    let before = storage.counts();
    storage.fault(Fault::times(2, Op::Acquire, Effect::DropAfter));
    let lease = held(&locks, &name, LONG).await;
    let counts = storage.counts().since(&before);
    assert_eq!((counts.acquire, counts.acquire_conflict), (3, 0), "its own lease does not count as contention");
    let [view] = &storage.leases()[..] else { panic!("one blob, one lease") };
    assert_eq!((view.id.as_str(), view.state), (lease.id(), LeaseState::Leased));
    let before = storage.counts();
    storage.fault(Fault::once(Op::Release, Effect::DropBefore));
    storage.fault(Fault::once(Op::Release, Effect::DropAfter));
    locks.release(lease).await;
    assert_eq!(storage.counts().since(&before).release, 3);
    assert!(!is_busy(&locks, &name).await);
}
