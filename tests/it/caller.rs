//! A client of the HTTP function, through the host.
//!
//! It never retries; [`Answer`] holds the whole response for comparison.

use dataverse_sync::outcome::Reason;
use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Body, Client, RequestBuilder};
use serde_json::{Value, json};
use stand_ins::host::Host;
use stand_ins::net::http_client;

/// Sends records to one host, with its function key.
#[derive(Debug)]
pub(crate) struct Caller {
    http: Client,
    url: String,
    key: String,
}

/// A complete response.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The body as JSON, or null if it is not JSON.
    pub(crate) body: Value,
}

impl Caller {
    /// A caller of `host`.
    pub(crate) fn of(host: &Host) -> Self {
        let url = format!("{}/api/records", host.http_url());
        Self { http: http_client(), url, key: host.function_key().to_owned() }
    }

    /// Posts one record, or an array of them.
    pub(crate) async fn post(&self, records: &Value) -> Answer {
        self.post_text(records.to_string()).await
    }

    /// Posts a body unchanged.
    pub(crate) async fn post_text(&self, body: impl Into<Body>) -> Answer {
        answer(self.request().header(CONTENT_TYPE, "application/json").body(body)).await
    }

    /// A POST with the function key and no body.
    pub(crate) fn request(&self) -> RequestBuilder {
        self.http.post(&self.url).header("x-functions-key", &self.key)
    }
}

/// Sends a request and reads the whole response.
pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("this machine answers");
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await.expect("the answer is whole");
    let body = serde_json::from_str(&text).unwrap_or(Value::Null);
    Answer { status, headers, text, body }
}

impl Answer {
    /// Status, outcome and reason, for comparison.
    pub(crate) fn verdict(&self) -> (u16, &str, &str) {
        let text = |name: &str| self.body[name].as_str().unwrap_or_default();
        (self.status, text("outcome"), text("reason"))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }

    /// Asserts that this is a result: status, media type, no `Retry-After`, and exactly these members.
    pub(crate) fn is_result(&self, status: u16, members: &Value) {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("retry-after"), None);
        assert_eq!(self.body, *members);
    }

    /// Asserts that this is a problem document (RFC 9457): status, media type, the reason's title, a detail, and
    /// exactly these extension members. Returns the detail.
    pub(crate) fn is_problem(&self, status: u16, members: &Value) -> &str {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(self.header("content-type"), Some("application/problem+json"));
        let reason = Reason::ALL.into_iter().find(|reason| members["reason"] == reason.code()).expect("a known code");
        let detail = self.body["detail"].as_str().expect("a problem has a detail");
        let mut expected = members.clone();
        expected["title"] = json!(reason.title());
        expected["status"] = json!(status);
        expected["detail"] = json!(detail);
        assert_eq!(self.body, expected);
        detail
    }
}

/// A contact record; `columns` may be null, for a deletion.
pub(crate) fn contact(key: &str, columns: &Value) -> Value {
    let mut record = json!({ "table": "contacts", "key": { "employeeid": key }, "messageId": format!("m-{key}") });
    if !columns.is_null() {
        record["columns"] = columns.clone();
    }
    record
}

/// The verdict of an applied upsert.
pub(crate) const UPSERTED: (u16, &str, &str) = (200, "applied", "upserted");

/// Sends the contact `key` through `host` and reads the answer.
pub(crate) async fn send(host: &Host, key: &str) -> Answer {
    Caller::of(host).post(&contact(key, &json!({ "firstname": "Ada" }))).await
}

/// Whether the handler printed a line that contains `text`.
pub(crate) fn printed(host: &Host, text: &str) -> bool {
    host.logs().iter().any(|line| line.text.contains(text))
}
