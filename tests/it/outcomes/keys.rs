//! Keys that Dataverse cannot address, and keys that are already in use.

use serde_json::{Value, json};
use stand_ins::dataverse::Operation;

use super::Scene;
use crate::caller::contact;

/// Every character that is not allowed in a Dataverse key URL.
const HIDDEN: &str = r"R&D/<1>*50%:\?+#";

#[tokio::test]
async fn a_row_whose_key_a_url_cannot_address_is_created_updated_and_deleted() {
    let scene = Scene::start().await;
    for (operation, columns, reason) in [
        ("update", json!({ "firstname": "Ada" }), "not_found"),
        ("upsert", json!({ "firstname": "Ada" }), "created"),
        ("upsert", json!({ "firstname": "Grace" }), "updated"),
        ("update", json!({ "lastname": "Hopper" }), "updated"),
        ("create", json!({ "firstname": "Eve" }), "exists"),
        ("delete", Value::Null, "deleted"),
        ("delete", Value::Null, "already_absent"),
        ("create", json!({ "firstname": "Eve" }), "created"),
    ] {
        let answer = scene.operate(operation, HIDDEN, &columns).await;
        assert_eq!(answer.body["reason"], reason, "{operation}: {}", answer.text);
    }
    assert_eq!(scene.stored(HIDDEN, "firstname"), Some(json!("Eve")));
    let journal = scene.world.dataverse.journal();
    let asked: Vec<_> = journal.iter().map(|entry| (entry.method.as_str(), entry.operation)).collect();
    let expected = [
        ("POST", Operation::Create),
        ("PATCH", Operation::Update),
        ("PATCH", Operation::Update),
        ("DELETE", Operation::Delete),
        ("POST", Operation::Create),
    ];
    assert_eq!(asked, expected);
    let by_id = journal.iter().filter(|entry| entry.method != "POST").all(|entry| entry.key.len() == 36);
    assert!(by_id, "written by primary key: {journal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_writes_of_such_a_row_are_serialised_by_its_lock() {
    let scene = Scene::start().await;
    let record = contact(HIDDEN, &json!({ "firstname": "Ada" }));
    let answers = futures::future::join_all((0..10).map(|_| scene.post(&record))).await;
    let count = |reason: &str| answers.iter().filter(|answer| answer.body["reason"] == reason).count();
    assert_eq!((count("created"), count("updated")), (1, 9));
    assert_eq!(scene.world.dataverse.requests().of("POST", 412), 0);
    assert!(scene.world.dataverse.overlaps().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_locks_concurrent_first_writes_of_such_a_row_make_one_row() {
    let scene = Scene::with(&[("LOCK_MODE", "off")]).await;
    let record = contact(HIDDEN, &json!({ "firstname": "Ada" }));
    let answers = futures::future::join_all((0..10).map(|_| scene.post(&record))).await;
    assert!(answers.iter().all(|answer| answer.status < 300), "{answers:?}");
    assert_eq!(scene.world.dataverse.rows("contacts").len(), 1);
}

#[tokio::test]
async fn two_rows_with_such_a_key_are_a_key_collision() {
    let scene = Scene::start().await;
    for id in ["C1", "C2"] {
        scene.world.dataverse.insert("contacts", &json!({ "employeeid": id, "lastname": "O'Neil & Sons" }));
    }
    let record =
        json!({ "table": "contacts", "key": { "lastname": "O'Neil & Sons" }, "columns": { "firstname": "Ada" } });
    let answer = scene.post(&record).await;
    assert_eq!((answer.status, &answer.body["reason"]), (409, &json!("key_collision")), "{}", answer.text);
    assert!(
        answer.body["detail"].as_str().is_some_and(|detail| detail.contains("more than one row")),
        "{}",
        answer.text
    );
    assert_eq!(scene.world.dataverse.journal().len(), 0);
}

#[tokio::test]
async fn a_row_cannot_be_created_from_such_a_key_with_a_lookup() {
    let scene = Scene::start().await;
    let account = scene.world.dataverse.insert("accounts", &json!({ "accountnumber": "A1" }));
    let record = json!({
        "table": "new_orders", "columns": { "new_name": "first" },
        "key": { "_new_accountid_value": account, "new_reference": "50%" },
    });
    let answer = scene.post(&record).await;
    assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("invalid_data")), "{}", answer.text);
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("new_reference")), "{}", answer.text);
}

/// The same two extra requests for both operations, with or without locks, whether or not the row exists.
#[tokio::test]
async fn a_key_that_is_in_use_costs_two_more_requests() {
    for (settings, row_is_there) in [(vec![], false), (vec![], true), (vec![("LOCK_MODE", "off")], false)] {
        let scene = Scene::with(&settings).await;
        scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "emailaddress1": "ada@example.com" }));
        if row_is_there {
            scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C2" }));
        }
        for (operation, key) in [("upsert", "C2"), ("create", "C3")] {
            let before = scene.world.dataverse.requests().total();
            let answer = scene.operate(operation, key, &json!({ "emailaddress1": "ada@example.com" })).await;
            let reason = &answer.body["reason"];
            assert_eq!((reason, &answer.body["attempts"]), (&json!("key_collision"), &json!(1)), "{}", answer.text);
            let requests = scene.world.dataverse.requests().total() - before;
            assert!(requests <= 3, "{operation}: {requests} requests, with the row there: {row_is_there}");
        }
    }
}
