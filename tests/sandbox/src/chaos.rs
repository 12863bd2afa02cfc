//! Senders, hosts with real handlers and the stand-ins under a seeded storm, and a ledger that must balance: `cargo sandbox chaos`.
//!
//! The seed draws the messages and the storm before anything runs. When the storm is over and all is settled, every message has to
//! be applied, skipped with a true reason, or a dead letter with a cause that fits; every row has to hold what its messages allow;
//! and no log may hold a value. What the system makes of the storm no seed decides, so a run is evidence and not a replay.
//!
//! Scaled: a failed message comes back after [`Plan::visibility_timeout`] (30 s in host.json), one of a host that is gone after
//! [`Plan::invisibility`] (10 minutes). Leases, and every wait of the handler's own, take their real time.

mod evidence;
mod fault_schedule;
mod faults;
mod gather;
mod hosts;
mod report;
mod run;
mod verifier;
mod workload;

use std::path::PathBuf;
use std::time::Duration;

use crate::bench;
use crate::stage::{self, Build};
use fault_schedule::Storm;
use report::Tally;
use verifier::{Fate, judge};

/// The column that holds the versions.
const VERSION_COLUMN: &str = "new_sourceversion";

/// The share of the time in which it storms; the rest is calm.
const STORM: f64 = 0.75;

/// The share of the storm in which messages are sent.
const SENDING: f64 = 0.85;

/// A write that is never answered is given up after 130 s, and then its lease has to run out.
const SILENT_FROM: Duration = Duration::from_mins(3);

/// `--help`, the text.
pub const ABOUT: &str = "\
Storms over the whole, and a ledger that must balance.

Three senders, several hosts with real handlers, and stand-ins for Dataverse, Entra ID and storage. A seed draws the messages
and the storm: handlers killed, stopped and paused for longer than a lease; machines gone; leases broken and expired under
their holders; Dataverse, identity and storage answering 429, 503, 500, 401, 403, slowly or never; connections dropped before
and after the work; messages delivered twice, late and out of order. Then calm, and then every message must be applied,
skipped with a true reason, or a dead letter with a cause that fits; every row must hold what its messages allow (the highest
version); no two writes of one row may have overlapped while both were sure of their lease; no log may hold a value or a secret.

It prints the storm and the ledger, and exits with 1 on any difference, with the stories of the messages concerned.
The seed decides what happens when; who has the processor at that moment, it does not.";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox chaos                        a seed of its own, 2 minutes, 4 instances, 2,000 messages
  cargo sandbox chaos --seed 7 --seeds 10    ten seeds one after the other, summed up
  cargo sandbox chaos --minutes 10 --instances 8 --messages 20000
  cargo sandbox chaos --minutes 0.5 --debug  quickly, without a release build

A failed message comes back after 3 s instead of the 30 s of host.json, and one of a machine that is gone after 20 s instead of
10 minutes. From 3 minutes on some writes are never answered: the handler gives them up after 130 s.";

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How long a seed takes, storm and calm; what is not settled by then has two minutes more.
    #[arg(long, default_value = "2", value_parser = minutes)]
    minutes: Duration,
    /// The first seed; drawn when not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds run one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// How many hosts run side by side.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    instances: u8,
    /// How many messages a seed sends.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    messages: u32,
    /// Builds the handler without optimisation, instead of as it is deployed.
    #[arg(long)]
    debug: bool,
    /// A handler that is built already, instead of building it.
    #[arg(long, value_name = "PATH", conflicts_with = "debug")]
    handler: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.2..=600.0).contains(&minutes) => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err("must be a number of minutes from 0.2 to 600".to_owned()),
    }
}

/// How one seed is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// Hosts side by side.
    pub instances: usize,
    /// Messages of a seed.
    pub messages: usize,
    /// How long it storms.
    pub storm: Duration,
    /// How long after the storm a message may be unsettled before it is stuck.
    pub patience: Duration,
    /// After this time a failed message comes back.
    pub visibility_timeout: Duration,
    /// After this time a message of a host that is gone comes back.
    pub invisibility: Duration,
    /// How many messages have their first write never answered.
    pub silent: usize,
}

impl Plan {
    /// A plan for a run of `total`, calm included.
    pub fn new(handler: PathBuf, total: Duration) -> Self {
        let storm = total.mul_f64(STORM);
        Self {
            handler,
            instances: 4,
            messages: 2_000,
            storm,
            patience: total.saturating_sub(storm) + Duration::from_mins(2),
            visibility_timeout: Duration::from_secs(3),
            invisibility: Duration::from_secs(20),
            silent: if total < SILENT_FROM { 0 } else { 3 },
        }
    }

    fn ledger_extent(&self) -> workload::Extent {
        workload::Extent { messages: self.messages, sending: self.storm.mul_f64(SENDING), silent: self.silent }
    }

    fn storm_extent(&self) -> fault_schedule::Extent {
        fault_schedule::Extent { lasts: self.storm, instances: self.instances, silent: self.silent }
    }
}

/// What came of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// Messages that balance or do not.
    pub messages: usize,
    /// Deliveries beyond each message's first.
    pub redeliveries: usize,
    /// Things that went wrong on purpose.
    pub events: usize,
    /// What does not balance, with the stories of the messages concerned; empty when all does.
    pub differences: String,
    tally: Tally,
}

impl Outcome {
    /// Whether the books balance.
    pub fn balances(&self) -> bool {
        self.tally.differences == 0
    }
}

/// Runs one seed and prints what came of it.
///
/// # Errors
/// When the world or a host does not start.
pub async fn storm(plan: &Plan, seed: u64) -> anyhow::Result<Outcome> {
    let storm = Storm::draw(seed, plan.storm_extent());
    println!("the storm of seed {seed}: {} events in {:.0} s, then calm", storm.events.len(), plan.storm.as_secs_f64());
    print!("{storm}");
    let bar = bench::report::bar("storming");
    let ran = run::run(plan, &storm, &bar).await;
    bar.finish_and_clear();
    let aftermath = ran?;
    let judgement = judge(&aftermath.ledger, &aftermath.evidence);
    let mut tally = Tally::default();
    tally.add(&aftermath, &judgement);
    let differences = report::differences(&aftermath.ledger, &aftermath.evidence, &judgement);
    let took = aftermath.took.as_secs_f64();
    println!("\nthe ledger of seed {seed}, settled after {took:.0} s:\n{}", tally.table());
    match judgement.differences.len() {
        0 => println!("✓ seed {seed}: the books balance"),
        count => print!("✗ seed {seed}: {count} difference(s)\n{differences}"),
    }
    Ok(Outcome {
        messages: aftermath.ledger.messages.len(),
        redeliveries: aftermath.evidence.deliveries.iter().filter(|delivery| delivery.count > 1).count(),
        events: storm.events.len(),
        differences,
        tally,
    })
}

/// Builds the handler and runs every seed; gives whether all books balance.
///
/// # Errors
/// When the handler cannot be built, or a world does not start.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let handler = match arguments.handler {
        Some(path) => path,
        None => stage::build(&Build { release: !arguments.debug, ..Build::default() })?,
    };
    let plan = Plan {
        instances: arguments.instances.into(),
        messages: usize::try_from(arguments.messages)?,
        ..Plan::new(handler, arguments.minutes)
    };
    let first = arguments.seed.unwrap_or_else(|| fastrand::u64(..100_000));
    let seeds: Vec<u64> = (0..arguments.seeds).map(|offset| first.wrapping_add(offset)).collect();
    println!(
        "{} messages a seed through {} instances. Scaled: a failed message comes back after {} s (host.json: 30 s), one of a \
         machine that is gone after {} s (Azure: 10 min).",
        plan.messages,
        plan.instances,
        plan.visibility_timeout.as_secs(),
        plan.invisibility.as_secs(),
    );
    let (mut all, mut broken) = (Tally::default(), Vec::new());
    for seed in seeds {
        println!();
        let outcome = storm(&plan, seed).await?;
        if !outcome.balances() {
            broken.push(seed);
        }
        all.merge(outcome.tally);
    }
    Ok(sum_up(&all, &broken))
}

/// Says how all seeds went together; gives whether their books balance.
fn sum_up(all: &Tally, broken: &[u64]) -> bool {
    if all.seeds > 1 {
        println!("\nall {} seeds:\n{}", all.seeds, all.table());
    }
    println!(
        "raw in poison: {}, stuck: {}, lost: {}",
        all.fate(&Fate::Raw),
        all.fate(&Fate::Stuck),
        all.fate(&Fate::Lost)
    );
    match broken {
        [] => println!("✓ {} messages: the books balance", all.messages),
        _ => println!("✗ the books of these seeds do not balance: {broken:?}; once more with --seed"),
    }
    broken.is_empty()
}
