//! Messages that are not records: each becomes a dead letter that names the problem, or is moved unchanged to the
//! poison queue.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use stand_ins::host::InvocationResult;

use super::{MAX_DELIVERIES, dead_letter, emptied, invocations, put, raw_poison, scene};

/// The longest text of a queue message, in bytes: 64 KiB minus the base64 overhead.
const MAX_TEXT: usize = 48 * 1024;

/// Puts one message and asserts that our dead letter contains it byte for byte, with a detail that contains `named`.
async fn becomes_a_dead_letter(message: &str, named: &str) {
    let (world, host) = scene(&[]).await;
    put(&world, message).await;
    let letter = dead_letter(&world).await;
    assert_eq!(letter["message"], message);
    assert_eq!(letter["reason"], "invalid_message", "{letter}");
    assert!(letter["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{letter}");
    assert_eq!(letter["attempts"], 1);
    let ended = invocations(&host, 1).await;
    assert_eq!(letter["invocationId"], ended[0].id.to_string());
    assert!(letter["at"].as_str().is_some_and(|at| at.len() >= 20 && at.ends_with('Z')), "{letter}");
    let known = ["message", "reason", "detail", "attempts", "invocationId", "at"];
    assert_eq!(letter.as_object().expect("an object").len(), known.len(), "{letter}");
    emptied(&world).await;
    let deliveries: Vec<_> = host.invocations().into_iter().map(|ended| (ended.dequeue_count, ended.result)).collect();
    assert_eq!(deliveries, [(1, InvocationResult::Succeeded)], "it is not delivered again");
    assert_eq!(world.dataverse.requests().total(), 0);
}

#[tokio::test]
async fn text_that_is_not_json() {
    becomes_a_dead_letter("Dear Dataverse,\r\nplease add Ada.\t\u{e4}\u{1f600}", "not a JSON object").await;
}

#[tokio::test]
async fn json_that_is_not_an_object() {
    becomes_a_dead_letter(r#"[{"table":"contacts","key":{"employeeid":"C1"},"columns":{}}]"#, "not a JSON object")
        .await;
}

#[tokio::test]
async fn truncated_json() {
    becomes_a_dead_letter(r#"{"table":"contacts","key":{"employeeid":"C1"},"columns":{"#, "line 1 column").await;
}

#[tokio::test]
async fn an_unknown_field() {
    becomes_a_dead_letter(r#"{ "table":"contacts", "key":{"employeeid":"C1"}, "colums":{} }"#, "`colums`").await;
}

#[tokio::test]
async fn a_missing_table() {
    becomes_a_dead_letter(r#"{"key":{"employeeid":"C1"},"columns":{}}"#, "`table`").await;
}

#[tokio::test]
async fn a_key_that_is_a_string_but_not_a_guid() {
    becomes_a_dead_letter(r#"{"table":"contacts","key":"C1","columns":{}}"#, "not a GUID").await;
}

#[tokio::test]
async fn a_key_that_is_an_empty_object() {
    becomes_a_dead_letter(r#"{"table":"contacts","key":{},"columns":{}}"#, "`key`").await;
}

#[tokio::test]
async fn a_key_column_that_is_null() {
    becomes_a_dead_letter(r#"{"table":"contacts","key":{"employeeid":null},"columns":{}}"#, "`key.employeeid`").await;
}

#[tokio::test]
async fn an_empty_message() {
    becomes_a_dead_letter("", "not a JSON object").await;
}

#[tokio::test]
async fn control_characters_quotes_and_line_ends() {
    becomes_a_dead_letter("\u{0}\u{1}\u{7f}\u{85}\u{2028}\u{feff}\u{fffd}\\\"\r\n", "not a JSON object").await;
}

#[tokio::test]
async fn a_message_that_looks_like_base64_is_not_decoded() {
    becomes_a_dead_letter("eyJ0YWJsZSI6ImNvbnRhY3RzIn0=", "not a JSON object").await;
}

/// The dead letter contains Dataverse's own text.
#[tokio::test]
async fn data_that_dataverse_refuses() {
    let (world, host) = scene(&[]).await;
    let message = r#"{ "table":"contacts","key":{"employeeid":"C1"},"columns":{"shoesize":42},"messageId":"m-1"}"#;
    put(&world, message).await;
    let letter = dead_letter(&world).await;
    let entry = world.dataverse.journal().swap_remove(0);
    assert_eq!((&letter["message"], &letter["reason"]), (&json!(message), &json!("invalid_data")));
    assert_eq!(
        (&letter["dataverse"]["status"], &letter["dataverse"]["requestId"]),
        (&json!(400), &json!(entry.request_id))
    );
    assert!(letter["detail"].as_str().is_some_and(|detail| detail.contains("shoesize")), "{letter}");
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["invocationId"], invocations(&host, 1).await[0].id.to_string());
}

/// A dead letter is larger than its message, so for a message near the limit it is too large for the host to write.
#[tokio::test]
async fn a_message_too_large_for_a_dead_letter_ends_raw_in_the_poison_queue() {
    let (world, host) = scene(&[]).await;
    let message = "x".repeat(MAX_TEXT);
    put(&world, &message).await;
    assert_eq!(raw_poison(&world).await, STANDARD.encode(&message));
    let ended = host.invocations();
    assert_eq!(ended.len(), usize::try_from(MAX_DELIVERIES).expect("a small number"));
    for delivery in ended {
        let InvocationResult::Failed(text) = delivery.result else { panic!("the dead letter was written") };
        assert!(text.contains("too large"), "{text}");
    }
    emptied(&world).await;
}

#[tokio::test]
async fn a_large_message_whose_dead_letter_just_fits_is_one() {
    becomes_a_dead_letter(&"x".repeat(MAX_TEXT - 512), "not a JSON object").await;
}

/// Bytes that are not text never reach the handler; the host moves the message itself, unchanged.
#[tokio::test]
async fn bytes_that_are_not_text() {
    let (world, host) = scene(&[]).await;
    let raw = STANDARD.encode([0xff, 0xfe, 0x00, 0x80]);
    world.queue.put(&raw).await.expect("the queue takes it");
    assert_eq!(raw_poison(&world).await, raw);
    emptied(&world).await;
    assert_eq!((host.invocations().len(), host.stats().poisoned), (0, 1));
}

#[tokio::test]
async fn text_that_was_never_base64() {
    let (world, host) = scene(&[]).await;
    let raw = r#"{"table":"contacts","key":{"employeeid":"C1"},"columns":{}}"#;
    world.queue.put(raw).await.expect("the queue takes it");
    assert_eq!(raw_poison(&world).await, raw);
    emptied(&world).await;
    assert_eq!((host.invocations().len(), host.stats().poisoned), (0, 1));
}
