//! Randomised fault injection: `cargo sandbox chaos` runs senders, hosts with real handlers and the stand-ins under a seeded fault
//! schedule, and verifies the outcome of every message.
//!
//! The seed determines the messages and the fault schedule before anything runs. After the faults, every message must be applied,
//! skipped with a reason that holds, or a dead letter with a matching cause; every row must hold what its messages allow; and no
//! log may contain a column value. The interleaving does not depend on the seed, so a run is not reproducible exactly.
//!
//! Scaled times: a failed message becomes visible after [`VISIBILITY_TIMEOUT`] (30 s in host.json), the message of a host
//! that is gone after [`INVISIBILITY`] (10 minutes). Leases and the handler's own waits take their real time.

mod evidence;
mod faults;
mod gather;
mod hosts;
mod report;
mod run;
mod verifier;
mod workload;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::progress;
use crate::stage::{self, Build};
pub use report::Totals;
use verifier::{LOST, RAW, STUCK};

/// The column that holds the versions.
const VERSION_COLUMN: &str = "new_sourceversion";

/// The visibility timeout of `cargo sandbox chaos`.
const VISIBILITY_TIMEOUT: Duration = Duration::from_secs(3);

/// The time after which `cargo sandbox chaos` makes the message of a host that is gone visible again.
const INVISIBILITY: Duration = Duration::from_secs(20);

/// The long text of `--help`.
pub const ABOUT: &str = "\
Injects faults into the whole system and verifies the outcome of every message.

Three senders, several hosts with real handlers, and stand-ins for Dataverse,
Entra ID and storage. A seed determines the messages and the faults: handlers
killed, stopped and paused for longer than a lease; machines gone; leases broken
and expired while they are held; Dataverse, identity and storage answering 429,
503, 500, 401, 403, slowly or never; connections dropped before and after the
work; messages delivered twice, late and out of order; a table whose privilege
is missing for a while, and writes whose first response is lost. The messages
include a hot row, keys in several spellings, two version columns, deletions and
re-creations, and states. After the faults every message must be applied,
skipped with a reason that holds, or a dead letter with a matching cause; every
row must hold what its messages allow (the highest version); no two writes of
one row may have overlapped while both held a valid lease; no log may contain a
column value or a secret.

It prints the fault schedule and the outcomes, and exits with 1 on any
difference, with the history of the keys concerned. The seed determines the
messages and the faults, but not the scheduling of processes.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox chaos                        a random seed, 2 minutes
  cargo sandbox chaos --seed 7 --seeds 10    ten seeds, with a summary
  cargo sandbox chaos --minutes 10 --instances 8 --messages 20000
  cargo sandbox chaos --minutes 0.5 --debug  without a release build

A failed message becomes visible after 3 s instead of the 30 s of host.json, the
message of a machine that is gone after 20 s instead of 10 minutes. Runs of 3
minutes and more include writes that are never answered: the handler gives them
up after 150 s.";

/// How a seed is run; the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Plan {
    /// How long a seed runs, fault phase and recovery; unsettled messages get two minutes more.
    #[arg(long, default_value = "2", value_parser = minutes)]
    pub minutes: Duration,
    /// How many hosts run side by side.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=32))]
    pub instances: u8,
    /// How many messages a seed sends.
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    pub messages: u32,
    /// After this time a failed message becomes visible again.
    #[arg(skip = VISIBILITY_TIMEOUT)]
    pub visibility_timeout: Duration,
    /// After this time the message of a host that is gone becomes visible again.
    #[arg(skip = INVISIBILITY)]
    pub invisibility: Duration,
}

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    plan: Plan,
    /// The first seed; random by default.
    #[arg(long)]
    seed: Option<u64>,
    /// How many seeds run one after the other.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    seeds: u64,
    /// Uses a development build of the handler instead of a release build.
    #[arg(long)]
    debug: bool,
    /// Uses this handler executable instead of building one.
    #[arg(long, value_name = "PATH", conflicts_with = "debug")]
    handler: Option<PathBuf>,
}

fn minutes(text: &str) -> Result<Duration, String> {
    match text.parse::<f64>() {
        Ok(minutes) if (0.2..=600.0).contains(&minutes) => Ok(Duration::from_secs_f64(minutes * 60.0)),
        _ => Err("must be a number of minutes from 0.2 to 600".to_owned()),
    }
}

impl Plan {
    /// How long faults are injected; afterwards the system recovers.
    fn fault_phase(&self) -> Duration {
        self.minutes.mul_f64(0.75)
    }

    /// The time over which messages are sent.
    fn sending(&self) -> Duration {
        self.fault_phase().mul_f64(0.85)
    }

    /// How long after the fault phase a message may be unsettled before it counts as stuck.
    fn settle_timeout(&self) -> Duration {
        self.minutes.saturating_sub(self.fault_phase()) + Duration::from_mins(2)
    }

    /// When the privileges for a table are missing.
    fn denial(&self) -> Range<Duration> {
        self.fault_phase().mul_f64(0.02)..self.fault_phase().mul_f64(0.6)
    }

    /// Until then there is no other fault.
    fn calm_until(&self) -> Duration {
        self.fault_phase().mul_f64(0.15)
    }

    /// The number of messages whose first write is never answered; half of these writes are made. Shorter runs have none: the
    /// handler gives such a write up after 150 s, and then its lease has to expire.
    fn silent(&self) -> u32 {
        if self.minutes < Duration::from_mins(3) { 0 } else { 4 }
    }

    #[cfg(test)]
    fn for_test() -> Self {
        let (visibility_timeout, invisibility) = (VISIBILITY_TIMEOUT, INVISIBILITY);
        Self { minutes: Duration::from_mins(3), instances: 4, messages: 2_000, visibility_timeout, invisibility }
    }
}

/// The result of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// Deliveries beyond each message's first.
    pub redeliveries: usize,
    /// Injected faults.
    pub faults: usize,
    /// What differs from the expected outcome, with the history of the keys concerned; empty when nothing does.
    pub differences: String,
}

/// Builds the handler and runs every seed; returns whether all outcomes are as expected.
///
/// # Errors
/// When the handler cannot be built, or a world does not start.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let handler = match arguments.handler {
        Some(path) => path,
        None => stage::build_async(&Build { release: !arguments.debug, ..Build::default() }).await?,
    };
    let plan = arguments.plan;
    println!(
        "{} messages per seed through {} instances. Scaled: a failed message becomes visible after {} s (host.json: 30 s), the \
         message of a machine that is gone after {} s (Azure: 10 min).",
        plan.messages,
        plan.instances,
        VISIBILITY_TIMEOUT.as_secs(),
        INVISIBILITY.as_secs(),
    );
    let first = arguments.seed.unwrap_or_else(|| fastrand::u64(..100_000));
    let (mut all, mut broken) = (Totals::default(), Vec::new());
    for seed in (0..arguments.seeds).map(|offset| first.wrapping_add(offset)) {
        println!();
        if !run_seed(&plan, &handler, seed, &mut all).await?.differences.is_empty() {
            broken.push(seed);
        }
    }
    if arguments.seeds > 1 {
        println!("\nall {} seeds:\n{}", arguments.seeds, all.table());
    }
    let [raw, stuck, lost] = [RAW, STUCK, LOST].map(|state| all.messages(Some(state)));
    println!("raw in poison: {raw}, stuck: {stuck}, lost: {lost}");
    match broken[..] {
        [] => println!("✓ {} messages: every outcome is as expected", all.messages(None)),
        _ => println!("✗ seeds with differences: {broken:?}; repeat one with --seed"),
    }
    Ok(broken.is_empty())
}

/// Runs one seed with this handler executable, prints its result and adds it to the totals.
///
/// # Errors
/// When the world or a host does not start.
pub async fn run_seed(plan: &Plan, handler: &Path, seed: u64, all: &mut Totals) -> anyhow::Result<Outcome> {
    let schedule = faults::schedule(seed, plan);
    let seconds = plan.fault_phase().as_secs_f64();
    println!("fault schedule of seed {seed}: {} faults in {seconds:.0} s, then recovery", schedule.len());
    for fault in &schedule {
        println!("  {fault}");
    }
    let bar = progress::messages(usize::try_from(plan.messages)?, "starting");
    let result = run::run(plan, handler, seed, &schedule, &bar).await;
    bar.finish_and_clear();
    let (evidence, took) = result?;
    let verification = verifier::verify(&evidence);
    let mut totals = Totals::default();
    for totals in [&mut totals, all] {
        totals.add(&evidence, &verification);
    }
    let differences = report::differences(&evidence, &verification);
    println!("\noutcome of seed {seed}, settled after {:.0} s:\n{}", took.as_secs_f64(), totals.table());
    match verification.differences.len() {
        0 => println!("✓ seed {seed}: every outcome is as expected"),
        keys => println!("✗ seed {seed}: differences in {keys} key(s)\n{differences}"),
    }
    let redeliveries = evidence.counts.get(gather::REDELIVERIES).copied().unwrap_or_default();
    Ok(Outcome { redeliveries, faults: schedule.len(), differences })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
