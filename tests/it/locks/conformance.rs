//! The conformance suite of lock storages. Each claim is a function, named after what it proves. What a process does with
//! its waiters is tested beside `lock::local_queue`.
//!
//! Lost leases are not covered: Azurite renews an expired lease with a wrong id, so it would prove nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dataverse_sync::lock::local_queue::Acquired;
use dataverse_sync::lock::{Lease, LockName, Locks};
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{LIFE, LONG, LeaseStore, acquire, fresh, held, is_busy};

/// Writers that compete for one lock.
const RIVALS: usize = 8;

/// How long a holder waits before it renews its lease.
const BEFORE_RENEWAL: Duration = Duration::from_millis(500);

/// The container that all claims but one share.
const CONTAINER: &str = "sync-locks";

/// Runs all claims concurrently, because most of them wait.
pub(super) async fn run(store: &dyn LeaseStore) {
    tokio::join!(
        one_of_many_gets_the_lock_and_the_others_get_busy(store),
        a_waiter_gets_the_lock_when_it_is_released(store),
        a_lock_is_free_as_soon_as_it_is_released(store),
        rivals_take_turns_in_a_container_that_did_not_exist(store),
        every_acquire_has_an_id_of_its_own(store),
        a_second_release_does_not_free_another_holders_lock(store),
        only_the_holder_stores_a_tombstone_and_it_outlives_the_lease(store),
    );
}

async fn one_of_many_gets_the_lock_and_the_others_get_busy(store: &dyn LeaseStore) {
    let (locks, name) = (store.locks(CONTAINER), fresh());
    // Create the blob first, so that the writers compete for the lease and not for the blob's creation.
    locks.release(held(&locks, &name, LONG).await).await;
    let rivals: Vec<_> = (0..RIVALS).map(|_| store.locks(CONTAINER)).collect();
    let answers = join_all(rivals.iter().map(|rival| acquire(rival, &name, Duration::ZERO))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::Busy))).count();
    let won = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::Held(_)))).count();
    assert_eq!((won, busy), (1, RIVALS - 1), "{answers:?}");
}

async fn a_waiter_gets_the_lock_when_it_is_released(store: &dyn LeaseStore) {
    let (first, second, name) = (store.locks(CONTAINER), store.locks(CONTAINER), fresh());
    let lease = held(&first, &name, LONG).await;
    let mut waiter = Box::pin(acquire(&second, &name, LONG));
    let early = timeout(Duration::from_millis(300), &mut waiter).await;
    assert!(early.is_err(), "it waits while the lock is held: {early:?}");
    let released = Instant::now();
    first.release(lease).await;
    assert!(matches!(waiter.await, Ok(Acquired::Held(_))));
    assert!(released.elapsed() < LIFE, "by the release, not by the lease's end: {:?}", released.elapsed());
}

async fn a_lock_is_free_as_soon_as_it_is_released(store: &dyn LeaseStore) {
    let (first, second, name) = (store.locks(CONTAINER), store.locks(CONTAINER), fresh());
    first.release(held(&first, &name, LONG).await).await;
    assert!(!is_busy(&second, &name).await);
}

async fn rivals_take_turns_in_a_container_that_did_not_exist(store: &dyn LeaseStore) {
    let (container, name) = (format!("locks-{}", Uuid::new_v4().simple()), fresh());
    let (inside, most, turns) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let turn = async |locks: &Arc<dyn Locks>| {
        let Ok(Acquired::Held(held)) = acquire(locks, &name, LONG).await else { panic!("not held in time") };
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Long enough for a rival that ignores the lock to interfere.
        sleep(Duration::from_millis(20)).await;
        inside.fetch_sub(1, Ordering::SeqCst);
        turns.fetch_add(1, Ordering::SeqCst);
        locks.release(held.lease).await;
    };
    let rivals: Vec<_> = (0..RIVALS).map(|_| store.locks(&container)).collect();
    join_all(rivals.iter().map(turn)).await;
    assert_eq!((most.into_inner(), turns.into_inner()), (1, RIVALS));
}

async fn every_acquire_has_an_id_of_its_own(store: &dyn LeaseStore) {
    let (locks, name) = (store.locks(CONTAINER), fresh());
    let mut ids = Vec::new();
    for _ in 0..3 {
        let lease = held(&locks, &name, LONG).await;
        ids.push(lease.id().to_owned());
        locks.release(lease).await;
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 3);
}

async fn a_second_release_does_not_free_another_holders_lock(store: &dyn LeaseStore) {
    let (first, second, name) = (store.locks(CONTAINER), store.locks(CONTAINER), fresh());
    let lease = held(&first, &name, LONG).await;
    let again = Lease::new(name.clone(), lease.id().to_owned(), Instant::now(), LIFE);
    let and_again = Lease::new(name.clone(), lease.id().to_owned(), Instant::now(), LIFE);
    first.release(lease).await;
    first.release(again).await;
    let others = held(&second, &name, LONG).await;
    first.release(and_again).await;
    assert!(is_busy(&first, &name).await, "the lock is the second one's");
    second.release(others).await;
}

/// Expiry frees the lock of a crashed holder, and a renewal postpones it. This waits for a real lease to expire, and is
/// therefore not run on Azurite.
pub(super) async fn a_lease_lives_from_its_last_renewal(store: &dyn LeaseStore) {
    let (crashing, heir, name) = (store.locks(CONTAINER), store.locks(CONTAINER), fresh());
    let mut lease = held(&crashing, &name, LONG).await;
    let first_deadline = lease.deadline();
    sleep(BEFORE_RENEWAL).await;
    let renewed = Instant::now();
    assert!(crashing.renew(&mut lease).await.expect("the storage answers"));
    assert!(lease.deadline() >= first_deadline + BEFORE_RENEWAL);
    drop(lease);
    // A new waiter polls often.
    sleep(LIFE.saturating_sub(Duration::from_secs(2))).await;
    let is_held = is_busy(&heir, &name).await;
    // A machine that stood still for two seconds proves nothing.
    assert!(is_held || renewed.elapsed() + Duration::from_secs(1) >= LIFE);
    let inherited = held(&heir, &name, LONG).await;
    // Services count a lease's life in whole seconds, from the arrival of the request.
    let waited = renewed.elapsed();
    assert!(waited + Duration::from_secs(1) >= LIFE, "the heir came in after {waited:?}");
    heir.release(inherited).await;
}

async fn only_the_holder_stores_a_tombstone_and_it_outlives_the_lease(store: &dyn LeaseStore) {
    let (first, second, name) = (store.locks(CONTAINER), store.locks(CONTAINER), fresh());
    let read = async |name: &LockName| second.tombstone(name).await.expect("the storage answers");
    assert_eq!(read(&name).await, None, "there is not even a lock");
    let lease = held(&first, &name, LONG).await;
    assert_eq!(read(&name).await, None);
    for tombstone in ["7", "2026-01-31T08:00:00Z"] {
        let deleted_at = first.put_tombstone(&name, lease.id(), tombstone).await.expect("the storage answers");
        assert_eq!((deleted_at, read(&name).await.as_deref()), (true, Some(tombstone)));
    }
    let (foreign, ours) = (Uuid::new_v4().to_string(), lease.id().to_owned());
    let lost = first.put_tombstone(&name, &foreign, "8").await.expect("the storage answers");
    assert!(!lost);
    first.release(lease).await;
    assert!(!first.put_tombstone(&name, &ours, "8").await.expect("the storage answers"));
    second.release(held(&second, &name, LONG).await).await;
    assert_eq!(read(&name).await.as_deref(), Some("2026-01-31T08:00:00Z"));
}
