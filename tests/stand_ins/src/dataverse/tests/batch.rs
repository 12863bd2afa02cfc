//! `$batch`: parts are executed like requests, counted as one, and can fail in ways of their own.

mod faults;
mod refused;
mod same;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::{Change, Limits, Options};
use super::{Answer, Bench, EMPLOYEE, WIDE};

const CONTINUE: (&str, &str) = ("prefer", "odata.continue-on-error");

const BOUNDARY: &str = "batch_1";

/// A request as it stands in a batch, with the position as its Content-ID.
fn part(method: &Method, target: &str, headers: &[(&str, &str)], body: Option<&str>) -> String {
    let headers: String = headers.iter().flat_map(|(name, value)| [name, ": ", value, "\r\n"]).collect();
    format!("{method} {target} HTTP/1.1\r\n{headers}\r\n{}", body.unwrap_or_default())
}

fn patch(key: &str, body: &Value) -> String {
    let target = format!("/api/data/v9.2/contacts(employeeid='{key}')");
    part(&Method::PATCH, &target, &[("content-type", "application/json")], Some(&body.to_string()))
}

/// The body of a batch.
fn body(parts: &[String]) -> String {
    let head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary";
    let parts = parts.iter().enumerate();
    let parts = parts.map(|(at, part)| format!("--{BOUNDARY}\r\n{head}\r\nContent-ID: {}\r\n\r\n{part}\r\n", at + 1));
    format!("{}--{BOUNDARY}--\r\n", parts.collect::<String>())
}

/// A response to a batch.
#[derive(Debug)]
struct Response {
    status: u16,
    /// The position that its Content-ID says, and the answer.
    parts: Vec<(String, Answer)>,
}

impl Response {
    fn verdicts(&self) -> Vec<(u16, &str)> {
        self.parts.iter().map(|(_, answer)| answer.verdict()).collect()
    }
}

impl Bench {
    async fn send_batch(&self, headers: &[(&str, &str)], body: String) -> reqwest::Result<reqwest::Response> {
        let url = format!("{}/api/data/v9.2/$batch", self.dataverse.url());
        let mut request = self.http.post(url).bearer_auth(&self.token).body(body);
        request = request.header("content-type", format!("multipart/mixed; boundary=\"{BOUNDARY}\""));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await
    }

    async fn batch(&self, headers: &[(&str, &str)], parts: &[String]) -> Response {
        let response = self.send_batch(headers, body(parts)).await.expect("the stand-in answers");
        let (status, kind) = (response.status().as_u16(), response.headers()["content-type"].clone());
        let kind = kind.to_str().expect("plain text").to_owned();
        let (_, boundary) = kind.split_once("multipart/mixed; boundary=").expect("a multipart response");
        let text = response.text().await.expect("all of it");
        let mut parts: Vec<&str> = text.split(&format!("--{boundary}")).collect();
        assert_eq!((parts.remove(0), parts.pop()), ("", Some("--\r\n")), "{text}");
        Response { status, parts: parts.into_iter().map(answer).collect() }
    }
}

/// Content-ID and answer of a part.
fn answer(part: &str) -> (String, Answer) {
    let (mime, http) = part.split_once("\r\n\r\n").expect("headers of the part");
    let id = mime.lines().find_map(|line| line.strip_prefix("Content-ID: ")).unwrap_or_default();
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut head = httparse::Response::new(&mut headers);
    let length = head.parse(http.as_bytes()).expect("a head").unwrap();
    let (status, text) = (head.code.expect("a status"), http[length..].strip_suffix("\r\n").expect("a line end"));
    let headers = head.headers.iter().map(|header| {
        let name = header.name.parse::<reqwest::header::HeaderName>().expect("a name");
        (name, header.value.try_into().expect("a value"))
    });
    let (headers, body) = (headers.collect(), serde_json::from_str(text).unwrap_or(Value::String(text.to_owned())));
    (id.to_owned(), Answer { status, headers, body })
}

#[tokio::test]
async fn parts_are_executed_in_order_each_with_its_own_method_address_headers_and_body() {
    let bench = Bench::quick().await;
    let absolute = format!("{}/api/data/v9.2/{EMPLOYEE}", bench.dataverse.url());
    let (json, absent) = (("Content-Type", "application/json; type=entry"), ("If-None-Match", "*"));
    let parts = [
        part(&Method::PATCH, &absolute, &[json, absent], Some(r#"{"firstname":"Ada"}"#)),
        part(&Method::PATCH, EMPLOYEE, &[json, absent], Some(r#"{"firstname":"Bea"}"#)),
        part(&Method::GET, &format!("/api/data/v9.2/{EMPLOYEE}?$select=firstname"), &[], None),
        part(&Method::POST, "accounts", &[json, ("Prefer", "return=representation")], Some(r#"{"name":"A"}"#)),
        part(&Method::DELETE, EMPLOYEE, &[("CallerObjectId", "0c7b3f3e-1111-4222-8333-444455550000")], None),
        // Clients leave out the empty line after the last header.
        format!("GET {EMPLOYEE} HTTP/1.1\r\nAccept: application/json"),
    ];
    let response = bench.batch(&[CONTINUE], &parts).await;
    assert_eq!(response.status, 200);
    let expected = [(204, ""), (412, "0x80040237"), (200, ""), (201, ""), (204, ""), (404, "0x80060891")];
    assert_eq!(response.verdicts(), expected);
    let ids: Vec<_> = response.parts.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    assert_eq!(response.parts[2].1.body["firstname"], "Ada");
    assert_eq!(response.parts[0].1.header("odata-entityid"), absolute);
    assert_eq!(response.parts[1].1.header("x-ms-dop-hint"), "", "a part has fewer headers than a response");
}

#[tokio::test]
async fn the_journal_has_every_write_of_a_batch_and_the_batch_that_it_was_in() {
    let bench = Bench::quick().await;
    let parts = [patch("E1", &json!({ "firstname": "Ada" })), part(&Method::GET, EMPLOYEE, &[], None)];
    bench.batch(&[], &parts).await;
    bench.batch(&[], &[patch("E1", &json!({})), patch("E2", &json!({}))]).await;
    bench.patch(EMPLOYEE, &json!({})).await;
    let journal = bench.dataverse.journal();
    let entries: Vec<_> = journal.iter().map(|entry| (entry.key.as_str(), entry.change, entry.status)).collect();
    let (created, updated) = (Some(Change::Created), Some(Change::Updated));
    let first = "employeeid='E1'";
    let expected = [(first, created), (first, updated), ("employeeid='E2'", created), (first, updated)];
    assert_eq!(entries, expected.map(|(key, change)| (key, change, Some(204))));
    assert_eq!(journal[0].values, json!({ "firstname": "Ada" }).as_object().cloned().expect("an object"));
    let batches: Vec<_> = journal.iter().map(|entry| entry.batch.clone()).collect();
    assert!(batches[0].is_some() && batches[1].is_some() && batches[3].is_none());
    assert!(batches[0] != batches[1] && batches[1] == batches[2]);
    assert_eq!(bench.dataverse.overlaps().len(), 0, "parts are executed one after the other");
    let counts = bench.dataverse.requests();
    assert_eq!([counts.of("$batch", 200), counts.of("PATCH", 204), counts.of("GET", 200)], [2, 4, 1]);
}

#[tokio::test]
async fn without_the_preference_a_batch_ends_at_the_first_error() {
    let bench = Bench::quick().await;
    let parts = [patch("E1", &json!({})), patch("E2", &json!({ "nosuch": 1 })), patch("E3", &json!({}))];
    let stopped = bench.batch(&[], &parts).await;
    assert_eq!((stopped.status, stopped.verdicts()), (400, vec![(204, ""), (400, "0x80060888")]));
    assert!(bench.contact("E3").is_none());
    let whole = bench.batch(&[CONTINUE], &parts).await;
    assert_eq!((whole.status, whole.verdicts()), (200, vec![(204, ""), (400, "0x80060888"), (204, "")]));
}

#[tokio::test]
async fn a_batch_is_one_request_and_its_execution_time_is_that_of_all_parts() {
    let parts: Vec<String> = (0..5).map(|n| patch(&format!("E{n}"), &json!({}))).collect();
    let limits = Limits { requests: 2, ..Limits::default() };
    let bench = Bench::start(Options { limits: Some(limits), race_window: WIDE / 20, ..Options::default() }).await;
    let response = bench.send_batch(&[], body(&parts)).await.expect("an answer");
    assert_eq!(response.headers()["x-ms-ratelimit-burst-remaining-xrm-requests"], "1");
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
    assert_eq!(bench.send_batch(&[], body(&parts)).await.expect("an answer").status(), 429);
    assert_eq!(bench.dataverse.rows("contacts").len(), 5, "each part was executed once");

    let limits = Limits { execution: WIDE / 5, ..Limits::default() };
    let bench = Bench::start(Options { limits: Some(limits), race_window: WIDE / 20, ..Options::default() }).await;
    assert_eq!(bench.batch(&[], &parts).await.verdicts(), [(204, ""); 5]);
    assert_eq!(bench.get("contacts").await.verdict(), (429, "0x80072321"), "five times the time of one part");
}

#[tokio::test]
async fn a_batch_is_one_of_the_concurrent_requests() {
    let limits = Limits { concurrent: 2, ..Limits::default() };
    let bench = Bench::start(Options { limits: Some(limits), race_window: WIDE, ..Options::default() }).await;
    let send = |n: u32| {
        let parts = [patch(&format!("A{n}"), &json!({})), patch(&format!("B{n}"), &json!({}))];
        bench.send_batch(&[], body(&parts))
    };
    let (a, b, c) = tokio::join!(send(1), send(2), send(3));
    let mut statuses = [a, b, c].map(|answer| answer.expect("an answer").status().as_u16());
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 429]);
}
