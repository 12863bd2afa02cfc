//! Calls of a handler without a host, as the host sends them, and their results.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Body, Client, RequestBuilder};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::sleep;

use super::super::target::Running;
use super::super::{Bound, Samples, number};
use stand_ins::host::first_delivery;
use stand_ins::net::http_client;

/// A caller waits 20 s at most; a call without an answer by then counts as not answered.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(40);

/// The pause between queue messages that are sent beside an attack.
const PACE: Duration = Duration::from_millis(250);

/// Sends calls to one process.
pub(super) struct Caller {
    http: Client,
    url: String,
}

/// The result of a call.
#[derive(Debug)]
pub(super) struct Answer {
    /// `None`: it was not answered, or not completely.
    pub(super) status: Option<u16>,
    /// The body.
    pub(super) text: String,
    /// From the call to its answer.
    pub(super) took: Duration,
}

impl Answer {
    /// Whether it is the answer to a record that was written.
    pub(super) fn is_written(&self) -> bool {
        self.status == Some(200) && !self.text.contains("\"deadLetter\"")
    }

    /// A text of its body, if it is a JSON object.
    pub(super) fn member(&self, name: &str) -> String {
        let body: Value = serde_json::from_str(&self.text).unwrap_or_default();
        body[name].as_str().unwrap_or_default().to_owned()
    }
}

impl Caller {
    /// Sends calls to this process.
    pub(super) fn of(running: &Running) -> Self {
        Self { http: http_client(), url: format!("http://127.0.0.1:{}", running.port) }
    }

    /// A call of the HTTP function.
    pub(super) fn request(&self, body: impl Into<Body>) -> RequestBuilder {
        self.http.post(format!("{}/api/records", self.url)).header(CONTENT_TYPE, "application/json").body(body)
    }

    /// Calls the HTTP function.
    pub(super) async fn post(&self, body: impl Into<Body>) -> Answer {
        answer(self.request(body)).await
    }

    /// Delivers a queue message, on a connection of its own.
    pub(super) async fn deliver(&self, record: &Value) -> Answer {
        let body = first_delivery("SyncQueue", "record", &record.to_string(), OffsetDateTime::now_utc());
        let http = http_client();
        answer(http.post(format!("{}/SyncQueue", self.url)).header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// Delivers twelve queue messages, some each second.
    pub(super) async fn deliver_beside(&self) -> Vec<Answer> {
        let deliver = async |number: u32| {
            sleep(PACE * number).await;
            self.deliver(&record(&format!("beside-{number}"))).await
        };
        join_all((0..12).map(deliver)).await
    }
}

/// Sends a call and reads its answer.
pub(super) async fn answer(request: RequestBuilder) -> Answer {
    let begun = Instant::now();
    let answered = async {
        let response = request.timeout(ANSWER_TIMEOUT).send().await?;
        Ok::<_, reqwest::Error>((response.status().as_u16(), response.text().await?))
    };
    let (status, text) = answered.await.map_or((None, String::new()), |(status, text)| (Some(status), text));
    Answer { status, text, took: begun.elapsed() }
}

/// A contact with this key.
pub(super) fn record(key: &str) -> Value {
    json!({ "table": "contacts", "key": { "employeeid": key }, "columns": { "firstname": "Ada" } })
}

/// Adds how calls were answered; each of them must be.
pub(super) fn add_calls(samples: &mut Samples, answers: &[Answer]) {
    let of =
        |class: u16| answers.iter().filter(|answer| answer.status.is_some_and(|status| status / 100 == class)).count();
    for (name, class) in [("calls answered 2xx", 2), ("calls answered 4xx", 4), ("calls answered 5xx", 5)] {
        samples.add(name, "calls", number(of(class)));
    }
    let unanswered = answers.iter().filter(|answer| answer.status.is_none()).count();
    samples.bounded("calls not answered", "calls", number(unanswered), Bound::Exactly(0.0));
    samples.add("longest call", "s", longest(answers));
}

/// Adds the results of queue messages; each of them must be written.
pub(super) fn add_messages(samples: &mut Samples, place: &str, answers: &[Answer]) {
    let failed = answers.iter().filter(|answer| !answer.is_written()).count();
    let none = Bound::Exactly(0.0);
    samples.bounded(format!("queue messages {place} that failed"), "messages", number(failed), none);
    let longest = if failed == 0 { longest(answers) } else { f64::NAN };
    samples.add(format!("queue messages {place}: the longest"), "s", longest);
}

/// The longest time until an answer, in seconds.
fn longest(answers: &[Answer]) -> f64 {
    answers.iter().map(|answer| answer.took.as_secs_f64()).fold(f64::NAN, f64::max)
}
