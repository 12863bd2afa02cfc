//! Replays the cases of messages, answers and HTTP calls, and compares.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};

use crate::case::{Case, Queued};
use crate::expected::{agree, describe, masked_body, masked_head, masked_header};
use crate::host::Host;
use crate::process;
use crate::recorder::{Request, Script};

/// How long the replay may take to show what the case shows.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The polling interval.
const POLL: Duration = Duration::from_millis(50);

/// Replays a case; `None` if the stand-in agrees with it.
pub(crate) async fn difference(case: &Case) -> Option<String> {
    match case.kind() {
        "H" => http(case).await,
        "P" => process::difference(case).await,
        _ => message(case).await,
    }
}

/// Polls until the observation is the expected one; returns the difference if it never is.
pub(crate) async fn until_agreed(expected: &Value, mut observe: impl AsyncFnMut() -> Value) -> Option<String> {
    let deadline = Instant::now() + TIMEOUT;
    loop {
        let observed = observe().await;
        if agree(expected, &observed) {
            return None;
        }
        if Instant::now() > deadline {
            return Some(describe(expected, &observed));
        }
        sleep(POLL).await;
    }
}

async fn message(case: &Case) -> Option<String> {
    let mut settings = Host::settings();
    if case.kind() == "N" {
        settings["extensions"]["queues"]["messageEncoding"] = json!("none");
    }
    if timed_out(case) {
        settings["functionTimeout"] = json!("00:00:03");
    }
    let host = Host::start(&settings, &Script { answer: case.answer.clone(), ..Script::default() }).await;
    let raw = match case.queued() {
        Queued::Raw(raw) => raw,
        Queued::Text(text) => STANDARD.encode(text),
    };
    host.queue.put(&raw).await.expect("the storage works");
    until_agreed(&expected(case), async || {
        let (poison, left) = host.left().await;
        // The real one's client shows an empty text as none.
        let poison: Vec<_> =
            poison.into_iter().map(|text| if text.is_empty() { Value::Null } else { text.into() }).collect();
        let mut observed = json!({ "poison": poison, "leftAfter": left });
        let requests = host.requests();
        match case.kind() {
            "A" => {
                let counts = requests.iter().map(|request| request.envelope()["Metadata"]["DequeueCount"].clone());
                observed["deliveries"] = counts.collect();
            }
            "N" => {
                observed["deliveries"] = requests.len().into();
                observed["items"] =
                    requests.iter().map(|request| request.envelope()["Data"]["record"].clone()).collect();
            }
            _ => observed["requests"] = requests.iter().map(shown).collect(),
        }
        observed
    })
    .await
}

/// Whether the invocation went on until the time limit.
fn timed_out(case: &Case) -> bool {
    let deliveries = case.line["deliveries"].as_array().into_iter().flatten();
    deliveries.last().and_then(|delivery| delivery["after"].as_f64()).is_some_and(|seconds| seconds > 15.0)
}

/// What the case shows, without what is put in and with times left out.
fn expected(case: &Case) -> Value {
    let mut expected = case.line.clone();
    let members = expected.as_object_mut().expect("a line is an object");
    members.retain(|name, _| ["requests", "deliveries", "items", "poison", "leftAfter"].contains(&name.as_str()));
    if let Some(deliveries) = members.get_mut("deliveries").and_then(Value::as_array_mut) {
        for delivery in deliveries {
            *delivery = delivery["dequeueCount"].take();
        }
    }
    if let Some(requests) = members.get_mut("requests").and_then(Value::as_array_mut) {
        for request in requests {
            let line = std::mem::take(request);
            *request = masked(&line);
        }
    }
    expected
}

async fn http(case: &Case) -> Option<String> {
    let host = Host::start(&Host::settings(), &Script { answer: case.answer.clone(), ..Script::default() }).await;
    let answer = host.call(&case.caller(host.port())).await.unwrap_or_default();
    let answer = answer.strip_prefix("HTTP/1.1 100 Continue\r\n\r\n").unwrap_or(&answer).replace("\r\n", "\n");
    let requests: Vec<Value> = host.requests().iter().map(shown).collect();
    let observed = json!({ "requests": requests, "callerGets": masked_head(&answer) });
    let mut expected = expected(case);
    expected["callerGets"] = masked_head(case.line["callerGets"].as_str().unwrap_or_default()).into();
    (!agree(&expected, &observed)).then(|| describe(&expected, &observed))
}

fn shown(request: &Request) -> Value {
    let Request { method, target, headers, body, .. } = request;
    masked(&json!({ "method": method, "target": target, "headers": headers, "body": body }))
}

fn masked(request: &Value) -> Value {
    let mut request = request.clone();
    for header in request["headers"].as_array_mut().into_iter().flatten() {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        header[1] = masked_header(&text(&header[0]), &text(&header[1])).into();
    }
    request["body"] = masked_body(request["body"].as_str().unwrap_or_default()).into();
    request
}
