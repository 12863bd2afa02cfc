//! Benchmarks with bounds: what the program promises in numbers, measured on real `handler` processes: `cargo sandbox bench`.
//!
//! A [`Room`] ([`locks`], [`outage`], [`gate`] …) has cases; a case gives [`Measurement`]s, most of them with a [`Bound`]. The frame
//! (`room.rs`) shows a bar while a case runs, a table at the end, writes the same as JSON, and fails when a bound is broken or a
//! case could not be measured. It refuses to be kind: a value that could not be had is not a number, and keeps no bound.

mod benchmark;
pub mod chart;
mod cores;
mod driver;
pub mod gate;
pub mod locks;
pub mod machine;
mod message;
mod meter;
mod null_server;
pub mod outage;
pub mod overhead;
mod page;
mod process;
pub(crate) mod report;
mod results;
mod runs;
mod scene;
pub mod start;
mod target;
pub mod throughput;

use std::time::Duration;

pub use benchmark::{Handler, Room, measure};
pub use results::{Bound, CaseResult, Findings, Ground, Measurement, Results, Spread};

/// `--help`, the text.
pub const ABOUT: &str = "\
Measures what the program promises in numbers; exits with 1 when a bound is broken.

Each benchmark runs real handler processes, shows a bar while it lasts, and ends with a table, a page to look at and the same as
JSON, in target/bench; target/bench/index.html leads to all of them. It says what it ran on.

Without a name it measures start, overhead and throughput, in this order: a quarter of an hour after the builds.

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
    benchmark: Option<Benchmark>,
}

/// The benchmarks there are.
#[derive(Debug, clap::Subcommand)]
pub enum Benchmark {
    /// What the per-record lock costs, and whether it keeps its promises.
    #[command(long_about = locks::ABOUT, after_long_help = locks::EXAMPLES)]
    Locks(benchmark::Arguments<locks::Plan>),
    /// What an outage of ten minutes costs, beside a queue trigger that is left alone.
    #[command(long_about = outage::ABOUT, after_long_help = outage::EXAMPLES)]
    Outage(benchmark::Arguments<outage::Plan>),
    /// How soon the handler is there, and how much room it takes.
    #[command(long_about = start::ABOUT, after_long_help = start::EXAMPLES)]
    Start(benchmark::Arguments<start::Plan>),
    /// What the handler adds to what the network costs: CPU time, allocations, and time.
    #[command(long_about = overhead::ABOUT, after_long_help = overhead::EXAMPLES)]
    Overhead(benchmark::Arguments<overhead::Plan>),
    /// How many messages a core does, and what a second one adds.
    #[command(long_about = throughput::ABOUT, after_long_help = throughput::EXAMPLES)]
    Throughput(benchmark::Arguments<throughput::Plan>),
    /// What the gate makes of service protection limits, beside a client that does not adapt.
    #[command(long_about = gate::ABOUT, after_long_help = gate::EXAMPLES)]
    Gate(benchmark::Arguments<gate::Plan>),
}

/// Runs a benchmark, or the three about speed and size; gives whether every bound was kept.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.benchmark {
        Some(benchmark) => benchmark.run().await,
        None => run_all().await,
    }
}

impl Benchmark {
    async fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Start(arguments) => Box::pin(arguments.run()).await,
            Self::Overhead(arguments) => Box::pin(arguments.run()).await,
            Self::Throughput(arguments) => Box::pin(arguments.run()).await,
            Self::Locks(arguments) => Box::pin(arguments.run()).await,
            Self::Gate(arguments) => Box::pin(arguments.run()).await,
            Self::Outage(arguments) => Box::pin(arguments.run()).await,
        }
    }
}

/// All three, also when one has found a broken bound.
async fn run_all() -> anyhow::Result<bool> {
    let mut held = true;
    for name in ["start", "overhead", "throughput"] {
        eprintln!("\n{name}");
        let mut matches = <Benchmark as clap::Subcommand>::augment_subcommands(clap::Command::new("bench"))
            .get_matches_from(["bench", name]);
        held &= <Benchmark as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)?.run().await?;
    }
    Ok(held)
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
    fn every_case_of_a_benchmark_stands_in_its_help() {
        let bench = <Benchmark as clap::Subcommand>::augment_subcommands(clap::Command::new("bench"));
        for room in bench.get_subcommands() {
            let help = room.get_long_about().map(ToString::to_string).unwrap_or_default();
            let only = room.get_arguments().find(|argument| argument.get_id() == "only").expect("cases can be named");
            let cases = only.get_possible_values();
            assert!(cases.len() > 1, "{}", room.get_name());
            for case in cases {
                assert!(help.contains(&format!("\n  {} ", case.get_name())), "{}: {case:?}", room.get_name());
            }
        }
    }

    #[test]
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let found: Vec<f64> = [0.0, 0.2, 0.5, 0.95, 1.0].iter().map(|share| quantile(&values, *share)).collect();
        assert_eq!(found, [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert_eq!(median(&[7.0]).to_string(), "7");
    }
}
