//! The host's deliveries, simulated: what many messages for one row cost, and many that are refused.
//!
//! Waiting behind work of one's own process is waiting in line, and costs no delivery.

use std::collections::{BTreeMap, VecDeque};
use std::future::pending;

use tokio::time::{sleep, sleep_until};

use super::*;
use crate::dataverse::{Change, Row};
use crate::lock::Locks as _;
use crate::lock::tests::memory::{Fault as StorageFault, Request};
use crate::outcome::Disposition;
use crate::record::RecordKey;

/// `batchSize` + `newBatchThreshold` of host.json, and the pause before a message is delivered again.
pub(super) const IN_FLIGHT: usize = 48;
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);
const MAX_DEQUEUE_COUNT: u32 = 160;

/// A queue message with the default hold.
pub(super) const QUEUED: Delivery =
    Delivery { wait_budget: Duration::from_mins(8), queue_budget: Duration::from_mins(9), ..FIRST };

/// What the host did with the messages of a queue.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    /// The highest delivery of any message.
    pub(super) highest: u32,
    /// When the last message of each table was done.
    done: BTreeMap<String, Instant>,
}

/// Delivers the records as the host does, until all are done.
pub(super) async fn deliver_all(pipeline: &Pipeline, records: &[Record], delivery: Delivery) -> Delivered {
    let waiting: Mutex<VecDeque<_>> = Mutex::new(records.iter().map(|record| (Instant::now(), 1, record)).collect());
    let delivered = Mutex::new(Delivered::default());
    let worker = async || {
        loop {
            let next = waiting.lock().expect("no test panics with it").pop_front();
            let Some((visible_at, attempt, record)) = next else { return };
            sleep_until(visible_at).await;
            let outcome = pipeline.settle(record, Delivery { attempts: Some(attempt), ..delivery }).await;
            if outcome.disposition == Disposition::Retry {
                let again = (Instant::now() + VISIBILITY_TIMEOUT, attempt + 1, record);
                waiting.lock().expect("no test panics with it").push_back(again);
            }
            let mut delivered = delivered.lock().expect("no test panics with it");
            delivered.highest = delivered.highest.max(attempt);
            delivered.done.insert(record.table.clone(), Instant::now());
        }
    };
    futures::future::join_all((0..IN_FLIGHT).map(|_| worker())).await;
    delivered.into_inner().expect("no test panics with it")
}

/// A store whose table `contacts` refuses us until some time.
#[derive(Debug)]
struct RefusingStore {
    until: Instant,
}

#[async_trait::async_trait]
impl Store for RefusingStore {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        sleep(SECOND / 20).await;
        if change.record.table == "contacts" && Instant::now() < self.until {
            return Err(Error::answered(403, Some(0x8004_0220), None));
        }
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        panic!("nothing is to be read")
    }
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_privilege_starves_no_other_and_no_message_is_given_up() {
    let begun = Instant::now();
    let mut world = World::new([]);
    world.pipeline.store = Arc::new(RefusingStore { until: begun + Duration::from_hours(1) });
    world.pipeline.admission = Admission::new(52, IN_FLIGHT / 4);
    let record =
        |table: &str, number: usize| contact(&json!({ "table": table, "key": { "employeeid": number.to_string() } }));
    let refused = (0..1_000).map(|number| record("contacts", number));
    let records: Vec<_> = refused.chain((0..200).map(|number| record("accounts", number))).collect();
    let delivered = deliver_all(&world.pipeline, &records, QUEUED).await;
    assert!(delivered.highest < MAX_DEQUEUE_COUNT, "a message was delivered {} times", delivered.highest);
    let good = delivered.done["accounts"] - begun;
    assert!(good < Duration::from_mins(2), "{good:?}");
}

#[tokio::test(start_paused = true)]
async fn two_thousand_messages_for_one_row_need_two_deliveries_at_most() {
    let world = World::new((0..2_000).map(|_| Answer::Slow(SECOND, Written::Upserted)));
    let records: Vec<_> = (0..2_000).map(|_| contact(&json!({}))).collect();
    let Delivered { highest, .. } = deliver_all(&world.pipeline, &records, QUEUED).await;
    assert!(highest <= 2, "a message was delivered {highest} times");
    assert_eq!(world.store.answers_left(), 0);
}

/// A store that does not answer until some time.
#[derive(Debug)]
struct SilentStore {
    until: Instant,
}

#[async_trait::async_trait]
impl Store for SilentStore {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        if Instant::now() < self.until { pending().await } else { Ok(Written::Upserted) }
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        if Instant::now() < self.until { pending().await } else { Ok(None) }
    }
}

#[tokio::test(start_paused = true)]
async fn an_hour_of_silence_costs_messages_for_one_row_a_delivery_per_hold() {
    let mut world = World::new([]);
    world.pipeline.store = Arc::new(SilentStore { until: Instant::now() + Duration::from_hours(1) });
    world.pipeline.admission = Admission::new(52, IN_FLIGHT / 4);
    let records: Vec<_> = (0..6).map(|_| contact(&json!({}))).collect();
    let Delivered { highest, .. } = deliver_all(&world.pipeline, &records, QUEUED).await;
    assert!(highest <= 8, "a message was delivered {highest} times");
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
async fn the_longest_wait_for_a_lock_leaves_time_for_a_write() {
    let mut world = World::new([]);
    let record = contact(&json!({}));
    let name = LockName::new(record.key.lock_name("", "contacts"));
    world.pipeline.locks = Some((LocalQueue::new(world.locks.clone(), WIDTH), 300 * SECOND));
    let mut rival = world.locks.try_acquire(&name).await.expect("the storage answers").expect("the lock is free");
    let begun = Instant::now();
    let renewing = async {
        loop {
            sleep(5 * SECOND).await;
            assert!(world.locks.renew(&mut rival).await.expect("the storage answers"));
        }
    };
    let delivery = Delivery { wait_budget: 10 * SECOND, ..QUEUED };
    let outcome = tokio::select! {
        outcome = world.pipeline.settle(&record, delivery) => outcome,
        () = renewing => unreachable!("it renews for ever"),
    };
    assert_eq!(outcome.reason, Reason::LockBusy);
    assert_eq!(begun.elapsed() + MIN_WRITE_TIME, 10 * SECOND + INVOCATION_GRACE);
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

#[tokio::test(start_paused = true)]
async fn an_invocation_ends_in_time_also_where_a_row_is_read_slowly_after_a_slow_refusal() {
    for operation in ["upsert", "create"] {
        let refusal = Answer::SlowlyFails(99 * SECOND, Error::answered(412, Some(DUPLICATE), None));
        let world = World::new([refusal, Answer::SlowRow(25 * SECOND, r#"{"firstname":"Eve"}"#)]);
        let (record, begun) = (contact(&json!({ "operation": operation })), Instant::now());
        let outcome = world.pipeline.settle(&record, FIRST).await;
        assert_eq!((outcome.reason, begun.elapsed()), (Reason::Unavailable, INVOCATION_GRACE), "{operation}");
    }
}

/// A store that never answers.
#[derive(Debug)]
struct MuteStore;

#[async_trait::async_trait]
impl Store for MuteStore {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        pending().await
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        pending().await
    }

    async fn check(&self) -> Result<(), Error> {
        pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn an_invocation_ends_in_time_also_where_nothing_is_answered_any_more() {
    let mut world = World::new([]);
    world.pipeline.store = Arc::new(MuteStore);
    world.pipeline.admission = Admission::new(52, IN_FLIGHT / 4);
    let begun = Instant::now();
    let delivery = Delivery { wait_budget: 10 * SECOND, queue_budget: 10 * SECOND + LINE_GRACE, ..QUEUED };
    let settle = async |n: usize| {
        let record = contact(&json!({ "key": { "employeeid": n.to_string() } }));
        world.pipeline.settle(&record, delivery).await;
        begun.elapsed()
    };
    let ends = futures::future::join_all((0..10).map(settle)).await;
    let latest = ends.into_iter().max().expect("some");
    assert!(latest <= 10 * SECOND + INVOCATION_GRACE, "{latest:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_a_message_waited_before_counts() {
    let mut world = World::new([]);
    world.pipeline.store = Arc::new(MuteStore);
    let delivery = Delivery { wait_budget: 10 * SECOND, queue_budget: 10 * SECOND + LINE_GRACE, ..QUEUED };
    for waited in [5 * SECOND, 69 * SECOND] {
        let begun = Instant::now();
        let outcome = world.pipeline.settle(&contact(&json!({})), Delivery { waited, ..delivery }).await;
        assert_eq!(outcome.reason, Reason::Unavailable);
        assert!(waited + begun.elapsed() <= 10 * SECOND + INVOCATION_GRACE, "{waited:?}: {:?}", begun.elapsed());
    }
    let world = World::new([]);
    let outcome = world.pipeline.settle(&contact(&json!({})), Delivery { waited: 70 * SECOND, ..delivery }).await;
    assert_eq!((outcome.reason, world.store.requests().len()), (Reason::Throttled, 0), "it is too late to begin");
}
