//! What the handler adds to what the network costs: `cargo sandbox bench overhead`.
//!
//! Messages of the queue, in the host's own envelope, over real sockets. CPU time is the operating system's figure for the
//! process; time added is the time to the answer less the own times of the two calls that a write needs (taking the lease and the
//! PATCH), each as it really was at the sink. The handler has a core to itself, the load and the sink share another.
//!
//! It refuses to compare figures of different times: everything of one table is measured side by side.

mod allocations;
mod copy;
mod path;
mod size;
mod steps;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::Comparison;
use super::scene::WIDEST;
use super::subject::Subject;
use super::{CaseResult, Findings, Results, measured, report};

/// `--help`, the text.
pub const ABOUT: &str = "\
What the handler adds to what the network costs: CPU time, allocations, and time.

Messages of the queue, byte for byte as the Functions host sends them, with 1 KiB of columns unless said. Storage and Dataverse are a
sink on bare sockets that takes its time: 3 ms for the storage and 80 ms for Dataverse, or none. The handler has a core to itself;
the load and the sink share another, in another process.

Time added is the time until the message is answered, less what the two calls that a write needs (taking the lease, the PATCH)
really took at the sink; a timer is never exact. Where the network takes its time, the messages in flight begin one after the other
over one such time, as messages come; without latency they begin at once. CPU time is user and system time of the whole process, by the OS.

It takes about eight minutes after the build, and ends with a table, a page and JSON, and with exit code 1 when a bound is broken.

Cases:
  path         the calls that an answer waits for: two
  load         CPU time and time added with 1, 16, 48 and 256 messages in flight. With 48: at most 150 µs, and 1 ms added at the
               median, 5 ms at p99
  size         CPU time by what the message is: at most 150 µs; columns of 32 KiB, as hundreds of columns and as one long text, at
               most twice those of 1 KiB and the copy; a lock that is new; TLS to both services. The copy is the CPU time of a
               thread that reads what the larger message has more from a socket and writes its columns to another, and does
               nothing else
  allocations  allocations and instructions per message, by valgrind: N messages and 2 N, and the difference";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench overhead
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench overhead --only allocations --handler target/release/handler
  cargo sandbox bench overhead --baseline ../other/handler";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The calls that an answer waits for.
    Path,
    /// CPU time and time added, by messages in flight.
    Load,
    /// CPU time by what the message is.
    Size,
    /// Allocations and instructions.
    Allocations,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Path, Self::Load, Self::Size, Self::Allocations];

    async fn measure(self, plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
        match self {
            Self::Path => path::measure(plan, bar).await.map(Into::into),
            Self::Load => steps::measure(plan, bar).await,
            Self::Size => size::measure(plan, bar).await.map(Into::into),
            Self::Allocations => allocations::measure(plan, bar).await.map(Into::into),
        }
    }
}

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Measures this case alone; may be given several times.
    #[arg(long, value_name = "CASE", value_enum, hide_possible_values = true)]
    only: Vec<Case>,
    #[command(flatten)]
    comparison: Comparison,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    subjects: Vec<Subject>,
    runs: u64,
    /// Messages are so many times fewer than the bounds are meant for.
    shorter: u64,
    /// No more than so many are in flight.
    widest: u64,
}

impl Plan {
    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self { subjects: vec![Subject::handler(handler)], runs: 1, shorter: 20, widest: 48 }
    }

    /// So many messages, or fewer.
    fn messages(&self, full: u64) -> u64 {
        full / self.shorter
    }
}

/// Measures these cases and says on the way how each ended.
pub async fn measure(plan: &Plan, cases: &[Case]) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        results.push(measured(*case, async |bar| case.measure(plan, bar).await).await);
    }
    results
}

/// Builds the handler, measures, reports; gives whether every bound was kept.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let (subjects, ground) = arguments.comparison.subjects()?;
    let plan = Plan { subjects, runs: arguments.comparison.runs.into(), shorter: 1, widest: WIDEST };
    let cases = if arguments.only.is_empty() { Case::ALL.to_vec() } else { arguments.only };
    let cases = measure(&plan, &cases).await;
    let results = Results::new("overhead", ground, plan.runs < 10, cases);
    let finding = finding(&results);
    let results = results.with_finding(finding);
    report::publish(&results, arguments.comparison.frame.json, "")?;
    Ok(results.held())
}

/// In the words of the figures that the bounds are for.
fn finding(results: &Results) -> String {
    let [cpu, added] = steps::judged().map(|name| results.value(&name));
    if cpu.is_nan() {
        return results.finding();
    }
    format!("A message costs the handler {cpu:.0} µs of CPU time and {added:.1} ms beyond the network's own")
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn every_case_has_the_name_of_the_command_line_and_stands_in_the_help() {
        assert_eq!(Case::ALL.len(), Case::value_variants().len());
        for case in Case::ALL {
            let value = case.to_possible_value().expect("no case is hidden");
            assert!(ABOUT.contains(&format!("\n  {} ", value.get_name())), "{}", value.get_name());
        }
    }
}
