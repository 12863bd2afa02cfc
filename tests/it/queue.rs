//! The queue function: what the host does with the handler's answer to each message.
//!
//! A message that cannot be applied ends in `sync-records-poison`, either as our dead letter or, when the host moves
//! it, unchanged.

mod broken;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, InvocationRecord, InvocationResult};

use crate::caller::contact;
use crate::waiting::eventually;

/// host.json's `maxDequeueCount`.
const MAX_DELIVERIES: u32 = 10;

/// A world with one host that makes failed messages visible again at once.
async fn start(settings: &[(&str, &str)]) -> (World, Host) {
    let world = crate::world().await;
    let options = world.host_options("instance-1", settings);
    let options = stand_ins::host::Options { visibility_timeout: Some(Duration::ZERO), ..options };
    let host = Host::start(options).await.expect("the host starts");
    (world, host)
}

async fn put(world: &World, message: &str) {
    world.put(message).await.expect("the queue takes it");
}

/// The text of the oldest message in the poison queue, once there is one.
async fn raw_poison(world: &World) -> String {
    eventually("a message in the poison queue", async || {
        let letters = world.poison.peek(1).await.expect("the queue answers");
        letters.into_iter().next().map(|letter| letter.text)
    })
    .await
}

/// Our dead letter, once there is one.
async fn dead_letter(world: &World) -> Value {
    let text = STANDARD.decode(raw_poison(world).await).expect("the host wraps in base64");
    serde_json::from_slice(&text).expect("our dead letters are JSON")
}

/// All ended invocations, once there are at least `count`.
async fn invocations(host: &Host, count: usize) -> Vec<InvocationRecord> {
    eventually("the invocations", async || {
        let ended = host.invocations();
        (ended.len() >= count).then_some(ended)
    })
    .await
}

/// Waits until the queue is empty, hidden messages included.
async fn emptied(world: &World) {
    eventually("an empty queue", async || (world.waiting().await.expect("the queue answers") == 0).then_some(())).await;
}

/// The exception that the host logs for a retry, up to the key's hash.
fn exception(reason: &str) -> String {
    format!("Response status code does not indicate success: 500 (retry/{reason}")
}

fn failed_with(record: &InvocationRecord, reason: &str) -> bool {
    matches!(&record.result, InvocationResult::Failed(text) if text.starts_with(&exception(reason)))
}

#[tokio::test]
async fn a_message_is_applied_and_its_line_is_in_the_invocations_own_log() {
    let (world, host) = start(&[]).await;
    put(&world, &contact("C1", &json!({ "firstname": "Ada" })).to_string()).await;
    let ended = invocations(&host, 1).await;
    assert_eq!((&ended[0].result, ended[0].outputs.len()), (&InvocationResult::Succeeded, 0));
    emptied(&world).await;
    assert_eq!(world.dataverse.rows("contacts")[0]["firstname"], "Ada");
    let category = stand_ins::host::Category::Invocation(ended[0].id);
    let lines: Vec<_> = host.logs().into_iter().filter(|line| line.category == category).collect();
    assert_eq!(lines.len(), 1, "{lines:?}");
    for part in
        ["record settled outcome=applied reason=upserted table=contacts key_hash=", " message_id=m-C1 attempt=1 "]
    {
        assert!(lines[0].text.contains(part), "{part}: {}", lines[0].text);
    }
}

#[tokio::test]
async fn a_retry_fails_with_its_reason_in_the_reason_phrase_and_is_applied_when_redelivered() {
    let world = crate::world().await;
    let host = world.host("instance-1", &[]).await.expect("the host starts");
    let columns = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" });
    put(&world, &contact("C1", &columns).to_string()).await;
    let first = invocations(&host, 1).await.swap_remove(0);
    assert!(failed_with(&first, "parent_missing key="), "{:?}", first.result);

    put(&world, &json!({ "table": "accounts", "key": { "accountnumber": "A1" }, "columns": {} }).to_string()).await;
    emptied(&world).await;
    let ended = host.invocations();
    let last = ended.iter().rfind(|ended| ended.message_id == first.message_id).expect("it was redelivered");
    assert_eq!(last.result, InvocationResult::Succeeded);
    assert!(last.dequeue_count > 1);
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
    assert_eq!(world.poison.approximate_count().await.expect("the queue answers"), 0);
}

#[tokio::test]
async fn a_message_that_every_delivery_retries_ends_raw_in_the_poison_queue() {
    let (world, host) = start(&[crate::AT_ONCE]).await;
    let refused = Status::new(403, "0x80040220", "Principal user is missing prvWriteContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(refused)).until_cleared());
    let message = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    put(&world, &message).await;
    assert_eq!(raw_poison(&world).await, STANDARD.encode(&message));
    let ended = host.invocations();
    let deliveries: Vec<u32> = ended.iter().map(|ended| ended.dequeue_count).collect();
    assert!(deliveries.into_iter().eq(1..=MAX_DELIVERIES), "{ended:?}");
    assert!(ended.iter().all(|ended| failed_with(ended, "unauthorized key=")), "{ended:?}");
    let says_last = |ended: &&InvocationRecord| format!("{:?}", ended.result).contains(" last attempt)");
    assert_eq!(ended.iter().filter(says_last).count(), 1);
    emptied(&world).await;
    assert_eq!(host.stats().poisoned, 1);
}

#[tokio::test]
async fn a_parent_that_never_arrives_ends_as_a_dead_letter_that_names_it() {
    let (world, host) = start(&[]).await;
    let columns = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" });
    let message = contact("C1", &columns).to_string();
    put(&world, &message).await;
    let letter = dead_letter(&world).await;
    assert_eq!((&letter["reason"], &letter["message"]), (&json!("parent_missing"), &json!(message)));
    assert_eq!(letter["attempts"], json!(MAX_DELIVERIES));
    assert!(letter["detail"].as_str().is_some_and(|detail| detail.contains("last attempt")), "{letter}");
    assert_eq!(letter["dataverse"]["code"], "0x80060891");
    emptied(&world).await;
    assert_eq!(host.stats().poisoned, 0, "the host has nothing to move");
}

#[tokio::test]
async fn a_redelivered_create_is_skipped_and_another_message_with_the_same_create_is_rejected() {
    // With leases the second delivery would wait until the first one's lease expires, because its outcome is unknown.
    let (world, host) = start(&[("LOCK_MODE", "off"), crate::AT_ONCE]).await;
    world.dataverse.fault(Fault::new(Effect::DropAfterCommit).method("PATCH"));
    let mut record = contact("C1", &json!({ "firstname": "Ada" }));
    record["operation"] = json!("create");
    put(&world, &record.to_string()).await;
    let ended = invocations(&host, 2).await;
    assert!(failed_with(&ended[0], "unavailable key="), "{ended:?}");
    let line = eventually("the second delivery's line", async || {
        let lines = host.logs();
        let found = lines.into_iter().find(|line| line.text.contains("outcome=skipped reason=already_written"));
        found.map(|line| line.text)
    })
    .await;
    assert!(line.contains(" attempt=2 "), "{line}");
    assert_eq!(world.dataverse.rows("contacts").len(), 1);

    put(&world, &record.to_string()).await;
    let letter = dead_letter(&world).await;
    assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("exists"), &json!(1)));
}
