//! Requests that the host would never send: each gets the right status and does no harm.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use serde_json::{Value, json};
use stand_ins::host::Host;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::start;
use crate::caller::contact;

/// The size limit of a body.
const MAX_BYTES: usize = 8 * 1024 * 1024;

fn record(key: &str) -> String {
    contact(key, &json!({ "firstname": "Ada" })).to_string()
}

/// A request with this request line and a record as its body, on a connection that it closes.
fn request(line: &str, key: &str) -> String {
    let body = record(key);
    format!("{line}\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// One answer; the head is as received.
#[derive(Debug)]
struct RawAnswer {
    status: u16,
    head: String,
    body: String,
}

impl RawAnswer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends the bytes directly to the handler and reads the only answer, until the handler closes the connection.
async fn one(host: &Host, bytes: &str) -> RawAnswer {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port_of_handler())).await.expect("it listens");
    let (mut from, mut to) = stream.into_split();
    let mut received = Vec::new();
    // Each may fail: after an error the handler closes the connection before everything is sent.
    let _ = tokio::join!(to.write_all(bytes.as_bytes()), from.read_to_end(&mut received));
    let text = String::from_utf8_lossy(&received).into_owned();
    assert_eq!(text.matches("HTTP/1.1 ").count(), 1, "{bytes:.100}: {text}");
    let (head, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    RawAnswer { status, head: head.to_owned(), body: body.to_owned() }
}

#[tokio::test]
async fn an_unknown_path_is_404_and_another_method_is_405_each_as_a_problem() {
    let (world, host, _) = start(&[]).await;
    for (line, status, allow) in [
        ("POST /api/record HTTP/1.1", 404, None),
        ("POST /api/records/ HTTP/1.1", 404, None),
        ("POST /API/records HTTP/1.1", 404, None),
        ("POST /SyncHttp HTTP/1.1", 404, None),
        ("POST /syncqueue HTTP/1.1", 404, None),
        ("POST /x/../api/records HTTP/1.1", 404, None),
        ("POST /api%2Frecords HTTP/1.1", 404, None),
        ("GET /api/records HTTP/1.1", 405, Some("POST")),
        ("post /api/records HTTP/1.1", 405, Some("POST")),
        ("DELETE /SyncQueue HTTP/1.1", 405, Some("POST")),
        ("POST / HTTP/1.1", 405, Some("GET,HEAD")),
    ] {
        let answer = one(&host, &request(line, "C1")).await;
        assert_eq!(answer.status, status, "{line}: {answer:?}");
        assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{line}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{line}");
        assert_eq!(answer.header("allow"), allow, "RFC 9110 wants a 405 to say what is allowed");
        let title = if status == 404 { "Not Found" } else { "Method Not Allowed" };
        let body: Value = serde_json::from_str(&answer.body).expect("it is JSON");
        assert_eq!(body, json!({ "title": title, "status": status }));
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

/// Request smuggling relies on two lengths. As RFC 9112 requires, the chunked encoding wins, and the bytes after it are
/// not taken as a request.
#[tokio::test]
async fn a_request_with_invalid_framing_is_refused_and_the_next_one_is_served() {
    let (world, host, _) = start(&[]).await;
    let headed = |headers: &str| format!("POST /api/records HTTP/1.1\r\nConnection: close\r\n{headers}\r\n{{}}");
    let many = (0..101).fold(String::new(), |mut headers, number| {
        let _ = write!(headers, "X-{number}: 1\r\n");
        headers
    });
    for (bytes, status) in [
        (headed("Content-Length: 2\r\nContent-Length: 3\r\n"), 400),
        (headed("Content-Length: +2\r\n"), 400),
        (headed("Transfer-Encoding: gzip\r\n"), 400),
        (headed("X-Nul: a\0b\r\n"), 400),
        (headed("X-Folded: a\r\n b\r\n"), 400),
        (headed(&many), 431),
        ("\u{16}\u{3}\u{1} this was TLS\r\n\r\n".to_owned(), 400),
    ] {
        assert_eq!(one(&host, &bytes).await.status, status, "{bytes:.100}");
    }
    let chunked = "POST /api/records HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n";
    let broken = one(&host, &format!("{chunked}\r\nzz\r\n{{}}\r\n0\r\n\r\n")).await;
    assert!(broken.status == 400 && broken.body.contains("the body is incomplete"), "{broken:?}");
    assert_eq!(world.dataverse.requests().total(), 0);

    let (outer, inner) = (record("C1"), request("POST /api/records HTTP/1.1", "C2"));
    let bytes = format!("{chunked}Content-Length: 4\r\n\r\n{:x}\r\n{outer}\r\n0\r\n\r\n{inner}", outer.len());
    one(&host, &bytes).await;
    assert!(!world.dataverse.journal().iter().any(|entry| entry.key.contains("C2")));
}

/// The host's .NET client sends the whole body before it reads the response.
#[tokio::test]
async fn a_client_that_reads_only_after_sending_everything_gets_the_413_of_a_body_that_is_too_large() {
    let (_world, host, _) = start(&[]).await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port_of_handler())).await.expect("it listens");
    let length = 8 * MAX_BYTES;
    let head = format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the head is read");
    stream.write_all(&vec![b' '; length]).await.expect("all of the body is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the connection is closed, not reset");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");
}

#[tokio::test]
async fn a_body_may_begin_with_a_byte_order_mark() {
    let (world, _host, caller) = start(&[]).await;
    let record = |key: &str| format!(r#"{{"table":"contacts","key":{{"employeeid":"{key}"}},"columns":{{}}}}"#);
    let one = caller.post_text(format!("\u{feff}{}", record("B1"))).await;
    assert_eq!(one.status, 200, "{}", one.text);
    let both = caller.post_text(format!("\u{feff}[{},{}]", record("B2"), record("B3"))).await;
    assert_eq!((both.status, &both.body["summary"]["applied"]), (200, &json!(2)), "{}", both.text);
    assert!(world.dataverse.requests().total() >= 3);
}

#[tokio::test]
async fn a_hostile_body_is_refused_with_its_reason_and_nothing_is_sent() {
    let (world, _host, caller) = start(&[]).await;
    let with_columns =
        |columns: &str| format!(r#"{{"table":"contacts","key":{{"employeeid":"C1"}},"columns":{columns}}}"#);
    let deep = "objects and arrays are nested more than 100 deep";
    let nested = |depth: usize| with_columns(&format!(r#"{{"a":{}1{}}}"#, "[".repeat(depth), "]".repeat(depth)));
    for (body, named) in [
        (r#"{"a":"#.repeat(MAX_BYTES / 5), deep),
        ("[".repeat(MAX_BYTES), "not a JSON array"),
        (nested(1_000_000), deep),
        (nested(99), deep),
        (format!("{}{}", with_columns("{}"), with_columns("{}")), "trailing characters"),
        (with_columns(r#"{"b":1,"\u0062":1}"#), "duplicate member `b`"),
        (with_columns("{}").replace("contacts", "EntityDefinitions"), "`table`"),
        (with_columns("{}").replace("contacts", "contacts/../accounts"), "`table`"),
        (with_columns("{}").replace("C1\"", &format!("C1\",\"a\":{}", "9".repeat(MAX_BYTES / 2))), "`key.a`"),
    ] {
        let answer = caller.post_text(body.clone()).await;
        assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")), "{body:.60}");
        let detail = answer.body["detail"].as_str().expect("a problem has a detail");
        assert!(detail.contains(named) && detail.len() < 1_000, "{body:.60}: {detail}");
    }
    // In an array, only the record itself is refused.
    let answer = caller.post_text(format!("[{}]", nested(1_000_000))).await;
    assert_eq!(answer.body["results"][0]["detail"], deep, "{}", answer.text);
    assert_eq!(world.dataverse.requests().total(), 0);
}
