//! What the per-record lock costs, and whether it keeps its guarantees: `cargo sandbox bench locks`.
//!
//! Real handler processes and the embedded storage, which counts requests and logs leases. Each case has its own file and its own
//! world; they run in sequence so that they do not affect each other's times.

mod contest;
mod many_keys;
mod one_process;
mod simulation;
mod slow_write;
mod two_processes;
mod uncontended;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::{Benchmark, Findings, Handler};
use crate::world::{Options as WorldOptions, World};
use stand_ins::dataverse;
use stand_ins::storage::{self, ExtraListener, Storage};

/// Capacity of the lease log; a minute of contention makes a few thousand requests.
const LEASE_LOG: usize = 200_000;

/// The long text of `--help`.
pub const ABOUT: &str = "\
What the per-record lock costs, and whether it keeps its guarantees.

Real handler processes against the embedded storage, which counts every request to the lock storage and logs every lease. It
takes five to fifteen minutes after the build, ends with a table and JSON, and exits with 1 when a bound is broken or a case could
not be measured.

Cases:
  uncontended    storage requests of an uncontended write: 2, or 4 for a new key
  one-process    200 concurrent messages for one key in one process: at most 40 lease requests
  two-processes  two saturated processes contending for one key: shares, hand-overs, polling
  many-keys      a million keys through one process: memory stays within 5 MB (Linux)
  slow-write     a 90-second write under 15-second leases, whose renewals are then cut off
  simulation     10,000 seeded runs in simulated time: lost requests and responses, 5xx, processes that stop";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench locks
  cargo sandbox bench locks --debug --quick                 a smoke test: no release build, short times
  cargo sandbox bench locks --only two-processes --seconds 20
  cargo sandbox bench locks --only many-keys --keys 100000
  jq '.cases[].measurements[] | select(.held | not)' target/bench/locks.json";

/// One case; the quick ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// An uncontended write.
    Uncontended,
    /// Many messages for one key in one process.
    OneProcess,
    /// Random faults of leases, in simulated time.
    Simulation,
    /// Two processes contending for one key.
    TwoProcesses,
    /// A write that outlives its lease.
    SlowWrite,
    /// Very many keys.
    ManyKeys,
}

/// The options of this benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How long two processes contend, in seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// How many keys pass through one process.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2_000..=100_000_000))]
    keys: u64,
    /// How many seeds the simulation runs.
    #[arg(long, default_value_t = Plan::SEEDS, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    seeds: u64,
    /// Short times and few keys: a smoke test.
    #[arg(long, conflicts_with_all = ["seconds", "keys", "seeds"])]
    quick: bool,
    /// Builds the handler as it is deployed; the default.
    #[arg(long, conflicts_with_all = ["debug", "handler"])]
    release: bool,
}

/// What is measured, and how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler's executable.
    pub handler: PathBuf,
    /// How long two processes contend.
    pub contention: Duration,
    /// How many keys pass through one process.
    pub keys: u64,
    /// How long the slow write takes.
    pub slow_write: Duration,
    /// The number of renewals before they are cut off.
    pub renewals_before_cut: usize,
    /// How many seeds the simulation runs.
    pub seeds: u64,
}

impl Plan {
    /// The simulation's seeds in an ordinary test run.
    const SEEDS: u64 = 10_000;

    /// The full lengths, for which the bounds apply.
    pub fn full(handler: PathBuf) -> Self {
        let (contention, slow_write) = (Duration::from_mins(1), Duration::from_secs(90));
        Self { handler, contention, keys: 1_000_000, slow_write, renewals_before_cut: 2, seeds: Self::SEEDS }
    }

    /// Short lengths for a smoke test.
    pub fn quick(handler: PathBuf) -> Self {
        let (contention, slow_write) = (Duration::from_secs(10), Duration::from_secs(21));
        Self { handler, contention, keys: 10_000, slow_write, renewals_before_cut: 1, seeds: 500 }
    }
}

impl Benchmark for Plan {
    const NAME: &'static str = "locks";
    type Case = Case;
    type Options = Options;

    fn plan(handler: Handler, options: Options) -> anyhow::Result<Self> {
        if options.quick {
            return Ok(Self::quick(handler.path));
        }
        let contention = Duration::from_secs(options.seconds);
        Ok(Self { contention, keys: options.keys, seeds: options.seeds, ..Self::full(handler.path) })
    }

    fn is_short(&self) -> bool {
        let full = Self::full(PathBuf::new());
        self.contention < full.contention
            || self.keys < full.keys
            || self.slow_write < full.slow_write
            || self.seeds < full.seeds
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        let measurements = match case {
            Case::Uncontended => uncontended::measure(self, bar).await,
            Case::OneProcess => one_process::measure(self, bar).await,
            Case::Simulation => simulation::measure(self, bar).await,
            Case::TwoProcesses => two_processes::measure(self, bar).await,
            Case::SlowWrite => slow_write::measure(self, bar).await,
            Case::ManyKeys => many_keys::measure(self, bar).await,
        };
        measurements.map(Into::into)
    }
}

/// A new world in which a write takes Dataverse `write`, with a lease log.
async fn world(plan: &Plan, write: Duration) -> anyhow::Result<World> {
    let options = WorldOptions {
        handler: plan.handler.clone(),
        embedded: storage::Options { lease_log: LEASE_LOG, ..storage::Options::default() },
        dataverse: dataverse::Options { race_window: write, ..dataverse::Options::default() },
        ..WorldOptions::default()
    };
    World::start(options).await
}

/// Opens a storage listener for one process, which identifies the process in the lease log.
async fn extra_listener(store: &Storage) -> anyhow::Result<ExtraListener> {
    store.extra_listener().await.context("opening another listener of the storage")
}

/// The blob of the last lease request.
fn last_blob(store: &Storage) -> anyhow::Result<String> {
    let last = store.lease_history().events.pop();
    Ok(last.context("no lease was requested: are the locks enabled?")?.blob)
}
