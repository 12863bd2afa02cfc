//! Bodies that no honest sender writes: each is refused with its reason named, and none costs more than its own answer.

use serde_json::{Value, json};

use super::scene;
use crate::caller::Caller;

/// As large as a body may be.
const MOST: usize = 8 * 1024 * 1024;

/// Asserts that this body is refused as no record, in a text that names the reason.
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
async fn a_body_that_is_nested_without_end_is_refused_before_anything_follows_it_down() {
    let (world, _host, caller) = scene(&[]).await;
    let deep = "objects and arrays stand in one another more than 100 deep";
    let nested = |open: &str, depth: usize, close: &str| open.repeat(depth) + "1" + &close.repeat(depth);
    is_refused(&caller, r#"{"a":"#.repeat(MOST / 5), deep).await;
    is_refused(&caller, "[".repeat(MOST), "no JSON array").await;
    is_refused(&caller, with_columns(&nested(r#"{"a":"#, 1_000_000, "}")), deep).await;
    is_refused(&caller, with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 1_000_000, "]"))), deep).await;
    is_refused(&caller, with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 99, "]"))), deep).await;
    is_refused(&caller, with_key(&nested("[", 101, "]")), deep).await;
    // In an array each record is judged by itself.
    let answer = caller.post_text(format!("[{}]", with_columns(&nested("[", 1_000_000, "]")))).await;
    assert!(answer.body["results"][0]["detail"].as_str().is_some_and(|detail| detail == deep), "{}", answer.text);
    assert_eq!(world.dataverse.requests().total(), 0);
    // The deepest that is let through is Dataverse's to judge.
    let answer = caller.post_text(with_columns(&format!(r#"{{"a":{}}}"#, nested("[", 98, "]")))).await;
    assert_eq!(answer.body["reason"], "invalid_data", "{}", answer.text);
}

#[tokio::test]
async fn what_is_no_text_or_not_what_it_seems_is_refused_by_name() {
    let (world, _host, caller) = scene(&[]).await;
    is_refused(&caller, b"{\"table\":\"\xff\xfe\"}".to_vec(), "byte 10 is not UTF-8").await;
    is_refused(&caller, b"\xff\xfe{\0}\0".to_vec(), "byte 0 is not UTF-8").await;
    is_refused(&caller, format!("\u{feff}{}", with_columns("{}")), "byte-order mark").await;
    is_refused(&caller, format!("{}\0", with_columns("{}")), "trailing characters").await;
    is_refused(&caller, format!("{}{}", with_columns("{}"), with_columns("{}")), "trailing characters").await;
    is_refused(&caller, with_columns("{\"a\":\"\n\"}"), "control character").await;
    for (body, named) in [
        (r#"{"table":"contacts","t\u0061ble":"accounts","key":{"a":"x"},"columns":{}}"#, "`table` stands there twice"),
        (r#"{"table":"contacts","key":{"a":"x","\u0061":"y"},"columns":{}}"#, "`a` stands there twice"),
        (r#"{"table":"contacts","key":{"a":"x"},"columns":{"b":1,"b":1}}"#, "`b` stands there twice"),
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
    is_refused(&caller, with_key(&format!(r#"{{"a":{}}}"#, "9".repeat(MOST / 2))), "`key.a`").await;
    assert_eq!(world.dataverse.requests().total(), 0, "nothing of it went any further");
}

/// What only Dataverse can judge is passed on to the letter: nobody here rounds or mends it.
#[tokio::test]
async fn column_values_go_on_as_they_were_sent_whatever_they_are() {
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
