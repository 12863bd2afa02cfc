//! Requests whose framing, path or headers the host would never send: each gets the right status and does no harm.

use std::fmt::Write as _;

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::net::http_client;

use super::raw::{RawAnswer, exchange};
use super::scene;
use crate::caller::{Caller, answer, contact};

fn record(key: &str) -> String {
    contact(key, &json!({ "firstname": "Ada" })).to_string()
}

/// A request with this request line and a record as its body, on a connection that it closes.
fn request(line: &str, key: &str) -> String {
    let body = record(key);
    format!("{line}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Sends the bytes directly to the handler and returns the only answer.
async fn one(host: &Host, bytes: &str) -> RawAnswer {
    let mut answers = exchange(host.port_of_handler(), bytes.as_bytes()).await;
    assert_eq!(answers.len(), 1, "{bytes:.100}: {answers:?}");
    answers.swap_remove(0)
}

fn is_plain_problem(answer: &RawAnswer, status: u16, line: &str) {
    assert_eq!(answer.status, status, "{line}: {answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{line}");
    let body: Value = serde_json::from_str(&answer.body).expect("it is JSON");
    assert_eq!(body["status"], status, "{line}");
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_is_405() {
    let (world, host, _) = scene(&[]).await;
    for (line, status) in [
        ("POST /api/records/ HTTP/1.1", 404),
        ("POST /API/records HTTP/1.1", 404),
        ("POST //SyncQueue HTTP/1.1", 404),
        ("POST /syncqueue HTTP/1.1", 404),
        ("POST /api%2Frecords HTTP/1.1", 404),
        ("POST /api/./records HTTP/1.1", 404),
        ("POST /x/../api/records HTTP/1.1", 404),
        ("POST /api/records;v=1 HTTP/1.1", 404),
        ("POST /api/records%00 HTTP/1.1", 404),
        ("POST /SyncQueue%20 HTTP/1.1", 404),
        ("OPTIONS * HTTP/1.1", 404),
        ("BREW /api/records HTTP/1.1", 405),
        ("TRACE /api/records HTTP/1.1", 405),
        ("post /api/records HTTP/1.1", 405),
        ("DELETE /SyncQueue HTTP/1.1", 405),
    ] {
        is_plain_problem(&one(&host, &request(line, "C1")).await, status, line);
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

#[tokio::test]
async fn equivalent_forms_of_the_request_line_reach_the_route() {
    let (world, host, _) = scene(&[]).await;
    for (line, key) in [
        ("POST http://127.0.0.1/api/records HTTP/1.1", "C1"),
        ("POST http://elsewhere.example/api/records HTTP/1.1", "C2"),
        ("POST /api/records HTTP/1.0", "C3"),
        ("POST /api/records?code=x&table=accounts HTTP/1.1", "C4"),
        ("POST /api/records?%00%ff HTTP/1.1", "C5"),
    ] {
        let answer = one(&host, &request(line, key)).await;
        assert_eq!(answer.status, 200, "{line}: {answer:?}");
    }
    let keys: Vec<_> = world.dataverse.journal().into_iter().map(|entry| entry.key).collect();
    assert_eq!(keys, ["C1", "C2", "C3", "C4", "C5"].map(|key| format!("employeeid='{key}'")));
}

#[tokio::test]
async fn a_request_with_invalid_framing_is_refused_and_the_next_one_is_served() {
    let (world, host, _) = scene(&[]).await;
    let headed = |headers: &str| format!("POST /api/records HTTP/1.1\r\nConnection: close\r\n{headers}\r\n{{}}");
    let many = (0..101).fold(String::new(), |mut headers, number| {
        let _ = write!(headers, "X-{number}: 1\r\n");
        headers
    });
    for (bytes, status) in [
        (headed("Content-Length: 2\r\nContent-Length: 3\r\n"), 400),
        (headed("Content-Length: -2\r\n"), 400),
        (headed("Content-Length: +2\r\n"), 400),
        (headed("Content-Length: 99999999999999999999\r\n"), 400),
        (headed("Transfer-Encoding: gzip\r\n"), 400),
        (headed("X-Nul: a\0b\r\n"), 400),
        (headed("X Y: 1\r\n"), 400),
        (headed("X-Folded: a\r\n b\r\n"), 400),
        (headed(&many), 431),
        ("POST /api/records HTTP/3.7\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1 and more\r\n\r\n".to_owned(), 400),
        ("\u{16}\u{3}\u{1} this was TLS\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(one(&host, &bytes).await.status, status, "{bytes:.100}");
    }
    let chunked = "POST /api/records HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let broken = one(&host, &format!("{chunked}zz\r\n{{}}\r\n0\r\n\r\n")).await;
    assert!(broken.status == 400 && broken.body.contains("the body is incomplete"), "{broken:?}");
    assert_eq!(world.dataverse.requests().total(), 0);
    assert_eq!(one(&host, &request("POST /api/records HTTP/1.1", "C1")).await.status, 200);
}

/// Request smuggling relies on two lengths. As RFC 9112 requires, the chunked encoding wins, and the bytes after it are
/// not taken as a request.
#[tokio::test]
async fn a_request_with_two_lengths_cannot_smuggle_another_one() {
    let (world, host, _) = scene(&[]).await;
    let (outer, inner) = (record("C1"), request("POST /api/records HTTP/1.1", "C2"));
    let head = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n";
    let bytes = format!("{head}Content-Length: 4\r\n\r\n{:x}\r\n{outer}\r\n0\r\n\r\n{inner}", outer.len());
    let answers = exchange(host.port_of_handler(), bytes.as_bytes()).await;
    assert_eq!(answers.len(), 1, "{answers:?}");
    assert!(!world.dataverse.journal().iter().any(|entry| entry.key.contains("C2")));
}

#[tokio::test]
async fn chunks_expect_continue_and_pipelining_work() {
    let (world, host, _) = scene(&[]).await;
    let body = record("C1");
    let expecting = request("POST /api/records HTTP/1.1", "C1")
        .replace("Connection: close", "Connection: close\r\nExpect: 100-continue");
    let answers = exchange(host.port_of_handler(), expecting.as_bytes()).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [100, 200]);

    let (start, end) = body.split_at(body.len() / 2);
    let head = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n";
    let chunked = format!(
        "{head}\r\n{:X};ext=1\r\n{start}\r\n{:x}\r\n{end}\r\n0\r\nX-Trailer: 1\r\n\r\n",
        start.len(),
        end.len()
    );
    let pipeline = [&chunked, "GET / HTTP/1.1\r\n\r\n", &request("POST /api/records HTTP/1.1", "C2")].concat();
    let answers = exchange(host.port_of_handler(), pipeline.as_bytes()).await;
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 200, 200], "{answers:?}");
    assert!(answers[0].body.contains("C1") && answers[2].body.contains("C2"), "in their order: {answers:?}");
    assert_eq!(world.dataverse.rows("contacts").len(), 2);
}

/// Text from the sender or Dataverse is returned only as JSON in the body, never in a header or reason phrase.
#[tokio::test]
async fn text_of_the_caller_and_of_dataverse_is_returned_in_the_json_body_only() {
    let (world, host, _) = scene(&[crate::AT_ONCE]).await;
    let hostile = "</script><script>\u{2028}\"'\\\u{e4}\u{1f600}canary";
    let said = format!("Refused.\r\nX-Injected: canary\r\n\r\n{hostile}\u{0}");
    let mut body = contact("\u{2028}\"'canary", &json!({ "firstname": hostile }));
    body["messageId"] = json!(hostile);
    let unknown = json!({ "table": "contacts", hostile: 1 });
    for (body, refused) in [(&body, Some((400, 422))), (&body, Some((503, 503))), (&unknown, None)] {
        for path in ["/api/records", "/SyncQueue"] {
            if let Some((status, _)) = refused {
                let refusal = Fault::new(Effect::Status(Status::new(status, "", &said)));
                world.dataverse.fault(refusal.method("PATCH"));
            }
            let direct = path == "/api/records";
            let sent =
                if direct { body.clone() } else { json!({ "Data": { "record": body }, "Metadata": {} }) }.to_string();
            let head =
                format!("POST {path} HTTP/1.1\r\nX-Azure-Functions-InvocationId: canary\r\nConnection: close\r\n");
            let answer = one(&host, &format!("{head}Content-Length: {}\r\n\r\n{sent}", sent.len())).await;
            assert!(!answer.head.contains("canary") && answer.head.is_ascii(), "{}", answer.head);
            assert_eq!(answer.header("x-injected"), None);
            assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
            let expected = if direct { refused.map_or(400, |(_, status)| status) } else { answer.status };
            assert_eq!(answer.status, expected, "{answer:?}");
            match answer.header("content-type") {
                Some("application/json" | "application/problem+json") => {
                    serde_json::from_str::<Value>(&answer.body).expect("it is JSON");
                }
                other => assert!(other == Some("text/plain") && !answer.body.contains("canary"), "{answer:?}"),
            }
            // A success in between: several failures in a row would open the circuit breaker.
            assert_eq!(one(&host, &request("POST /api/records HTTP/1.1", "C1")).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_function_key_in_the_query_is_neither_logged_nor_forwarded_nor_returned() {
    let (world, host, _) = scene(&[("RUST_LOG", "trace")]).await;
    let url = format!("{}/api/records?code={}", host.http_url(), host.function_key());
    for (body, status) in [(record("C1"), 200), ("{}".to_owned(), 400)] {
        let answer = answer(http_client().post(&url).body(body)).await;
        assert_eq!(answer.status, status, "{}", answer.text);
        assert!(
            !answer.text.contains(host.function_key())
                && !format!("{:?}", answer.headers).contains(host.function_key())
        );
    }
    let journal = world.dataverse.journal();
    assert_eq!(journal.len(), 1);
    assert!(!format!("{journal:?}").contains(host.function_key()), "{journal:?}");
    let (key, records) = (host.function_key().to_owned(), host.records());
    host.stop().await;
    let logs = records.logs();
    assert!(logs.iter().any(|line| line.text.contains("upserted")), "it is logged at all: {logs:?}");
    assert!(!logs.iter().any(|line| line.text.contains(&key)));
}

#[tokio::test]
async fn the_function_key_may_be_in_a_header_or_in_the_query_and_a_wrong_one_is_401() {
    let (world, host, _) = scene(&[]).await;
    let url = format!("{}/api/records", host.http_url());
    let (key, http) = (host.function_key().to_owned(), http_client());
    for (request, status) in [
        (http.post(&url), 401),
        (http.post(&url).header("x-functions-key", "x"), 401),
        (http.post(&url).header("x-functions-key", &key[1..]), 401),
        (http.post(format!("{url}?code=x")), 401),
        (http.post(format!("{url}?Code={key}")), 401),
        (http.post(&url).header("x-functions-key", &key), 200),
        (http.post(format!("{url}?code={key}")), 200),
    ] {
        assert_eq!(answer(request.body(record("C1"))).await.status, status);
    }
    assert_eq!(world.dataverse.journal().len(), 2, "a call without a key never reaches the handler");
}

/// A call that works on a developer's machine may therefore be refused in Azure.
#[tokio::test]
async fn on_a_developers_machine_no_function_key_is_required() {
    let world = crate::world().await;
    let options = HostOptions { without_keys: true, ..world.host_options("local", &[]) };
    let host = Host::start(options).await.expect("the host starts");
    let url = format!("{}/api/records", host.http_url());
    assert_eq!(answer(http_client().post(&url).body(record("C1"))).await.status, 200);
    assert_eq!(Caller::of(&host).post(&contact("C2", &json!({}))).await.status, 200);
}
