//! The contract's table of outcomes: the real handler's whole answer to an HTTP caller, through the host.
//!
//! What leads to which reason is tested beside `classify` and `pipeline`.

mod internal;

use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Operation, Status};
use stand_ins::host::Host;
use stand_ins::storage;

use crate::caller::{Answer, Caller, contact};
use crate::waiting::eventually;

/// Dataverse's text for a key that is in use.
const DUPLICATE: &str = "A record with matching key values already exists.";

/// Dataverse's text for a row that does not exist.
const MISSING: &str = "A record with the specified key values does not exist in the table.";

/// The largest body, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// A host whose handler retries nothing in place and waits a second for a lock, and its caller.
struct Scene {
    world: World,
    caller: Caller,
    _host: Host,
}

impl Scene {
    async fn start() -> Self {
        let world = crate::world().await;
        let settings = [crate::AT_ONCE, ("LOCK_WAIT_SECONDS", "1"), ("SYNC_VERSION_COLUMN", "new_sourceversion")];
        let host = world.host("instance-1", &settings).await.expect("the host starts");
        Self { caller: Caller::of(&host), world, _host: host }
    }

    /// The next `times` writes of this contact are answered with `status`.
    fn refuse(&self, times: u32, key: &str, status: Status) {
        self.fault(times, key, Effect::Status(status));
    }

    fn fault(&self, times: u32, key: &str, effect: Effect) {
        self.world.dataverse.fault(Fault::new(effect).method("PATCH").key(key).times(times));
    }

    fn insert(&self, row: &Value) {
        self.world.dataverse.insert("contacts", row);
    }

    /// The value of one column of a contact's row.
    fn stored(&self, key: &str, column: &str) -> Option<Value> {
        self.world.dataverse.row("contacts", &[("employeeid", key)])?.get(column).cloned()
    }

    /// Posts a contact's record, and compares the whole answer: status, `outcome/reason`, `Retry-After` and, when
    /// Dataverse refused the write, its status, code and message.
    async fn expect(&self, record: &Value, expected: Expected<'_>) -> Answer {
        let answer = self.caller.post(record).await;
        let (outcome, reason) = expected.ending.split_once('/').expect("an outcome and a reason");
        let mut members = json!({
            "outcome": outcome, "reason": reason, "table": record["table"], "key": record["key"],
            "messageId": record["messageId"], "attempts": 1,
        });
        if let Some((status, code, message)) = expected.refusal {
            let journal = self.world.dataverse.journal();
            let id = &journal.last().expect("a write arrived").request_id;
            members["dataverse"] = json!({ "status": status, "message": message, "requestId": id });
            if !code.is_empty() {
                members["dataverse"]["code"] = json!(code);
            }
        }
        let delay = expected.retry_after.map(|seconds| seconds.to_string());
        assert_eq!(answer.header("retry-after"), delay.as_deref(), "{}", answer.text);
        if expected.status < 400 {
            // Only some results have a detail.
            if let Some(detail) = answer.body.get("detail") {
                members["detail"] = detail.clone();
            }
            answer.is_result(expected.status, &members);
        } else {
            let detail = answer.is_problem(expected.status, &members);
            assert!(expected.refusal.is_none_or(|(_, _, message)| detail.starts_with(message)), "{detail}");
        }
        answer
    }
}

/// The expected answer to one record.
#[derive(Clone, Copy)]
struct Expected<'a> {
    status: u16,
    ending: &'a str,
    refusal: Option<(u16, &'a str, &'a str)>,
    retry_after: Option<u64>,
}

fn ends(status: u16, ending: &str) -> Expected<'_> {
    Expected { status, ending, refusal: None, retry_after: None }
}

impl<'a> Expected<'a> {
    /// After this answer of Dataverse.
    fn refused(self, status: u16, code: &'a str, message: &'a str) -> Self {
        Self { refusal: Some((status, code, message)), ..self }
    }

    fn after(self, seconds: u64) -> Self {
        Self { retry_after: Some(seconds), ..self }
    }
}

/// A contact with this first name and one more field set.
fn ada(key: &str, field: &str, value: Value) -> Value {
    let mut record = contact(key, &json!({ "firstname": "Ada" }));
    record[field] = value;
    record
}

fn operation(name: &str, key: &str) -> Value {
    ada(key, "operation", json!(name))
}

#[tokio::test]
async fn every_applied_outcome_has_its_answer_and_its_row() {
    let scene = Scene::start().await;
    scene.expect(&operation("create", "C1"), ends(201, "applied/created")).await;
    let mut update = contact("C1", &json!({ "lastname": "Lovelace" }));
    update["operation"] = json!("update");
    scene.expect(&update, ends(200, "applied/updated")).await;
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Ada")), "what was not sent stays");
    assert_eq!(scene.stored("C1", "lastname"), Some(json!("Lovelace")));
    for key in ["C1", "C2"] {
        scene.expect(&operation("upsert", key), ends(200, "applied/upserted")).await;
    }
    for (version, expected) in [(7, ends(201, "applied/created")), (8, ends(200, "applied/updated"))] {
        scene.expect(&ada("C3", "version", json!(version)), expected).await;
        assert_eq!(scene.stored("C3", "new_sourceversion"), Some(json!(version)));
    }
    scene.expect(&operation("delete", "C3"), ends(200, "applied/deleted")).await;
    assert_eq!(scene.world.dataverse.rows("contacts").len(), 2);

    let key = r#"{ "new_region":"N", "new_number":1.0 }"#;
    let body = format!(r#"{{"table":"new_orders","key":{key},"columns":{{"new_name":"first"}}}}"#);
    let expected =
        format!(r#"{{"outcome":"applied","reason":"upserted","table":"new_orders","key":{key},"attempts":1}}"#);
    assert_eq!(scene.caller.post_text(body).await.text, expected, "the key is repeated as it was sent");
}

#[tokio::test]
async fn every_skipped_outcome_has_its_answer() {
    let scene = Scene::start().await;
    let duplicate = || Status::new(412, "0x80040237", DUPLICATE);
    scene.insert(&json!({ "employeeid": "C1", "firstname": "Ada", "new_sourceversion": 5 }));
    scene.insert(&json!({ "employeeid": "C2", "firstname": "Grace" }));

    scene.refuse(1, "C1", duplicate());
    let expected = ends(200, "skipped/already_written").refused(412, "0x80040237", DUPLICATE);
    scene.expect(&operation("upsert", "C1"), expected).await;
    assert_eq!(scene.world.dataverse.requests().method("PATCH"), 1, "nothing is sent again");

    scene.refuse(1, "C2", duplicate());
    let expected = ends(200, "skipped/written_elsewhere").refused(412, "0x80040237", DUPLICATE);
    scene.expect(&ada("C2", "onConflict", json!("skip")), expected).await;

    scene.expect(&ada("C1", "version", json!(5)), ends(200, "skipped/superseded")).await;
    let expected = ends(200, "skipped/already_absent").refused(404, "0x80060891", MISSING);
    scene.expect(&operation("delete", "C3"), expected).await;
}

#[tokio::test]
async fn every_rejected_outcome_has_its_answer() {
    let scene = Scene::start().await;
    let expected = ends(404, "rejected/not_found").refused(404, "0x80060891", MISSING);
    scene.expect(&operation("update", "C1"), expected).await;
    let text = "Resource not found for the segment 'Contacts'.";
    let expected = ends(404, "rejected/not_found").refused(404, "0x8006088a", text);
    scene.expect(&ada("C1", "table", json!("Contacts")), expected).await;

    scene.insert(&json!({ "employeeid": "C1", "emailaddress1": "ada@example.com" }));
    let expected = ends(409, "rejected/exists").refused(412, "0x80040237", DUPLICATE);
    scene.expect(&operation("create", "C1"), expected).await;
    let collision = ends(409, "rejected/key_collision").refused(412, "0x80040237", DUPLICATE);
    let other = contact("C2", &json!({ "emailaddress1": "ada@example.com" }));
    let answer = scene.expect(&other, collision).await;
    assert!(answer.text.contains("another unique key"), "{}", answer.text);
    assert!(scene.world.dataverse.recycle("contacts", &[("employeeid", "C1")]));
    let answer = scene.expect(&operation("upsert", "C1"), collision).await;
    assert!(answer.text.contains("recycle bin"), "{}", answer.text);

    for (reason, answered, code, status) in [
        ("rejected/duplicate_detected", 500, "0x80040333", 409),
        ("rejected/invalid_data", 400, "0x80044331", 422),
        ("rejected/too_large", 413, "", 413),
    ] {
        scene.refuse(1, "C3", Status::new(answered, code, "Not like this."));
        let expected = ends(status, reason).refused(answered, code, "Not like this.");
        scene.expect(&operation("upsert", "C3"), expected).await;
    }
    let answer = scene.caller.post_text(r#"{"table":"contacts","key":{"a":"x"},"colums":{},"messageId":"m"}"#).await;
    let members = json!({ "outcome": "rejected", "reason": "invalid_message", "attempts": 1, "messageId": "m" });
    assert!(answer.is_problem(400, &members).contains("`colums`"));
}

#[tokio::test]
async fn every_retry_has_its_answer_and_its_delay() {
    let scene = Scene::start().await;
    let storage = scene.world.storage.embedded().expect("this world is on the embedded storage");
    scene.fault(1, "C1", Effect::Hang);
    let broken = eventually("a lease to break", async || (storage.break_leases(None) > 0).then_some(()));
    let record = operation("upsert", "C1");
    tokio::join!(scene.expect(&record, ends(503, "retry/lock_lost").after(1)), broken);

    scene.refuse(4, "C2", Status::new(412, "0x80040237", DUPLICATE));
    let expected = ends(503, "retry/conflict").refused(412, "0x80040237", DUPLICATE).after(1);
    scene.expect(&ada("C2", "onConflict", json!("retry")), expected).await;

    let orphan = contact("C3", &json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" }));
    let expected = ends(503, "retry/parent_missing").refused(404, "0x80060891", MISSING).after(30);
    scene.expect(&orphan, expected).await;
    scene.world.dataverse.insert("accounts", &json!({ "accountnumber": "A1" }));
    scene.expect(&orphan, ends(200, "applied/upserted")).await;

    for (status, code, ending, delay) in
        [(503, "0x8004a001", "retry/unavailable", 6), (403, "0x80040220", "retry/unauthorized", 10)]
    {
        let named = (status == 503).then_some(6);
        scene.refuse(1, "C4", Status { retry_after: named, ..Status::new(status, code, "Not now.") });
        let expected = ends(503, ending).refused(status, code, "Not now.").after(delay);
        scene.expect(&operation("upsert", "C4"), expected).await;
        // A success in between: several failures in a row would open the circuit breaker.
        scene.expect(&operation("upsert", "C0"), ends(200, "applied/upserted")).await;
    }

    let refused = storage::Effect::Status { code: 403, error_code: "AuthorizationFailure", retry_after: None };
    storage.fault(storage::Fault::until_cleared(storage::Op::AnyBlob, refused));
    let expected = ends(503, "retry/storage_unavailable").after(10);
    let answer = scene.expect(&operation("upsert", "C5"), expected).await;
    assert_eq!(answer.body["detail"], "the storage refuses access (403 AuthorizationFailure)");
    storage.clear_faults();
    eventually("a success", async || {
        let answer = scene.caller.post(&operation("upsert", "C0")).await;
        (answer.status == 200).then_some(())
    })
    .await;

    scene.refuse(1, "C6", Status { retry_after: Some(37), ..Status::new(429, "0x80072322", "Too many.") });
    let expected = ends(429, "retry/throttled").refused(429, "0x80072322", "Too many.").after(37);
    scene.expect(&operation("upsert", "C6"), expected).await;
    let sent = scene.world.dataverse.journal().len();
    assert_eq!(scene.caller.post(&operation("upsert", "C7")).await.body["reason"], "throttled");
    assert_eq!(scene.world.dataverse.journal().len(), sent, "nothing is sent during the pause");
}

#[tokio::test]
async fn a_lock_held_in_this_or_another_process_is_busy() {
    let scene = Scene::start().await;
    let elsewhere = scene.world.host("instance-2", &[("LOCK_WAIT_SECONDS", "1")]).await.expect("the host starts");
    let storage = scene.world.storage.embedded().expect("this world is on the embedded storage");
    scene.fault(1, "C1", Effect::Hang);
    let record = operation("upsert", "C1");
    let rivals = async {
        eventually("the first one's lease", async || (storage.counts().acquire > 0).then_some(())).await;
        scene.expect(&record, ends(503, "retry/lock_busy").after(1)).await;
        let answer = Caller::of(&elsewhere).post(&record).await;
        assert_eq!(answer.body["detail"], "the lock was held by another writer for 1 s", "{}", answer.text);
    };
    tokio::select! {
        answer = scene.caller.post(&record) => panic!("the first one hangs: {answer:?}"),
        () = rivals => {}
    }
}

#[tokio::test]
async fn a_body_over_8_mib_and_an_array_of_1001_records_are_413() {
    let scene = Scene::start().await;
    let too_large = json!({ "outcome": "rejected", "reason": "too_large" });
    let answer = scene.caller.post_text(vec![b' '; MAX_BYTES + 1]).await;
    assert!(answer.is_problem(413, &too_large).contains("8388608"));
    let answer = scene.caller.post_text(vec![b' '; MAX_BYTES]).await;
    assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")));
    let answer = scene.caller.post(&vec![json!({}); 1_001].into()).await;
    assert_eq!(answer.is_problem(413, &too_large), "1001 records in one call; at most 1000 are allowed");
    let answer = scene.caller.post(&vec![json!({}); 1_000].into()).await;
    assert_eq!((answer.status, &answer.body["summary"]), (207, &json!({ "rejected": 1_000 })));
}

/// Every character that is not allowed in a Dataverse key URL: the row is found by a filter and written by its id.
#[tokio::test]
async fn a_row_whose_key_a_url_cannot_address_is_created_updated_and_deleted() {
    const KEY: &str = r"R&D/<1>*50%:\?+#";
    let scene = Scene::start().await;
    for (name, reason) in [
        ("update", "not_found"),
        ("upsert", "created"),
        ("upsert", "updated"),
        ("create", "exists"),
        ("delete", "deleted"),
        ("delete", "already_absent"),
    ] {
        let answer = scene.caller.post(&operation(name, KEY)).await;
        assert_eq!(answer.body["reason"], reason, "{name}: {}", answer.text);
    }
    let journal = scene.world.dataverse.journal();
    let sent: Vec<_> = journal.iter().map(|entry| (entry.method.as_str(), entry.operation)).collect();
    let expected = [("POST", Operation::Create), ("PATCH", Operation::Update), ("DELETE", Operation::Delete)];
    assert_eq!(sent, expected);
}
