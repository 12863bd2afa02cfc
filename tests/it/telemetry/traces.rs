//! One trace per message, with the caller's id and each span under the right parent.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::json;
use stand_ins::collector::{Collector, Span};
use stand_ins::dataverse::{Effect, Fault, Status};

use super::{ENDPOINT, ExportingHandler, SOON, attribute, names, only, whole_trace};
use crate::caller::contact;
use crate::waiting::eventually;

const CALLER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const CALLERS_TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLERS_SPAN: &str = "00f067aa0ba902b7";

fn lost_race() -> Status {
    Status::new(412, "0x80060892", "A record with matching key values already exists.")
}

/// Every span but the root has its parent in the trace and lies within it; a release may end later, as it runs after
/// the answer.
fn is_connected(spans: &[Span], root: &Span) {
    for span in spans.iter().filter(|span| span.id != root.id) {
        let parent = spans.iter().find(|parent| Some(&parent.id) == span.parent.as_ref());
        let parent = parent.unwrap_or_else(|| panic!("{} has no parent in {spans:#?}", span.name));
        let last = if span.name == "release" { span.began } else { span.ended };
        assert!(parent.began <= span.began && last <= parent.ended, "{} in {}", span.name, parent.name);
    }
}

#[tokio::test]
async fn a_queue_message_is_one_trace_with_the_hosts_id_from_token_to_release() {
    let (world, collector) = (crate::world().await, Collector::start().await.expect("the collector starts"));
    let endpoint = collector.endpoint();
    let host = world.host("one", &[(ENDPOINT, endpoint.as_str()), SOON[0], SOON[1]]).await.expect("the host starts");
    world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Ada" }));
    world.dataverse.fault(Fault::new(Effect::Status(lost_race())).method("PATCH"));
    world.put(&contact("C1", &json!({ "firstname": "Ada" })).to_string()).await.expect("the queue takes it");

    let ended = eventually("the invocation", async || host.invocations().pop()).await;
    let trace = ended.trace.expect("the host asks for one").simple().to_string();
    let spans = whole_trace(&collector, &trace, "SyncQueue").await;
    assert_eq!(names(&spans), BTreeSet::from(["SyncQueue", "lock", "read", "release", "token", "verify", "write"]));
    let message = only(&spans, "SyncQueue");
    assert_eq!((message.kind.as_str(), message.failed), ("Consumer", false));
    assert!(spans.iter().all(|span| Some(&span.id) != message.parent.as_ref()), "its parent is the host's");
    is_connected(&spans, message);
    for name in ["token", "lock", "write", "verify", "release"] {
        assert_eq!(only(&spans, name).parent.as_ref(), Some(&message.id), "{name}");
    }
    let verify = only(&spans, "verify");
    assert!(spans.iter().filter(|span| span.name == "read").all(|read| read.parent.as_ref() == Some(&verify.id)));
    for (name, value) in [
        ("faas.trigger", "pubsub"),
        ("faas.invocation_id", &ended.id.to_string()),
        ("messaging.system", "azure_storage_queue"),
        ("dataverse_sync.outcome", "skipped"),
        ("dataverse_sync.reason", "already_written"),
        ("dataverse_sync.table", "contacts"),
        ("dataverse_sync.attempt", "1"),
    ] {
        assert_eq!(attribute(message, name), value, "{name}");
    }
    assert_eq!(attribute(message, "dataverse_sync.key_hash").len(), 12);
    assert_eq!(attribute(only(&spans, "lock"), "dataverse_sync.lock.result"), "storage");
    assert_eq!(attribute(verify, "dataverse_sync.verify.result"), "same");
    let write = only(&spans, "write");
    for (name, value) in [
        ("http.request.method", "PATCH"),
        ("http.response.status_code", "412"),
        ("error.type", "412"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(write, name), value, "{name}");
    }
    assert!(write.failed && write.kind == "Client");
    let service = collector.resource();
    assert_eq!((service["service.name"].as_str(), service["service.version"].as_str()), ("dataverse-sync", "0.1.0"));
    assert!(!service["service.instance.id"].is_empty());
}

#[tokio::test]
async fn a_call_continues_its_callers_trace_and_a_cached_token_has_no_span() {
    let exporting = ExportingHandler::start(&SOON).await;
    assert_eq!(exporting.post(&contact("C1", &json!({}))).await.status, 200);
    let headers = [("traceparent", CALLER), ("x-azure-functions-invocationid", "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10")];
    assert_eq!(exporting.post_within(&contact("C2", &json!({})), &headers).await.status, 200);
    let spans = whole_trace(&exporting.collector, CALLERS_TRACE, "SyncHttp").await;
    assert_eq!(names(&spans), BTreeSet::from(["SyncHttp", "lock", "release", "write"]));
    let call = only(&spans, "SyncHttp");
    assert_eq!((call.parent.as_deref(), call.kind.as_str()), (Some(CALLERS_SPAN), "Server"));
    is_connected(&spans, call);
    for (name, value) in [
        ("faas.trigger", "http"),
        ("faas.invocation_id", "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10"),
        ("http.route", "/api/records"),
        ("http.response.status_code", "200"),
        ("dataverse_sync.reason", "upserted"),
    ] {
        assert_eq!(attribute(call, name), value, "{name}");
    }
}

#[tokio::test]
async fn the_records_of_an_array_are_children_of_the_call() {
    let exporting = ExportingHandler::start(&SOON).await;
    let records = json!([contact("C1", &json!({})), contact("C2", &json!({})), { "table": "contacts" }]);
    assert_eq!(exporting.post_within(&records, &[("traceparent", CALLER)]).await.status, 207);
    let spans = whole_trace(&exporting.collector, CALLERS_TRACE, "SyncHttp").await;
    let call = only(&spans, "SyncHttp");
    is_connected(&spans, call);
    let records: Vec<_> = spans.iter().filter(|span| span.name == "record").collect();
    assert!(records.iter().all(|record| record.parent.as_ref() == Some(&call.id)), "{spans:#?}");
    let mut reasons: Vec<_> = records.iter().map(|record| attribute(record, "dataverse_sync.reason")).collect();
    reasons.sort_unstable();
    assert_eq!(reasons, ["invalid_message", "upserted", "upserted"]);
    for write in spans.iter().filter(|span| span.name == "write") {
        assert!(records.iter().any(|record| Some(&record.id) == write.parent.as_ref()), "{spans:#?}");
    }
}

#[tokio::test]
async fn an_invalid_traceparent_begins_a_new_trace() {
    let exporting = ExportingHandler::start(&SOON).await;
    let (upper, long) = (CALLER.to_uppercase(), format!("{CALLER}{}", "0".repeat(7_000)));
    let zero = CALLER.replace(CALLERS_TRACE, &"0".repeat(32));
    let invalid = [&["'; DROP TABLE spans; --"][..], &[&zero], &[&upper], &[&long], &[CALLER, CALLER]];
    for headers in invalid {
        let headers: Vec<_> = headers.iter().map(|text| ("traceparent", *text)).collect();
        let answer = exporting.post_within(&contact("C1", &json!({})), &headers).await;
        assert_eq!(answer.status, 200, "{headers:?}");
    }
    let roots = eventually("all roots", async || {
        let spans = exporting.collector.spans();
        let roots: Vec<_> = spans.into_iter().filter(|span| span.name == "SyncHttp").collect();
        (roots.len() == invalid.len()).then_some(roots)
    })
    .await;
    assert!(roots.iter().all(|root| root.parent.is_none()), "{roots:#?}");
    let traces: BTreeSet<_> = roots.iter().map(|root| &root.trace).collect();
    assert_eq!(traces.len(), roots.len());
}

#[tokio::test]
async fn a_lock_handed_on_within_the_process_is_visible_in_its_span() {
    let exporting = ExportingHandler::start(&SOON).await;
    exporting.world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_millis(500))).method("PATCH"));
    let (one, other) = (contact("C1", &json!({})), contact("C1", &json!({})));
    let (one, other) = tokio::join!(exporting.post(&one), exporting.post(&other));
    assert_eq!((one.status, other.status), (200, 200));
    let results = eventually("both locks", async || {
        let spans = exporting.collector.spans();
        let locks = spans.iter().filter(|span| span.name == "lock");
        let results: BTreeSet<_> = locks.map(|lock| attribute(lock, "dataverse_sync.lock.result").to_owned()).collect();
        (results.len() == 2).then_some(results)
    })
    .await;
    assert_eq!(results, BTreeSet::from(["handed_on", "storage"].map(str::to_owned)));
}

#[tokio::test]
async fn a_refused_request_is_a_failed_span_with_its_error() {
    let exporting = ExportingHandler::start(&[SOON[0], SOON[1], crate::AT_ONCE]).await;
    let sent = async |trace: &str| {
        let parent = format!("00-{trace}-{CALLERS_SPAN}-01");
        let answer = exporting.post_within(&contact("C1", &json!({})), &[("traceparent", &parent)]).await;
        assert_eq!(answer.body["outcome"], "retry", "{}", answer.text);
        whole_trace(&exporting.collector, trace, "SyncHttp").await
    };
    exporting.world.identity.fault(stand_ins::identity::Fault::Status(reqwest::StatusCode::BAD_REQUEST));
    let spans = sent(&"2".repeat(32)).await;
    let token = only(&spans, "token");
    assert!(token.failed && !attribute(token, "error.type").is_empty(), "{token:#?}");
    assert!(spans.iter().all(|span| span.name != "write"), "nothing was sent");

    exporting.world.identity.clear_faults();
    eventually("the circuit breaker closes", async || {
        (exporting.post(&contact("C2", &json!({}))).await.status == 200).then_some(())
    })
    .await;
    exporting.refuse(Status::new(503, "", "busy"));
    let spans = sent(CALLERS_TRACE).await;
    let (call, write) = (only(&spans, "SyncHttp"), only(&spans, "write"));
    assert_eq!((attribute(write, "error.type"), write.failed), ("503", true));
    assert_eq!((attribute(call, "error.type"), call.failed), ("unavailable", true));
    assert_eq!(attribute(call, "dataverse_sync.outcome"), "retry");
}
