//! Benchmarks with bounds: what the program promises in numbers, measured on real `handler` processes: `cargo sandbox bench`.
//!
//! A room ([`locks`], [`outage`], [`gate`]) has cases; a case gives [`Measurement`]s, most of them with a [`Bound`]. The frame shows a bar
//! while a case runs, a table at the end, writes the same as JSON, and fails when a bound is broken or a case could not be
//! measured. It refuses to be kind: a value that could not be had is not a number, and keeps no bound.

pub mod chart;
mod cores;
mod driver;
pub mod gate;
pub mod locks;
pub mod machine;
mod message;
mod meter;
pub mod outage;
pub mod overhead;
mod page;
mod process;
pub(crate) mod report;
mod results;
mod runs;
mod scene;
mod sink;
pub mod start;
mod subject;
pub mod throughput;

use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use tokio::time::Instant;

use crate::stage::{self, Build};
use machine::Machine;
use results::Findings;
pub use results::{Bound, CaseResult, Ground, Measurement, Results, Spread};

/// `--help`, the text.
pub const ABOUT: &str = "\
Measures what the program promises in numbers; exits with 1 when a bound is broken.

Each benchmark runs real handler processes, shows a bar while it lasts, and ends with a table, a page to look at and the same as
JSON, in target/bench; target/bench/index.html leads to all of them. It says what it ran on.

Without a name it measures start, overhead and throughput, in this order: a quarter of an hour after the build.

Benchmarks:
  start       exec to the first answer, size of the executable, resident memory
  overhead    CPU time, allocations and time added per message, beyond what the network takes
  throughput  messages per second on one core, in step with messages in flight; what a second core adds
  locks       what the per-record lock costs, and whether it keeps its promises
  gate        what the gate makes of service protection limits, beside a client that does not adapt
  outage      what an outage of ten minutes costs, beside a queue trigger that is left alone";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench                                   start, overhead and throughput
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench start --baseline ../other/handler another custom handler gets the same load, in turn
  cargo sandbox bench locks --help                      each benchmark has a help of its own";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    room: Option<Room>,
}

/// The benchmarks there are.
#[derive(Debug, clap::Subcommand)]
pub enum Room {
    /// What the per-record lock costs, and whether it keeps its promises.
    #[command(long_about = locks::ABOUT, after_long_help = locks::EXAMPLES)]
    Locks(locks::Arguments),
    /// What an outage of ten minutes costs, beside a queue trigger that is left alone.
    #[command(long_about = outage::ABOUT, after_long_help = outage::EXAMPLES)]
    Outage(outage::Arguments),
    /// How soon the handler is there, and how much room it takes.
    #[command(long_about = start::ABOUT, after_long_help = start::EXAMPLES)]
    Start(start::Arguments),
    /// What the handler adds to what the network costs: CPU time, allocations, and time.
    #[command(long_about = overhead::ABOUT, after_long_help = overhead::EXAMPLES)]
    Overhead(overhead::Arguments),
    /// How many messages a core does, and what a second one adds.
    #[command(long_about = throughput::ABOUT, after_long_help = throughput::EXAMPLES)]
    Throughput(throughput::Arguments),
    /// What the gate makes of service protection limits, beside a client that does not adapt.
    #[command(long_about = gate::ABOUT, after_long_help = gate::EXAMPLES)]
    Gate(gate::Arguments),
}

/// Runs a benchmark, or the three about speed and size; gives whether every bound was kept.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.room {
        Some(room) => room.run().await,
        None => run_all().await,
    }
}

impl Room {
    async fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Start(arguments) => Box::pin(start::run(arguments)).await,
            Self::Overhead(arguments) => Box::pin(overhead::run(arguments)).await,
            Self::Throughput(arguments) => Box::pin(throughput::run(arguments)).await,
            Self::Locks(arguments) => Box::pin(locks::run(arguments)).await,
            Self::Gate(arguments) => Box::pin(gate::run(arguments)).await,
            Self::Outage(arguments) => Box::pin(outage::run(arguments)).await,
        }
    }
}

/// All three, also when one has found a broken bound.
async fn run_all() -> anyhow::Result<bool> {
    let mut held = true;
    for name in ["start", "overhead", "throughput"] {
        eprintln!("\n{name}");
        let mut matches = <Room as clap::Subcommand>::augment_subcommands(clap::Command::new("bench"))
            .get_matches_from(["bench", name]);
        held &= <Room as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)?.run().await?;
    }
    Ok(held)
}

/// What every benchmark is told on the command line.
#[derive(Debug, Clone, clap::Args)]
struct Frame {
    /// Builds the handler without optimisation, instead of as it is deployed.
    #[arg(long)]
    debug: bool,
    /// A handler that is built already, instead of building it.
    #[arg(long, value_name = "PATH", conflicts_with = "debug")]
    handler: Option<PathBuf>,
    /// Where the results go as JSON, instead of a file in target/bench; `-` prints them, and the table goes to stderr.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

impl Frame {
    /// The handler to measure and what build it is: the one that is given, or a new one.
    fn handler(&self) -> anyhow::Result<(PathBuf, Ground)> {
        // Before the build, which keeps the machine busy itself.
        let ran_on = Machine::look();
        let (path, handler) = match &self.handler {
            Some(path) => (path.clone(), "given"),
            None if self.debug => (stage::build(&Build::default())?, "debug"),
            None => (stage::build(&Build { release: true, target: None })?, "release"),
        };
        Ok((path, Ground { handler, ran_on }))
    }
}

/// Measures one case under a bar of its own, and says how it ended.
async fn measured<T: Into<Findings>>(
    case: impl clap::ValueEnum,
    measure: impl AsyncFnOnce(&ProgressBar) -> anyhow::Result<T>,
) -> CaseResult {
    let value = case.to_possible_value().expect("no case is hidden");
    let (case, about) = (value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
    let (begun, bar) = (Instant::now(), report::bar(case));
    let outcome = measure(&bar).await.map(Into::into);
    bar.finish_and_clear();
    let (outcome, charts, note) = match outcome {
        Ok(Findings { measurements, charts, note }) => (Ok(measurements), charts, note),
        Err(error) => (Err(error), Vec::new(), None),
    };
    let about = note.map_or_else(|| about.clone(), |note| format!("{about}: {note}"));
    let result = CaseResult { about, charts, ..CaseResult::new(case, begun.elapsed(), outcome) };
    report::ended(&result);
    result
}

/// A count as a value; beyond four thousand million it is no longer told apart from infinity.
fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::INFINITY, f64::from)
}

/// Bytes as a value in megabytes, of a million bytes each.
fn megabytes(bytes: u64) -> f64 {
    number(bytes / 1_000) / 1_000.0
}

/// A duration as a value in microseconds.
fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A duration as a value in milliseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which `share` (0 to 1) of the values lie, by nearest rank; not a number when there are none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |rank: &usize| number(*rank) < share * number(sorted.len());
    let rank = (1..sorted.len()).take_while(below).count();
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// The quantile in the middle.
fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let found: Vec<f64> = [0.0, 0.2, 0.5, 0.95, 1.0].iter().map(|share| quantile(&values, *share)).collect();
        assert_eq!(found, [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert_eq!(median(&[7.0]).to_string(), "7");
    }
}
