//! Rows that a lookup names and that are not there yet: how long a message waits for them, what it costs, and what is said of them.

use std::collections::{BTreeMap, BTreeSet};

use tokio::time::sleep;

use super::deliveries::{IN_FLIGHT, QUEUED, deliver_all};
use super::*;
use crate::dataverse::{Change, Row};
use crate::record::RecordKey;

const MINUTE: Duration = Duration::from_mins(1);

/// A queue message that waits for a parent.
const WAITS: Delivery = Delivery { parent_wait: MINUTE, ..QUEUED };

fn missing() -> Answer {
    Answer::refused(404, MISSING)
}

/// A store in which a row exists once it was written, and whose answers take 50 ms.
#[derive(Debug, Default)]
struct Rows {
    present: Mutex<BTreeSet<String>>,
    /// The requests about each row.
    requests: Mutex<BTreeMap<String, u32>>,
}

impl Rows {
    fn requests(&self) -> u32 {
        self.requests.lock().expect("no test panics with it").values().sum()
    }
}

#[async_trait::async_trait]
impl Store for Rows {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        sleep(SECOND / 20).await;
        let name = |key: &RecordKey, table: &str| key.lock_name("", table);
        let own = name(&change.record.key, &change.record.table);
        *self.requests.lock().expect("no test panics with it").entry(own.clone()).or_default() += 1;
        let mut present = self.present.lock().expect("no test panics with it");
        let parents =
            change.record.lookups().into_iter().map(|lookup| {
                name(&lookup.target.key().expect("a key"), lookup.target.table.as_deref().expect("a table"))
            });
        if !parents.collect::<Vec<_>>().iter().all(|parent| present.contains(parent)) {
            return Err(Error::answered(404, Some(MISSING), Some("missing")));
        }
        present.insert(own);
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        panic!("nothing is to be read")
    }
}

/// The pipeline on such a store, with a quarter of the messages in flight as seats.
fn world() -> (World, Arc<Rows>) {
    let (mut world, rows) = (World::new([]), Arc::new(Rows::default()));
    world.pipeline.store = rows.clone();
    world.pipeline.admission = Admission::new(52, IN_FLIGHT / 4);
    (world, rows)
}

fn child(number: usize, parent: usize) -> Record {
    let columns = json!({ "parentcustomerid_account@odata.bind": format!("/accounts(accountnumber='{parent}')") });
    contact(&json!({ "key": { "employeeid": number.to_string() }, "columns": columns }))
}

fn account(number: usize) -> Record {
    contact(&json!({ "table": "accounts", "key": { "accountnumber": number.to_string() } }))
}

#[tokio::test(start_paused = true)]
async fn a_parent_that_comes_within_a_minute_costs_no_delivery_and_no_slot_or_lock_is_kept_meanwhile() {
    let mut world = World::new((0..3).map(|_| missing()).chain([Answer::Wrote(Written::Upserted)]));
    world.pipeline.admission = Admission::new(1, 1);
    let begun = Instant::now();
    assert_eq!(world.reason(&bound_contact("upsert"), WAITS).await, Reason::Upserted);
    assert!((7 * SECOND / 2..=7 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(world.locks.count(crate::lock::tests::memory::Request::Release), 4);
}

#[tokio::test(start_paused = true)]
async fn the_parent_is_written_while_a_message_waits_for_it_although_there_is_one_slot() {
    let (mut world, _) = world();
    world.pipeline.admission = Admission::new(1, 1);
    let (waiting, parent) = (child(1, 7), account(7));
    let later = async {
        sleep(SECOND).await;
        world.pipeline.settle(&parent, FIRST).await.reason
    };
    let (outcome, parent) = tokio::join!(world.pipeline.settle(&waiting, WAITS), later);
    assert_eq!((outcome.reason, parent), (Reason::Upserted, Reason::Upserted), "it has the only slot");
}

#[tokio::test(start_paused = true)]
async fn a_message_waits_a_minute_at_most_and_within_its_hold_and_is_tried_at_the_end() {
    let (world, rows) = world();
    for (hold, waited) in [(MINUTE * 8, MINUTE), (20 * SECOND, 20 * SECOND), (Duration::ZERO, Duration::ZERO)] {
        let (begun, before) = (Instant::now(), rows.requests());
        let outcome = world.deliver(&child(1, 7), Delivery { wait_budget: hold, ..WAITS }).await;
        assert_eq!(outcome.reason, Reason::ParentMissing);
        assert!((waited..=waited + SECOND).contains(&begun.elapsed()), "{hold:?}: {:?}", begun.elapsed());
        let requests = rows.requests() - before;
        let most = if waited.is_zero() { 1 } else { 9 };
        assert!((1..=most).contains(&requests), "{hold:?}: {requests} requests");
    }
    let begun = Instant::now();
    let late = Delivery { waited: 50 * SECOND, ..WAITS };
    assert_eq!(world.deliver(&child(1, 7), late).await.reason, Reason::ParentMissing);
    assert!(begun.elapsed() <= 11 * SECOND, "from its arrival on: {:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_answered_at_once() {
    let (world, rows) = world();
    let begun = Instant::now();
    let call = Delivery { wait_budget: 20 * SECOND, fail_fast: true, ..FIRST };
    assert_eq!(world.deliver(&child(1, 7), call).await.reason, Reason::ParentMissing);
    assert_eq!((begun.elapsed(), rows.requests()), (SECOND / 20, 1));
}

#[tokio::test(start_paused = true)]
async fn those_that_wait_hold_a_quarter_and_every_message_is_sent_in_each_of_its_deliveries() {
    let (world, rows) = world();
    let seats = IN_FLIGHT / 4;
    let children: Vec<_> = (0..IN_FLIGHT).map(|number| child(number, 7)).collect();
    let begun = Instant::now();
    let ends = futures::future::join_all(children.iter().map(async |child| {
        let outcome = world.pipeline.settle(child, WAITS).await;
        assert_eq!(outcome.reason, Reason::ParentMissing);
        begun.elapsed()
    }));
    let (same_row, other) = (contact(&json!({ "key": { "employeeid": "3" } })), child(1_000, 8));
    let others = async {
        sleep(SECOND).await;
        assert_eq!(world.pipeline.settle(&account(8), QUEUED).await.reason, Reason::Upserted);
        assert_eq!(world.pipeline.settle(&other, QUEUED).await.reason, Reason::Upserted, "the same table");
        assert_eq!(world.pipeline.settle(&same_row, QUEUED).await.reason, Reason::Upserted, "the same row");
        assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    };
    let (ends, ()) = tokio::join!(ends, others);
    let at_once = ends.iter().filter(|end| **end < SECOND).count();
    assert_eq!(at_once, IN_FLIGHT - seats);
    let requests = rows.requests() as usize;
    assert!(requests <= IN_FLIGHT + 9 * seats + 3, "{requests} requests");
}

#[tokio::test(start_paused = true)]
async fn an_outage_while_a_message_waits_ends_it_with_its_reason() {
    let down = (0..60).map(|_| Answer::wait(503, None));
    let world = World::new([missing()].into_iter().chain(down));
    let outcome = world.deliver(&bound_contact("upsert"), Delivery { wait_budget: MINUTE, ..WAITS }).await;
    assert_eq!(outcome.reason, Reason::Unavailable);
    let world = World::new([missing()]);
    let record = bound_contact("upsert");
    let stopping = async {
        sleep(SECOND / 10).await;
        world.pipeline.admission.stop();
    };
    let begun = Instant::now();
    let (outcome, ()) = tokio::join!(world.pipeline.settle(&record, WAITS), stopping);
    assert_eq!((outcome.reason, begun.elapsed()), (Reason::ParentMissing, SECOND / 10), "the process stops");
}

/// A sender that writes children before their parents, some levels deep and far apart.
#[tokio::test(start_paused = true)]
async fn children_that_were_sent_before_their_parents_need_few_deliveries() {
    let (world, rows) = world();
    let children = (0..1_000).map(|number| child(number, number % 100));
    let records: Vec<_> = children.chain((0..100).map(account)).collect();
    let begun = Instant::now();
    let delivered = deliver_all(&world.pipeline, &records, WAITS).await;
    let (highest, requests, took) = (delivered.highest, rows.requests(), begun.elapsed());
    println!("1,100 messages, parents last: {highest} deliveries at most, {requests} requests, {took:?}");
    assert!(highest <= 4 && requests <= 4_000, "{highest} deliveries, {requests} requests");
}

/// What it costs where the parents never come: with 128 messages in flight, as host.json lets the host fetch.
#[tokio::test(start_paused = true)]
async fn messages_whose_parents_never_come_use_a_part_of_what_the_limits_allow() {
    let (mut world, rows) = world();
    world.pipeline.admission = Admission::new(52, 32);
    let records: Vec<_> = (0..32).map(|number| child(number, 7)).collect();
    futures::future::join_all(records.iter().map(|record| world.pipeline.settle(record, WAITS))).await;
    let requests = rows.requests();
    println!("32 messages wait for a minute: {requests} requests");
    assert!(requests <= 32 * 9, "{requests} requests a minute, of 1,200");
}

fn refusal(text: &str) -> Answer {
    let message = Some(text.to_owned());
    let (request_id, retry_after, sent_at) = (None, None, None);
    Answer::Fails(Error::Answered { status: 404, code: Some(MISSING), message, request_id, retry_after, sent_at })
}

#[tokio::test(start_paused = true)]
async fn the_detail_names_the_lookup_and_its_row_and_the_log_the_hash_of_its_key() {
    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
    let columns = json!({
        "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A%207')",
        "ownerid@odata.bind": format!("/systemusers({ID})"),
        "new_region@odata.bind": "/new_regions(new_code=7,new_country='it''s')",
        "firstname": "Ada",
    });
    let account = "accounts(accountnumber='A 7') of the lookup parentcustomerid_account";
    let owner = format!("systemusers({ID}) of the lookup ownerid");
    let region = "new_regions(new_code=7,new_country='it''s') of the lookup new_region";
    for (said, expected) in [
        (
            "A record with the specified key values does not exist in account entity",
            format!("the row {account} is missing"),
        ),
        (&*format!("systemuser With Id = {} Does Not Exist", ID.to_uppercase()), format!("the row {owner} is missing")),
        ("", format!("one of these rows is missing: {region}; {owner}; {account}")),
    ] {
        let mut world = World::new([refusal(said)]);
        world.pipeline.environment = "x.crm.dynamics.com".to_owned();
        let outcome = world.settle(&contact(&json!({ "columns": columns }))).await;
        let detail = outcome.detail.expect("why");
        assert!(detail.starts_with(&format!("{expected}: ")) && detail.ends_with(said), "{detail}");
        let logged = outcome.log_detail.expect("the log says it as well");
        assert!(!["A 7", ID, "it''s", "Ada"].iter().any(|value| logged.contains(value)), "{logged}");
        if said.contains("account") {
            let parent = contact(&json!({ "table": "accounts", "key": { "accountnumber": "a 7" } }));
            world.pipeline.store = Arc::new(ScriptedStore::new([Answer::Wrote(Written::Upserted)]));
            let hash = world.settle(&parent).await.key_hash.expect("a hash");
            let expected = format!(
                "the row accounts(accountnumber) of the lookup parentcustomerid_account, key_hash {hash} is missing"
            );
            assert_eq!(logged, expected);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_detail_of_many_lookups_and_of_long_keys_is_short() {
    let columns: serde_json::Map<_, _> = (0..50)
        .map(|number| (format!("n{number}@odata.bind"), format!("/as(k='{}')", "x".repeat(5_000)).into()))
        .collect();
    let detail = World::new([missing()]).settle(&contact(&json!({ "columns": columns }))).await.detail.expect("why");
    assert!(detail.starts_with("one of 50 rows is missing: as(k='xxx") && detail.len() < 2_000, "{detail}");
    let columns = json!({ "n@odata.bind": "/as(k=what)" });
    let detail = World::new([missing()]).settle(&contact(&json!({ "columns": columns }))).await.detail.expect("why");
    assert!(detail.starts_with("the row as(k) of the lookup n is missing: "), "{detail}");
    let key = json!({ "_p_value": "9b2e0c3a-1111-4222-8333-444455556666" });
    let detail = World::new([missing()]).settle(&contact(&json!({ "key": key }))).await.detail.expect("why");
    assert!(
        detail.starts_with("the row 9b2e0c3a-1111-4222-8333-444455556666 of the lookup _p_value is missing"),
        "{detail}"
    );
}
