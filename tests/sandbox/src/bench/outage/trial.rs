//! One outage in its own world: the outage begins, messages arrive, it ends, and the outcomes are counted.

use std::time::Duration;

use anyhow::{Context as _, ensure};
use axum::http::StatusCode;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::{Case, OUTAGE, Plan, RETRY_AFTER};
use crate::world::{Options as WorldOptions, POISON_QUEUE, QUEUE, World};
use stand_ins::dataverse::{self, Status};
use stand_ins::host::{self, Host};
use stand_ins::identity;
use stand_ins::storage::{self, Op, Storage};

const INSTANCES: usize = 2;
const TABLE: &str = "contacts";

/// As in the app's host.json.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(30);
const POLLING: Duration = Duration::from_secs(5);
const FUNCTION_TIMEOUT: Duration = Duration::from_mins(10);

/// How long the queue extension hides a message while it is processed.
const INVISIBILITY: Duration = Duration::from_mins(10);

/// The default of `SYNC_HOLD_SECONDS`.
const HOLD: Duration = Duration::from_mins(8);

/// The host's default of `maxDequeueCount`; its default visibility timeout is zero.
const HOST_DELIVERIES: u32 = 5;

/// A host polls no more often than this.
const SHORTEST_POLLING: Duration = Duration::from_millis(100);

/// A generous limit, also for a busy machine; messages not settled by then are stuck.
const PATIENCE: Duration = Duration::from_mins(3);

/// Far longer than it takes to put all messages.
const OUT_OF_SIGHT: Duration = Duration::from_hours(1);

const LOOK: Duration = Duration::from_millis(50);

/// How the handler and its host retry a failing message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    /// As the app is deployed.
    Deployed,
    /// The host's defaults, without holding.
    LeftAlone,
}

/// One outage under one policy.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trial<'a> {
    pub(super) plan: &'a Plan,
    pub(super) case: Case,
    pub(super) policy: Policy,
}

/// The outcomes of the messages.
#[derive(Debug)]
pub(super) struct Losses {
    pub(super) in_poison: usize,
    pub(super) applied: usize,
    pub(super) most_deliveries: u32,
    /// From the outage's end until every message was settled; `None`: not within the time limit.
    pub(super) settled_after: Option<Duration>,
}

impl Trial<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<Losses> {
        let options = WorldOptions { handler: self.plan.handler.clone(), ..WorldOptions::default() };
        let world = World::start(options).await?;
        let storage = world.storage.embedded().context("an outage needs the embedded storage")?;
        let hosts = try_join_all((1..=INSTANCES).map(|number| self.host(&world, number))).await?;
        warm_up(&world, storage).await?;
        for number in 0..self.plan.messages {
            put_out_of_sight(&world, number).await?;
        }
        let begun = Instant::now();
        self.begin(&world, storage);
        storage.redeliver(QUEUE, usize::MAX);
        sleep_until(begun + self.plan.scaled(OUTAGE)).await;
        self.end(&world, storage);
        let settled_after = settled(storage, &hosts, PATIENCE).await;
        let deliveries = hosts.iter().flat_map(Host::invocations).map(|invocation| invocation.dequeue_count);
        let losses = Losses {
            in_poison: storage.messages(POISON_QUEUE).len(),
            applied: applied(&world),
            most_deliveries: deliveries.max().unwrap_or_default(),
            settled_after,
        };
        for host in hosts {
            host.stop().await;
        }
        Ok(losses)
    }

    async fn host(&self, world: &World, number: usize) -> anyhow::Result<Host> {
        let hold = match self.policy {
            Policy::Deployed => self.plan.scaled_seconds(HOLD).as_secs(),
            Policy::LeftAlone => 0,
        };
        let name = format!("instance-{number}");
        let scaled = host::Options {
            polling: Some(self.plan.scaled(POLLING).max(SHORTEST_POLLING)),
            invisibility: Some(self.plan.scaled_seconds(INVISIBILITY)),
            function_timeout: Some(self.plan.scaled(FUNCTION_TIMEOUT)),
            ..world.host_options(&name, &[("SYNC_HOLD_SECONDS", &hold.to_string())])
        };
        let options = match self.policy {
            Policy::Deployed => {
                let visibility_timeout = Some(self.plan.scaled_seconds(VISIBILITY_TIMEOUT));
                host::Options { visibility_timeout, ..scaled }
            }
            Policy::LeftAlone => host::Options {
                visibility_timeout: Some(Duration::ZERO),
                max_dequeue_count: Some(HOST_DELIVERIES),
                ..scaled
            },
        };
        Host::start(options).await.with_context(|| format!("starting {name}"))
    }

    fn begin(&self, world: &World, storage: &Storage) {
        let dataverse = |status| {
            let fault = dataverse::Fault::new(dataverse::Effect::Status(status));
            world.dataverse.fault(fault.until_cleared());
        };
        match self.case {
            Case::Busy => dataverse(Status::new(503, "0x8004a001", "The server is busy.")),
            Case::Unauthorized => dataverse(Status::new(401, "", "Authorization has been denied for this request.")),
            Case::Throttled => {
                let text = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
                let wait = self.plan.scaled_seconds(RETRY_AFTER).as_secs();
                let retry_after = u32::try_from(wait).ok();
                dataverse(Status { retry_after, ..Status::new(429, "0x80072322", text) });
            }
            Case::Storage => {
                storage.fault(storage::Fault::until_cleared(Op::AnyBlob, storage::Effect::DropBefore));
            }
            Case::Identity => {
                world.identity.fault(identity::Fault::Status(StatusCode::INTERNAL_SERVER_ERROR));
                world.identity.revoke_all();
            }
        }
    }

    fn end(&self, world: &World, storage: &Storage) {
        match self.case {
            Case::Busy | Case::Unauthorized | Case::Throttled => world.dataverse.clear_faults(),
            Case::Storage => storage.clear_faults(),
            Case::Identity => world.identity.clear_faults(),
        }
    }
}

/// Gives all handlers a token and connections before the outage begins.
async fn warm_up(world: &World, storage: &Storage) -> anyhow::Result<()> {
    for number in 0..INSTANCES * 8 {
        world.put(&record(&format!("warm-{number}"))).await?;
    }
    let begun = Instant::now();
    while !storage.messages(QUEUE).is_empty() {
        ensure!(begun.elapsed() < PATIENCE, "the messages before the outage were not settled");
        sleep(LOOK).await;
    }
    Ok(())
}

/// Puts the messages hidden, so that all appear at once when the outage begins.
async fn put_out_of_sight(world: &World, number: usize) -> anyhow::Result<()> {
    let text = STANDARD.encode(record(&format!("O-{number}")));
    world.queue.put_with(&text, OUT_OF_SIGHT).await.context("putting a message on the queue")?;
    Ok(())
}

fn record(key: &str) -> String {
    json!({ "table": TABLE, "key": { "employeeid": key }, "columns": { "firstname": "Ada" } }).to_string()
}

fn applied(world: &World) -> usize {
    let of_outage = |row: &serde_json::Map<String, serde_json::Value>| {
        row.get("employeeid").and_then(serde_json::Value::as_str).is_some_and(|key| key.starts_with("O-"))
    };
    world.dataverse.rows(TABLE).iter().filter(|row| of_outage(row)).count()
}

/// The time until the queue is empty and nothing runs.
async fn settled(storage: &Storage, hosts: &[Host], patience: Duration) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < patience {
        let running: u64 = hosts.iter().map(|host| host.stats().in_flight).sum();
        if running == 0 && storage.messages(QUEUE).is_empty() {
            return Some(begun.elapsed());
        }
        sleep(LOOK).await;
    }
    None
}
