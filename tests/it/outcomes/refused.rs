//! Records that the settings or the clock refuse, and stored versions that are too high. The rules are tested beside `record`.

use serde_json::json;

use super::start;
use crate::caller::contact;
use crate::queue::raw_poison;
use crate::waiting::eventually;

#[tokio::test]
async fn a_table_that_sync_tables_does_not_name_is_refused_from_the_queue_by_http_and_in_an_array() {
    let (world, _host, caller) = start(&[("SYNC_TABLES", "contacts, Roles")]).await;
    let detail = "`table` is not one of those that SYNC_TABLES names";
    let account = json!({ "table": "accounts", "key": { "accountnumber": "7" }, "columns": {} });
    let role = json!({ "table": "roles", "key": { "name": "x" }, "columns": {} });
    let answer = caller.post(&account).await;
    assert_eq!(answer.verdict(), (400, "rejected", "invalid_message"), "{}", answer.text);
    assert_eq!(answer.body["detail"], detail);
    let answer = caller.post(&json!([account, contact("C1", &json!({})), role])).await;
    let reasons = [0, 1, 2].map(|at| answer.body["results"][at]["reason"].clone());
    assert_eq!(reasons, ["invalid_message", "upserted", "not_found"], "{}", answer.text);
    world.put(&account.to_string()).await.expect("the queue takes it");
    let letter: serde_json::Value = serde_json::from_str(&raw_poison(&world).await).expect("our letters are JSON");
    assert_eq!((&letter["reason"], &letter["detail"]), (&json!("invalid_message"), &json!(detail)), "{letter}");
    assert!(world.dataverse.rows("accounts").is_empty());
}

#[tokio::test]
async fn a_stored_version_that_is_too_high_is_one_warning_without_its_value_and_can_be_undone() {
    let (world, host, caller) = start(&[("SYNC_VERSION_COLUMN", "new_sourceversion")]).await;
    for key in ["C1", "C2"] {
        let row = json!({ "employeeid": key, "new_sourceversion": 9_223_372_036_854_775_807_i64 });
        world.dataverse.insert("contacts", &row);
        let mut record = contact(key, &json!({ "firstname": "Ada" }));
        record["version"] = json!(17);
        assert_eq!(caller.post(&record).await.verdict(), (200, "skipped", "superseded"));
        let undo = contact(key, &json!({ "new_sourceversion": null }));
        assert_eq!(caller.post(&undo).await.verdict(), (200, "applied", "upserted"));
        assert_eq!(caller.post(&record).await.verdict(), (200, "applied", "updated"));
    }
    // Another task reads the handler's output, and the last record's line comes after all others.
    let lines = eventually("the last line", async || {
        let lines: Vec<_> = host.logs().into_iter().map(|line| line.text).collect();
        (lines.iter().filter(|line| line.contains("record settled")).count() == 6).then_some(lines)
    })
    .await;
    let warned: Vec<_> = lines.iter().filter(|line| line.contains("implausible")).collect();
    let [line] = warned[..] else { panic!("{lines:#?}") };
    for part in ["WARN", "table=contacts", "column=new_sourceversion", "key_hash="] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("9223372036854775807") && !line.contains("C1"), "{line}");
}
