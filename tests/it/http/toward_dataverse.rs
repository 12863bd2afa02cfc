//! The requests to Dataverse that a call causes, and what they must not contain.

use std::collections::{BTreeMap, BTreeSet};

use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};

use super::scene;
use crate::caller::{answer, contact};

/// The headers of every write so far.
fn sent(world: &World) -> Vec<BTreeMap<String, String>> {
    world.dataverse.journal().into_iter().map(|entry| entry.headers).collect()
}

#[tokio::test]
async fn every_write_has_the_headers_of_odata_and_of_the_settings() {
    let extra = r#"{"MSCRM.SuppressDuplicateDetection":"false","CallerObjectId":"0e7"}"#;
    let (world, _host, caller) = scene(&[("SYNC_HEADERS", extra)]).await;
    for operation in ["upsert", "create", "update", "delete"] {
        let mut record = contact(&format!("C-{operation}"), &json!({ "firstname": "Ada" }));
        record["operation"] = json!(operation);
        caller.post(&record).await;
    }
    let sent = sent(&world);
    let conditions = [(None, None), (None, Some("*")), (Some("*"), None), (None, None)];
    assert_eq!(sent.len(), conditions.len());
    for (headers, (if_match, if_none_match)) in sent.iter().zip(conditions) {
        let header = |name: &str| headers.get(name).map(String::as_str);
        assert_eq!(header("accept"), Some("application/json"));
        assert_eq!((header("odata-version"), header("odata-maxversion")), (Some("4.0"), Some("4.0")));
        assert_eq!((header("if-match"), header("if-none-match")), (if_match, if_none_match));
        assert_eq!(header("mscrm.suppressduplicatedetection"), Some("false"));
        assert_eq!(header("callerobjectid"), Some("0e7"));
        assert!(header("user-agent").is_some_and(|agent| agent.starts_with("dataverse-sync/")));
    }
    let types: Vec<_> = sent.iter().map(|headers| headers.get("content-type").map(String::as_str)).collect();
    let json = Some("application/json");
    assert_eq!(types, [json, json, json, None], "a deletion has no body");
}

#[tokio::test]
async fn a_user_agent_in_the_settings_replaces_ours() {
    let (world, _host, caller) = scene(&[("SYNC_HEADERS", r#"{"User-Agent":"contoso/1"}"#)]).await;
    assert_eq!(caller.post(&contact("C1", &json!({ "firstname": "Ada" }))).await.status, 200);
    let agents: Vec<_> = sent(&world).iter().map(|headers| headers.get("user-agent").cloned()).collect();
    assert_eq!(agents, [Some("contoso/1".to_owned())]);
}

#[tokio::test]
async fn every_request_has_its_own_id_even_when_it_is_sent_again() {
    let (world, _host, caller) = scene(&[]).await;
    world.dataverse.fault(Fault::new(Effect::Deadlock).method("PATCH"));
    assert_eq!(caller.post(&contact("C1", &json!({ "firstname": "Ada" }))).await.status, 200);
    let sent = sent(&world);
    let ids: BTreeSet<_> = sent.iter().filter_map(|headers| headers.get("x-ms-client-request-id")).collect();
    assert_eq!((sent.len(), ids.len()), (2, 2));
    assert!(ids.iter().all(|id| id.parse::<uuid::Uuid>().is_ok()), "{ids:?}");
}

#[tokio::test]
async fn cookies_which_would_pin_the_client_to_one_server_are_not_sent() {
    let (world, _host, caller) = scene(&[]).await;
    for key in ["C1", "C2"] {
        assert_eq!(caller.post(&contact(key, &json!({ "firstname": "Ada" }))).await.status, 200);
    }
    let sent = sent(&world);
    assert_eq!(sent.len(), 2);
    assert!(sent.iter().all(|headers| !headers.contains_key("cookie")), "{sent:?}");
}

#[tokio::test]
async fn no_header_of_the_caller_reaches_dataverse() {
    let (world, host, caller) = scene(&[]).await;
    let request = caller.request().header("content-type", "application/json").header("x-canary", "1");
    let request = request.header("cookie", "a=b").header("if-match", "*").header("referer", "http://localhost/");
    let answer = answer(request.body(contact("C1", &json!({ "firstname": "Ada" })).to_string())).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let sent = sent(&world);
    assert_eq!(sent.len(), 1);
    for (name, value) in &sent[0] {
        assert!(!["x-canary", "cookie", "if-match", "referer", "x-functions-key"].contains(&name.as_str()), "{name}");
        assert!(!value.contains(host.function_key()), "{name}");
    }
}

#[tokio::test]
async fn columns_arrive_as_sent_without_the_key_columns() {
    let (world, _host, caller) = scene(&[]).await;
    let columns =
        json!({ "employeeid": "C1", "firstname": "\u{e4}\u{1f600}\"\\", "creditlimit": 1.5, "jobtitle": null });
    assert_eq!(caller.post(&contact("C1", &columns)).await.status, 200);
    let mut expected = columns;
    expected.as_object_mut().expect("an object").remove("employeeid");
    let journal = world.dataverse.journal();
    assert_eq!((journal.len(), Value::Object(journal[0].values.clone())), (1, expected));
    assert_eq!((journal[0].set.as_str(), journal[0].key.as_str()), ("contacts", "employeeid='C1'"));
}

#[tokio::test]
async fn a_refused_token_is_refreshed_once_and_the_write_succeeds() {
    let (world, _host, caller) = scene(&[crate::AT_ONCE]).await;
    assert_eq!(caller.post(&contact("C1", &json!({ "firstname": "Ada" }))).await.status, 200);
    world.identity.revoke_all();
    assert_eq!(caller.post(&contact("C1", &json!({ "firstname": "Grace" }))).await.status, 200);
    let statuses: Vec<_> = world.dataverse.journal().iter().map(|entry| entry.status).collect();
    assert_eq!(statuses, [Some(204), Some(401), Some(204)]);

    let refused = Status::new(401, "0x80040277", "The access token is not valid here.");
    world.dataverse.fault(Fault::new(Effect::Status(refused)).until_cleared());
    let answer = caller.post(&contact("C1", &json!({ "firstname": "Joan" }))).await;
    assert_eq!((answer.status, &answer.body["reason"]), (503, &json!("unauthorized")));
    assert_eq!(world.dataverse.journal().len(), 5, "sent once more, and no more than that");
}
