//! Runs one seed: senders, hosts and faults concurrently, then recovery, then the evidence.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fastrand::Rng;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::Plan;
use super::evidence::Evidence;
use super::fault_schedule::{Event, FaultSchedule};
use super::faults::{self, Injection};
use super::gather::{self, Clock, Notes};
use super::hosts::Hosts;
use super::workload::{CANARY, Message, SOURCES, TABLE, TAKEN, Workload};
use crate::world::{Options as WorldOptions, QUEUE, World};
use stand_ins::identity;
use stand_ins::storage::{self, LeaseState, Storage};

use crate::bench;

/// Capacity of the lease log: a run of an hour makes some hundred thousand requests.
const LEASE_LOG: usize = 2_000_000;

/// A short lifetime, so that tokens are requested repeatedly.
const TOKEN_LIFE: Duration = Duration::from_mins(1);

/// How often a sender repeats a failed put.
const SEND_AGAIN: Duration = Duration::from_millis(200);

/// How often the queue is read.
const POLL: Duration = Duration::from_millis(200);

/// The outcome of a seed.
pub(super) struct RunOutcome {
    pub(super) workload: Workload,
    pub(super) evidence: Evidence,
    /// The number of hosts started.
    pub(super) hosts: usize,
    /// From the first message until all were settled, or until the time limit.
    pub(super) took: Duration,
}

/// The shared state of a run.
struct Scene<'a> {
    world: &'a World,
    storage: &'a Storage,
    hosts: Hosts<'a>,
    clock: Clock,
    sent: Mutex<HashMap<String, usize>>,
    taken: Mutex<Vec<(Instant, String)>>,
}

/// Runs a seed.
pub(super) async fn run(plan: &Plan, schedule: &FaultSchedule, bar: &ProgressBar) -> anyhow::Result<RunOutcome> {
    let workload = Workload::draw(schedule.seed, plan.workload_extent());
    let world = world(plan).await?;
    let storage = world.storage.embedded().context("faults need the embedded storage")?;
    let given = given_rows(&world, plan);
    let hosts = Hosts::start(&world, storage, plan).await?;
    let (sent, taken) = (Mutex::default(), Mutex::default());
    let scene = Scene { world: &world, storage, hosts, clock: Clock::start(), sent, taken };
    let whole = async {
        tokio::try_join!(scene.send(&workload), scene.inject(schedule, plan.fault_phase))?;
        scene.recover(plan.patience).await;
        anyhow::Ok(scene.clock.instant.elapsed())
    };
    let took = tokio::select! {
        took = whole => took?,
        never = scene.show(plan, workload.puts(), bar) => match never {},
    };
    let Scene { hosts, clock, sent, taken, .. } = scene;
    let members = hosts.end().await;
    let hosts = members.len();
    let (sent, taken) = (into_inner(sent), into_inner(taken));
    let evidence = gather::evidence(&world, storage, &workload, &Notes { clock, sent, taken, given, members })?;
    Ok(RunOutcome { workload, evidence, hosts, took })
}

async fn world(plan: &Plan) -> anyhow::Result<World> {
    let options = WorldOptions {
        handler: plan.handler.clone(),
        embedded: storage::Options { lease_log: LEASE_LOG, ..storage::Options::default() },
        identity: identity::Options { lifetime: TOKEN_LIFE, ..identity::Options::default() },
        ..WorldOptions::default()
    };
    World::start(options).await
}

/// Inserts the rows that exist from the beginning; returns their keys by id.
fn given_rows(world: &World, plan: &Plan) -> HashMap<String, String> {
    world.dataverse.insert(TABLE, &json!({ "employeeid": format!("{CANARY}-taken"), "emailaddress1": TAKEN }));
    let keys = Workload::present_keys(plan.workload_extent()).into_iter();
    keys.map(|key| (world.dataverse.insert(TABLE, &json!({ "employeeid": key })), key)).collect()
}

impl Scene<'_> {
    /// Each source sends its own messages at their times.
    async fn send(&self, workload: &Workload) -> anyhow::Result<()> {
        try_join_all(SOURCES.map(|source| self.send_as(workload, source))).await.map(drop)
    }

    async fn send_as(&self, workload: &Workload, source: &str) -> anyhow::Result<()> {
        let mut own: Vec<&Message> = workload.messages.iter().filter(|message| message.source == source).collect();
        own.sort_by_key(|message| message.at);
        for message in own {
            sleep_until(self.clock.instant + message.at).await;
            for _ in 0..message.copies {
                self.put(message).await;
            }
        }
        Ok(())
    }

    async fn put(&self, message: &Message) {
        loop {
            match self.world.queue.put(&STANDARD.encode(&message.text)).await {
                Ok(id) => {
                    lock(&self.sent).insert(id, message.number);
                    return;
                }
                Err(_) => sleep(SEND_AGAIN).await,
            }
        }
    }

    /// Applies all events at their times, then ends every fault.
    async fn inject(&self, schedule: &FaultSchedule, lasts: Duration) -> anyhow::Result<()> {
        let mut rng = Rng::with_seed(schedule.seed);
        let injections = schedule.events.iter().map(|event| self.apply(event, rng.fork()));
        try_join_all(injections).await?;
        sleep_until(self.clock.instant + lasts).await;
        self.world.dataverse.clear_faults();
        self.world.identity.clear_faults();
        self.storage.clear_faults();
        Ok(())
    }

    async fn apply(&self, event: &Event, mut rng: Rng) -> anyhow::Result<()> {
        sleep_until(self.clock.instant + event.at).await;
        let (dataverse, identity) = (&self.world.dataverse, &self.world.identity);
        match &event.injection {
            Injection::Kill(place) => self.hosts.kill(*place).await?,
            Injection::Terminate(place) => self.hosts.terminate(*place).await?,
            Injection::Gone(place) => self.hosts.lose(*place, event.lasts).await?,
            Injection::Pause(place) => self.hosts.pause(*place, event.lasts).await?,
            Injection::Dataverse(_, fault) => {
                dataverse.fault(fault.clone());
                when_over(event, || dataverse.end_fault(fault)).await;
            }
            Injection::Storage(_, fault) => {
                self.storage.fault(fault.clone());
                when_over(event, || self.storage.end_fault(fault)).await;
            }
            Injection::Identity(_, fault) => {
                identity.fault(*fault);
                identity.revoke_all();
                when_over(event, || identity.end_fault(*fault)).await;
            }
            Injection::Revoke => identity.revoke_all(),
            Injection::Break(share) => {
                let break_one = |blob: (&str, &str)| self.storage.break_leases(Some(blob));
                self.under_slow_writes(event, || self.end_leases(*share, &mut rng, break_one)).await;
            }
            Injection::Expire(share) => {
                let expire_one = |blob: (&str, &str)| self.storage.expire_leases(Some(blob));
                self.under_slow_writes(event, || self.end_leases(*share, &mut rng, expire_one)).await;
            }
            Injection::Redeliver(count) => drop(self.storage.redeliver(QUEUE, *count)),
            Injection::Postpone(count, by) => drop(self.storage.postpone(QUEUE, *count, *by)),
        }
        Ok(())
    }

    /// Makes writes slow for the event's duration, and calls `act` halfway.
    async fn under_slow_writes(&self, event: &Event, act: impl FnOnce()) {
        let slow = faults::slow_writes();
        self.world.dataverse.fault(slow.clone());
        sleep(event.lasts / 2).await;
        act();
        sleep(event.lasts / 2).await;
        self.world.dataverse.end_fault(&slow);
    }

    /// Ends about `share` percent of the held leases, and records which and when.
    fn end_leases(&self, share: u8, rng: &mut Rng, end: impl Fn((&str, &str)) -> usize) {
        for lease in self.storage.leases().into_iter().filter(|lease| lease.state == LeaseState::Leased) {
            if rng.u8(..100) >= share {
                continue;
            }
            // Before it happens: another holder cannot have acquired the lease earlier.
            let now = Instant::now();
            if end((&lease.container, &lease.blob)) > 0 {
                lock(&self.taken).push((now, lease.blob));
            }
        }
    }

    /// Waits until every message is settled, or until the time limit.
    async fn recover(&self, patience: Duration) {
        let begun = Instant::now();
        while (!self.storage.messages(QUEUE).is_empty() || self.hosts.in_flight() > 0) && begun.elapsed() < patience {
            sleep(POLL).await;
        }
    }

    /// Updates the progress bar until it is dropped.
    async fn show(&self, plan: &Plan, puts: usize, bar: &ProgressBar) -> Infallible {
        bench::report::begin(bar, u64::try_from(puts).unwrap_or(u64::MAX), "");
        loop {
            let (sent, waiting) = (lock(&self.sent).len(), self.storage.messages(QUEUE).len());
            let elapsed = self.clock.instant.elapsed();
            let phase = if elapsed < plan.fault_phase { "faults" } else { "recovery" };
            bar.set_position(u64::try_from(sent.saturating_sub(waiting)).unwrap_or(u64::MAX));
            bar.set_message(format!("settled, {waiting} in the queue; {phase}, {:.0} s", elapsed.as_secs_f64()));
            sleep(POLL).await;
        }
    }
}

/// Ends a fault with a duration; one with a number of requests ends by itself.
async fn when_over(event: &Event, end: impl FnOnce()) {
    if !event.lasts.is_zero() {
        sleep(event.lasts).await;
        end();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn into_inner<T>(mutex: Mutex<T>) -> T {
    mutex.into_inner().unwrap_or_else(PoisonError::into_inner)
}
