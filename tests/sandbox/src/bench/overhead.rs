//! What the handler adds to what the network costs: `cargo sandbox bench overhead`.
//!
//! Messages of the queue, in the host's own envelope, over real sockets. CPU time is the operating system's figure for the
//! process; time added is the time to the answer less the own times of the two calls that a write needs (taking the lease and the
//! PATCH), each as it really was at the sink. The handler has a core to itself, the load and the sink share another.
//!
//! It refuses to judge a debug build's times, and to compare figures of different runs: everything of one table is measured
//! side by side.

mod allocations;
mod copy;
mod path;
mod size;
mod steps;

use indicatif::ProgressBar;

use super::report::shown;
use super::runs::Comparison;
use super::subject::Subject;
use super::{CaseResult, Findings, Results, measured, report};

/// `--help`, the text.
pub const ABOUT: &str = "\
What the handler adds to what the network costs: CPU time, allocations, and time.";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench overhead";

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

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Path => "path",
            Self::Load => "load",
            Self::Size => "size",
            Self::Allocations => "allocations",
        }
    }

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
    runs: Comparison,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    subjects: Vec<Subject>,
    runs: u64,
    /// Messages are so many times fewer than the bounds are meant for.
    shorter: u64,
}

impl Plan {
    /// As short as it can be.
    pub fn quick(handler: &std::path::Path) -> Self {
        Self { subjects: vec![Subject::handler(handler)], runs: 1, shorter: 10 }
    }
}

impl Plan {
    /// So many messages, or fewer.
    fn messages(&self, full: u64) -> u64 {
        full / self.shorter
    }
}

/// Measures these cases and says on the way how each ended.
pub async fn measure(plan: &Plan, cases: &[Case]) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        results.push(measured(case.name(), async |bar| case.measure(plan, bar).await).await);
    }
    results
}

/// Builds the handler, measures, reports; gives whether every bound was kept.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let (subjects, ground) = arguments.runs.subjects()?;
    let plan = Plan { subjects, runs: arguments.runs.runs.into(), shorter: 1 };
    let cases = if arguments.only.is_empty() { Case::ALL.to_vec() } else { arguments.only };
    let cases = measure(&plan, &cases).await;
    let results = Results::new("overhead", ground, plan.runs < 10, cases);
    let finding = finding(&results);
    let results = results.with_finding(finding);
    report::publish(&results, arguments.runs.frame.json, "")?;
    Ok(results.held())
}

/// In the words of the figures that the bounds are for.
fn finding(results: &Results) -> String {
    let [cpu, added] = steps::judged().map(|name| results.value(&name));
    if cpu.is_nan() {
        return results.finding();
    }
    format!(
        "The handler costs {} µs of CPU time per message and adds {} ms to the network's own time",
        shown(cpu),
        shown(added)
    )
}
