//! An HTTP caller with a function key, and the patience of a test on a busy machine.

use std::time::Duration;

use sandbox::host::Host;
use sandbox::net::http_client;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Far beyond what anything here takes; then something is stuck.
const PATIENCE: Duration = Duration::from_mins(2);

/// What a caller was answered.
#[derive(Debug)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body.
    pub(crate) body: Value,
}

impl Answer {
    /// Status, outcome and reason, to compare with.
    pub(crate) fn told(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, text("outcome"), text("reason"))
    }
}

/// What an applied upsert is told as.
pub(crate) const UPSERTED: (u16, &str, &str) = (200, "applied", "upserted");

/// A contact's record.
pub(crate) fn contact(key: &str) -> Value {
    json!({ "table": "contacts", "key": { "employeeid": key }, "columns": { "firstname": "Ada" } })
}

/// Sends the contact `key` through `host` and reads the answer.
pub(crate) async fn send(host: &Host, key: &str) -> Answer {
    let url = format!("{}/api/records", host.http_url());
    let request = http_client().post(url).header("x-functions-key", host.function_key()).timeout(PATIENCE);
    let request = request.header("content-type", "application/json").body(contact(key).to_string());
    let response = request.send().await.expect("the host answers");
    let status = response.status().as_u16();
    let text = response.text().await.expect("the answer is whole");
    Answer { status, body: serde_json::from_str(&text).unwrap_or_else(|_| panic!("no JSON: {status} {text}")) }
}

/// Whether a line that the handler printed holds `text`.
pub(crate) fn printed(host: &Host, text: &str) -> bool {
    host.logs().iter().any(|line| line.text.contains(text))
}

/// Polls until `holds`; `what` names it when it never does.
pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < PATIENCE, "not within {} s: {what}", PATIENCE.as_secs());
        sleep(Duration::from_millis(20)).await;
    }
}
