//! Applied: Dataverse contains what the message requested.

use serde_json::{Value, json};

use super::{Scene, about};
use crate::caller::contact;

#[tokio::test]
async fn a_row_that_a_create_makes_is_created_with_201() {
    let scene = Scene::start().await;
    let answer = scene.operate("create", "C1", &json!({ "firstname": "Ada" })).await;
    answer.is_result(201, &about("C1", "applied", "created"));
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Ada")));
}

#[tokio::test]
async fn an_update_of_a_present_row_is_updated() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Ada", "lastname": "Byron" }));
    let answer = scene.operate("update", "C1", &json!({ "lastname": "Lovelace" })).await;
    answer.is_result(200, &about("C1", "applied", "updated"));
    assert_eq!(scene.stored("C1", "lastname"), Some(json!("Lovelace")));
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Ada")), "what was not sent stays");
}

#[tokio::test]
async fn an_upsert_without_a_version_is_upserted_whether_it_creates_or_updates() {
    let scene = Scene::start().await;
    for name in ["Ada", "Grace"] {
        let answer = scene.upsert("C1", &json!({ "firstname": name })).await;
        answer.is_result(200, &about("C1", "applied", "upserted"));
        assert_eq!(scene.stored("C1", "firstname"), Some(json!(name)));
    }
}

#[tokio::test]
async fn an_upsert_with_a_version_is_created_or_updated() {
    let scene = Scene::with(&[("SYNC_VERSION_COLUMN", "new_sourceversion")]).await;
    for (version, status, reason) in [(7, 201, "created"), (8, 200, "updated")] {
        let mut record = contact("C1", &json!({ "firstname": "Ada" }));
        record["version"] = json!(version);
        scene.post(&record).await.is_result(status, &about("C1", "applied", reason));
        assert_eq!(scene.stored("C1", "new_sourceversion"), Some(json!(version)));
    }
}

#[tokio::test]
async fn a_delete_of_a_present_row_is_deleted() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1" }));
    scene.operate("delete", "C1", &Value::Null).await.is_result(200, &about("C1", "applied", "deleted"));
    assert_eq!(scene.world.dataverse.rows("contacts"), []);
}

#[tokio::test]
async fn the_answer_repeats_the_key_as_sent_and_leaves_out_fields_without_a_value() {
    let scene = Scene::start().await;
    let key = r#"{ "new_region":"N", "new_number":1.0 }"#;
    let body = format!(r#"{{"table":"new_orders","key":{key},"columns":{{"new_name":"first"}}}}"#);
    let answer = scene.caller.post_text(body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let expected =
        format!(r#"{{"outcome":"applied","reason":"upserted","table":"new_orders","key":{key},"attempts":1}}"#);
    assert_eq!(answer.text, expected);
}
