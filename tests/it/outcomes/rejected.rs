//! Rejected: another attempt cannot succeed, and the answer says why.

use serde_json::{Value, json};
use stand_ins::dataverse::Status;

use super::{DUPLICATE, Scene, about_refusal};
use crate::caller::{Answer, contact};

impl Answer {
    /// Asserts a rejection: a problem document without `Retry-After`. Returns its detail.
    fn is_rejection(&self, status: u16, members: &Value) -> &str {
        assert_eq!(self.header("retry-after"), None, "{}", self.text);
        self.is_problem(status, members)
    }
}

#[tokio::test]
async fn a_message_that_is_not_a_record_is_invalid_and_the_field_is_named() {
    let scene = Scene::start().await;
    let invalid = |members: Value| {
        let mut all = json!({ "outcome": "rejected", "reason": "invalid_message", "attempts": 1 });
        all.as_object_mut().expect("an object").extend(members.as_object().cloned().unwrap_or_default());
        all
    };
    for (body, known, named) in [
        ("{oops", json!({}), "line 1 column 2"),
        ("7", json!({}), "not a JSON object"),
        ("\u{0}", json!({}), "not a JSON object"),
        (r#"{"key":{"a":"x"},"columns":{},"messageId":"m"}"#, json!({ "messageId": "m" }), "`table`"),
        (r#"{"table":"contacts","columns":{}}"#, json!({ "table": "contacts" }), "`key`"),
        (r#"{"table":"contacts","key":"C1","columns":{}}"#, json!({ "table": "contacts" }), "`key`"),
        (r#"{"table":"contacts","key":{},"columns":{}}"#, json!({ "table": "contacts" }), "`key`"),
        (r#"{"table":"contacts","key":{"a":"x"}}"#, json!({ "table": "contacts" }), "`columns`"),
        (
            r#"{"table":"contacts","key":{"a":"x"},"colums":{},"messageId":"m"}"#,
            json!({ "messageId": "m" }),
            "`colums`",
        ),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{"a":"y"}}"#, json!({ "table": "contacts" }), "`columns.a`"),
        (
            r#"{"table":"contacts","key":{"a":"x"},"columns":{},"version":1.5}"#,
            json!({ "table": "contacts" }),
            "`version`",
        ),
        (
            r#"{"table":"contacts","key":{"a":"x"},"columns":{},"operation":"merge"}"#,
            json!({ "table": "contacts" }),
            "`operation`",
        ),
    ] {
        let answer = scene.caller.post_text(body).await;
        let detail = answer.is_rejection(400, &invalid(known));
        assert!(detail.contains(named), "{body}: {detail}");
    }
    assert_eq!(scene.world.dataverse.requests().total(), 0);
    assert_eq!(scene.storage().counts().blob(), 0, "no lock was asked for");
}

#[tokio::test]
async fn an_update_of_a_missing_row_is_not_found() {
    let scene = Scene::start().await;
    let answer = scene.operate("update", "C1", &json!({ "firstname": "Ada" })).await;
    let text = "A record with the specified key values does not exist in the table.";
    let said = scene.said(404, "0x80060891", text);
    assert_eq!(answer.is_rejection(404, &about_refusal("C1", "rejected", "not_found", said)), text);
}

#[tokio::test]
async fn a_table_that_does_not_exist_is_not_found() {
    let scene = Scene::start().await;
    let mut record = contact("C1", &json!({ "firstname": "Ada" }));
    record["table"] = json!("Contacts");
    let answer = scene.post(&record).await;
    let text = "Resource not found for the segment 'Contacts'.";
    let mut members = about_refusal("C1", "rejected", "not_found", scene.said(404, "0x8006088a", text));
    members["table"] = json!("Contacts");
    assert_eq!(answer.is_rejection(404, &members), text, "entity set names are case-sensitive");
}

#[tokio::test]
async fn a_create_on_a_present_row_exists() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Ada" }));
    for name in ["Ada", "Grace"] {
        let answer = scene.operate("create", "C1", &json!({ "firstname": name })).await;
        let said = scene.said(412, "0x80040237", DUPLICATE);
        assert_eq!(answer.is_rejection(409, &about_refusal("C1", "rejected", "exists", said)), DUPLICATE);
    }
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Ada")));
}

#[tokio::test]
async fn another_unique_key_that_is_taken_is_a_key_collision() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "emailaddress1": "ada@example.com" }));
    let answer = scene.upsert("C2", &json!({ "emailaddress1": "ada@example.com" })).await;
    let said = scene.said(412, "0x80040237", DUPLICATE);
    let detail = answer.is_rejection(409, &about_refusal("C2", "rejected", "key_collision", said));
    assert!(detail.starts_with(DUPLICATE) && detail.contains("another unique key"), "{detail}");
    assert_eq!(scene.world.dataverse.requests().of("PATCH", 412), 2, "the first one and one more");
    assert_eq!(scene.world.dataverse.rows("contacts").len(), 1);
}

#[tokio::test]
async fn a_row_in_the_recycle_bin_is_a_key_collision() {
    let scene = Scene::start().await;
    for (operation, key) in [("upsert", "C1"), ("create", "C2")] {
        scene.world.dataverse.insert("contacts", &json!({ "employeeid": key }));
        assert!(scene.world.dataverse.recycle("contacts", &[("employeeid", key)]));
        let answer = scene.operate(operation, key, &json!({ "firstname": "Ada" })).await;
        let said = scene.said(412, "0x80040237", DUPLICATE);
        let detail = answer.is_rejection(409, &about_refusal(key, "rejected", "key_collision", said));
        assert!(detail.starts_with(DUPLICATE) && detail.contains("recycle bin"), "{detail}");
    }
}

#[tokio::test]
async fn a_duplicate_detection_rule_refuses_with_412_or_500_alike() {
    let scene = Scene::start().await;
    let text = "A record was not created or updated because a duplicate of the current record already exists.";
    for status in [412, 500] {
        scene.refuse(1, "C1", Status::new(status, "0x80040333", text));
        let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
        let said = scene.said(status, "0x80040333", text);
        assert_eq!(answer.is_rejection(409, &about_refusal("C1", "rejected", "duplicate_detected", said)), text);
    }
}

#[tokio::test]
async fn data_that_dataverse_refuses_is_invalid_with_dataverses_text() {
    let scene = Scene::start().await;
    for (columns, code, word) in [
        (json!({ "shoesize": 42 }), None, "shoesize"),
        (json!({ "firstname": "A".repeat(51) }), Some("0x80044331"), "firstname"),
        (json!({ "numberofchildren": -1 }), Some("0x80044330"), "numberofchildren"),
        (json!({ "familystatuscode": 99 }), Some("0x8004431a"), "familystatuscode"),
        (json!({ "unknown@odata.bind": "/accounts(accountnumber='A1')" }), Some("0x80048d19"), "unknown"),
    ] {
        let answer = scene.upsert("C1", &columns).await;
        let text = answer.body["detail"].as_str().unwrap_or_default().to_owned();
        assert!(text.contains(word), "{}", answer.text);
        let mut said = scene.said(400, code.unwrap_or_default(), &text);
        if code.is_none() {
            said.as_object_mut().expect("an object").remove("code");
        }
        answer.is_rejection(422, &about_refusal("C1", "rejected", "invalid_data", said));
    }
    assert_eq!(scene.world.dataverse.rows("contacts"), []);
}

#[tokio::test]
async fn a_request_that_dataverse_finds_too_large_is_413() {
    let scene = Scene::start().await;
    let text = "The request is too large.";
    scene.refuse(1, "C1", Status::new(413, "", text));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let mut said = scene.said(413, "", text);
    said.as_object_mut().expect("an object").remove("code");
    assert_eq!(answer.is_rejection(413, &about_refusal("C1", "rejected", "too_large", said)), text);
}

#[tokio::test]
async fn a_body_over_8_mib_is_413_and_one_of_8_mib_is_read() {
    const MAX: usize = 8 * 1024 * 1024;
    let scene = Scene::start().await;
    let answer = scene.caller.post_text(vec![b' '; MAX + 1]).await;
    let detail = answer.is_rejection(413, &json!({ "outcome": "rejected", "reason": "too_large" }));
    assert!(detail.contains("8388608"), "{detail}");
    let answer = scene.caller.post_text(vec![b' '; MAX]).await;
    assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")));
}

#[tokio::test]
async fn an_array_of_1001_records_is_413_and_one_of_1000_is_taken() {
    let scene = Scene::start().await;
    let answer = scene.post(&vec![json!({}); 1_001].into()).await;
    let detail = answer.is_rejection(413, &json!({ "outcome": "rejected", "reason": "too_large" }));
    assert_eq!(detail, "1001 records in one call; at most 1000 are allowed");
    let answer = scene.post(&vec![json!({}); 1_000].into()).await;
    assert_eq!((answer.status, &answer.body["summary"]), (207, &json!({ "rejected": 1_000 })));
}
