//! `handler status`: the real executable against the embedded storage and Azurite. What is printed is tested beside `status`.

mod terminal;
mod watch;

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::Router;
use axum::response::Html;
use futures::StreamExt as _;
use futures::stream;
use sandbox::world::POISON_QUEUE;
use serde_json::{Value, json};
use stand_ins::azurite::{Azurite, AzuriteOptions};
use stand_ins::queue::{Queue, QueueService};
use stand_ins::storage::{Effect, Fault, Op, Options, Storage};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::UNREACHABLE_URL;
use crate::command::{CommandOutput, command};
use crate::dead_letters::queues::{create, ours, record};
use crate::locks::{Account, LeaseStore as _, fresh};
use crate::waiting::wait_until;

/// `handler status` with these arguments; the connection is its only variable.
async fn status(connection: &str, arguments: &[&str]) -> CommandOutput {
    status_with(&[("AzureWebJobsStorage", connection)], arguments).await
}

async fn status_with(settings: &[(&str, &str)], arguments: &[&str]) -> CommandOutput {
    CommandOutput::of(command(&[&["status"], arguments].concat(), settings.iter().copied())).await
}

/// An embedded storage with both queues, empty, and its connection string: poison, records.
async fn storage() -> (Storage, String, [Queue; 2]) {
    let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
    let connection = storage.connection_string();
    let queues = create(&connection).await;
    (storage, connection, queues)
}

async fn put(queue: &Queue, messages: std::ops::Range<usize>) {
    let put = async |number: usize| {
        queue.put(&record("contacts", &number.to_string())).await.expect("the queue takes it");
    };
    stream::iter(messages).for_each_concurrent(16, put).await;
}

/// What a storage account shows from before its queues exist until there are 5,000 messages, letters, and a lock.
async fn shows_what_there_is(connection: &str) {
    let nothing = status(connection, &[]).await;
    assert_eq!((nothing.code, nothing.stderr.as_str()), (Some(1), ""), "{nothing:?}");
    for name in ["sync-records does not exist", "sync-records-poison does not exist", "sync-locks does not exist"] {
        assert!(nothing.stdout.contains(name), "{name}: {nothing:?}");
    }
    let missing = status(connection, &["--json"]).await.json();
    assert_eq!(missing["queue"], json!({ "name": "sync-records", "missing": true }));

    let [poison, records] = create(connection).await;
    let empty = status(connection, &[]).await;
    assert_eq!(empty.code, Some(0), "{empty:?}");
    assert!(empty.stdout.contains("0 messages in sync-records\n"), "{empty:?}");
    assert!(empty.stdout.ends_with("✓ nothing needs a person\n") && !empty.stdout.contains('\u{1b}'), "{empty:?}");

    for (messages, put_before, seen) in [(10, 0, 10), (5_000, 10, 32)] {
        put(&records, put_before..messages).await;
        let output = status(connection, &["--json", "--older-than", "1w"]).await;
        let queue = &output.json()["queue"];
        let counts = (&queue["messages"], &queue["visibleSeen"]);
        assert_eq!((output.code, counts), (Some(0), (&json!(messages), &json!(seen))), "{output:?}");
        assert!(queue["oldestVisibleSeconds"].is_u64(), "{output:?}");
    }

    poison.put(&record("accounts", "raw")).await.expect("the queue takes it");
    for number in 0..40 {
        let letter = ours(&record("contacts", &number.to_string()), "key_collision", "0x80060892");
        poison.put(&letter).await.expect("the queue takes it");
    }
    let locks = Account(connection.to_owned()).locks("sync-locks");
    let lease = locks.try_acquire(&fresh()).await.expect("the storage answers").expect("it is free");
    let free = locks.try_acquire(&fresh()).await.expect("the storage answers").expect("it is free");
    locks.release(free).await;
    let output = status(connection, &["--json", "--older-than", "1w"]).await;
    let json = output.json();
    assert_eq!(
        (output.code, &json["needsPerson"], &json["deadLetters"]["messages"]),
        (Some(1), &json!(true), &json!(41))
    );
    let groups = json["deadLetters"]["reasons"]["groups"].as_array().expect("groups");
    let group = |group: &Value| (group["letters"].clone(), group["reason"].clone(), group["table"].clone());
    let expected = [(31, json!("key_collision"), "contacts"), (1, Value::Null, "accounts")];
    let expected = expected.map(|(letters, reason, table)| (json!(letters), reason, json!(table)));
    assert_eq!(groups.iter().map(group).collect::<Vec<_>>(), expected, "{output:?}");
    let expected = json!({ "name": "sync-locks", "held": 1, "blobs": 2, "complete": true });
    assert_eq!(json["locks"], expected, "{output:?}");
    locks.release(lease).await;

    let words = status(connection, &["--older-than", "1w"]).await.stdout;
    for text in ["5,000 messages in sync-records", "41 messages in sync-records-poison", "(by the host, no reason)"] {
        assert!(words.contains(text), "{text} in:\n{words}");
    }
    assert!(words.lines().count() <= 24 && words.lines().all(|line| line.chars().count() < 80), "{words}");
    assert_eq!(poison.peek(32).await.expect("the queue answers").len(), 32, "nothing is hidden");
}

#[tokio::test]
async fn shows_what_the_embedded_storage_holds() {
    let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
    shows_what_there_is(&storage.connection_string()).await;
    assert_eq!(storage.counts().get_messages, 0, "no message is received");
}

#[tokio::test]
async fn shows_what_azurite_holds() {
    let azurite = Azurite::start(AzuriteOptions::default()).await.expect("Azurite starts");
    shows_what_there_is(&azurite.connection_string()).await;
}

#[tokio::test]
async fn a_message_that_is_too_old_needs_a_person_and_a_hidden_one_has_no_age() {
    let (_storage, connection, [_, records]) = storage().await;
    put(&records, 0..1).await;
    assert_eq!(status(&connection, &[]).await.code, Some(0), "the default limit is long");
    let old = || status(&connection, &["--older-than", "0s"]);
    wait_until("a second", async || old().await.code == Some(1)).await;
    assert!(old().await.stdout.contains("✗ a message in sync-records is "), "{:?}", old().await);
    records.receive(1, Duration::from_mins(10)).await.expect("the queue answers");
    let hidden = old().await;
    assert_eq!(hidden.code, Some(0), "{hidden:?}");
    assert!(
        hidden.stdout.contains("1 message in sync-records\n") && hidden.stdout.contains("none visible"),
        "{hidden:?}"
    );
}

/// Quotes take six times their size in an answer.
#[tokio::test]
async fn dead_letters_that_are_too_large_together_are_the_first_ten() {
    let (_storage, connection, [poison, _]) = storage().await;
    for _ in 0..12 {
        poison.put(&"\"".repeat(64 * 1024)).await.expect("the queue takes it");
    }
    let output = status(&connection, &["--json"]).await;
    let letters = &output.json()["deadLetters"];
    assert_eq!((&letters["messages"], &letters["visibleSeen"]), (&json!(12), &json!(10)), "{output:?}");
    let words = status(&connection, &[]).await.stdout;
    assert!(words.contains("reasons of the first 10 "), "{words}");
}

#[tokio::test]
async fn other_queues_and_locks_are_shown_by_the_settings_of_the_handler() {
    let (storage, connection, _) = storage().await;
    let service = QueueService::from_connection_string(&connection).expect("it is a connection string");
    let other = service.queue("other-records");
    other.create_if_missing().await.expect("the storage answers");
    put(&other, 0..3).await;
    storage.create_blobs("other-locks", (0..4).map(|number| format!("contacts-{number}")));
    let settings = [("Other", connection.as_str()), ("LOCK_STORAGE", "Other"), ("LOCK_CONTAINER", "other-locks")];
    let arguments = ["--connection", "Other", "--queue", "other-records", "--poison-queue", POISON_QUEUE, "--json"];
    let json = status_with(&settings, &arguments).await.json();
    assert_eq!((&json["queue"]["messages"], &json["locks"]["blobs"]), (&json!(3), &json!(4)), "{json}");
    let off = status_with(&[&settings[..], &[("LOCK_MODE", "off")]].concat(), &["--connection", "Other"]).await;
    assert!(off.stdout.contains("off (LOCK_MODE)"), "{off:?}");
}

#[tokio::test]
async fn settings_and_arguments_that_cannot_be_used_end_with_code_2() {
    for (settings, arguments, text) in [
        (&[][..], &[][..], "error: 1 of the settings cannot be used:\n  AzureWebJobsStorage is not set"),
        (&[("AzureWebJobsStorage", "UseDevelopmentStorage=true"), ("LOCK_CONTAINER", "A")], &[], "LOCK_CONTAINER"),
        (&[], &["--older-than", "soon"], "--older-than"),
    ] {
        let output = status_with(settings, arguments).await;
        assert_eq!((output.code, output.stdout.as_str()), (Some(2), ""), "{output:?}");
        assert!(output.stderr.contains(text), "{text}: {output:?}");
    }
}

#[tokio::test]
async fn a_storage_that_does_not_answer_is_an_error_and_a_refusal_names_the_role() {
    let closed =
        format!("AccountName=a;AccountKey=a2V5;QueueEndpoint={UNREACHABLE_URL}/a;BlobEndpoint={UNREACHABLE_URL}/a");
    let output = status(&closed, &[]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let text = "✗ sync-records, sync-records-poison, sync-locks: the storage cannot be reached:\n";
    assert!(output.stdout.contains(text), "{output:?}");
    let json = status(&closed, &["--json"]).await.json();
    assert!(json["queue"]["problem"].is_string() && json["locks"]["problem"].is_string(), "{json}");

    let (storage, connection, _) = storage().await;
    let code = "AuthorizationPermissionMismatch";
    storage.fault(Fault::until_cleared(Op::AnyBlob, Effect::Status { code: 403, error_code: code, retry_after: None }));
    let output = status(&connection, &[]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    assert!(output.stdout.contains("Storage Blob Data Reader") && output.stdout.contains("0 messages"), "{output:?}");
}

/// What a proxy in between answers, such as a page to log in at, must not pass for empty queues.
#[tokio::test]
async fn a_page_that_is_not_the_storages_is_no_empty_queue() {
    let page = || async { Html("<html><body>Please log in.</body></html>") };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
    let address = listener.local_addr().expect("it is bound");
    let mut proxy = JoinSet::new();
    proxy.spawn(axum::serve(listener, Router::new().fallback(page)).into_future());
    let connection =
        format!("AccountName=a;AccountKey=a2V5;QueueEndpoint=http://{address}/a;BlobEndpoint=http://{address}/a");
    let output = status(&connection, &[]).await;
    assert_eq!(output.code, Some(1), "{output:?}");
    let text = "✗ sync-records, sync-records-poison, sync-locks: the answer of the storage was\n  not understood;";
    assert!(output.stdout.contains(text), "{output:?}");
}
