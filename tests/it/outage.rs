//! An outage with a full queue, over processes: messages are held in place without repeated redeliveries, none moves to
//! the poison queue, and all are applied soon after the outage.
//!
//! The host redelivers a failed message at once, so ten deliveries would take less than a second. Other outages, and
//! longer ones, are tested beside `admission` and `pipeline`.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, Options};
use tokio::time::Instant;

use crate::caller::contact;
use crate::waiting::wait_until;

/// Slightly more than the host processes concurrently.
const MESSAGES: usize = 130;

/// What the host processes concurrently: host.json's `batchSize` plus `newBatchThreshold`.
const SLOTS: u64 = 128;

/// Requests to Dataverse until the outage ends: the failures that open the circuit breaker, and a few probes.
const REQUESTS: usize = 9;

/// Time from the end of the outage until the last message is applied: the next probe is due within four seconds,
/// concurrency restarts at one, and the rest is slack for a slow machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

#[tokio::test]
async fn an_outage_of_dataverse_holds_all_messages_in_place_and_all_are_applied_afterwards() {
    let world = crate::world().await;
    let unavailable = Status::new(503, "", "Service unavailable.");
    world.dataverse.fault(Fault::new(Effect::Status(unavailable)).until_cleared());
    let texts: Vec<_> = (0..MESSAGES).map(|number| contact(&format!("O-{number}"), &json!({})).to_string()).collect();
    try_join_all(texts.iter().map(|text| world.put(text))).await.expect("the queue takes them");
    let options = world.host_options("instance-1", &[]);
    let options = Options { visibility_timeout: Some(Duration::ZERO), ..options };
    let host = Host::start(options).await.expect("the host starts");
    let lines = |text: &str| host.logs().iter().filter(|line| line.text.contains(text)).count();

    wait_until("all slots are taken", async || host.stats().in_flight >= SLOTS).await;
    wait_until("the outage is logged", async || lines("messages wait in place") > 0).await;
    wait_until("probes are sent", async || world.dataverse.journal().len() >= REQUESTS).await;
    assert_eq!(host.stats().in_flight, SLOTS, "the messages wait in place");
    assert_eq!(lines("messages wait in place"), 1, "logged once, not once per message");
    assert_eq!((lines("WARN"), lines("reason=unavailable")), (1, 1), "{:?}", host.logs());
    world.dataverse.clear_faults();

    let ended = Instant::now();
    wait_until("all are applied", async || host.stats().succeeded >= MESSAGES as u64).await;
    assert!(ended.elapsed() < RECOVERY_TIMEOUT, "{:?}", ended.elapsed());
    wait_until("the recovery is logged", async || lines("resuming held messages") == 1).await;
    assert_eq!(world.dataverse.rows("contacts").len(), MESSAGES);
    assert_eq!(world.poison.approximate_count().await.expect("the queue answers"), 0);
    let mut deliveries = BTreeMap::new();
    for invocation in host.invocations() {
        let most: &mut u32 = deliveries.entry(invocation.message_id).or_default();
        *most = (*most).max(invocation.dequeue_count);
    }
    assert_eq!(deliveries.len(), MESSAGES);
    assert!(deliveries.values().all(|count| *count <= 2), "{deliveries:?}");
}
