//! What the per-record lock costs and whether it keeps its promises: `cargo sandbox bench locks`.
//!
//! Real handler processes and the embedded store, which counts the requests and remembers who was granted what. Each case
//! stands in a file of its own and has a world of its own; they run one after the other, because they would disturb each
//! other's times.

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

use super::{Findings, Handler, Room};
use crate::dataverse;
use crate::storage::{self, Door, Storage};
use crate::world::{Options as WorldOptions, World};

/// Lease requests that the store remembers; a minute's fight makes a few thousand.
const LEASE_LOG: usize = 200_000;

/// `--help`, the text.
pub const ABOUT: &str = "\
What the per-record lock costs, and whether it keeps its promises.

Real handler processes against the embedded store, which counts every request to the lock storage and remembers every
lease. All of it takes five to fifteen minutes after the build. It ends with a table and the same as JSON, and with exit code 1
when a bound is broken or a case could not be measured.

Cases:
  uncontended    requests to the storage for a write that nobody disputes: 2, or 4 for a new key
  one-process    200 messages for one key at once in one process: 40 lease requests at most
  two-processes  two processes with more messages for one key than they can get rid of: shares, hand-overs, polling
  many-keys      a million keys through one process: memory stays within 5 MB (Linux)
  slow-write     a 90-second write under 15-second leases, and its renewals cut off in the middle
  simulation     10,000 seeded storms in simulated time: lost requests and answers, 5xx, processes that stop";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench locks
  cargo sandbox bench locks --debug --quick                 is anything broken? No release build, short times
  cargo sandbox bench locks --only two-processes --seconds 20
  cargo sandbox bench locks --only many-keys --keys 100000
  jq '.cases[].measurements[] | select(.held | not)' target/bench/locks.json";

/// One case; the quick ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// A write that nobody disputes.
    Uncontended,
    /// Many messages for one key in one process.
    OneProcess,
    /// Every fault that a lease can meet, in simulated time.
    Simulation,
    /// Two processes fighting over one key.
    TwoProcesses,
    /// A write that outlives its lease.
    SlowWrite,
    /// More keys than anybody can remember.
    ManyKeys,
}

/// What it alone is told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// How long the two processes fight.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(5..=3600))]
    seconds: u64,
    /// How many keys pass through one process.
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(2_000..=100_000_000))]
    keys: u64,
    /// How many seeds the simulation runs.
    #[arg(long, default_value_t = Plan::SEEDS, value_parser = clap::value_parser!(u64).range(1..=100_000_000))]
    seeds: u64,
    /// Short times and few keys: finds what is broken, proves nothing.
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
    /// How long two processes fight.
    pub fight: Duration,
    /// How many keys pass through one process.
    pub keys: u64,
    /// How long the slow write takes.
    pub slow_write: Duration,
    /// After how many of its renewals they are cut off.
    pub renewals_before_cut: usize,
    /// How many seeds the simulation runs.
    pub seeds: u64,
}

impl Plan {
    /// The simulation's seeds in the ordinary test run.
    const SEEDS: u64 = 10_000;

    /// As the bounds are meant.
    pub fn full(handler: PathBuf) -> Self {
        let (fight, slow_write) = (Duration::from_mins(1), Duration::from_secs(90));
        Self { handler, fight, keys: 1_000_000, slow_write, renewals_before_cut: 2, seeds: Self::SEEDS }
    }

    /// As short as each case can be.
    pub fn quick(handler: PathBuf) -> Self {
        let (fight, slow_write) = (Duration::from_secs(10), Duration::from_secs(21));
        Self { handler, fight, keys: 10_000, slow_write, renewals_before_cut: 1, seeds: 500 }
    }
}

impl Room for Plan {
    const NAME: &'static str = "locks";
    type Case = Case;
    type Options = Options;

    fn plan(handler: Handler, options: Options) -> anyhow::Result<Self> {
        if options.quick {
            return Ok(Self::quick(handler.path));
        }
        let fight = Duration::from_secs(options.seconds);
        Ok(Self { fight, keys: options.keys, seeds: options.seeds, ..Self::full(handler.path) })
    }

    fn is_short(&self) -> bool {
        let full = Self::full(PathBuf::new());
        self.fight < full.fight || self.keys < full.keys || self.slow_write < full.slow_write || self.seeds < full.seeds
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

/// A world of a case's own, in which Dataverse takes `write` for a write and leases are remembered.
async fn world(plan: &Plan, write: Duration) -> anyhow::Result<World> {
    let options = WorldOptions {
        handler: plan.handler.clone(),
        embedded: storage::Options { lease_log: LEASE_LOG, ..storage::Options::default() },
        dataverse: dataverse::Options { race_window: write, ..dataverse::Options::default() },
        ..WorldOptions::default()
    };
    World::start(options).await
}

/// A way into the store by which one process is known.
async fn door(store: &Storage) -> anyhow::Result<Door> {
    store.door().await.context("opening a door of the storage")
}

/// The blob that was asked for last.
fn last_blob(store: &Storage) -> anyhow::Result<String> {
    let last = store.lease_history().events.pop();
    Ok(last.context("no lease was asked for: are the locks on?")?.blob)
}
