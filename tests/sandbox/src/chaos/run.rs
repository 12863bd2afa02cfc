//! Runs one seed: senders, hosts and faults concurrently, then recovery, then the evidence.

use std::convert::Infallible;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::Context as _;
use fastrand::Rng;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use serde_json::json;
use time::OffsetDateTime;
use tokio::time::{Instant, sleep, sleep_until};

use super::evidence::Evidence;
use super::faults::{Fault, Injection, SLOWER_WRITE};
use super::gather::{self, RunLog};
use super::hosts::Hosts;
use super::workload::{self, CANARY, DENIED_TABLE, Kind, MAIN, Message, SOURCES, TABLE, TAKEN};
use super::{Plan, lock};
use crate::world::{Options as WorldOptions, QUEUE, World};
use stand_ins::dataverse::{self, Operation, Table};
use stand_ins::identity;
use stand_ins::storage::{self, LeaseEvent, LeaseState, Op, Storage};

/// Capacity of the lease log: a run of an hour makes some hundred thousand requests.
const LEASE_LOG: usize = 2_000_000;

/// A short lifetime, so that tokens are requested repeatedly.
const TOKEN_LIFETIME: Duration = Duration::from_mins(1);

/// How often a sender repeats a failed put, and how often the queue is read.
const POLL: Duration = Duration::from_millis(200);

/// The table of [`Kind::Denied`].
fn denied_table() -> Table {
    let table = Table::new(DENIED_TABLE, "new_contractor", "new_contractorid").text("employeeid", 50);
    let table = table.text(MAIN.marker, 100).text(MAIN.companion, 50);
    table.column(MAIN.version, dataverse::Kind::BigInteger).key(&["employeeid"]).optimistic_concurrency()
}

/// The first write of a message is made, and the connection is dropped.
fn lost_response(message: &Message) -> Option<dataverse::Fault> {
    let Kind::Unanswered { operation, .. } = message.kind else { return None };
    let method = if operation == Operation::Delete { "DELETE" } else { "PATCH" };
    let key = format!("'{}'", message.key);
    Some(dataverse::Fault::new(dataverse::Effect::DropAfterCommit).method(method).key(&key))
}

/// The shared state of a run.
struct Run<'a> {
    world: &'a World,
    storage: &'a Storage,
    hosts: Hosts<'a>,
    log: RunLog,
}

/// Runs a seed. Returns the evidence, and the time from the first message until all were settled or time was up.
pub(super) async fn run(
    plan: &Plan,
    handler: &Path,
    seed: u64,
    schedule: &[Fault],
    bar: &ProgressBar,
) -> anyhow::Result<(Evidence, Duration)> {
    let messages = workload::draw(seed, plan);
    let options = WorldOptions {
        handler: handler.to_owned(),
        embedded: storage::Options { lease_log: LEASE_LOG, ..storage::Options::default() },
        identity: identity::Options { lifetime: TOKEN_LIFETIME, ..identity::Options::default() },
        ..WorldOptions::default()
    };
    let world = World::start(options).await?;
    let storage = world.storage.embedded().context("faults need the embedded storage")?;
    world.dataverse.insert(TABLE, &json!({ "employeeid": format!("{CANARY}-taken"), "emailaddress1": TAKEN }));
    let insert = |key: &str| (world.dataverse.insert(TABLE, &json!({ "employeeid": key })), key.to_owned());
    let existing = workload::present_keys(&messages).into_iter().map(insert).collect();
    world.dataverse.define(denied_table());
    for fault in messages.iter().filter_map(lost_response) {
        world.dataverse.fault(fault);
    }
    let hosts = Hosts::start(plan, &world, storage).await?;
    let (begun, begun_utc) = (Instant::now(), OffsetDateTime::now_utc());
    let log = RunLog { begun, begun_utc, sent: Mutex::default(), ended_leases: Mutex::default(), existing };
    let run = Run { world: &world, storage, hosts, log };
    let whole = async {
        let senders = try_join_all(SOURCES.map(|source| run.send(&messages, source)));
        tokio::try_join!(senders, run.inject(seed, schedule, plan.fault_phase()))?;
        run.recover(plan.settle_timeout()).await;
        anyhow::Ok(begun.elapsed())
    };
    let took = tokio::select! {
        took = whole => took?,
        never = run.show_progress(plan, bar) => match never {},
    };
    let Run { hosts, log, .. } = run;
    Ok((gather::evidence(plan, &world, storage, &messages, &log, &hosts.stop().await)?, took))
}

impl Run<'_> {
    /// A source sends its own messages at their times.
    async fn send(&self, messages: &[Message], source: &str) -> anyhow::Result<()> {
        let mut own: Vec<&Message> = messages.iter().filter(|message| message.source == source).collect();
        own.sort_by_key(|message| message.at);
        for message in own {
            sleep_until(self.log.begun + message.at).await;
            for _ in 0..message.copies {
                let id = loop {
                    match self.world.put(&message.text).await {
                        Ok(id) => break id,
                        Err(_) => sleep(POLL).await,
                    }
                };
                lock(&self.log.sent).insert(id, message.number);
            }
        }
        Ok(())
    }

    /// Applies all faults at their times, then ends every one.
    async fn inject(&self, seed: u64, schedule: &[Fault], lasts: Duration) -> anyhow::Result<()> {
        let mut rng = Rng::with_seed(seed);
        try_join_all(schedule.iter().map(|fault| self.apply(fault, rng.fork()))).await?;
        sleep_until(self.log.begun + lasts).await;
        for fault in schedule {
            if let Injection::Dataverse(of_dataverse) = &fault.injection {
                self.world.dataverse.end_fault(of_dataverse);
            }
        }
        self.world.identity.clear_faults();
        self.storage.clear_faults();
        Ok(())
    }

    async fn apply(&self, fault: &Fault, mut rng: Rng) -> anyhow::Result<()> {
        sleep_until(self.log.begun + fault.at).await;
        let (dataverse, identity, storage) = (&self.world.dataverse, &self.world.identity, self.storage);
        let host = fault.host.unwrap_or_default();
        match &fault.injection {
            Injection::Kill => self.hosts.kill(host).await?,
            Injection::Terminate => self.hosts.terminate(host).await?,
            Injection::Replace => self.hosts.replace(host, fault.lasts).await?,
            Injection::Pause => self.hosts.pause(host, fault.lasts).await?,
            Injection::Dataverse(of_dataverse) => {
                dataverse.fault(of_dataverse.clone());
                after(fault.lasts, || dataverse.end_fault(of_dataverse)).await;
            }
            Injection::Storage(of_storage) => {
                storage.fault(of_storage.clone());
                after(fault.lasts, || storage.end_fault(of_storage)).await;
            }
            Injection::Identity(of_identity) => {
                identity.fault(*of_identity);
                identity.revoke_all();
                after(fault.lasts, || identity.end_fault(*of_identity)).await;
            }
            Injection::RevokeTokens => identity.revoke_all(),
            Injection::BreakLeases(share) => {
                self.end_leases(fault.lasts, *share, &mut rng, |blob| storage.break_leases(Some(blob))).await;
            }
            Injection::ExpireLeases(share) => {
                self.end_leases(fault.lasts, *share, &mut rng, |blob| storage.expire_leases(Some(blob))).await;
            }
            Injection::Redeliver(count) => drop(storage.redeliver(QUEUE, *count)),
            Injection::Postpone(count, by) => drop(storage.postpone(QUEUE, *count, *by)),
        }
        Ok(())
    }

    /// Makes writes slow for this time. Halfway it ends about `share` percent of the held leases, and records which and when.
    async fn end_leases(&self, lasts: Duration, share: u8, rng: &mut Rng, end: impl Fn((&str, &str)) -> usize) {
        let slow = dataverse::Fault::new(dataverse::Effect::Slow(SLOWER_WRITE)).method("PATCH").until_cleared();
        self.world.dataverse.fault(slow.clone());
        sleep(lasts / 2).await;
        for held in self.storage.leases().into_iter().filter(|lease| lease.state == LeaseState::Leased) {
            // Before it happens: another holder cannot have acquired the lease earlier.
            let at = Instant::now();
            if rng.u8(..100) < share && end((&held.container, &held.blob)) > 0 {
                let (container, blob, lease, caller) = (held.container, held.blob, None, String::new());
                let event = LeaseEvent { at, op: Op::Break, container, blob, lease, status: None, caller };
                lock(&self.log.ended_leases).push(event);
            }
        }
        sleep(lasts / 2).await;
        self.world.dataverse.end_fault(&slow);
    }

    /// Waits until every message is settled, or until the time limit.
    async fn recover(&self, settle_timeout: Duration) {
        let begun = Instant::now();
        while (!self.storage.messages(QUEUE).is_empty() || self.hosts.in_flight().await > 0)
            && begun.elapsed() < settle_timeout
        {
            sleep(POLL).await;
        }
    }

    /// Updates the progress bar until it is dropped.
    async fn show_progress(&self, plan: &Plan, bar: &ProgressBar) -> Infallible {
        loop {
            let (sent, waiting) = (lock(&self.log.sent).len(), self.storage.messages(QUEUE).len());
            let elapsed = self.log.begun.elapsed();
            let phase = if elapsed < plan.fault_phase() { "faults" } else { "recovery" };
            bar.set_position(u64::try_from(sent.saturating_sub(waiting)).unwrap_or(u64::MAX));
            bar.set_message(format!("{:.0} s, {phase}: {waiting} in the queue, settled", elapsed.as_secs_f64()));
            sleep(POLL).await;
        }
    }
}

/// Ends a fault with a duration; one with a number of requests ends by itself.
async fn after(lasts: Duration, end: impl FnOnce()) {
    if !lasts.is_zero() {
        sleep(lasts).await;
        end();
    }
}
