//! Skipped: there was nothing to do.

use serde_json::{Value, json};
use stand_ins::dataverse::{BodyForm, Status};

use super::{DUPLICATE, Scene, about, about_refusal};
use crate::caller::contact;

#[tokio::test]
async fn a_lost_race_to_a_row_with_our_values_is_already_written() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Ada", "creditlimit": 1.5 }));
    scene.refuse(1, "C1", Status::new(412, "0x80040237", DUPLICATE));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada", "creditlimit": 1.50 })).await;
    let said = scene.said(412, "0x80040237", DUPLICATE);
    answer.is_result(200, &about_refusal("C1", "skipped", "already_written", said));
    assert_eq!(scene.world.dataverse.requests().method("PATCH"), 1, "nothing was sent again");
}

#[tokio::test]
async fn a_lost_race_to_other_values_is_sent_again() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Grace" }));
    scene.refuse(1, "C1", Status::new(412, "0x80060892", DUPLICATE));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    answer.is_result(200, &about("C1", "applied", "upserted"));
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Ada")));
}

#[tokio::test]
async fn under_the_policy_skip_a_lost_race_is_written_elsewhere_whatever_the_row_holds() {
    let scene = Scene::with(&[("SYNC_ON_CONFLICT", "skip")]).await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Grace" }));
    scene.refuse(1, "C1", Status::new(412, "0x80040237", DUPLICATE));
    let answer = scene.upsert("C1", &json!({ "firstname": "Ada" })).await;
    let said = scene.said(412, "0x80040237", DUPLICATE);
    answer.is_result(200, &about_refusal("C1", "skipped", "written_elsewhere", said));
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Grace")));
}

#[tokio::test]
async fn a_record_may_choose_the_policy_and_a_412_is_recognised_by_its_text_alone() {
    let scene = Scene::start().await;
    scene.world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Grace" }));
    for form in [BodyForm::Standard, BodyForm::Legacy] {
        scene.refuse(1, "C1", Status { form, ..Status::new(412, "", DUPLICATE) });
        let mut record = contact("C1", &json!({ "firstname": "Ada" }));
        record["onConflict"] = json!("skip");
        let answer = scene.post(&record).await;
        let mut said = scene.said(412, "", DUPLICATE);
        said.as_object_mut().expect("an object").remove("code");
        answer.is_result(200, &about_refusal("C1", "skipped", "written_elsewhere", said));
    }
}

#[tokio::test]
async fn a_version_that_is_not_newer_than_the_rows_is_superseded() {
    let scene = Scene::with(&[("SYNC_VERSION_COLUMN", "new_sourceversion")]).await;
    scene
        .world
        .dataverse
        .insert("contacts", &json!({ "employeeid": "C1", "firstname": "Grace", "new_sourceversion": 5 }));
    for version in [5, 4] {
        let mut record = contact("C1", &json!({ "firstname": "Ada" }));
        record["version"] = json!(version);
        scene.post(&record).await.is_result(200, &about("C1", "skipped", "superseded"));
    }
    assert_eq!(scene.stored("C1", "firstname"), Some(json!("Grace")));
    assert_eq!(scene.world.dataverse.journal().len(), 0, "nothing was written");
}

#[tokio::test]
async fn a_delete_of_a_missing_row_is_already_absent() {
    let scene = Scene::start().await;
    let answer = scene.operate("delete", "C1", &Value::Null).await;
    let text = "A record with the specified key values does not exist in the table.";
    let said = scene.said(404, "0x80060891", text);
    assert_eq!(answer.body["detail"], text);
    let mut members = about_refusal("C1", "skipped", "already_absent", said);
    members["detail"] = json!(text);
    answer.is_result(200, &members);
}
