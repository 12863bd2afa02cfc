//! Outages with a full queue: messages are held in place without repeated redeliveries, none moves to the poison queue,
//! and all are applied soon after the outage.
//!
//! The host redelivers a failed message at once, so ten deliveries would take less than a second.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::future::try_join_all;
use sandbox::world::{Backing, World};
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::host::{Host, Options};
use stand_ins::identity;
use stand_ins::storage;
use tokio::time::{Instant, sleep};

use crate::caller::contact;
use crate::waiting::wait_until;

/// Slightly more than the host processes concurrently.
const MESSAGES: usize = 50;

/// What the host processes concurrently: host.json's `batchSize` plus `newBatchThreshold`.
const SLOTS: u64 = 48;

/// How long each outage lasts once all slots are taken.
const LASTS: Duration = Duration::from_secs(3);

/// Time from the end of the outage until the last message is applied: the next probe is due within four seconds,
/// concurrency restarts at one, and the rest is slack for a slow machine.
const RECOVERY_TIMEOUT: Duration = Duration::from_secs(20);

struct Scene {
    world: World,
    host: Host,
}

impl Scene {
    /// Begins the outage, fills the queue, then starts the host.
    async fn start(begin: impl FnOnce(&World)) -> Self {
        let world = crate::world().await;
        begin(&world);
        let texts: Vec<_> =
            (0..MESSAGES).map(|number| contact(&format!("O-{number}"), &json!({})).to_string()).collect();
        try_join_all(texts.iter().map(|text| world.put(text))).await.expect("the queue takes them");
        let options = world.host_options("instance-1", &[]);
        let options = Options { visibility_timeout: Some(Duration::ZERO), ..options };
        let host = Host::start(options).await.expect("the host starts");
        Self { world, host }
    }

    fn lines(&self, text: &str) -> usize {
        self.host.logs().iter().filter(|line| line.text.contains(text)).count()
    }

    /// Waits for the outage's duration and ends it; returns how many requests reached Dataverse meanwhile.
    async fn outlasts(&self, reason: &str, end: impl FnOnce(&World)) -> usize {
        wait_until("all slots are taken", async || self.host.stats().in_flight >= SLOTS).await;
        wait_until("the circuit breaker is open", async || self.lines("messages wait in place") > 0).await;
        sleep(LASTS).await;
        let sent = self.world.dataverse.journal().len();
        assert_eq!(self.host.stats().in_flight, SLOTS, "the messages wait in place");
        assert_eq!(self.lines("messages wait in place"), 1, "logged once, not once per message");
        assert_eq!(self.lines("WARN"), 1, "{:?}", self.host.logs());
        assert!(self.lines(&format!("reason={reason}")) == 1, "{:?}", self.host.logs());
        end(&self.world);
        sent
    }

    async fn all_are_applied_soon(&self) {
        let ended = Instant::now();
        wait_until("all are applied", async || self.host.stats().succeeded >= MESSAGES as u64).await;
        assert!(ended.elapsed() < RECOVERY_TIMEOUT, "{:?}", ended.elapsed());
        wait_until("the recovery is logged", async || self.lines("resuming held messages") == 1).await;
        assert_eq!(self.world.dataverse.rows("contacts").len(), MESSAGES);
        assert_eq!(self.world.poison.approximate_count().await.expect("the queue answers"), 0);
        let mut deliveries = BTreeMap::new();
        for invocation in self.host.invocations() {
            let most: &mut u32 = deliveries.entry(invocation.message_id).or_default();
            *most = (*most).max(invocation.dequeue_count);
        }
        assert_eq!(deliveries.len(), MESSAGES);
        assert!(deliveries.values().all(|count| *count <= 2), "{deliveries:?}");
    }
}

/// Answers every request with this status until it is cleared.
fn refuse_all(world: &World, status: Status) {
    world.dataverse.fault(Fault::new(Effect::Status(status)).until_cleared());
}

#[tokio::test]
async fn an_outage_of_dataverse() {
    let scene = Scene::start(|world| refuse_all(world, Status::new(503, "", "Service unavailable."))).await;
    let sent = scene.outlasts("unavailable", |world| world.dataverse.clear_faults()).await;
    assert!((3..=15).contains(&sent), "the first failures and the probes: {sent}");
    scene.all_are_applied_soon().await;
}

#[tokio::test]
async fn dataverse_refuses_the_credential() {
    let refused = Status::new(401, "0x80040277", "The access token is not valid here.");
    let scene = Scene::start(|world| refuse_all(world, refused)).await;
    let sent = scene.outlasts("unauthorized", |world| world.dataverse.clear_faults()).await;
    assert!((3..=30).contains(&sent), "each is sent twice, with a fresh token: {sent}");
    scene.all_are_applied_soon().await;
}

#[tokio::test]
async fn an_outage_of_entra_id() {
    let fault = identity::Fault::Status(reqwest::StatusCode::SERVICE_UNAVAILABLE);
    let scene = Scene::start(|world| world.identity.fault(fault)).await;
    let sent = scene.outlasts("unavailable", |world| world.identity.clear_faults()).await;
    assert_eq!(sent, 0, "nothing is sent without a token");
    scene.all_are_applied_soon().await;
}

fn storage(world: &World) -> &storage::Storage {
    let Backing::Embedded(storage) = &world.storage else { panic!("this world is on the embedded storage") };
    storage
}

#[tokio::test]
async fn an_outage_of_the_lock_storage() {
    let gone = storage::Fault::until_cleared(storage::Op::AnyBlob, storage::Effect::DropBefore);
    let scene = Scene::start(|world| storage(world).fault(gone)).await;
    let sent = scene.outlasts("storage_unavailable", |world| storage(world).clear_faults()).await;
    assert_eq!(sent, 0, "nothing is written without a lock");
    scene.all_are_applied_soon().await;
}
