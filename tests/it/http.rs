//! The HTTP function beyond single outcomes: routes, arrays, bodies, disconnecting callers, and what reaches Dataverse.

mod arrays;
mod crowd;
mod late_parents;
mod pages;
mod parents;
mod requests;
mod sent;

use std::time::Duration;

use futures::stream;
use reqwest::header::{CONTENT_LENGTH, CONTENT_TYPE};
use reqwest::{Body, RequestBuilder};
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault};
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::net::http_client;

use crate::caller::{Caller, answer, contact};
use crate::waiting::eventually;

async fn start(settings: &[(&str, &str)]) -> (World, Host, Caller) {
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

/// The host answers a chunked body itself.
#[tokio::test]
async fn an_empty_body_is_refused_with_a_hint_and_an_incomplete_one_is_never_applied() {
    let (world, host, caller) = start(&[]).await;
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let empty = caller.post_text(Body::from("")).await;
    let detail = empty.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
    assert!(detail.contains("the body is empty"), "{detail}");
    let chunked = caller.post_text(in_chunks(&record)).await;
    assert_eq!((chunked.status, chunked.text.as_str()), (500, ""));
    let to_handler = || http_client().post(at_handler(&host, "/api/records"));
    let short = to_handler().header(CONTENT_LENGTH, record.len() + 1).body(in_chunks(&record));
    short.send().await.expect_err("the client notices that it has sent too little");
    assert_eq!(answer(to_handler().body(in_chunks(&record.replace("C1", "C2")))).await.body["reason"], "upserted");
    let keys: Vec<_> = world.dataverse.journal().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["employeeid='C2'"]);
}

/// Sends a request and disconnects while the handler processes it.
async fn call_and_disconnect(world: &World, request: RequestBuilder) {
    let storage = world.storage.embedded().expect("this world is on the embedded storage");
    let before = storage.counts();
    let processing = eventually("a lock request", async || (storage.counts().since(&before).acquire > 0).then_some(()));
    tokio::select! {
        answer = request.send() => panic!("answered before the caller disconnected: {answer:?}"),
        () = processing => {}
    }
}

#[tokio::test]
async fn a_caller_that_disconnects_stops_neither_its_record_nor_the_rest_of_its_array() {
    let (world, host, caller) = start(&[]).await;
    let direct = http_client().post(at_handler(&host, "/api/records"));
    let [ada, grace] = ["Ada", "Grace"].map(|name| contact("C2", &json!({ "firstname": name })));
    let one = contact("C1", &json!({ "firstname": "Grace" }));
    for (key, request, body) in [("C1", caller.request(), one), ("C2", direct, Value::from(vec![ada, grace]))] {
        world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_millis(500))).key(key));
        call_and_disconnect(&world, request.header(CONTENT_TYPE, "application/json").body(body.to_string())).await;
        eventually("the last record's row", async || {
            let row = world.dataverse.row("contacts", &[("employeeid", key)])?;
            (row["firstname"] == "Grace").then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn a_host_that_disconnects_does_not_stop_its_message_and_the_closing_line_is_printed() {
    let (world, host, _) = start(&[]).await;
    world.dataverse.fault(Fault::new(Effect::Slow(Duration::from_millis(500))).key("C1"));
    let record = contact("C1", &json!({ "firstname": "Ada" }));
    let body = json!({ "Data": { "record": record }, "Metadata": {} }).to_string();
    call_and_disconnect(&world, http_client().post(at_handler(&host, "/SyncQueue")).body(body)).await;
    let is_closing = |text: &str| text.contains("record settled") && text.contains("message_id=m-C1");
    eventually("its line", async || host.logs().iter().any(|line| is_closing(&line.text)).then_some(())).await;
    assert!(world.dataverse.row("contacts", &[("employeeid", "C1")]).is_some());
}

/// A call that works on a developer's machine may therefore be refused in Azure.
#[tokio::test]
async fn on_a_developers_machine_no_function_key_is_required() {
    let world = crate::world().await;
    let options = HostOptions { without_keys: true, ..world.host_options("local", &[]) };
    let host = Host::start(options).await.expect("the host starts");
    let url = format!("{}/api/records", host.http_url());
    let record = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    assert_eq!(answer(http_client().post(&url).body(record)).await.status, 200);
}
