//! The queue function: what the host does with the handler's answer to each message.
//!
//! A message that cannot be applied ends in `sync-records-poison`, either as our dead letter or, when the host moves
//! it, unchanged.

mod broken;
mod encodings;

use std::time::Duration;

use sandbox::world::World;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, InvocationRecord, InvocationResult};

use crate::caller::contact;
use crate::waiting::eventually;

/// `maxDequeueCount` here; with host.json's 160 the tests would take longer.
const MAX_DELIVERIES: u32 = 4;

/// Tells the handler what [`start`] tells the host.
const OVERRIDE: (&str, &str) = ("AzureFunctionsJobHost__extensions__queues__maxDequeueCount", "4");

/// A world with one host that makes failed messages visible again at once.
pub(crate) async fn start(settings: &[(&str, &str)]) -> (World, Host) {
    let world = crate::world().await;
    let settings: Vec<_> = settings.iter().copied().chain([OVERRIDE]).collect();
    let options = stand_ins::host::Options {
        visibility_timeout: Some(Duration::ZERO),
        max_dequeue_count: Some(MAX_DELIVERIES),
        ..world.host_options("instance-1", &settings)
    };
    let host = Host::start(options).await.expect("the host starts");
    (world, host)
}

async fn put(world: &World, message: &str) {
    world.put(message).await.expect("the queue takes it");
}

/// The text of the oldest message in the poison queue, once there is one.
pub(crate) async fn raw_poison(world: &World) -> String {
    eventually("a message in the poison queue", async || {
        let letters = world.poison.peek(1).await.expect("the queue answers");
        letters.into_iter().next().map(|letter| letter.text)
    })
    .await
}

/// Our dead letter, once there is one.
async fn dead_letter(world: &World) -> Value {
    serde_json::from_str(&raw_poison(world).await).expect("our dead letters are JSON")
}

/// Text without a pattern, of printable ASCII characters.
pub(crate) fn random(length: usize) -> String {
    let mut state = 1_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        char::from(b' ' + u8::try_from((state >> 33) % 95).expect("it is below 95"))
    };
    (0..length).map(|_| next()).collect()
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

/// Whether the host logged a retry with this reason, up to the key's hash.
fn failed_with(record: &InvocationRecord, reason: &str) -> bool {
    let exception = format!("Response status code does not indicate success: 500 (retry/{reason}");
    matches!(&record.result, InvocationResult::Failed(text) if text.starts_with(&exception))
}

/// A contact that refers to an account, and the account.
fn child_and_parent() -> [String; 2] {
    let columns = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='A1')" });
    let parent = json!({ "table": "accounts", "key": { "accountnumber": "A1" }, "columns": {} });
    [contact("C1", &columns), parent].map(|record| record.to_string())
}

#[tokio::test]
async fn a_retry_fails_with_its_reason_in_the_reason_phrase_and_is_applied_when_redelivered() {
    let world = crate::world().await;
    let host = world.host("instance-1", &[crate::AT_ONCE]).await.expect("the host starts");
    let [child, parent] = child_and_parent();
    put(&world, &child).await;
    let first = invocations(&host, 1).await.swap_remove(0);
    assert!(failed_with(&first, "parent_missing key="), "{:?}", first.result);

    put(&world, &parent).await;
    emptied(&world).await;
    let ended = host.invocations();
    let last = ended.iter().rfind(|ended| ended.message_id == first.message_id).expect("it was redelivered");
    assert_eq!(last.result, InvocationResult::Succeeded);
    assert!(last.dequeue_count > 1);
    assert_eq!(world.dataverse.rows("contacts").len(), 1);
    assert_eq!(world.poison.approximate_count().await.expect("the queue answers"), 0);
}

#[tokio::test]
async fn a_message_waits_in_place_for_the_row_that_its_lookup_names_and_a_letter_names_that_row() {
    let (world, host) = start(&[]).await;
    let [child, parent] = child_and_parent();
    put(&world, &child).await;
    eventually("a try without the parent", async || (!world.dataverse.journal().is_empty()).then_some(())).await;
    put(&world, &parent).await;
    let ended = invocations(&host, 2).await;
    assert!(
        ended.iter().all(|ended| ended.result == InvocationResult::Succeeded && ended.dequeue_count == 1),
        "{ended:?}"
    );
    assert_eq!(world.dataverse.rows("contacts").len(), 1);

    let (world, _host) = start(&[crate::AT_ONCE]).await;
    put(&world, &child).await;
    let letter = dead_letter(&world).await;
    let row = "the row accounts(accountnumber='A1') of the lookup parentcustomerid_account is missing: ";
    let detail = letter["detail"].as_str().unwrap_or_default();
    assert!(letter["reason"] == "parent_missing" && detail.starts_with(row), "{letter}");
}

#[tokio::test]
async fn a_message_that_every_delivery_retries_ends_in_a_dead_letter_with_its_cause() {
    let (world, host) = start(&[crate::AT_ONCE]).await;
    let refused = Status::new(403, "0x80040220", "Principal user is missing prvWriteContact privilege.");
    world.dataverse.fault(Fault::new(Effect::Status(refused)).until_cleared());
    let message = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    put(&world, &message).await;
    let letter = dead_letter(&world).await;
    assert_eq!((&letter["message"], &letter["reason"]), (&json!(message), &json!("unauthorized")), "{letter}");
    assert_eq!((&letter["attempts"], &letter["dataverse"]["code"]), (&json!(MAX_DELIVERIES), &json!("0x80040220")));
    emptied(&world).await;
    let ended = invocations(&host, 4).await;
    let deliveries: Vec<u32> = ended.iter().map(|ended| ended.dequeue_count).collect();
    assert!(deliveries.into_iter().eq(1..=MAX_DELIVERIES), "{ended:?}");
    let (last, failed) = ended.split_last().expect("four deliveries");
    assert!(failed.iter().all(|ended| failed_with(ended, "unauthorized key=")), "{ended:?}");
    assert_eq!((&last.result, host.stats().poisoned), (&InvocationResult::Succeeded, 0), "the host moves nothing");
}
