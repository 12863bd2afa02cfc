//! One seed from its first message to its evidence: senders, hosts and the storm side by side, then calm.

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
use super::fault_schedule::{Event, Storm};
use super::faults::{self, Trouble};
use super::gather::{self, Clock, Notes};
use super::hosts::Fleet;
use super::workload::{CANARY, Ledger, Message, SOURCES, TABLE, TAKEN};
use crate::storage::{self, LeaseState, Storage};
use crate::world::{Options as WorldOptions, QUEUE, World};
use crate::{bench, identity};

/// Lease requests that the store remembers: a run of an hour makes some hundred thousand.
const LEASE_LOG: usize = 2_000_000;

/// Tokens that live this long are asked for again and again.
const TOKEN_LIFE: Duration = Duration::from_mins(1);

/// How often a sender that was refused tries again.
const SEND_AGAIN: Duration = Duration::from_millis(200);

/// How often the queue is looked at.
const LOOK: Duration = Duration::from_millis(200);

/// What a seed led to.
pub(super) struct Aftermath {
    pub(super) ledger: Ledger,
    pub(super) evidence: Evidence,
    /// Hosts that there were, one after the other.
    pub(super) hosts: usize,
    /// From the first message until all was settled, or the patience was over.
    pub(super) took: Duration,
}

/// What all parts of a run share.
struct Scene<'a> {
    world: &'a World,
    storage: &'a Storage,
    fleet: Fleet<'a>,
    clock: Clock,
    sent: Mutex<HashMap<String, usize>>,
    taken: Mutex<Vec<(Instant, String)>>,
}

/// Runs a seed.
pub(super) async fn run(plan: &Plan, storm: &Storm, bar: &ProgressBar) -> anyhow::Result<Aftermath> {
    let ledger = Ledger::draw(storm.seed, plan.ledger_extent());
    let world = world(plan).await?;
    let storage = world.storage.embedded().context("the storm needs the embedded storage")?;
    let given = given_rows(&world, plan);
    let fleet = Fleet::start(&world, storage, plan).await?;
    let (sent, taken) = (Mutex::default(), Mutex::default());
    let scene = Scene { world: &world, storage, fleet, clock: Clock::start(), sent, taken };
    let whole = async {
        tokio::try_join!(scene.send(&ledger), scene.rage(storm, plan.storm))?;
        scene.calm(plan.patience).await;
        anyhow::Ok(scene.clock.instant.elapsed())
    };
    let took = tokio::select! {
        took = whole => took?,
        never = scene.show(plan, ledger.puts(), bar) => match never {},
    };
    let Scene { fleet, clock, sent, taken, .. } = scene;
    let members = fleet.end().await;
    let hosts = members.len();
    let (sent, taken) = (into_inner(sent), into_inner(taken));
    let evidence = gather::evidence(&world, storage, &ledger, &Notes { clock, sent, taken, given, members })?;
    Ok(Aftermath { ledger, evidence, hosts, took })
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

/// The rows that are there before anything is sent; gives their keys by id.
fn given_rows(world: &World, plan: &Plan) -> HashMap<String, String> {
    world.dataverse.insert(TABLE, &json!({ "employeeid": format!("{CANARY}-taken"), "emailaddress1": TAKEN }));
    let keys = Ledger::present_keys(plan.ledger_extent()).into_iter();
    keys.map(|key| (world.dataverse.insert(TABLE, &json!({ "employeeid": key })), key)).collect()
}

impl Scene<'_> {
    /// Each source puts its own messages at their times.
    async fn send(&self, ledger: &Ledger) -> anyhow::Result<()> {
        try_join_all(SOURCES.map(|source| self.send_as(ledger, source))).await.map(drop)
    }

    async fn send_as(&self, ledger: &Ledger, source: &str) -> anyhow::Result<()> {
        let mut own: Vec<&Message> = ledger.messages.iter().filter(|message| message.source == source).collect();
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

    /// All events at their times, and then the end of every fault.
    async fn rage(&self, storm: &Storm, lasts: Duration) -> anyhow::Result<()> {
        let mut rng = Rng::with_seed(storm.seed);
        let strikes = storm.events.iter().map(|event| self.strike(event, rng.fork()));
        try_join_all(strikes).await?;
        sleep_until(self.clock.instant + lasts).await;
        self.world.dataverse.clear_faults();
        self.world.identity.clear_faults();
        self.storage.clear_faults();
        Ok(())
    }

    async fn strike(&self, event: &Event, mut rng: Rng) -> anyhow::Result<()> {
        sleep_until(self.clock.instant + event.at).await;
        let (dataverse, identity) = (&self.world.dataverse, &self.world.identity);
        match &event.trouble {
            Trouble::Kill(place) => self.fleet.kill(*place).await?,
            Trouble::Terminate(place) => self.fleet.terminate(*place).await?,
            Trouble::Gone(place) => self.fleet.lose(*place, event.lasts).await?,
            Trouble::Pause(place) => self.fleet.pause(*place, event.lasts).await?,
            Trouble::Dataverse(_, fault) => {
                dataverse.fault(fault.clone());
                when_over(event, || dataverse.end_fault(fault)).await;
            }
            Trouble::Storage(_, fault) => {
                self.storage.fault(fault.clone());
                when_over(event, || self.storage.end_fault(fault)).await;
            }
            Trouble::Identity(_, fault) => {
                identity.fault(*fault);
                identity.revoke_all();
                when_over(event, || identity.end_fault(*fault)).await;
            }
            Trouble::Revoke => identity.revoke_all(),
            Trouble::Break(share) => {
                let break_one = |blob: (&str, &str)| self.storage.break_leases(Some(blob));
                self.under_slow_writes(event, || self.end_leases(*share, &mut rng, break_one)).await;
            }
            Trouble::Expire(share) => {
                let expire_one = |blob: (&str, &str)| self.storage.expire_leases(Some(blob));
                self.under_slow_writes(event, || self.end_leases(*share, &mut rng, expire_one)).await;
            }
            Trouble::Redeliver(count) => drop(self.storage.redeliver(QUEUE, *count)),
            Trouble::Postpone(count, by) => drop(self.storage.postpone(QUEUE, *count, *by)),
        }
        Ok(())
    }

    /// Makes writes slow for the event's time, and acts in the middle of it.
    async fn under_slow_writes(&self, event: &Event, act: impl FnOnce()) {
        let slow = faults::slow_writes();
        self.world.dataverse.fault(slow.clone());
        sleep(event.lasts / 2).await;
        act();
        sleep(event.lasts / 2).await;
        self.world.dataverse.end_fault(&slow);
    }

    /// Ends about `share` percent of the leases that are held, and notes which and when.
    fn end_leases(&self, share: u8, rng: &mut Rng, end: impl Fn((&str, &str)) -> usize) {
        for lease in self.storage.leases().into_iter().filter(|lease| lease.state == LeaseState::Leased) {
            if rng.u8(..100) >= share {
                continue;
            }
            // Before it happens: nobody can have got the lease earlier than this.
            let now = Instant::now();
            if end((&lease.container, &lease.blob)) > 0 {
                lock(&self.taken).push((now, lease.blob));
            }
        }
    }

    /// Until every message is settled, or the patience is over.
    async fn calm(&self, patience: Duration) {
        let begun = Instant::now();
        while (!self.storage.messages(QUEUE).is_empty() || self.fleet.in_flight() > 0) && begun.elapsed() < patience {
            sleep(LOOK).await;
        }
    }

    /// Moves the bar for ever.
    async fn show(&self, plan: &Plan, puts: usize, bar: &ProgressBar) -> Infallible {
        bench::report::begin(bar, u64::try_from(puts).unwrap_or(u64::MAX), "");
        loop {
            let (sent, waiting) = (lock(&self.sent).len(), self.storage.messages(QUEUE).len());
            let elapsed = self.clock.instant.elapsed();
            let phase = if elapsed < plan.storm { "storm" } else { "calm" };
            bar.set_position(u64::try_from(sent.saturating_sub(waiting)).unwrap_or(u64::MAX));
            bar.set_message(format!("settled, {waiting} in the queue; {phase}, {:.0} s", elapsed.as_secs_f64()));
            sleep(LOOK).await;
        }
    }
}

/// Ends a fault that lasts; one that strikes a number of requests is used up by them.
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
