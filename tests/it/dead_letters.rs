//! `handler dead-letters`: the real executable against the queues of the embedded storage and of Azurite. Arguments,
//! filters and what is printed are tested beside `dead_letters`.

mod access;
mod faults;
pub(crate) mod full_circle;
mod interrupted;
pub(crate) mod queues;
mod terminal;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use stand_ins::storage::{Effect, Fault, Op};
use tokio::time::timeout;

use crate::waiting::TIMEOUT;
use queues::{Queues, encoded, ours, record};

/// Dead letters of ours with several reasons, one message moved by the host, and one that is not text.
async fn mixed() -> Queues {
    let queues = Queues::empty().await;
    for (key, reason, code, table) in [
        ("E-1", "key_collision", "0x80060892", "contacts"),
        ("E-2", "key_collision", "0x80060892", "contacts"),
        ("A-1", "key_collision", "0x80060892", "accounts"),
        ("E-3", "invalid_data", "0x80048d19", "contacts"),
    ] {
        queues.letter(&ours(&record(table, key), reason, code)).await;
    }
    queues.letter(&record("contacts", "E-4")).await;
    queues.poison.put(&encoded(b"\xff\x00\xfe")).await.expect("the queue takes it");
    queues
}

#[tokio::test]
async fn reading_counts_or_shows_what_matches_and_gives_everything_back() {
    let queues = mixed().await;
    let list = queues.run(&["list", "--json"]).await;
    let output = list.json();
    let counts = [&output["counted"], &output["seen"], &output["matching"]];
    assert_eq!((list.code, counts), (Some(0), [&json!(6); 3]), "{list:?}");
    let groups = output["groups"].as_array().expect("groups");
    let counts: Vec<_> = groups.iter().map(|group| group["letters"].as_u64()).collect();
    assert_eq!(counts, [2, 1, 1, 1, 1].map(Some), "by reason, code and table");
    let words = queues.run(&["list"]).await;
    assert!(words.stdout.contains("       2  key_collision             0x80060892  contacts"), "{}", words.stdout);
    assert!(words.stdout.contains("6 of 6 messages match; the service counts about 6."), "{}", words.stdout);

    let filter = ["--table", "contacts", "--reason", "key_collision"];
    for command in [&["list", "--json"][..], &["replay", "--dry-run", "--json"]] {
        assert_eq!(queues.run(&[command, &filter].concat()).await.json()["matching"], 2, "{command:?}");
    }
    let shown = queues.run(&[&["show", "--json"][..], &filter].concat()).await;
    assert_eq!((shown.code, shown.stdout.lines().count()), (Some(0), 2), "{shown:?}");
    let few = queues.run(&["show", "--max", "3"]).await;
    assert_eq!(few.stdout.matches("dead letter ").count(), 3, "{few:?}");

    let path = queues.path("letters.jsonl");
    let output = queues.run(&["export", "--output", &path, "--json"]).await;
    assert_eq!((output.code, &output.json()["matching"]), (Some(0), &json!(6)), "{output:?}");
    let file = fs::read_to_string(&path).expect("it was written");
    let lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!((lines.len(), &lines[0]["message"]), (6, &json!(record("contacts", "E-1"))));
    let mode = fs::metadata(&path).expect("it was written").permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "messages hold personal data");
    let again = queues.run(&["export", "--output", &path]).await;
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("--output") && again.stderr.contains("never overwritten"), "{again:?}");
    assert_eq!((queues.visible().await.len(), queues.messages().await.len()), (6, 0), "nothing is taken or put");
}

#[tokio::test]
async fn replay_returns_the_originals_byte_for_byte_and_leaves_the_others() {
    let queues = mixed().await;
    let output = queues.run(&["replay", "--reason", "none", "--json"]).await;
    let line = output.json();
    assert_eq!((output.code, &line["replayed"], &line["maybeTwice"]), (Some(0), &json!(2), &json!(0)), "{output:?}");
    let expected = [encoded(b"\xff\x00\xfe"), encoded(record("contacts", "E-4").as_bytes())];
    assert_eq!(queues.messages().await, expected);
    let output = queues.run(&["replay", "--max", "3"]).await;
    assert!(output.stdout.contains("3 messages returned to sync-records; 0 may be there twice."), "{output:?}");
    let keys = [("contacts", "E-1"), ("contacts", "E-2"), ("accounts", "A-1")];
    let mut expected = keys.map(|(table, key)| encoded(record(table, key).as_bytes()));
    expected.sort();
    assert_eq!(queues.messages().await, expected, "the letters are gone and their wrapping too");
    assert_eq!(queues.visible().await.len(), 1);
}

#[tokio::test]
async fn the_encoding_is_that_of_the_host_json_in_this_folder_unless_it_is_given() {
    let queues = Queues::empty().await;
    let text = record("contacts", "Zoë\r\n <&>");
    queues.host_json(r#"{"version":"2.0","extensions":{"queues":{"messageEncoding":"none"}}}"#);
    for (arguments, expected) in
        [(&["replay"][..], text.clone()), (&["replay", "--encoding", "base64"], encoded(text.as_bytes()))]
    {
        queues.letter(&ours(&text, "exists", "0x1")).await;
        assert_eq!(queues.run(arguments).await.code, Some(0));
        assert_eq!(queues.messages().await, [expected]);
    }
}

#[tokio::test]
async fn drop_deletes_only_what_was_counted() {
    let queues = mixed().await;
    let refused = queues.run(&["drop"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--yes") && refused.stderr.contains("terminal"), "{refused:?}");
    assert_eq!(queues.storage.counts().get_messages, 0, "no message was received");
    let output = queues.run(&["drop", "--reason", "key_collision", "--yes", "--json"]).await;
    assert_eq!((output.code, &output.json()["dropped"]), (Some(0), &json!(3)), "{output:?}");
    assert!(output.stderr.contains("key_collision"), "what was dropped is printed by group: {output:?}");
    assert_eq!(queues.visible().await.len(), 3);
    let output = queues.run(&["drop", "--yes"]).await;
    assert!(output.stdout.contains("3 messages dropped."), "{output:?}");
    assert_eq!(queues.run(&["drop", "--yes"]).await.code, Some(0), "nothing to drop is not a failure");
    assert_eq!(queues.poison.approximate_count().await.expect("the queue answers"), 0);

    let queues = Queues::with_moved(40).await;
    queues.storage.fault(Fault::once(Op::GetMessages, Effect::Slow(Duration::ZERO)));
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    queues.storage.fault(Fault::once(Op::GetMessages, broken));
    let output = queues.run(&["drop", "--yes", "--json"]).await;
    assert_eq!((output.code, &output.json()["dropped"]), (Some(1), &json!(0)), "{output:?}");
    assert!(output.stderr.contains("409 Broken"), "reading was cut short: {output:?}");
    assert_eq!(queues.visible().await.len(), 40);
}

#[tokio::test]
async fn what_was_sent_without_base64_is_told_from_what_the_host_moved_for_other_reasons() {
    let queues = Queues::empty().await;
    let text = record("contacts", "E-1");
    queues.poison.put(&text).await.expect("the queue takes it");
    queues.letter(&record("contacts", "E-2")).await;
    let assumed = queues.run(&["list"]).await;
    assert!(!assumed.stdout.contains("without_base64"), "there is no host.json that says base64: {assumed:?}");
    queues.host_json(r#"{"version":"2.0"}"#);
    let list = queues.run(&["list"]).await;
    assert!(list.stdout.contains("1  (by the host, no reason)"), "{}", list.stdout);
    assert!(list.stdout.contains("1  without_base64 "), "{}", list.stdout);
    assert!(list.stdout.contains("Replay puts them back in base64."), "{}", list.stdout);
    let groups = queues.run(&["list", "--json"]).await.json()["groups"].clone();
    let reasons: Vec<_> = groups.as_array().expect("groups").iter().map(|group| &group["reason"]).collect();
    assert_eq!(reasons, [&Value::Null, &json!("without_base64")]);
    let replay = queues.run(&["replay", "--reason", "without_base64"]).await;
    assert_eq!(replay.code, Some(0), "{replay:?}");
    assert_eq!(queues.messages().await, [encoded(text.as_bytes())]);
    assert_eq!(queues.visible().await.len(), 1);
}

#[tokio::test]
async fn commands_that_change_something_name_the_storage_account_first() {
    let queues = Queues::with_moved(1).await;
    for (arguments, first) in [
        (
            &["replay", "--dry-run"][..],
            "AzureWebJobsStorage (127.0.0.1): replaying from sync-records-poison to sync-records",
        ),
        (&["replay"], "AzureWebJobsStorage (127.0.0.1): replaying from sync-records-poison to sync-records"),
        (&["drop", "--yes"], "AzureWebJobsStorage (127.0.0.1): dropping from sync-records-poison"),
    ] {
        let output = queues.run(arguments).await;
        assert_eq!((output.code, output.stderr.lines().next()), (Some(0), Some(first)), "{output:?}");
    }
}

#[tokio::test]
async fn a_message_that_arrives_during_a_replay_is_not_replayed() {
    const LETTERS: u64 = 40;
    let queues = Queues::empty().await;
    for number in 0..LETTERS {
        queues.letter(&ours(&record("contacts", &number.to_string()), "exists", "0x1")).await;
    }
    // A handler that rejects everything at once, so each replayed message becomes a dead letter again.
    let (records, poison) = (queues.records.clone(), queues.poison.clone());
    let handler = tokio::spawn(async move {
        loop {
            for message in records.receive(32, Duration::from_mins(5)).await.expect("the queue answers") {
                poison.put(&message.text).await.expect("the queue takes it");
                records.delete(&message).await.expect("it was just received");
            }
            tokio::task::yield_now().await;
        }
    });
    let replay = queues.run(&["replay", "--rate", "20/s", "--json"]);
    let output = timeout(TIMEOUT, replay).await.expect("it comes to an end");
    handler.abort();
    let (replayed, newer) = (output.json()["replayed"].as_u64(), output.json()["newer"].as_u64());
    assert_eq!((output.code, &output.json()["failed"]), (Some(0), &json!(0)), "{output:?}");
    // Queue timestamps have whole seconds: a message that returns within the first one looks like one that was already
    // there.
    assert!(replayed.is_some_and(|replayed| (LETTERS..=LETTERS + 21).contains(&replayed)), "{output:?}");
    assert!(newer.is_some_and(|newer| newer > 0), "some came back while it ran: {output:?}");
}

/// The first one's time has no UTC, and the second one is an event within events: each ended every command.
#[tokio::test]
async fn hostile_letters_are_listed_shown_exported_and_dropped_like_all_others() {
    let queues = Queues::with_moved(1).await;
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    let levels = 9_000;
    let event = format!("{}{{}}{}", r#"{"specversion":"1.0","data":"#.repeat(levels), "}".repeat(levels));
    gzip.write_all(event.as_bytes()).expect("memory takes everything");
    let packed = STANDARD.encode(gzip.finish().expect("memory takes everything"));
    for letter in [
        r#"{"message":"x","reason":"exists","at":"9999-12-31T23:59:59-23:59"}"#.to_owned(),
        json!({ "messageGzip": packed, "reason": "exists", "at": "2026-01-02T03:04:05Z" }).to_string(),
    ] {
        queues.poison.put(&letter).await.expect("the queue takes it");
    }
    for arguments in [&["list"][..], &["show"], &["export"], &["replay", "--dry-run"], &["drop", "--yes"]] {
        let output = queues.run(arguments).await;
        assert_eq!(output.code, Some(0), "{arguments:?}: {output:?}");
        let text = [output.stdout.as_str(), &output.stderr].concat();
        assert!(text.contains("3 of 3 messages match"), "{arguments:?}: {output:?}");
        let left = if arguments[0] == "drop" { 0 } else { 3 };
        assert_eq!(queues.visible().await.len(), left, "{arguments:?}");
    }
}
