//! The HTTP function beyond single outcomes: arrays, incomplete bodies, CloudEvents, disconnecting callers, and which
//! parts of a request reach Dataverse.

mod addresses;
mod arrays;
mod bodies;
mod raw;
mod requests;
mod toward_dataverse;

use std::time::Duration;

use futures::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, RequestBuilder};
use sandbox::world::{Backing, World};
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault};
use stand_ins::host::Host;
use stand_ins::net::http_client;

use crate::caller::{Caller, answer, contact};
use crate::waiting::eventually;

async fn scene(settings: &[(&str, &str)]) -> (World, Host, Caller) {
    let world = crate::world().await;
    let host = world.host("instance-1", settings).await.expect("the host starts");
    let caller = Caller::of(&host);
    (world, host, caller)
}

/// The URL of `path` on the handler itself, bypassing the host.
fn at_handler(host: &Host, path: &str) -> String {
    format!("http://127.0.0.1:{}{path}", host.port_of_handler())
}

/// A body sent in chunks, without a Content-Length.
fn in_chunks(text: &str) -> Body {
    let chunks: Vec<Result<String, std::io::Error>> = text.chars().map(|c| Ok(c.to_string())).collect();
    Body::wrap_stream(stream::iter(chunks))
}

#[tokio::test]
async fn an_empty_body_is_refused_with_a_hint_at_content_length() {
    let (_world, _host, caller) = scene(&[]).await;
    let answer = caller.post_text("").await;
    let detail = answer.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
    assert!(detail.contains("Content-Length"), "{detail}");
}

#[tokio::test]
async fn a_chunked_body_is_dropped_by_the_host_and_the_answer_says_why() {
    let (world, host, caller) = scene(&[]).await;
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let dropped = caller.post_text(in_chunks(&record)).await;
    assert_eq!(dropped.status, 400, "{}", dropped.text);
    assert!(dropped.body["detail"].as_str().is_some_and(|detail| detail.contains("Content-Length")));
    assert_eq!(world.dataverse.journal().len(), 0);

    // The handler itself accepts chunked bodies.
    let request = http_client().post(at_handler(&host, "/api/records")).body(in_chunks(&record));
    assert_eq!(answer(request).await.body["reason"], "upserted");
}

#[tokio::test]
async fn an_incomplete_body_is_never_applied() {
    let (world, host, caller) = scene(&[]).await;
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let request = http_client().post(at_handler(&host, "/api/records"));
    let request = request.header(CONTENT_LENGTH, record.len() + 1).body(in_chunks(&record));
    request.send().await.expect_err("the client notices that it has sent too little");
    let whole = contact("C2", &json!({ "firstname": "Ada" }));
    assert_eq!(caller.post(&whole).await.status, 200);
    let keys: Vec<_> = world.dataverse.journal().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["employeeid='C2'"]);
}

#[tokio::test]
async fn a_wrong_method_is_405_and_an_unknown_path_404_each_as_a_problem() {
    let (_world, host, _) = scene(&[]).await;
    let http = http_client();
    for (request, status, title, allow) in [
        (http.get(at_handler(&host, "/api/records")), 405, "Method Not Allowed", Some("POST")),
        (http.put(at_handler(&host, "/api/records")), 405, "Method Not Allowed", Some("POST")),
        (http.get(at_handler(&host, "/SyncQueue")), 405, "Method Not Allowed", Some("POST")),
        (http.post(at_handler(&host, "/")), 405, "Method Not Allowed", Some("GET,HEAD")),
        (http.post(at_handler(&host, "/api/record")), 404, "Not Found", None),
        (http.post(at_handler(&host, "/SyncHttp")), 404, "Not Found", None),
    ] {
        let answer = answer(request).await;
        assert_eq!(answer.status, status);
        assert_eq!(answer.header("content-type"), Some("application/problem+json"));
        assert_eq!(answer.header("allow"), allow, "RFC 9110 wants a 405 to say what is allowed");
        assert_eq!(answer.body, json!({ "title": title, "status": status }));
    }
}

#[tokio::test]
async fn the_host_refuses_a_call_without_a_function_key() {
    let (world, host, _) = scene(&[]).await;
    let url = format!("{}/api/records", host.http_url());
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    assert_eq!(answer(http_client().post(&url).body(record.clone())).await.status, 401);
    assert_eq!(world.dataverse.journal().len(), 0);
    let with_code = format!("{url}?code={}", host.function_key());
    assert_eq!(answer(http_client().post(with_code).body(record)).await.status, 200);
}

#[tokio::test]
async fn a_cloud_events_data_is_the_record_with_its_source_and_id() {
    let (world, _host, caller) = scene(&[]).await;
    let event = json!({
        "specversion": "1.0",
        "type": "com.example.person.changed",
        "source": "/hr",
        "id": "event-1",
        "time": "2026-11-23T10:00:00Z",
        "datacontenttype": "application/json",
        "data": { "table": "contacts", "key": { "employeeid": "C1" }, "columns": { "firstname": "Ada" } },
    });
    let request = caller.request().header(CONTENT_TYPE, "application/cloudevents+json").body(event.to_string());
    answer(request).await.is_result(
        200,
        &json!({
            "outcome": "applied",
            "reason": "upserted",
            "table": "contacts",
            "key": { "employeeid": "C1" },
            "messageId": "event-1",
            "attempts": 1,
        }),
    );
    assert_eq!(world.dataverse.rows("contacts")[0]["firstname"], "Ada");
}

#[tokio::test]
async fn an_invalid_cloud_event_is_rejected_and_keeps_its_id() {
    let (_world, _host, caller) = scene(&[]).await;
    for (member, value, named) in [
        ("specversion", json!("0.3"), "`specversion`"),
        ("data", json!("text"), "`data`"),
        ("data", json!({ "table": "contacts", "colums": {} }), "`colums`"),
    ] {
        let mut event = json!({ "specversion": "1.0", "type": "t", "source": "/hr", "id": "event-1", "data": {} });
        event[member] = value;
        let answer = caller.post(&event).await;
        assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")), "{}", answer.text);
        assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{}", answer.text);
        let known = if member == "specversion" { Value::Null } else { json!("event-1") };
        assert_eq!(answer.body["messageId"], known);
    }
}

/// Sends a request and disconnects while the handler processes it.
async fn call_and_disconnect(world: &World, request: RequestBuilder) {
    let Backing::Embedded(storage) = &world.storage else { panic!("this world is on the embedded storage") };
    let before = storage.counts();
    let processing = eventually("a lock request", async || (storage.counts().since(&before).acquire > 0).then_some(()));
    tokio::select! {
        answer = request.send() => panic!("answered before the caller disconnected: {answer:?}"),
        () = processing => {}
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_does_not_stop_its_record() {
    let (world, host, caller) = scene(&[]).await;
    let direct = http_client().post(at_handler(&host, "/api/records"));
    for (key, request) in [("C1", caller.request()), ("C2", direct)] {
        world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_secs(1))).key(key));
        let record = contact(key, &json!({ "firstname": "Ada" })).to_string();
        call_and_disconnect(&world, request.header(CONTENT_TYPE, "application/json").body(record)).await;
        eventually("its row", async || world.dataverse.row("contacts", &[("employeeid", key)])).await;
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_does_not_stop_the_rest_of_its_array() {
    let (world, host, _) = scene(&[]).await;
    world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_secs(1))).key("C1"));
    let records: Vec<Value> = ["Ada", "Grace"].map(|name| contact("C1", &json!({ "firstname": name }))).into();
    let request = http_client().post(at_handler(&host, "/api/records"));
    call_and_disconnect(&world, request.body(Value::from(records).to_string())).await;
    eventually("the second record of the same key", async || {
        let row = world.dataverse.row("contacts", &[("employeeid", "C1")])?;
        (row["firstname"] == "Grace").then_some(())
    })
    .await;
}
