//! Randomised fault injection: `cargo sandbox chaos` runs senders, hosts with real handlers and the stand-ins under a seeded fault
//! schedule, and verifies the outcome of every message.
//!
//! The seed determines the messages and the fault schedule before anything runs. After the faults, every message must be applied,
//! skipped with a reason that holds, or a dead letter with a matching cause; every row must hold what its messages allow; and no
//! log may contain a column value. The interleaving does not depend on the seed, so a run is not reproducible exactly.
//!
//! Scaled times: a failed message becomes visible after [`Plan::visibility_timeout`] (30 s in host.json), the message of a host
//! that is gone after [`Plan::invisibility`] (10 minutes). Leases and the handler's own waits take their real time.

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
use fault_schedule::FaultSchedule;
use report::Totals;
use verifier::{FinalState, verify};

/// The column that holds the versions.
const VERSION_COLUMN: &str = "new_sourceversion";

/// The share of the run with faults; afterwards the system recovers.
const FAULT_PHASE: f64 = 0.75;

/// The share of the fault phase in which messages are sent.
const SENDING: f64 = 0.85;

/// Shorter runs have no unanswered writes: the handler gives such a write up after 130 s, and then its lease has to expire.
const SILENT_FROM: Duration = Duration::from_mins(3);

/// The long text of `--help`.
pub const ABOUT: &str = "\
Injects faults into the whole system and verifies the outcome of every message.

Three senders, several hosts with real handlers, and stand-ins for Dataverse, Entra ID and storage. A seed determines the
messages and the faults: handlers killed, stopped and paused for longer than a lease; machines gone; leases broken and expired
while they are held; Dataverse, identity and storage answering 429, 503, 500, 401, 403, slowly or never; connections dropped
before and after the work; messages delivered twice, late and out of order. After the faults every message must be applied,
skipped with a reason that holds, or a dead letter with a matching cause; every row must hold what its messages allow (the
highest version); no two writes of one row may have overlapped while both held a valid lease; no log may contain a column value
or a secret.

It prints the fault schedule and the outcomes, and exits with 1 on any difference, with the history of the messages concerned.
The seed determines the messages and the faults, but not the scheduling of processes.";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox chaos                        a random seed, 2 minutes, 4 instances, 2,000 messages
  cargo sandbox chaos --seed 7 --seeds 10    ten seeds one after the other, with a summary
  cargo sandbox chaos --minutes 10 --instances 8 --messages 20000
  cargo sandbox chaos --minutes 0.5 --debug  quickly, without a release build

A failed message becomes visible after 3 s instead of the 30 s of host.json, the message of a machine that is gone after 20 s
instead of 10 minutes. Runs of 3 minutes and more include writes that are never answered: the handler gives them up after 130 s.";

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// How long a seed runs, fault phase and recovery; unsettled messages get two minutes more.
    #[arg(long, default_value = "2", value_parser = minutes)]
    minutes: Duration,
    /// The first seed; random by default.
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

/// How one seed is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// Hosts side by side.
    pub instances: usize,
    /// Messages of a seed.
    pub messages: usize,
    /// How long faults are injected.
    pub fault_phase: Duration,
    /// How long after the fault phase a message may be unsettled before it counts as stuck.
    pub patience: Duration,
    /// After this time a failed message becomes visible again.
    pub visibility_timeout: Duration,
    /// After this time the message of a host that is gone becomes visible again.
    pub invisibility: Duration,
    /// The number of messages whose first write is never answered.
    pub silent: usize,
}

impl Plan {
    /// A plan for a run of `total`, recovery included.
    pub fn new(handler: PathBuf, total: Duration) -> Self {
        let fault_phase = total.mul_f64(FAULT_PHASE);
        Self {
            handler,
            instances: 4,
            messages: 2_000,
            fault_phase,
            patience: total.saturating_sub(fault_phase) + Duration::from_mins(2),
            visibility_timeout: Duration::from_secs(3),
            invisibility: Duration::from_secs(20),
            silent: if total < SILENT_FROM { 0 } else { 3 },
        }
    }

    fn workload_extent(&self) -> workload::Extent {
        workload::Extent { messages: self.messages, sending: self.fault_phase.mul_f64(SENDING), silent: self.silent }
    }

    fn schedule_extent(&self) -> fault_schedule::Extent {
        fault_schedule::Extent { lasts: self.fault_phase, instances: self.instances, silent: self.silent }
    }
}

/// The result of one seed.
#[derive(Debug)]
pub struct Outcome {
    /// Messages sent.
    pub messages: usize,
    /// Deliveries beyond each message's first.
    pub redeliveries: usize,
    /// Injected faults.
    pub events: usize,
    /// What differs from the expected outcome, with the history of the messages concerned; empty when nothing does.
    pub differences: String,
    tally: Totals,
}

impl Outcome {
    /// Whether every outcome is as expected.
    pub fn is_consistent(&self) -> bool {
        self.tally.differences == 0
    }
}

/// Runs one seed and prints its result.
///
/// # Errors
/// When the world or a host does not start.
pub async fn run_seed(plan: &Plan, seed: u64) -> anyhow::Result<Outcome> {
    let schedule = FaultSchedule::draw(seed, plan.schedule_extent());
    let seconds = plan.fault_phase.as_secs_f64();
    println!("fault schedule of seed {seed}: {} events in {seconds:.0} s, then recovery", schedule.events.len());
    print!("{schedule}");
    let bar = bench::report::bar("running");
    let result = run::run(plan, &schedule, &bar).await;
    bar.finish_and_clear();
    let run_outcome = result?;
    let verification = verify(&run_outcome.workload, &run_outcome.evidence);
    let mut tally = Totals::default();
    tally.add(&run_outcome, &verification);
    let differences = report::differences(&run_outcome.workload, &run_outcome.evidence, &verification);
    let took = run_outcome.took.as_secs_f64();
    println!("\noutcome of seed {seed}, settled after {took:.0} s:\n{}", tally.table());
    match verification.differences.len() {
        0 => println!("✓ seed {seed}: every outcome is as expected"),
        count => print!("✗ seed {seed}: {count} difference(s)\n{differences}"),
    }
    Ok(Outcome {
        messages: run_outcome.workload.messages.len(),
        redeliveries: run_outcome.evidence.deliveries.iter().filter(|delivery| delivery.count > 1).count(),
        events: schedule.events.len(),
        differences,
        tally,
    })
}

/// Builds the handler and runs every seed; returns whether all outcomes are as expected.
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
        "{} messages per seed through {} instances. Scaled: a failed message becomes visible after {} s (host.json: 30 s), the \
         message of a machine that is gone after {} s (Azure: 10 min).",
        plan.messages,
        plan.instances,
        plan.visibility_timeout.as_secs(),
        plan.invisibility.as_secs(),
    );
    let (mut all, mut broken) = (Totals::default(), Vec::new());
    for seed in seeds {
        println!();
        let outcome = run_seed(&plan, seed).await?;
        if !outcome.is_consistent() {
            broken.push(seed);
        }
        all.merge(outcome.tally);
    }
    Ok(sum_up(&all, &broken))
}

/// Prints the summary of all seeds; returns whether all outcomes are as expected.
fn sum_up(all: &Totals, broken: &[u64]) -> bool {
    if all.seeds > 1 {
        println!("\nall {} seeds:\n{}", all.seeds, all.table());
    }
    println!(
        "raw in poison: {}, stuck: {}, lost: {}",
        all.final_state(&FinalState::Raw),
        all.final_state(&FinalState::Stuck),
        all.final_state(&FinalState::Lost)
    );
    match broken {
        [] => println!("✓ {} messages: every outcome is as expected", all.messages),
        _ => println!("✗ seeds with differences: {broken:?}; repeat one with --seed"),
    }
    broken.is_empty()
}
