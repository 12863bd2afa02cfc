//! What every lock storage has to do, whoever serves it. Each claim is a function, named as the sentence that it proves.
//!
//! A lost lease is not among them: Azurite renews an expired lease with a wrong id, so it proves nothing there.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dataverse_sync::lock::blob::BlobLocks;
use dataverse_sync::lock::local::Acquired;
use dataverse_sync::lock::{Lease, Locks as _, Renewed};
use futures::future::join_all;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{Account, LIFE, LONG, acquire, fresh, held, is_busy};

/// Writers that meet at one lock.
const RIVALS: usize = 8;

/// The container that all claims share but one.
const CONTAINER: &str = "sync-locks";

/// Every claim, side by side: one of them waits for a real lease to end.
pub(super) async fn run(account: &Account) {
    tokio::join!(
        one_of_many_gets_the_lock_and_the_others_are_told_that_it_is_busy(account),
        a_waiter_gets_the_lock_when_it_is_released(account),
        a_lock_is_free_as_soon_as_it_is_released(account),
        busy_comes_when_the_wait_is_over(account),
        rivals_take_turns_in_a_container_that_did_not_exist(account),
        every_acquire_has_an_id_of_its_own(account),
        a_second_release_frees_nobody_elses_lock(account),
        a_lease_of_a_crashed_holder_ends_after_its_life_counted_from_the_last_renewal(account),
    );
}

async fn one_of_many_gets_the_lock_and_the_others_are_told_that_it_is_busy(account: &Account) {
    let (locks, name) = (account.locks(CONTAINER), fresh());
    // Known beforehand, so that all of them meet at the lease and not at the creation of the blob.
    locks.release(held(&locks, &name, LONG).await).await;
    let rivals: Vec<_> = (0..RIVALS).map(|_| account.locks(CONTAINER)).collect();
    let answers = join_all(rivals.iter().map(|rival| acquire(rival, &name, Duration::ZERO))).await;
    let busy = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::Busy))).count();
    let won = answers.iter().filter(|answer| matches!(answer, Ok(Acquired::Held(_)))).count();
    assert_eq!((won, busy), (1, RIVALS - 1), "{answers:?}");
}

async fn a_waiter_gets_the_lock_when_it_is_released(account: &Account) {
    let (first, second, name) = (account.locks(CONTAINER), account.locks(CONTAINER), fresh());
    let lease = held(&first, &name, LONG).await;
    let mut waiter = Box::pin(acquire(&second, &name, LONG));
    let early = timeout(Duration::from_millis(300), &mut waiter).await;
    assert!(early.is_err(), "it waits while the lock is held: {early:?}");
    let released = Instant::now();
    first.release(lease).await;
    assert!(matches!(waiter.await, Ok(Acquired::Held(_))));
    assert!(released.elapsed() < LIFE, "by the release, not by the lease's end: {:?}", released.elapsed());
}

async fn a_lock_is_free_as_soon_as_it_is_released(account: &Account) {
    let (first, second, name) = (account.locks(CONTAINER), account.locks(CONTAINER), fresh());
    first.release(held(&first, &name, LONG).await).await;
    assert!(!is_busy(&second, &name).await);
}

async fn busy_comes_when_the_wait_is_over(account: &Account) {
    const WAIT: Duration = Duration::from_secs(2);
    let (first, second, name) = (account.locks(CONTAINER), account.locks(CONTAINER), fresh());
    let lease = held(&first, &name, LONG).await;
    let begun = Instant::now();
    let answer = acquire(&second, &name, WAIT).await;
    assert!(matches!(answer, Ok(Acquired::Busy)), "{answer:?}");
    assert!(begun.elapsed() >= WAIT, "it gave up after {:?}", begun.elapsed());
    first.release(lease).await;
}

async fn rivals_take_turns_in_a_container_that_did_not_exist(account: &Account) {
    let (container, name) = (format!("locks-{}", Uuid::new_v4().simple()), fresh());
    let (inside, most, turns) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let turn = async |locks: &Arc<BlobLocks>| {
        let Ok(Acquired::Held(lease)) = acquire(locks, &name, LONG).await else { panic!("not held in time") };
        most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
        // Long enough for a rival that does not respect the lock to come in.
        sleep(Duration::from_millis(20)).await;
        inside.fetch_sub(1, Ordering::SeqCst);
        turns.fetch_add(1, Ordering::SeqCst);
        locks.release(lease).await;
    };
    let rivals: Vec<_> = (0..RIVALS).map(|_| account.locks(&container)).collect();
    join_all(rivals.iter().map(turn)).await;
    assert_eq!((most.into_inner(), turns.into_inner()), (1, RIVALS));
}

async fn every_acquire_has_an_id_of_its_own(account: &Account) {
    let (locks, name) = (account.locks(CONTAINER), fresh());
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

async fn a_second_release_frees_nobody_elses_lock(account: &Account) {
    let (first, second, name) = (account.locks(CONTAINER), account.locks(CONTAINER), fresh());
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

/// 20 s of real time, so all in one: expiry lets another in, renewal puts it off, and a crash costs no more than that.
async fn a_lease_of_a_crashed_holder_ends_after_its_life_counted_from_the_last_renewal(account: &Account) {
    let (crashing, heir, name) = (account.locks(CONTAINER), account.locks(CONTAINER), fresh());
    let mut lease = held(&crashing, &name, LONG).await;
    let first_deadline = lease.deadline();
    sleep(LIFE / 3).await;
    let renewed = Instant::now();
    assert_eq!(crashing.renew(&mut lease).await.expect("the storage answers"), Renewed::Extended);
    assert!(lease.deadline() >= first_deadline + LIFE / 3);
    drop(lease);
    let inherited = held(&heir, &name, LONG).await;
    // Services count lives in whole seconds, and start them when the request arrives.
    let waited = renewed.elapsed();
    assert!(waited + Duration::from_secs(1) >= LIFE, "the heir came in after {waited:?}");
    heir.release(inherited).await;
}
