//! `handler dead-letters`: the real executable against the queues of the embedded storage and of Azurite.

mod full_circle;
mod interrupted;
mod places;
mod scene;
mod shown;
mod terminal;
mod trouble;

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;
use stand_ins::storage::{Effect, Fault, Op};
use tokio::time::timeout;

pub(crate) use scene::CommandOutput;
use scene::{Scene, encoded, ours, record};

/// Dead letters of ours with several reasons, one message moved by the host, and one that is not text.
async fn mixed() -> Scene {
    let scene = Scene::new().await;
    for (key, reason, code, table) in [
        ("E-1", "key_collision", "0x80060892", "contacts"),
        ("E-2", "key_collision", "0x80060892", "contacts"),
        ("A-1", "key_collision", "0x80060892", "accounts"),
        ("E-3", "invalid_data", "0x80048d19", "contacts"),
    ] {
        scene.letter(&ours(&record(table, key), reason, code)).await;
    }
    scene.letter(&record("contacts", "E-4")).await;
    scene.poison.put(&encoded(b"\xff\x00\xfe")).await.expect("the queue takes it");
    scene
}

#[tokio::test]
async fn list_counts_by_reason_code_and_table_and_gives_everything_back() {
    let scene = mixed().await;
    let list = scene.run(&["list", "--json"]).await;
    assert_eq!(list.code, Some(0), "{list:?}");
    let output = list.json();
    assert_eq!((&output["counted"], &output["seen"], &output["matching"]), (&json!(6), &json!(6), &json!(6)));
    let counts: BTreeMap<String, u64> = output["groups"]
        .as_array()
        .expect("groups")
        .iter()
        .map(|group| (format!("{} {} {}", group["reason"], group["code"], group["table"]), group["letters"].as_u64()))
        .map(|(name, letters)| (name, letters.expect("a number")))
        .collect();
    let expected = [
        (r#""invalid_data" "0x80048d19" "contacts""#, 1),
        (r#""key_collision" "0x80060892" "accounts""#, 1),
        (r#""key_collision" "0x80060892" "contacts""#, 2),
        (r#"null null "contacts""#, 1),
        ("null null null", 1),
    ];
    assert_eq!(counts, expected.map(|(name, letters)| (name.to_owned(), letters)).into());
    assert_eq!(scene.visible().await.len(), 6, "everything can be received again at once");

    let words = scene.run(&["list"]).await;
    assert_eq!(words.code, Some(0));
    assert!(words.stdout.contains("       2  key_collision             0x80060892  contacts"), "{}", words.stdout);
    assert!(words.stdout.contains("(by the host, no reason)"), "{}", words.stdout);
    assert!(words.stdout.contains("6 of 6 messages match; the service counts about 6."), "{}", words.stdout);
}

#[tokio::test]
async fn every_command_applies_its_filters() {
    let scene = mixed().await;
    for (filter, letters) in [
        (&["--reason", "key_collision"][..], 3),
        (&["--reason", "none"], 2),
        (&["--code", "0x80048D19"], 1),
        (&["--table", "accounts"], 1),
        (&["--table", "contacts", "--reason", "key_collision"], 2),
        (&["--source", "hr"], 5),
        (&["--source", "crm"], 0),
        (&["--key", r#"{"employeeid":"E-4"}"#], 1),
        (&["--key", "A-1"], 1),
        (&["--older-than", "1h"], 4),
        (&["--newer-than", "1h"], 2),
    ] {
        for command in [&["list", "--json"][..], &["replay", "--dry-run", "--json"]] {
            let output = scene.run(&[command, filter].concat()).await;
            assert_eq!(
                (output.code, output.json()["matching"].as_u64()),
                (Some(0), Some(letters)),
                "{filter:?}: {output:?}"
            );
        }
        let shown = scene.run(&[&["show", "--json"], filter].concat()).await;
        assert_eq!(shown.stdout.lines().count() as u64, letters, "{filter:?}: {shown:?}");
    }
    assert_eq!(scene.visible().await.len(), 6, "nothing was taken");
    assert_eq!(scene.messages().await, [""; 0], "nothing was put");
}

#[tokio::test]
async fn replay_returns_the_originals_byte_for_byte_and_leaves_the_others() {
    let scene = mixed().await;
    let output = scene.run(&["replay", "--reason", "none", "--json"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let line = output.json();
    assert_eq!((&line["replayed"], &line["maybeTwice"], &line["failed"]), (&json!(2), &json!(0), &json!(0)));
    let mut messages = scene.messages().await;
    messages.sort();
    assert_eq!(messages, [encoded(b"\xff\x00\xfe"), encoded(record("contacts", "E-4").as_bytes())]);
    assert_eq!(scene.visible().await.len(), 4);

    let output = scene.run(&["replay", "--max", "3"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert!(output.stdout.contains("3 messages returned to sync-records; 0 may be there twice."), "{output:?}");
    let keys = [("contacts", "E-1"), ("contacts", "E-2"), ("accounts", "A-1")];
    let mut expected = keys.map(|(table, key)| encoded(record(table, key).as_bytes()));
    let mut messages = scene.messages().await;
    expected.sort();
    messages.sort();
    assert_eq!(messages, expected, "the letters are gone and their wrapping too");
    assert_eq!(scene.visible().await.len(), 1);
}

#[tokio::test]
async fn the_encoding_is_that_of_the_host_json_in_this_folder_unless_it_is_given() {
    let scene = Scene::new().await;
    let text = record("contacts", "Zoë\r\n <&>");
    for letter in [&encoded(text.as_bytes()), &text, &encoded(ours(&text, "exists", "0x1").as_bytes())] {
        scene.poison.put(letter).await.expect("the queue takes it");
    }
    let output = scene.run(&["replay", "--max", "3"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    assert_eq!(scene.messages().await, [(); 3].map(|()| encoded(text.as_bytes())));

    scene.host_json(r#"{"version":"2.0","extensions":{"queues":{"messageEncoding":"none"}}}"#);
    scene.letter(&ours(&text, "exists", "0x1")).await;
    scene.poison.put(&text).await.expect("the queue takes it");
    scene.poison.put(&encoded(b"\xff")).await.expect("the queue takes it");
    let output = scene.run(&["replay"]).await;
    assert_eq!(output.code, Some(0), "{output:?}");
    let mut messages = scene.messages().await;
    messages.sort();
    assert_eq!(messages, [encoded(b"\xff"), text.clone(), text.clone()], "what is no text stays as it lies there");

    scene.letter(&ours(&text, "exists", "0x1")).await;
    assert_eq!(scene.run(&["replay", "--encoding", "base64"]).await.code, Some(0));
    assert_eq!(scene.messages().await, [encoded(text.as_bytes())]);
}

#[tokio::test]
async fn drop_deletes_only_what_was_counted() {
    let scene = mixed().await;
    let refused = scene.run(&["drop"]).await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("--yes") && refused.stderr.contains("terminal"), "{refused:?}");
    assert_eq!(scene.storage.counts().get_messages, 0, "no message was received");

    let output = scene.run(&["drop", "--reason", "key_collision", "--yes", "--json"]).await;
    assert_eq!((output.code, &output.json()["dropped"]), (Some(0), &json!(3)), "{output:?}");
    assert!(output.stderr.contains("key_collision"), "what was dropped is printed by group: {output:?}");
    assert_eq!(scene.visible().await.len(), 3);
    let output = scene.run(&["drop", "--yes"]).await;
    assert!(output.stdout.contains("3 messages dropped."), "{output:?}");
    assert_eq!(scene.poison.approximate_count().await.expect("the queue answers"), 0);
    assert_eq!(scene.messages().await, [""; 0]);
    let nothing = scene.run(&["drop", "--yes"]).await;
    assert_eq!(nothing.code, Some(0), "nothing to drop is no failure: {nothing:?}");
}

#[tokio::test]
async fn drop_deletes_nothing_when_reading_was_cut_short() {
    let scene = Scene::new().await;
    for number in 0..40 {
        scene.letter(&record("contacts", &number.to_string())).await;
    }
    scene.storage.fault(Fault::once(Op::GetMessages, Effect::Slow(Duration::ZERO)));
    let broken = Effect::Status { code: 409, error_code: "Broken", retry_after: None };
    scene.storage.fault(Fault::once(Op::GetMessages, broken));
    let output = scene.run(&["drop", "--yes", "--json"]).await;
    assert_eq!((output.code, &output.json()["dropped"]), (Some(1), &json!(0)), "{output:?}");
    assert!(output.stderr.contains("409 Broken"), "{output:?}");
    assert_eq!(scene.visible().await.len(), 40);
}

#[tokio::test]
async fn a_message_that_arrives_during_a_replay_is_not_replayed() {
    const LETTERS: u64 = 40;
    let scene = Scene::new().await;
    for number in 0..LETTERS {
        scene.letter(&ours(&record("contacts", &number.to_string()), "exists", "0x1")).await;
    }
    // A handler that rejects everything at once, so each replayed message becomes a dead letter again.
    let (queue, poison) = (scene.records.clone(), scene.poison.clone());
    let handler = tokio::spawn(async move {
        loop {
            for message in queue.receive(32, Duration::from_mins(5)).await.expect("the queue answers") {
                poison.put(&message.text).await.expect("the queue takes it");
                queue.delete(&message).await.expect("it was just received");
            }
            tokio::task::yield_now().await;
        }
    });
    let replay = scene.run(&["replay", "--rate", "20/s", "--json"]);
    let output = timeout(Duration::from_mins(1), replay).await.expect("it comes to an end");
    handler.abort();
    let (replayed, newer) = (output.json()["replayed"].as_u64(), output.json()["newer"].as_u64());
    assert_eq!((output.code, &output.json()["failed"]), (Some(0), &json!(0)), "{output:?}");
    // Queue timestamps have whole seconds: a message that returns within the first one looks like one that was already
    // there.
    assert!(replayed.is_some_and(|replayed| (LETTERS..=LETTERS + 21).contains(&replayed)), "{output:?}");
    assert!(
        newer.is_some_and(|newer| newer > 0),
        "some came back while it ran, or this test shows nothing: {output:?}"
    );
}
