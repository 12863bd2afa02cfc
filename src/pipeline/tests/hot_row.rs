//! Many messages for one row: waiting behind work of one's own process is waiting in line, and costs no delivery.

use std::collections::VecDeque;

use tokio::time::sleep;

use super::*;
use crate::lock::Locks as _;
use crate::lock::tests::memory::{Fault as StorageFault, Request};

/// `batchSize` + `newBatchThreshold` of host.json, and the pause before a message is delivered again.
const IN_FLIGHT: usize = 48;
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);

/// A queue message with the default hold.
const QUEUED: Delivery =
    Delivery { wait_budget: Duration::from_mins(8), queue_budget: Duration::from_secs(540), ..FIRST };

/// Delivers `messages` messages for one row as the host does; returns the highest delivery.
async fn deliver_all(world: &World, messages: usize) -> u32 {
    let waiting: Mutex<VecDeque<_>> = Mutex::new((0..messages).map(|_| (Instant::now(), 1)).collect());
    let take = || waiting.lock().expect("no test panics with it").pop_front();
    let record = contact(&json!({}));
    let worker = async || {
        let mut highest = 0;
        while let Some((visible_at, attempt)) = take() {
            tokio::time::sleep_until(visible_at).await;
            let outcome = world.pipeline.settle(&record, Delivery { attempts: Some(attempt), ..QUEUED }).await;
            highest = highest.max(attempt);
            if outcome.disposition == crate::outcome::Disposition::Retry {
                let again = (Instant::now() + VISIBILITY_TIMEOUT, attempt + 1);
                waiting.lock().expect("no test panics with it").push_back(again);
            }
        }
        highest
    };
    let highest = futures::future::join_all((0..IN_FLIGHT).map(|_| worker())).await;
    highest.into_iter().max().unwrap_or_default()
}

#[tokio::test(start_paused = true)]
async fn two_thousand_messages_for_one_row_need_two_deliveries_at_most() {
    let world = World::new((0..2_000).map(|_| Answer::Slow(SECOND, Written::Upserted)));
    let highest = deliver_all(&world, 2_000).await;
    assert!(highest <= 2, "a message was delivered {highest} times");
    assert_eq!(world.store.answers_left(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_queue_message_asks_again_for_a_lock_of_another_process_within_its_hold() {
    let world = World::new([Answer::Wrote(Written::Upserted)]);
    let record = contact(&json!({}));
    let name = LockName::new(record.key.lock_name("", "contacts"));
    let rival = world.locks.try_acquire(&name).await.expect("the storage answers").expect("the lock is free");
    let renewing = async {
        let mut rival = rival;
        for _ in 0..6 {
            sleep(10 * SECOND).await;
            assert!(world.locks.renew(&mut rival).await.expect("the storage answers"));
        }
        world.locks.release(rival).await;
    };
    let (outcome, ()) = tokio::join!(world.deliver(&record, QUEUED), renewing);
    assert_eq!(outcome.reason, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_in_line_share_an_error_of_the_lock_storage() {
    let world = World::new([]);
    world.locks.fail(Request::Acquire, [StorageFault::Unreachable]);
    let record = contact(&json!({}));
    let settle = || world.pipeline.settle(&record, FIRST);
    let (one, two, three) = tokio::join!(settle(), settle(), settle());
    assert_eq!([one.reason, two.reason, three.reason], [Reason::StorageUnavailable; 3]);
}

#[tokio::test(start_paused = true)]
async fn an_invocation_ends_within_its_hold_and_110_seconds() {
    let world = World::new([Answer::wait(503, None), Answer::Slow(600 * SECOND, Written::Upserted), Answer::NoRow]);
    let begun = Instant::now();
    let outcome = world.pipeline.settle(&contact(&json!({})), Delivery { wait_budget: 10 * SECOND, ..QUEUED }).await;
    assert_eq!(outcome.reason, Reason::Unavailable);
    assert!(begun.elapsed() <= 10 * SECOND + INVOCATION_GRACE, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn no_write_begins_without_time_for_it() {
    let world = World::new([]);
    let record = contact(&json!({}));
    let writer = Writer::new(&world.pipeline, &record, false, Instant::now() + 39 * SECOND);
    let settlement = writer.run().await;
    assert_eq!((settlement.reason, settlement.is_ambiguous), (Reason::Unavailable, false));
    assert!(world.store.requests().is_empty());
}
