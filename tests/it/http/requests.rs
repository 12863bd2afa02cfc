//! Requests that the host would never send: each gets the right status and does no harm.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use futures::stream;
use reqwest::Body;
use serde_json::{Value, json};
use stand_ins::host::{Host, Options as HostOptions};
use stand_ins::net::http_client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::{in_chunks, start};
use crate::caller::{Caller, UPSERTED, answer, contact, printed};
use crate::waiting::{eventually, wait_until};

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
        ("POST /api/records// HTTP/1.1", 404, None),
        ("POST /api/ HTTP/1.1", 404, None),
        ("POST /SyncHttp HTTP/1.1", 404, None),
        ("POST /syncqueue HTTP/1.1", 404, None),
        ("POST /x/../api/records HTTP/1.1", 404, None),
        ("POST /api%2Frecords HTTP/1.1", 404, None),
        ("GET /api/records HTTP/1.1", 405, Some("POST")),
        ("GET /Api/Records/ HTTP/1.1", 405, Some("POST")),
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
        ("eyJ0YWJsZSI6ImNvbnRhY3RzIn0=".to_owned(), "the body is in base64, which only a queue message may be"),
        (nested(1_000_000), deep),
        (nested(99), deep),
        (format!("{}{}", with_columns("{}"), with_columns("{}")), "trailing characters"),
        (with_columns(r#"{"b":1,"\u0062":1}"#), "duplicate member `b`"),
        (with_columns("{}").replace("contacts", "EntityDefinitions"), "`table`"),
        (with_columns("{}").replace("contacts", "entitydefinitions"), "never written"),
        (with_columns("{}").replace("contacts", "Roles"), "SYNC_TABLES"),
        (with_columns(r#"{"new_manager":{"fullname":"Ada"}}"#), "`columns.new_manager`"),
        (with_columns(r#"{},"version":9007199254740993"#), "`version`"),
        (with_columns(r#"{},"version":"9999-12-31T23:59:59Z""#), "`version`"),
        (with_columns("{}").replace("contacts", "contacts/../accounts"), "`table`"),
        (with_columns("{}").replace("C1\"", &format!("C1\",\"a\":{}", "9".repeat(MAX_BYTES / 2))), "`key`"),
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

#[tokio::test]
async fn the_route_may_be_in_any_case_and_end_with_a_slash() {
    let (world, host, _) = start(&[]).await;
    let paths = ["/api/records", "/api/Records", "/API/RECORDS/", "/api/records/", "/api/rec%6frds"];
    for (number, path) in paths.into_iter().enumerate() {
        let url = format!("{}{path}", host.http_url());
        let call = http_client().post(url).header("x-functions-key", host.function_key());
        let answer = answer(call.body(record(&format!("C{number}")))).await;
        assert_eq!(answer.verdict(), UPSERTED, "{path}: {}", answer.text);
    }
    assert_eq!(world.dataverse.rows("contacts").len(), paths.len());
}

/// The host drops `Content-Encoding`.
#[tokio::test]
async fn a_body_that_is_not_plain_utf8_is_refused_with_the_name_of_its_encoding() {
    let (world, _host, caller) = start(&[]).await;
    let utf16 = |text: &str| text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    for (body, name) in [
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff\x03\0\0\0\0\0\0\0\0\0".to_vec(), "gzip"),
        (b"\x28\xb5\x2f\xfd\x04\x58".to_vec(), "zstd"),
        (utf16(&record("C1")), "UTF-16"),
        (utf16(&format!("\u{feff}[{}]", record("C1"))), "UTF-16"),
        (utf16(&format!("[{}]", record("C1"))), "UTF-16"),
    ] {
        let answer = answer(caller.request().header("content-encoding", "gzip").body(body)).await;
        let detail = answer.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
        assert!(detail.contains(&format!("the body is in {name};")), "{detail}");
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

/// The host puts its own id behind the caller's, in one header.
#[tokio::test]
async fn the_last_guid_is_the_invocations_id_and_what_the_caller_sent_is_nowhere_logged() {
    let (_world, host, caller) = start(&[]).await;
    let theirs = "11111111-1111-1111-1111-111111111111";
    for (number, sent) in [theirs, "canary", "canary, 22222222-2222-2222-2222-222222222222"].into_iter().enumerate() {
        let call = caller.request().header("x-azure-functions-invocationid", sent);
        let call = call.header("content-type", "application/json").body(record(&format!("C{number}")));
        assert_eq!(answer(call).await.verdict(), UPSERTED);
        let ours = host.invocations()[number].id;
        let line = format!("invocation_id={ours}");
        wait_until(&line, async || printed(&host, &line)).await;
    }
    for canary in [theirs, "canary", "22222222"] {
        assert!(!printed(&host, canary), "{canary}");
    }
    // Without a GUID there is a new one.
    let alone = "POST /api/records HTTP/1.1\r\nConnection: close\r\nX-Azure-Functions-InvocationId: canary\r\n";
    let body = record("alone");
    let answer = one(&host, &format!("{alone}Content-Length: {}\r\n\r\n{body}", body.len())).await;
    assert_eq!(answer.status, 200);
    let logs = eventually("its line", async || {
        Some(host.logs()).filter(|logs| logs.iter().any(|line| line.text.contains("message_id=m-alone")))
    });
    let logs = logs.await;
    let line = logs.iter().find(|line| line.text.contains("message_id=m-alone")).expect("it was there just now");
    let (_, id) = line.text.split_once(" invocation_id=").expect("it has an id");
    uuid::Uuid::parse_str(&id[..36]).expect("a GUID");
    assert!(!printed(&host, "canary"));
}

/// The host forwards the caller's `Connection`.
#[tokio::test]
async fn a_connection_that_the_caller_wants_closed_is_closed_after_the_answer() {
    let (_world, host, caller) = start(&[]).await;
    let body = record("C1");
    for connection in ["close", "Close", "close, keep-alive", "keep-alive, close"] {
        let head = format!("POST /api/records HTTP/1.1\r\nConnection: {connection}\r\nContent-Length: {}", body.len());
        let direct = one(&host, &format!("{head}\r\n\r\n{body}")).await;
        assert_eq!((direct.status, direct.header("connection")), (200, Some("close")), "{connection}");
        let through_host = caller.request().header("connection", connection).header("expect", "100-continue");
        assert_eq!(answer(through_host.body(body.clone())).await.verdict(), UPSERTED, "{connection}");
    }
}

/// Newer hosts stream a call as it is.
#[tokio::test]
async fn a_body_in_chunks_has_the_same_limits_and_a_length_that_is_not_its_own_is_refused() {
    let world = crate::world().await;
    let options = HostOptions { newer: true, ..world.host_options("newer", &[]) };
    let host = Host::start(options).await.expect("the host starts");
    let caller = Caller::of(&host);
    assert_eq!(caller.post_text(in_chunks(&record("C1"))).await.verdict(), UPSERTED);
    let empty = caller.post_text(in_chunks("")).await;
    let detail = empty.is_problem(400, &json!({ "outcome": "rejected", "reason": "invalid_message" }));
    assert_eq!(detail, "the body is empty; it must be a record or an array of records");
    let chunk = bytes::Bytes::from(vec![b' '; MAX_BYTES / 8]);
    let chunks = stream::iter((0..9).map(move |_| Ok::<_, std::io::Error>(chunk.clone())));
    let large = caller.post_text(Body::wrap_stream(chunks)).await;
    large.is_problem(413, &json!({ "outcome": "rejected", "reason": "too_large" }));

    let body = record("C2");
    for length in [body.len() - 1, body.len() + 1] {
        let head = format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port_of_handler())).await.expect("it listens");
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it is sent");
        stream.shutdown().await.expect("the sender is done");
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400 "), "{length}: {answer}");
    }
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
}
