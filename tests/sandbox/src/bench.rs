//! Benchmarks with bounds, measured on real `handler` processes: `cargo sandbox bench`.
//!
//! A [`Benchmark`] has cases; a case runs once or several times and adds values by name to [`Samples`], some of them with a
//! [`Limit`]. It fails when a bound is broken or a case could not be measured. A value that could not be obtained is NaN and
//! breaks every bound.
//!
//! [`target`] starts an executable against the [`null_server`], [`driver`] sends it messages, [`meter`] reads its CPU time and
//! memory; `report.rs` prints the medians and writes them as JSON and as a page.

pub mod attacks;
mod benchmark;
pub mod bulk;
mod driver;
pub mod gate;
mod limited;
pub mod locks;
mod message;
mod meter;
mod null_server;
pub mod outage;
pub mod overhead;
mod page;
pub(crate) mod report;
mod results;
mod samples;
pub mod start;
mod target;
pub mod throughput;

use std::time::Duration;

use clap::{FromArgMatches as _, Subcommand as _};

use benchmark::Arguments as Of;
pub use benchmark::{Benchmark, Plan, measure};
pub use results::{Bound, CaseResult, Measurement};
pub use samples::{Limit, Samples};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Measures the handler; exits with 1 when a bound is broken.

Each benchmark runs real handler processes and ends with a table, a page and
JSON, in target/bench; target/bench/index.html links to all of them. The results
describe the machine that they were measured on, so bounds on times are ratios
to a value of the same run.

Without a name it measures start, overhead and throughput, in this order.

Benchmarks:
  start       exec to the first answer, size of the executable, resident memory
  overhead    CPU time and time added per message, beyond what the network takes
  throughput  messages per second, by messages in flight
  locks       what the per-record lock costs, and whether it keeps its
              guarantees
  gate        throughput under service protection limits, beside a client that
              does not adapt
  bulk        rows per second with and without batches under service protection
              limits
  outage      what an outage of ten minutes costs, beside a plain queue trigger
  attacks     what a hostile or misconfigured sender, service or reader costs";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench                      start, overhead and throughput
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench start --baseline PATH
                                           the handler of another commit gets
                                           the same load, in turn
  cargo sandbox bench gate --quick         a smoke test: short times
  cargo sandbox bench outage --only 503 --factor 1
                                           in real time: 11 minutes
  cargo sandbox bench locks --help         each benchmark has its own help";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    benchmark: Option<Command>,
}

/// The benchmarks.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Start time, executable size and memory.
    #[command(long_about = start::ABOUT)]
    Start(Of<start::Case>),
    /// What the handler adds to the cost of the network: CPU time, and time.
    #[command(long_about = overhead::ABOUT)]
    Overhead(Of<overhead::Case>),
    /// Messages per second, by messages in flight.
    #[command(long_about = throughput::ABOUT)]
    Throughput(Of<throughput::Case>),
    /// What the per-record lock costs, and whether it keeps its guarantees.
    #[command(long_about = locks::ABOUT)]
    Locks(Of<locks::Case>),
    /// Throughput under service protection limits, beside a client that does not adapt.
    #[command(long_about = gate::ABOUT)]
    Gate(Of<gate::Case>),
    /// Rows per second with and without batches under service protection limits.
    #[command(long_about = bulk::ABOUT)]
    Bulk(Of<bulk::Case>),
    /// What an outage of ten minutes costs, beside a plain queue trigger.
    #[command(long_about = outage::ABOUT)]
    Outage(Of<outage::Case>),
    /// What a hostile or misconfigured sender, service or reader costs.
    #[command(long_about = attacks::ABOUT)]
    Attacks(Of<attacks::Case>),
}

/// Runs a benchmark, or the three about speed and size; returns whether every bound was kept.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.benchmark {
        Some(Command::Start(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Overhead(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Throughput(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Locks(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Gate(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Bulk(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Outage(arguments)) => Box::pin(arguments.run()).await,
        Some(Command::Attacks(arguments)) => Box::pin(arguments.run()).await,
        None => {
            let mut held = true;
            for name in ["start", "overhead", "throughput"] {
                let bench = Command::augment_subcommands(clap::Command::new("bench"));
                let benchmark = Command::from_arg_matches(&bench.get_matches_from(["bench", name]))?;
                held &= Box::pin(run(Arguments { benchmark: Some(benchmark) })).await?;
            }
            Ok(held)
        }
    }
}

/// A count as a value; counts above `u32::MAX` become infinity.
fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::INFINITY, f64::from)
}

/// Bytes as a value in megabytes, of a million bytes each.
fn megabytes(bytes: u64) -> f64 {
    number(bytes / 1_000) / 1_000.0
}

/// A duration as a value in milliseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The quantile at `share` (0 to 1) by nearest rank; NaN when there are no values.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |rank: &usize| number(*rank) < share * number(sorted.len());
    let rank = (1..sorted.len()).take_while(below).count();
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// The quantile at 0.5.
fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_of_a_benchmark_lists_all_its_cases() {
        let bench = Command::augment_subcommands(clap::Command::new("bench"));
        for benchmark in bench.get_subcommands() {
            let help = benchmark.get_long_about().map(ToString::to_string).unwrap_or_default();
            let only =
                benchmark.get_arguments().find(|argument| argument.get_id() == "only").expect("cases can be named");
            for case in only.get_possible_values() {
                assert!(help.contains(&format!("\n  {} ", case.get_name())), "{}: {case:?}", benchmark.get_name());
            }
        }
    }

    #[test]
    fn quantiles_are_measured_values() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let found: Vec<f64> = [0.0, 0.2, 0.5, 0.95, 1.0].iter().map(|share| quantile(&values, *share)).collect();
        assert_eq!(found, [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert!(median(&[]).is_nan());
    }
}
