//! Messages that cannot be records: each becomes a dead letter that names the problem, or is moved unchanged to the
//! poison queue. What the handler reads in an envelope is tested beside `host`, and in a record beside `record`.

use std::time::Duration;

use serde_json::{Value, json};
use stand_ins::host::InvocationResult;
use stand_ins::queue::QueueService;

use super::{MAX_DELIVERIES, dead_letter, emptied, invocations, put, random, raw_poison, start};
use crate::dead_letters::full_circle::operator;

/// The longest text of a queue message, in bytes.
const MAX_TEXT: usize = 64 * 1024;

#[tokio::test]
async fn a_message_that_is_not_a_record_is_in_its_dead_letter_byte_for_byte_with_the_problem() {
    let (world, host) = start(&[]).await;
    let large = "x".repeat(MAX_TEXT - 512);
    for (message, named) in [
        ("Dear Dataverse,\r\nplease add Ada.\t\u{e4}\u{1f600}", "not a JSON object"),
        (r#"[{"table":"contacts","key":{"employeeid":"C1"},"columns":{}}]"#, "not a JSON object"),
        (r#"{"table":"contacts","key":{"employeeid":"C1"},"columns":{"#, "line 1 column"),
        (r#"{ "table":"contacts", "key":{"employeeid":"C1"}, "colums":{} }"#, "`colums`"),
        ("", "not a JSON object"),
        ("\u{7f}\u{85}\u{2028}\u{feff}\u{fffd}\\\"\r\n", "not a JSON object"),
        ("aGVsbG8=", "it is base64, but not of a JSON object"),
        (&large, "not a JSON object"),
    ] {
        let before = host.invocations().len();
        put(&world, message).await;
        let letter = dead_letter(&world).await;
        assert_eq!((&letter["message"], &letter["reason"]), (&json!(message), &json!("invalid_message")));
        assert!(letter["detail"].as_str().is_some_and(|detail| detail.contains(named)), "{letter}");
        assert_eq!(letter["attempts"], 1);
        let ended = invocations(&host, before + 1).await;
        assert_eq!(letter["invocationId"], ended[before].id.to_string());
        assert!(letter["at"].as_str().is_some_and(|at| at.len() >= 20 && at.ends_with('Z')), "{letter}");
        assert_eq!(letter.as_object().expect("an object").len(), 6, "{letter}");
        emptied(&world).await;
        assert_eq!(host.invocations().len(), before + 1, "it is not delivered again");
        assert_eq!(ended[before].result, InvocationResult::Succeeded);
        world.poison.clear().await.expect("the queue answers");
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

/// The host reads a dead letter and writes it again: larger, and with another notation of what reads as a time.
#[tokio::test]
async fn a_message_that_would_not_arrive_whole_is_packed_and_replayed_exactly() {
    let (world, host) = start(&[]).await;
    let large = "x".repeat(MAX_TEXT);
    let escaped = "\"".repeat(MAX_TEXT / 2);
    // Not the queue that the host reads, which would reject the copy as well.
    let queues = QueueService::from_connection_string(&world.settings["AzureWebJobsStorage"]).expect("it is valid");
    let again = queues.queue("sync-again");
    again.create_if_missing().await.expect("the queue answers");
    let messages = [large.as_str(), &escaped, "2026-11-23T10:00:00+02:00", "/Date(1700000000000)/"];
    for message in messages {
        put(&world, message).await;
        let letter = dead_letter(&world).await;
        assert!(letter["messageGzip"].is_string() && letter.get("message").is_none(), "{letter}");
        emptied(&world).await;
        let shown = operator(&world, &["show", "--json"]).await;
        let line: Value = serde_json::from_str(&shown.stdout).expect("one letter");
        assert_eq!((&line["message"], &line["reason"]), (&json!(message), &json!("invalid_message")));
        let replayed = operator(&world, &["replay", "--to", "sync-again"]).await;
        assert_eq!(replayed.code, Some(0), "{replayed:?}");
        let copies = again.receive(32, Duration::from_mins(1)).await.expect("the queue answers");
        assert_eq!(copies.iter().map(|copy| copy.text.as_str()).collect::<Vec<_>>(), [message]);
        again.clear().await.expect("the queue answers");
    }
    assert_eq!(host.invocations().len(), messages.len());
}

#[tokio::test]
async fn a_message_whose_letter_does_not_fit_even_packed_ends_raw_in_the_poison_queue() {
    let (world, host) = start(&[]).await;
    let message = random(MAX_TEXT - 100);
    put(&world, &message).await;
    assert_eq!(raw_poison(&world).await, message);
    let ended = host.invocations();
    assert_eq!(ended.len(), usize::try_from(MAX_DELIVERIES).expect("a small number"));
    for delivery in ended {
        let InvocationResult::Failed(text) = delivery.result else { panic!("the dead letter was written") };
        assert!(text.contains("500 (rejected/invalid_message dead letter too large)"), "{text}");
    }
    emptied(&world).await;
}
