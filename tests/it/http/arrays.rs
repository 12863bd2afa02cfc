//! An array of records in one call.

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};

use super::start;
use crate::caller::{Answer, contact, printed};
use crate::waiting::wait_until;

pub(super) fn operation(operation: &str, key: &str, columns: &Value) -> Value {
    let mut record = contact(key, columns);
    record["operation"] = json!(operation);
    record
}

impl Answer {
    /// `outcome/reason` of each result, in order.
    pub(super) fn reasons(&self) -> Vec<String> {
        let results = self.body["results"].as_array().expect("an array has results");
        let text = |result: &Value, name: &str| result[name].as_str().unwrap_or_default().to_owned();
        results.iter().map(|result| format!("{}/{}", text(result, "outcome"), text(result, "reason"))).collect()
    }
}

#[tokio::test]
async fn results_come_in_the_order_sent_with_a_summary_and_207_when_one_was_not_done() {
    let (world, host, caller) = start(&[crate::AT_ONCE]).await;
    world.dataverse.insert("contacts", &json!({ "employeeid": "C2" }));
    let throttled = Status { retry_after: Some(1), ..Status::new(503, "", "The user 7 is busy.") };
    world.dataverse.fault(Fault::new(Effect::Status(throttled)).method("PATCH").key("C5"));
    let ada = json!({ "firstname": "Ada" });
    let records = json!([
        operation("upsert", "C1", &ada),
        operation("create", "C2", &ada),
        { "table": "contacts" },
        operation("delete", "C4", &Value::Null),
        operation("upsert", "C5", &ada),
        7,
    ]);
    let answer = caller.post(&records).await;
    assert_eq!((answer.status, answer.header("content-type")), (207, Some("application/json")), "{}", answer.text);
    let expected = [
        "applied/upserted",
        "rejected/exists",
        "rejected/invalid_message",
        "skipped/already_absent",
        "retry/unavailable",
        "rejected/invalid_message",
    ];
    assert_eq!(answer.reasons(), expected);
    assert_eq!(answer.body["summary"], json!({ "applied": 1, "skipped": 1, "retry": 1, "rejected": 3 }));
    let ids: Vec<_> = (0..6).map(|at| answer.body["results"][at]["messageId"].as_str()).collect();
    assert_eq!(ids, [Some("m-C1"), Some("m-C2"), None, Some("m-C4"), Some("m-C5"), None]);
    assert!(!answer.text.contains("user 7"), "{}", answer.text);
    let line = "record not settled; its caller has to send it again";
    wait_until(line, async || printed(&host, line)).await;
    assert!(!printed(&host, "returned to the host"));
}

#[tokio::test]
async fn an_array_without_a_failure_is_200_and_a_malformed_one_is_invalid_as_a_whole() {
    let (world, _host, caller) = start(&[]).await;
    let answer = caller.post(&json!([])).await;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "results": [], "summary": {} })));
    let record = operation("create", "C1", &json!({ "firstname": "Ada" }));
    let answer = caller.post_text(format!("[{record},")).await;
    let detail = answer.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
    assert!(detail.contains("not a JSON array"), "{detail}");
    assert_eq!(world.dataverse.journal().len(), 0, "nothing is written");
    let answer = caller.post_text(format!(" \r\n\t[{record},{}]\n", operation("delete", "C2", &Value::Null))).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(answer.reasons(), ["applied/created", "skipped/already_absent"]);
}

#[tokio::test]
async fn records_of_one_key_are_applied_in_the_order_sent_in_whatever_notation() {
    let (world, _host, caller) = start(&[]).await;
    let id = "9b2e0c3a-1111-4222-8333-444455556666";
    let record = |operation: &str, key: String, name: &str| json!({ "table": "contacts", "key": key, "operation": operation, "columns": { "firstname": name } });
    let records = json!([
        record("create", id.to_owned(), "Ada"),
        operation("create", "C2", &json!({ "firstname": "Other" })),
        record("update", format!("{{{}}}", id.to_uppercase()), "Grace"),
        record("delete", id.to_uppercase(), ""),
        record("update", id.to_owned(), "Mary"),
        record("create", id.to_uppercase(), "Joan"),
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
    assert_eq!(world.dataverse.row("contacts", &[("contactid", id)]).expect("the row")["firstname"], "Joan");
    assert!(world.dataverse.overlaps().is_empty());
}

#[tokio::test]
async fn records_with_different_keys_do_not_wait_for_each_other() {
    let (world, _host, caller) = start(&[]).await;
    world.dataverse.set_race_window(std::time::Duration::from_millis(500));
    let records: Vec<Value> =
        (0..8).map(|number| operation("upsert", &format!("C{number}"), &json!({ "firstname": "Ada" }))).collect();
    assert_eq!(caller.post(&Value::from(records)).await.status, 200);
    let journal = world.dataverse.journal();
    let first_end = journal.iter().map(|entry| entry.end).min().expect("eight writes");
    let at_once = journal.iter().filter(|entry| entry.start < first_end).count();
    assert!(at_once > 1, "one after the other");
}

#[tokio::test]
async fn what_lies_behind_a_record_of_its_key_that_goes_back_is_not_sent() {
    let (world, _host, caller) = start(&[crate::AT_ONCE]).await;
    world.dataverse.fault(Fault::new(Effect::Status(Status::new(503, "", ""))).method("PATCH").key("E-1"));
    let ada = json!({ "firstname": "Ada" });
    // The second has the same row in another spelling.
    let records = json!([
        operation("upsert", "E-1", &ada),
        operation("delete", "e-1 ", &Value::Null),
        operation("upsert", "E-2", &ada),
    ]);
    let answer = caller.post(&records).await;
    assert_eq!(answer.reasons(), ["retry/unavailable", "retry/unavailable", "applied/upserted"], "{}", answer.text);
    assert!(!world.dataverse.journal().iter().any(|entry| entry.method == "DELETE"), "it was sent");
}
