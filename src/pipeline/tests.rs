mod deleted;
mod deliveries;
mod hidden;
mod hints;
mod leases;
mod log_detail;
mod missing_parents;
mod order;
mod outages;
mod races;
mod refused_keys;
mod state;
mod store;
mod unaddressable;
mod versions;

use std::sync::Mutex;

use futures::FutureExt as _;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::*;
use crate::dataverse::{ReadAccess, Written};
use crate::lock::tests::memory::MemoryLocks;
use crate::record::decode;
use store::{Answer, ScriptedStore};

const SECOND: Duration = Duration::from_secs(1);
/// The messages that are admitted at once.
const WIDTH: usize = 8;
/// A first delivery without a wait budget: one attempt, unless admission is closed.
const FIRST: Delivery = Delivery {
    attempts: Some(1),
    last: false,
    wait_budget: Duration::ZERO,
    queue_budget: Duration::from_secs(20),
    waited: Duration::ZERO,
    fail_fast: false,
    parent_wait: Duration::ZERO,
    behind: None,
};
const SECOND_TIME: Delivery = Delivery { attempts: Some(2), ..FIRST };

const DUPLICATE: u32 = 0x8004_0237;
const STALE: u32 = 0x8006_0882;
const MISSING: u32 = 0x8006_0891;
const DEADLOCK: &str = "Generic SQL error. Sql Number: 1205";

/// The pipeline between a scripted store and in-memory locks.
struct World {
    store: Arc<ScriptedStore>,
    locks: Arc<MemoryLocks>,
    pipeline: Pipeline,
}

impl World {
    fn new(answers: impl IntoIterator<Item = Answer>) -> Self {
        let store = Arc::new(ScriptedStore::new(answers));
        let locks = Arc::new(MemoryLocks::new(15 * SECOND));
        let pipeline = Pipeline {
            environment: String::new(),
            store: store.clone(),
            locks: Some((LocalQueue::new(locks.clone(), WIDTH), 10 * SECOND)),
            admission: Admission::new(WIDTH, 4),
            on_conflict: OnConflict::Verify,
            version_column: Some("new_version".to_owned()),
            tables: Tables::default(),
            unknown_codes: LoggedOnce::default(),
            implausible_versions: LoggedOnce::default(),
            visible_columns: VisibleColumns::default(),
        };
        Self { store, locks, pipeline }
    }

    /// Our user may read every column.
    fn readable(answers: impl IntoIterator<Item = Answer>) -> Self {
        let world = Self::new(answers);
        world.store.set_access(ReadAccess::Granted);
        world
    }

    async fn settle(&self, record: &Record) -> Outcome {
        self.deliver(record, FIRST).await
    }

    /// Settles one record, and waits until its lock is free again.
    async fn deliver(&self, record: &Record, delivery: Delivery) -> Outcome {
        let outcome = self.pipeline.settle(record, delivery).await;
        self.pipeline.finished().await;
        outcome
    }

    /// Settles one record, which must use the whole script.
    async fn reason(&self, record: &Record, delivery: Delivery) -> Reason {
        let reason = self.deliver(record, delivery).await.reason;
        assert_eq!(self.store.answers_left(), 0, "ended early, as {}", reason.code());
        reason
    }
}

/// A contact with some fields set or replaced.
fn contact(fields: &Json) -> Record {
    let mut message = json!({ "table": "contacts", "key": { "employeeid": "E1" }, "columns": { "firstname": "Ada" } });
    for (name, value) in fields.as_object().expect("fields are an object") {
        message[name] = value.clone();
    }
    decode(&message.to_string().into()).unwrap_or_else(|(error, _)| panic!("{message}: {error}"))
}

/// A contact that refers to an account.
fn bound_contact(operation: &str) -> Record {
    let columns = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='7')" });
    contact(&json!({ "operation": operation, "columns": columns }))
}

fn deadlock() -> Answer {
    Answer::Fails(Error::answered(500, Some(0x8004_4150), Some(DEADLOCK)))
}

#[tokio::test(start_paused = true)]
async fn the_outcome_says_what_was_written() {
    for (operation, written, request, reason) in [
        ("upsert", Written::Upserted, "upsert", Reason::Upserted),
        ("upsert", Written::Created, "upsert", Reason::Created),
        ("upsert", Written::Updated, "upsert", Reason::Updated),
        ("create", Written::Created, "create", Reason::Created),
        ("update", Written::Updated, "update", Reason::Updated),
        ("delete", Written::Deleted, "delete", Reason::Deleted),
    ] {
        let world = World::new([Answer::Wrote(written)]);
        let found = world.reason(&contact(&json!({ "operation": operation })), FIRST).await;
        assert_eq!((found, world.store.requests()), (reason, vec![request.to_owned()]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_settled_by_its_verdict() {
    for (operation, answer, reason) in [
        ("upsert", Answer::wait(503, None), Reason::Unavailable),
        ("create", Answer::lost(true), Reason::Unavailable),
        ("upsert", Answer::lost(false), Reason::Unavailable),
        ("upsert", Answer::wait(429, None), Reason::Throttled),
        ("upsert", Answer::refused(403, 0x8004_0220), Reason::Unauthorized),
        ("upsert", Answer::refused(412, STALE), Reason::Conflict),
        ("upsert", Answer::refused(412, 0x8004_3239), Reason::KeyCollision),
        ("update", Answer::refused(412, DUPLICATE), Reason::KeyCollision),
        ("upsert", Answer::refused(412, 0x8004_0333), Reason::DuplicateDetected),
        ("upsert", Answer::refused(400, 0x8004_4331), Reason::InvalidData),
        ("upsert", Answer::wait(413, None), Reason::TooLarge),
        ("upsert", Answer::refused(404, 0x8006_088A), Reason::NotFound),
        ("update", Answer::refused(404, MISSING), Reason::NotFound),
        ("delete", Answer::refused(404, MISSING), Reason::AlreadyAbsent),
    ] {
        let world = World::new([answer.clone()]);
        let found = world.reason(&contact(&json!({ "operation": operation })), FIRST).await;
        assert_eq!(found, reason, "{operation} {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_outcome_has_the_record_and_the_answer_of_dataverse() {
    let fault = Error::Answered {
        status: 400,
        code: Some(0x8004_4331),
        message: Some("firstname is too long".to_owned()),
        request_id: Some("req-7".to_owned()),
        retry_after: None,
        sent_at: None,
    };
    let world = World::new([Answer::Fails(fault)]);
    let outcome = world.pipeline.settle(&contact(&json!({ "messageId": "m-1" })), SECOND_TIME).await;
    assert_eq!(
        serde_json::to_value(&outcome).expect("an outcome is plain data"),
        json!({
            "outcome": "rejected", "reason": "invalid_data", "detail": "firstname is too long",
            "table": "contacts", "key": { "employeeid": "E1" }, "messageId": "m-1", "attempts": 2,
            "dataverse": { "status": 400, "code": "0x80044331", "message": "firstname is too long", "requestId": "req-7" },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn logs_show_the_start_of_the_hash_of_a_key() {
    let world = World::new([Answer::Wrote(Written::Upserted)]);
    let record = contact(&json!({}));
    let shown = world.settle(&record).await.key_hash.expect("every record has a key");
    assert!(record.key.lock_name("", "contacts").starts_with(&format!("contacts-{shown}")));
    assert_eq!(shown.len(), HASH_SHOWN);
}

#[tokio::test(start_paused = true)]
async fn a_read_distinguishes_a_missing_row_from_a_missing_parent() {
    let missing = || Answer::refused(404, MISSING);
    for (operation, answers, reason) in [
        ("upsert", vec![missing()], Reason::ParentMissing),
        ("create", vec![missing()], Reason::ParentMissing),
        ("update", vec![missing(), Answer::Row("{}")], Reason::ParentMissing),
        ("update", vec![missing(), Answer::NoRow], Reason::NotFound),
        ("update", vec![missing(), Answer::wait(503, None)], Reason::Unavailable),
        ("delete", vec![missing()], Reason::AlreadyAbsent),
    ] {
        let found = World::new(answers.clone()).reason(&bound_contact(operation), FIRST).await;
        assert_eq!(found, reason, "{operation} {answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lookup_in_the_key_can_lack_its_parent_too() {
    let key = json!({ "_parentcustomerid_value": "9b2e0c3a-1111-4222-8333-444455556666" });
    let world = World::new([Answer::refused(404, MISSING)]);
    assert_eq!(world.reason(&contact(&json!({ "key": key })), FIRST).await, Reason::ParentMissing);
}

#[tokio::test(start_paused = true)]
async fn an_upsert_whose_row_was_deleted_meanwhile_is_sent_once_more() {
    let gone = || Answer::refused(404, 0x8004_0217);
    let world = World::new([gone(), Answer::Wrote(Written::Created)]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Created);
    let world = World::new([gone(), gone()]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::NotFound);
    assert_eq!(world.store.requests(), ["upsert", "upsert"]);
}

#[tokio::test(start_paused = true)]
async fn a_missing_user_is_the_operators_where_requests_are_made_on_their_behalf() {
    let message = Some("Entity 'SystemUser' With Id = 9b2e Does Not Exist");
    let missing = || Answer::Fails(Error::answered(404, Some(0x8004_0217), message));
    for (table, impersonates, answers, reason) in [
        ("contacts", true, vec![missing()], Reason::Unauthorized),
        ("contacts", false, vec![missing(), missing()], Reason::NotFound),
        ("systemusers", true, vec![missing(), missing()], Reason::NotFound),
    ] {
        let mut world = World::new([]);
        let store = Arc::new(ScriptedStore::new(answers).on_behalf(impersonates));
        (world.pipeline.store, world.store) = (store.clone(), store);
        world.pipeline.tables = Tables::parse(table).expect("a list");
        let found = world.reason(&contact(&json!({ "table": table })), FIRST).await;
        assert_eq!(found, reason, "{table} {impersonates}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_on_a_present_row_is_ours_only_when_delivered_before() {
    for (row, delivery, reason) in [
        (r#"{"firstname":"Ada"}"#, FIRST, Reason::Exists),
        (r#"{"firstname":"Ada"}"#, SECOND_TIME, Reason::AlreadyWritten),
        (r#"{"firstname":"Eve"}"#, FIRST, Reason::Exists),
        (r#"{"firstname":"Eve"}"#, SECOND_TIME, Reason::Exists),
        (r#"{"firstname":"Ada"}"#, Delivery { attempts: None, ..FIRST }, Reason::Exists),
    ] {
        let world = World::new([Answer::refused(412, DUPLICATE), Answer::Row(row)]);
        let found = world.reason(&contact(&json!({ "operation": "create" })), delivery).await;
        assert_eq!(found, reason, "{row} {delivery:?}");
        assert_eq!(world.store.requests(), ["create", "read firstname"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_that_is_refused_without_a_row_is_sent_again_before_it_is_rejected() {
    let refused = || [Answer::refused(412, DUPLICATE), Answer::NoRow];
    let create = contact(&json!({ "operation": "create" }));
    let world = World::new(refused().into_iter().chain([Answer::Wrote(Written::Created)]));
    assert_eq!(world.reason(&create, FIRST).await, Reason::Created, "the winner rolled back");
    let world = World::new(refused().into_iter().chain([Answer::refused(412, DUPLICATE)]));
    assert_eq!(world.reason(&create, FIRST).await, Reason::KeyCollision);
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_is_repeated_in_place_three_times_at_most() {
    let world = World::new([deadlock(), Answer::Wrote(Written::Upserted)]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Upserted);
    let world = World::new((0..4).map(|_| deadlock()));
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn the_catch_all_code_gets_one_more_try() {
    let unclear = || Answer::refused(400, 0x8004_0216);
    let world = World::new([unclear(), unclear()]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::InvalidData);
}

#[tokio::test(start_paused = true)]
async fn a_delay_that_dataverse_names_is_passed_on() {
    for (status, reason) in [(429, Reason::Throttled), (503, Reason::Unavailable)] {
        for (named, expected) in [(Some(42 * SECOND), Some(42 * SECOND)), (None, reason.default_retry_after())] {
            let outcome = World::new([Answer::wait(status, named)]).settle(&contact(&json!({}))).await;
            assert_eq!((outcome.reason, outcome.retry_after), (reason, expected));
        }
    }
    let message = Some("too long".to_owned());
    let refused = Error::Answered {
        status: 400,
        code: None,
        message,
        request_id: None,
        retry_after: Some(SECOND),
        sent_at: None,
    };
    let outcome = World::new([Answer::Fails(refused)]).settle(&contact(&json!({}))).await;
    assert_eq!((outcome.reason, outcome.retry_after), (Reason::InvalidData, None), "a delay causes no retry");
}
