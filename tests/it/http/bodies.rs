//! Malformed and hostile bodies: each is refused with a clear reason and does not affect other requests.

use std::net::Ipv4Addr;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::scene;
use crate::caller::Caller;

/// The size limit of a body.
const MAX: usize = 8 * 1024 * 1024;

/// Asserts that this body is refused as invalid, with a detail that contains `named`.
async fn is_refused(caller: &Caller, body: impl Into<Vec<u8>>, named: &str) {
    let body = body.into();
    let begins = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
    let answer = caller.post_text(body).await;
    assert_eq!((answer.status, &answer.body["reason"]), (400, &json!("invalid_message")), "{begins}: {}", answer.text);
    let detail = answer.body["detail"].as_str().expect("a problem has a detail");
    assert!(detail.contains(named) && detail.len() < 1_000, "{begins}: {detail}");
}

fn with_columns(columns: &str) -> String {
    format!(r#"{{"table":"contacts","key":{{"employeeid":"C1"}},"columns":{columns}}}"#)
}

fn with_key(key: &str) -> String {
    format!(r#"{{"table":"contacts","key":{key},"columns":{{}}}}"#)
}

#[tokio::test]
async fn a_body_nested_too_deeply_is_refused_before_it_is_parsed_recursively() {
    let (world, _host, caller) = scene(&[]).await;
    let deep = "objects and arrays are nested more than 100 deep";
    let nested = |open: &str, depth: usize, close: &str| open.repeat(depth) + "1" + &close.repeat(depth);
    is_refused(&caller, r#"{"a":"#.repeat(MAX / 5), deep).await;
    is_refused(&caller, "[".repeat(MAX), "not a JSON array").await;
    is_refused(&caller, with_columns(&nested(r#"{"a":"#, 1_000_000, "}")), deep).await;
    is_refused(&caller, with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 1_000_000, "]"))), deep).await;
    is_refused(&caller, with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 99, "]"))), deep).await;
    is_refused(&caller, with_key(&nested("[", 101, "]")), deep).await;
    // In an array, only the record itself is refused.
    let answer = caller.post_text(format!("[{}]", with_columns(&nested("[", 1_000_000, "]")))).await;
    assert!(answer.body["results"][0]["detail"].as_str().is_some_and(|detail| detail == deep), "{}", answer.text);
    assert_eq!(world.dataverse.requests().total(), 0);
    // The deepest accepted nesting reaches Dataverse.
    let answer = caller.post_text(with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 98, "]")))).await;
    assert_eq!(answer.body["reason"], "invalid_data", "{}", answer.text);
}

#[tokio::test]
async fn invalid_utf8_and_ambiguous_json_are_refused_with_their_reason() {
    let (world, _host, caller) = scene(&[]).await;
    is_refused(&caller, b"{\"table\":\"\xff\xfe\"}".to_vec(), "byte 10 is not UTF-8").await;
    is_refused(&caller, b"\xff\xfe{\0}\0".to_vec(), "byte 0 is not UTF-8").await;
    is_refused(&caller, format!("\u{feff}{}", with_columns("{}")), "byte-order mark").await;
    is_refused(&caller, format!("{}\0", with_columns("{}")), "trailing characters").await;
    is_refused(&caller, format!("{}{}", with_columns("{}"), with_columns("{}")), "trailing characters").await;
    is_refused(&caller, with_columns("{\"a\":\"\n\"}"), "control character").await;
    for (body, named) in [
        (r#"{"table":"contacts","t\u0061ble":"accounts","key":{"a":"x"},"columns":{}}"#, "duplicate member `table`"),
        (r#"{"table":"contacts","key":{"a":"x","\u0061":"y"},"columns":{}}"#, "duplicate member `a`"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{"b":1,"b":1}}"#, "duplicate member `b`"),
        (r#"{"table":"\ud800","key":{"a":"x"},"columns":{}}"#, "`table`"),
        (r#"{"table":"contacts","key":{"a":"\ud800"},"columns":{}}"#, "half of a surrogate pair"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"messageId":"\udc00"}"#, "half of a surrogate pair"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"messageId":"a\u0000b"}"#, "`messageId`"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"source":"a\r\nb"}"#, "`source`"),
        (r#"{"table":"contacts","key":{"a":1e400},"columns":{}}"#, "`key.a`"),
        (r#"{"table":"contacts","key":{"a":1e99999999999999999999},"columns":{}}"#, "`key.a`"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"version":9223372036854775808}"#, "`version`"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"version":1e400}"#, "`version`"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{},"version":"+999999-01-01T00:00:00Z"}"#, "`version`"),
        (r#"{"table":"contacts","key":{"a":NaN},"columns":{}}"#, "line 1"),
    ] {
        is_refused(&caller, body, named).await;
    }
    is_refused(&caller, with_key(&format!(r#"{{"a":{}}}"#, "9".repeat(MAX / 2))), "`key.a`").await;
    assert_eq!(world.dataverse.requests().total(), 0, "nothing was sent");
}

/// Column values are sent byte for byte, even those that Dataverse will reject.
#[tokio::test]
async fn column_values_are_sent_to_dataverse_unchanged() {
    let (world, _host, caller) = scene(&[]).await;
    for (value, reason) in
        [(r#""\ud800""#, "invalid_data"), ("1e400", "invalid_data"), (r#""a\u0000b""#, "invalid_data")]
    {
        let answer = caller.post_text(with_columns(&format!(r#"{{"firstname":{value}}}"#))).await;
        assert_eq!(answer.body["reason"], reason, "{value}: {}", answer.text);
    }
    let answer = caller.post_text(with_columns(r#"{"firstname":"\u00e4\/\ud83d\ude00"}"#)).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let row = world.dataverse.row("contacts", &[("employeeid", "C1")]).expect("it was written");
    assert_eq!(row["firstname"], Value::from("\u{e4}/\u{1f600}"));
}

/// The host's .NET client sends the whole body before it reads the response.
#[tokio::test]
async fn a_client_that_reads_only_after_sending_everything_gets_the_413_of_a_body_that_is_too_large() {
    let (_world, host, _) = scene(&[]).await;
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, host.port_of_handler())).await.expect("it listens");
    let length = 8 * MAX;
    let head = format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.expect("the head is read");
    stream.write_all(&vec![b' '; length]).await.expect("all of the body is read");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the connection is closed, not reset");
    assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("too_large"), "{answer}");
}
