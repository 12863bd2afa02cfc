//! The lock around the write: which messages wait, which stop, and when the lease is released.

use std::iter::repeat_n;

use futures::future::join_all;
use tokio::time::sleep;

use super::*;
use crate::lock::Locks as _;
use crate::lock::tests::memory::{Fault as StorageFault, Request};

const UPSERTED: Answer = Answer::Wrote(Written::Upserted);

fn lock_of(record: &Record) -> LockName {
    LockName::new(record.key.lock_name("", &record.table))
}

#[tokio::test(start_paused = true)]
async fn a_record_is_written_under_its_lock_which_is_free_afterwards() {
    let world = World::new([Answer::Slow(SECOND, Written::Upserted)]);
    let record = contact(&json!({}));
    let meanwhile = async {
        sleep(SECOND / 2).await;
        world.locks.is_held(&lock_of(&record))
    };
    let (outcome, held) = tokio::join!(world.settle(&record), meanwhile);
    assert_eq!((outcome.reason, held), (Reason::Upserted, true));
    assert!(!world.locks.is_held(&lock_of(&record)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_write_is_covered_by_renewals() {
    let world = World::new([Answer::Slow(40 * SECOND, Written::Upserted)]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Upserted);
    assert_eq!((world.locks.count(Request::Renew), world.locks.count(Request::Release)), (7, 1));
}

#[tokio::test(start_paused = true)]
async fn one_key_is_written_by_one_message_at_a_time_and_other_keys_meanwhile() {
    let mut world = World::new([const { Answer::Slow(SECOND, Written::Upserted) }; 3]);
    world.pipeline.locks = Some((LocalQueue::new(world.locks.clone(), WIDTH), 10 * SECOND));
    let (record, other) = (contact(&json!({})), contact(&json!({ "key": { "employeeid": "E2" } })));
    let begun = Instant::now();
    let timed = async |record| (world.settle(record).await.reason, begun.elapsed());
    let ends = tokio::join!(timed(&record), timed(&record), timed(&other));
    let upserted_after = |seconds| (Reason::Upserted, seconds * SECOND);
    assert_eq!(ends, (upserted_after(1), upserted_after(2), upserted_after(1)));
}

#[tokio::test(start_paused = true)]
async fn while_the_storage_is_slow_a_message_keeps_its_slot() {
    let mut world = World::new([UPSERTED; 100]);
    world.pipeline.locks = Some((LocalQueue::new(world.locks.clone(), 100), 10 * SECOND));
    world.locks.fail(Request::Acquire, repeat_n(StorageFault::Late(SECOND), 100));
    let records: Vec<_> = (0..100).map(|n| contact(&json!({ "key": { "employeeid": n.to_string() } }))).collect();
    let delivery = Delivery { queue_budget: 100 * SECOND, ..FIRST };
    let outcomes = join_all(records.iter().map(|record| world.deliver(record, delivery))).await;
    assert!(outcomes.iter().all(|outcome| outcome.reason == Reason::Upserted), "{outcomes:?}");
    let most = world.locks.most(Request::Acquire);
    assert!(most <= WIDTH, "{most} messages ask it at once");
}

#[tokio::test(start_paused = true)]
async fn while_its_lock_is_held_by_another_a_message_lends_its_slot() {
    let mut world = World::new([UPSERTED; 3]);
    world.pipeline.admission = Admission::new(1, 4);
    let (record, other) = (contact(&json!({})), contact(&json!({ "key": { "employeeid": "E2" } })));
    let rival = world.locks.try_acquire(&lock_of(&record)).await.expect("an answer").expect("it is free");
    let begun = Instant::now();
    let timed = async |record| (world.settle(record).await.reason, begun.elapsed());
    let freed = async {
        sleep(SECOND).await;
        world.locks.release(rival).await;
    };
    // One waits for the other process, one behind it; both need the only slot once they have the lock.
    let (first, second, third, ()) = tokio::join!(timed(&record), timed(&record), timed(&other), freed);
    assert_eq!(third, (Reason::Upserted, Duration::ZERO));
    for (reason, took) in [first, second] {
        assert!(reason == Reason::Upserted && took < 2 * SECOND, "{reason:?} {took:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_has_the_durations_of_the_lock_wait_and_of_the_write() {
    let world = World::new([const { Answer::Slow(Duration::from_secs(2), Written::Upserted) }; 2]);
    let record = contact(&json!({ "source": "hr" }));
    let (first, second) = tokio::join!(world.settle(&record), world.settle(&record));
    let spent = |lock, write| Some(Timings { lock: lock * SECOND, write: write * SECOND });
    assert_eq!((first.timings, second.timings), (spent(0, 2), spent(2, 2)));
    assert_eq!(first.source.as_deref(), Some("hr"));
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_stays_held_is_busy_after_the_wait() {
    let world = World::new([]);
    let record = contact(&json!({}));
    let rival = world.locks.try_acquire(&lock_of(&record)).await;
    let begun = Instant::now();
    let outcome = world.settle(&record).await;
    assert_eq!((outcome.reason, begun.elapsed()), (Reason::LockBusy, 10 * SECOND));
    assert_eq!(outcome.detail.as_deref(), Some("the lock was held by another writer for 10 s"));
    assert_eq!(outcome.timings, Some(Timings { lock: 10 * SECOND, write: Duration::ZERO }));
    drop(rival);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_about_the_lock_nothing_is_written() {
    for fault in [StorageFault::Refused, StorageFault::Unreachable] {
        let world = World::new([]);
        world.locks.fail(Request::Acquire, [fault]);
        assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::StorageUnavailable, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_stops_when_its_lease_is_lost_and_releases_nothing() {
    let world = World::new([Answer::Hangs]);
    let record = contact(&json!({}));
    let begun = Instant::now();
    let (outcome, ()) = tokio::join!(world.settle(&record), async {
        sleep(SECOND).await;
        world.locks.break_lease(&lock_of(&record));
    });
    assert_eq!((outcome.reason, begun.elapsed()), (Reason::LockLost, 5 * SECOND));
    assert_eq!(world.locks.count(Request::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn a_write_stops_before_a_lease_ends_that_cannot_be_renewed() {
    let world = World::new([Answer::Hangs]);
    world.locks.fail(Request::Renew, repeat_n(StorageFault::Unreachable, 100));
    let record = contact(&json!({}));
    let begun = Instant::now();
    assert_eq!(world.settle(&record).await.reason, Reason::LockLost);
    assert_eq!(begun.elapsed(), 13 * SECOND);
    assert!(world.locks.is_held(&lock_of(&record)), "the write may still be under way");
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_write_keeps_its_lease_until_it_expires() {
    let world = World::new([Answer::wait(504, None), Answer::NoRow, UPSERTED]);
    let record = contact(&json!({}));
    let begun = Instant::now();
    assert_eq!(world.settle(&record).await.reason, Reason::Unavailable);
    assert_eq!(world.locks.count(Request::Release), 0);
    assert_eq!(world.settle(&record).await.reason, Reason::LockBusy);
    assert_eq!(world.settle(&record).await.reason, Reason::Upserted);
    assert!(begun.elapsed() >= 15 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_write_is_settled_by_the_row_and_still_keeps_its_lease() {
    for (operation, row, reason) in [
        ("upsert", Answer::Row(r#"{"firstname":"Ada"}"#), Reason::Upserted),
        ("update", Answer::Row(r#"{"firstname":"Ada"}"#), Reason::Updated),
        ("delete", Answer::NoRow, Reason::Deleted),
        ("upsert", Answer::Row(r#"{"firstname":"Grace"}"#), Reason::Unavailable),
        ("update", Answer::NoRow, Reason::Unavailable),
        ("delete", Answer::Row("{}"), Reason::Unavailable),
        ("upsert", Answer::Hangs, Reason::Unavailable),
        ("upsert", Answer::lost(true), Reason::Unavailable),
    ] {
        // A write on a dropped connection is retried once.
        for silence in [vec![Answer::lost(true); 2], vec![Answer::wait(504, None)]] {
            let world = World::new(silence.into_iter().chain([row.clone()]));
            let found = world.reason(&contact(&json!({ "operation": operation })), FIRST).await;
            assert_eq!((found, world.locks.count(Request::Release)), (reason, 0), "{operation} {row:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_create_is_not_settled_by_a_read() {
    let world = World::new([Answer::lost(true)]);
    assert_eq!(world.reason(&contact(&json!({ "operation": "create" })), FIRST).await, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_write_with_a_known_outcome_releases_its_lease() {
    let no_token = Error::NoToken { refused: false, problem: "no answer in time".to_owned() };
    for answers in [
        vec![UPSERTED],
        vec![Answer::wait(503, None)],
        vec![Answer::wait(429, Some(SECOND))],
        vec![Answer::refused(400, 0x8004_4331)],
        vec![Answer::lost(false)],
        vec![Answer::Fails(no_token)],
        vec![Answer::Fails(Error::NotAddressable { column: "employeeid".to_owned() })],
        // An unanswered read has changed nothing.
        vec![Answer::refused(412, DUPLICATE), Answer::lost(true)],
    ] {
        let world = World::new(answers.clone());
        world.settle(&contact(&json!({}))).await;
        assert_eq!(world.locks.count(Request::Release), 1, "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_answer_does_not_wait_for_the_release_and_the_end_of_the_process_does() {
    let world = World::new([UPSERTED]);
    world.locks.fail(Request::Release, [StorageFault::Late(SECOND)]);
    let (record, begun) = (contact(&json!({})), Instant::now());
    assert_eq!(world.pipeline.settle(&record, FIRST).await.reason, Reason::Upserted);
    assert_eq!((begun.elapsed(), world.locks.is_held(&lock_of(&record))), (Duration::ZERO, true));
    world.pipeline.finished().await;
    assert_eq!((begun.elapsed(), world.locks.is_held(&lock_of(&record))), (SECOND, false));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_during_a_release_waits_until_it_is_done() {
    let world = World::new([UPSERTED, UPSERTED]);
    world.locks.fail(Request::Release, [StorageFault::Late(SECOND)]);
    let (record, begun) = (contact(&json!({})), Instant::now());
    world.pipeline.settle(&record, FIRST).await;
    sleep(SECOND / 4).await;
    assert_eq!(world.pipeline.settle(&record, FIRST).await.reason, Reason::Upserted);
    assert_eq!((begun.elapsed(), world.locks.count(Request::Acquire)), (SECOND, 2));
}

#[tokio::test(start_paused = true)]
async fn a_waiting_message_is_handed_the_lease_without_a_release() {
    let world = World::new([const { Answer::Slow(SECOND, Written::Upserted) }; 2]);
    world.locks.fail(Request::Release, [StorageFault::Late(SECOND)]);
    let (record, begun) = (contact(&json!({})), Instant::now());
    tokio::join!(world.pipeline.settle(&record, FIRST), world.pipeline.settle(&record, FIRST));
    assert_eq!((begun.elapsed(), world.locks.count(Request::Acquire)), (2 * SECOND, 1));
}

#[tokio::test(start_paused = true)]
async fn a_repeated_ambiguous_write_keeps_its_lease_too() {
    let world = World::new([deadlock(), Answer::lost(true), Answer::lost(true), Answer::NoRow]);
    world.settle(&contact(&json!({}))).await;
    assert_eq!(world.locks.count(Request::Release), 0);
}

#[tokio::test(start_paused = true)]
async fn without_locks_the_record_is_written() {
    let mut world = World::new([UPSERTED]);
    world.pipeline.locks = None;
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Upserted);
    assert_eq!(world.locks.count_all(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_record_behind_one_of_its_key_that_goes_back_is_not_sent() {
    let world = World::new([]);
    let behind = Delivery { behind: Some(Reason::Throttled), ..FIRST };
    let outcome = world.deliver(&contact(&json!({ "messageId": "m-2" })), behind).await;
    assert_eq!((outcome.reason, outcome.message_id.as_deref()), (Reason::Throttled, Some("m-2")));
    assert_eq!(outcome.detail.as_deref(), Some(BEHIND));
    assert!(world.store.requests().is_empty() && world.locks.count(Request::Acquire) == 0);
}
