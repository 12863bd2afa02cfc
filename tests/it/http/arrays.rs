//! An array of records in one call.

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};

use super::scene;
use crate::caller::{Answer, contact};

fn operation(operation: &str, key: &str, columns: &Value) -> Value {
    let mut record = contact(key, columns);
    record["operation"] = json!(operation);
    record
}

impl Answer {
    /// `outcome/reason` of each result, in order.
    fn reasons(&self) -> Vec<String> {
        let results = self.body["results"].as_array().expect("an array has results");
        let text = |result: &Value, name: &str| result[name].as_str().unwrap_or_default().to_owned();
        results.iter().map(|result| format!("{}/{}", text(result, "outcome"), text(result, "reason"))).collect()
    }
}

#[tokio::test]
async fn results_come_in_the_order_sent_with_a_summary_and_207_when_one_was_not_done() {
    let (world, _host, caller) = scene(&[crate::AT_ONCE]).await;
    world.dataverse.insert("contacts", &json!({ "employeeid": "C2" }));
    let throttled = Status { retry_after: Some(1), ..Status::new(503, "", "") };
    world.dataverse.fault(Fault::new(Effect::Status(throttled)).method("PATCH").key("C6"));
    let records = json!([
        operation("upsert", "C1", &json!({ "firstname": "Ada" })),
        operation("create", "C2", &json!({ "firstname": "Ada" })),
        { "table": "contacts" },
        operation("delete", "C4", &Value::Null),
        operation("create", "C5", &json!({ "firstname": "Ada" })),
        operation("upsert", "C6", &json!({ "firstname": "Ada" })),
        7,
    ]);
    let answer = caller.post(&records).await;
    assert_eq!((answer.status, answer.header("content-type")), (207, Some("application/json")), "{}", answer.text);
    let expected = [
        "applied/upserted",
        "rejected/exists",
        "rejected/invalid_message",
        "skipped/already_absent",
        "applied/created",
        "retry/unavailable",
        "rejected/invalid_message",
    ];
    assert_eq!(answer.reasons(), expected);
    assert_eq!(answer.body["summary"], json!({ "applied": 2, "skipped": 1, "retry": 1, "rejected": 3 }));
    let ids: Vec<_> = (0..7).map(|at| answer.body["results"][at]["messageId"].clone()).collect();
    assert_eq!(
        ids,
        [json!("m-C1"), json!("m-C2"), json!(null), json!("m-C4"), json!("m-C5"), json!("m-C6"), json!(null)]
    );
}

#[tokio::test]
async fn an_array_with_only_applied_and_skipped_records_is_200() {
    let (world, _host, caller) = scene(&[]).await;
    let records =
        json!([operation("create", "C1", &json!({ "firstname": "Ada" })), operation("delete", "C2", &Value::Null),]);
    let answer = caller.post_text(format!(" \r\n\t{records}\n")).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.reasons(), ["applied/created", "skipped/already_absent"]);
    assert_eq!(answer.body["results"][0]["key"], json!({ "employeeid": "C1" }));
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
}

#[tokio::test]
async fn an_empty_array_is_200_without_results() {
    let (_world, _host, caller) = scene(&[]).await;
    let answer = caller.post(&json!([])).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "results": [], "summary": {} })));
}

#[tokio::test]
async fn a_malformed_array_is_invalid_as_a_whole_and_nothing_is_written() {
    let (world, _host, caller) = scene(&[]).await;
    let record = contact("C1", &json!({ "firstname": "Ada" }));
    let answer = caller.post_text(format!("[{record},")).await;
    let detail = answer.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
    assert!(detail.contains("not a JSON array"), "{detail}");
    assert_eq!(world.dataverse.journal().len(), 0);
}

#[tokio::test]
async fn records_with_the_same_key_are_applied_in_the_order_sent() {
    let (world, _host, caller) = scene(&[]).await;
    let records = json!([
        operation("create", "C1", &json!({ "firstname": "Ada" })),
        operation("create", "C2", &json!({ "firstname": "Other" })),
        operation("update", "C1", &json!({ "firstname": "Grace" })),
        operation("delete", "C1", &Value::Null),
        operation("update", "C1", &json!({ "firstname": "Mary" })),
        operation("create", "C1", &json!({ "firstname": "Joan" })),
    ]);
    let answer = caller.post(&records).await;
    let expected = [
        "applied/created",
        "applied/created",
        "applied/updated",
        "applied/deleted",
        "rejected/not_found",
        "applied/created",
    ];
    assert_eq!(answer.reasons(), expected, "{}", answer.text);
    let row = world.dataverse.row("contacts", &[("employeeid", "C1")]).expect("the last create made it");
    assert_eq!(row["firstname"], "Joan");
    assert!(world.dataverse.overlaps().is_empty());
}

#[tokio::test]
async fn a_key_in_several_notations_is_the_same_key() {
    let (world, _host, caller) = scene(&[]).await;
    let id = "9b2e0c3a-1111-4222-8333-444455556666";
    let record = |key: String, name: &str| json!({ "table": "contacts", "key": key, "columns": { "firstname": name } });
    let records = json!([
        record(id.to_owned(), "Ada"),
        record(format!("{{{}}}", id.to_uppercase()), "Grace"),
        record(id.to_uppercase(), "Joan"),
    ]);
    let answer = caller.post(&records).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(world.dataverse.row("contacts", &[("contactid", id)]).expect("the row")["firstname"], "Joan");
    assert!(world.dataverse.overlaps().is_empty());
}

#[tokio::test]
async fn records_with_different_keys_do_not_wait_for_each_other() {
    let (world, _host, caller) = scene(&[]).await;
    world.dataverse.set_race_window(std::time::Duration::from_millis(500));
    let records: Vec<Value> =
        (0..8).map(|number| operation("upsert", &format!("C{number}"), &json!({ "firstname": "Ada" }))).collect();
    assert_eq!(caller.post(&Value::from(records)).await.status, 200);
    let journal = world.dataverse.journal();
    let first_end = journal.iter().map(|entry| entry.end).min().expect("eight writes");
    let at_once = journal.iter().filter(|entry| entry.start < first_end).count();
    assert!(at_once > 1, "one after the other");
}
