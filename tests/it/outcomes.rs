//! Outcomes beyond the one example of each reason in `canary`: limits, delays, and keys that no URL can address. What leads to which reason is tested beside `classify` and `pipeline`.

mod internal;
mod refused;
mod state;

use sandbox::world::{self, World};
use serde_json::{Value, json};
use stand_ins::dataverse::{self, Effect, ErrorCodes, Fault, Operation, Status, Table};
use stand_ins::host::Host;
use stand_ins::net::http_client;

use crate::caller::{Caller, contact, printed};
use crate::trust::{self, Folder};
use crate::waiting::wait_until;

/// The largest body, in bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

async fn start(settings: &[(&str, &str)]) -> (World, Host, Caller) {
    let world = crate::world().await;
    let host = world.host("instance-1", settings).await.expect("the host starts");
    let caller = Caller::of(&host);
    (world, host, caller)
}

fn operation(name: &str, key: &str) -> Value {
    let mut record = contact(key, &json!({ "firstname": "Ada" }));
    record["operation"] = json!(name);
    record
}

#[tokio::test]
async fn throttling_is_429_with_the_delay_that_dataverse_named_and_nothing_is_sent_meanwhile() {
    let (world, _host, caller) = start(&[]).await;
    let throttled = Status { retry_after: Some(37), ..Status::new(429, "0x80072322", "Too many.") };
    world.dataverse.fault(Fault::new(Effect::Status(throttled)).method("PATCH"));
    let answer = caller.post(&operation("upsert", "C1")).await;
    assert_eq!((answer.status, answer.header("retry-after")), (429, Some("37")), "{}", answer.text);
    let request_id = world.dataverse.journal().pop().expect("it was sent").request_id;
    let said = json!({ "status": 429, "code": "0x80072322", "message": "Too many.", "requestId": request_id });
    assert_eq!((&answer.body["dataverse"], &answer.body["detail"]), (&said, &json!("Too many.")));
    // The pause exceeds an HTTP caller's wait budget.
    let answer = caller.post(&operation("upsert", "C2")).await;
    let rest = answer.header("retry-after").and_then(|seconds| seconds.parse::<u64>().ok()).expect("seconds");
    assert!(answer.status == 429 && (21..=46).contains(&rest), "{}", answer.text);
    assert_eq!(world.dataverse.journal().len(), 1);
}

#[tokio::test]
async fn a_body_over_8_mib_and_an_array_of_1001_records_are_413() {
    let (_world, _host, caller) = start(&[]).await;
    let too_large = json!({ "outcome": "rejected", "reason": "too_large" });
    let answer = caller.post_text(vec![b' '; MAX_BYTES + 1]).await;
    assert!(answer.is_problem(413, &too_large).contains("8388608"));
    let answer = caller.post_text(vec![b' '; MAX_BYTES]).await;
    assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")));
    let answer = caller.post(&vec![json!({}); 1_001].into()).await;
    assert_eq!(answer.is_problem(413, &too_large), "more than 1000 records in one call");
    let answer = caller.post(&vec![json!({}); 1_000].into()).await;
    assert_eq!((answer.status, &answer.body["summary"]), (207, &json!({ "rejected": 1_000 })));
}

/// Every character that is not allowed in a Dataverse key URL: the row is found by a filter and written by its id.
#[tokio::test]
async fn a_row_whose_key_a_url_cannot_address_is_created_updated_and_deleted() {
    const KEY: &str = r"R&D/<1>*50%:\?+#";
    let (world, _host, caller) = start(&[]).await;
    for (name, reason) in [
        ("update", "not_found"),
        ("upsert", "created"),
        ("upsert", "updated"),
        ("create", "exists"),
        ("delete", "deleted"),
        ("delete", "already_absent"),
    ] {
        let answer = caller.post(&operation(name, KEY)).await;
        assert_eq!(answer.body["reason"], reason, "{name}: {}", answer.text);
    }
    let journal = world.dataverse.journal();
    let sent: Vec<_> = journal.iter().map(|entry| (entry.method.as_str(), entry.operation)).collect();
    let expected = [("POST", Operation::Create), ("PATCH", Operation::Update), ("DELETE", Operation::Delete)];
    assert_eq!(sent, expected);
}

/// The first answer was lost, so the row is our own; a rounded amount proves nothing, but does not differ either.
#[tokio::test]
async fn a_create_that_is_delivered_again_finds_the_row_that_our_own_user_created() {
    let impersonating = json!({ "CallerObjectId": "0c7b3f3e-1111-4222-8333-444455550000" }).to_string();
    for settings in [[].as_slice(), &[("SYNC_HEADERS", impersonating.as_str())]] {
        let (world, host, caller) = start(settings).await;
        let create = |key| {
            let mut record = contact(key, &json!({ "firstname": "Ada", "creditlimit": 1.005 }));
            record["operation"] = json!("create");
            record
        };
        assert_eq!(caller.post(&create("C1")).await.body["reason"], "created");
        let row = json!({ "employeeid": "C2", "firstname": "Ada", "creditlimit": 1.01, "_createdby_value": "0c7b3f3e-1111-4222-8333-444455550001" });
        world.dataverse.insert("contacts", &row);
        for (key, reason) in [("C1", "already_written"), ("C2", "exists")] {
            let url = format!("http://127.0.0.1:{}/SyncQueue", host.port_of_handler());
            let again = json!({ "Data": { "record": create(key).to_string() }, "Metadata": { "DequeueCount": "2" } });
            let response = http_client().post(url).body(again.to_string()).send().await.expect("the handler answers");
            let text = response.text().await.expect("the answer is whole");
            assert!(text.contains(reason), "{key} {settings:?}: {text}");
        }
    }
}

#[tokio::test]
async fn an_environment_that_offers_http_2_is_spoken_to_in_it() {
    let tls = trust::authority().with_http2();
    let dataverse = dataverse::Options { tls: Some(tls.clone()), ..dataverse::Options::default() };
    let world = crate::world_with(world::Options { dataverse, ..world::Options::default() }).await;
    let folder = Folder::new();
    let trusted = folder.write("authority.pem", tls.ca_pem());
    let host = world.host("one", &[("SSL_CERT_FILE", &trusted)]).await.expect("the host starts");
    let caller = Caller::of(&host);
    for reason in ["upserted", "upserted", "deleted"] {
        let answer = caller.post(&operation(if reason == "deleted" { "delete" } else { "upsert" }, "C1")).await;
        assert_eq!((answer.status, &answer.body["reason"]), (200, &json!(reason)), "{}", answer.text);
    }
    let protocols: Vec<_> = world.dataverse.journal().into_iter().map(|entry| entry.protocol).collect();
    assert_eq!(protocols, ["HTTP/2.0"; 3]);
}

#[tokio::test]
async fn what_plug_ins_and_other_clients_do_to_a_write_leads_to_its_outcome() {
    let (world, _host, caller) = start(&[]).await;
    let cases = [
        ("upsert", Effect::DeletedMeanwhile, (200, "applied", "upserted"), 2),
        ("upsert", Effect::WrappedDeadlock, (200, "applied", "upserted"), 2),
        ("upsert", Effect::PluginStatus(400), (422, "rejected", "invalid_data"), 1),
        ("upsert", Effect::PluginStatus(404), (422, "rejected", "invalid_data"), 1),
        ("update", Effect::PluginStatus(404), (404, "rejected", "not_found"), 1),
        ("delete", Effect::PluginStatus(404), (200, "skipped", "already_absent"), 1),
    ];
    for (at, (name, effect, verdict, requests)) in cases.into_iter().enumerate() {
        let key = format!("C{at}");
        world.dataverse.insert("contacts", &json!({ "employeeid": key }));
        world.dataverse.fault(Fault::new(effect.clone()));
        let before = world.dataverse.journal().len();
        let answer = caller.post(&operation(name, &key)).await;
        assert_eq!(answer.verdict(), verdict, "{name} {effect:?}: {}", answer.text);
        assert_eq!(world.dataverse.journal().len() - before, requests, "{name} {effect:?}");
    }
}

#[tokio::test]
async fn a_key_that_is_not_active_is_a_retry_under_either_code() {
    let judged = async |error_codes, code: &str| {
        let dataverse = dataverse::Options { error_codes, ..dataverse::Options::default() };
        let world = crate::world_with(world::Options { dataverse, ..world::Options::default() }).await;
        let things = Table::new("new_things", "new_thing", "new_thingid").text("new_code", 9);
        world.dataverse.define(things.key_in_progress(&["new_code"]));
        let host = world.host("one", &[]).await.expect("the host starts");
        let record = json!({ "table": "new_things", "key": { "new_code": "1" }, "columns": {} });
        let answer = Caller::of(&host).post(&record).await;
        let (_, outcome, reason) = answer.verdict();
        assert_eq!((outcome, reason), ("retry", "unauthorized"), "{error_codes:?}: {}", answer.text);
        assert_eq!(answer.body["dataverse"]["code"], code, "{}", answer.text);
        let named = "the key new_things(new_code) is missing or not active: Dataverse answered";
        wait_until(named, async || printed(&host, named)).await;
    };
    tokio::join!(judged(ErrorCodes::Current, "0x80060888"), judged(ErrorCodes::Older, "0x80060890"));
}
