//! How soon the handler is there, and how much room it takes: `cargo sandbox bench start`.
//!
//! Start is from before the exec to the first `GET /` that is answered 200, by a client that asks again at once, on a thread of
//! its own. Memory is the operating system's figure. It refuses to warm anything up before a start but the file cache.

mod memory;
mod time;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::Comparison;
use super::subject::Subject;
use super::{CaseResult, Measurement, Results, measured, report};

/// `--help`, the text.
pub const ABOUT: &str = "\
How soon the handler is there, and how much room it takes.

From before the exec until GET / is answered 200, by a client that asks again at once: the median of 20 starts. With the
settings of an app that has a managed identity and with those of one that has a client secret and locks by lease; no call to
Entra ID, storage or Dataverse may come before that answer. The executable's size is what lies on the disk, stripped.

Memory is read from /proc: idle after the start, the most with 256 messages in flight, and after 10,000 and 1,000,000
messages of the queue, each for a record of its own.

It takes about five minutes after the build, and ends with a table, a page and JSON, and with exit code 1 when a bound is broken.

Cases:
  time    exec to the first answer: 15 ms at most
  memory  the executable: 12 MB at most; resident: 15 MB idle, 40 MB with 256 in flight; 2 MB more after the last message than after
          10,000";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench start
  cargo sandbox bench start --only memory --messages 100000
  cargo sandbox bench start --runs 50 --baseline ../other/handler";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// From the exec to the first answer.
    Time,
    /// The executable and what it takes of the memory.
    Memory,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Time, Self::Memory];

    async fn measure(self, plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
        match self {
            Self::Time => time::measure(plan, bar).await,
            Self::Memory => memory::measure(plan, bar).await,
        }
    }
}

/// The command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Arguments {
    /// Measures this case alone; may be given several times.
    #[arg(long, value_name = "CASE", value_enum, hide_possible_values = true)]
    only: Vec<Case>,
    /// After how many messages the memory is read last.
    #[arg(long, default_value_t = Plan::MESSAGES, value_parser = clap::value_parser!(u64).range(1_000..=9_999_999))]
    messages: u64,
    #[command(flatten)]
    comparison: Comparison,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    subjects: Vec<Subject>,
    starts: u64,
    messages: u64,
}

impl Plan {
    const MESSAGES: u64 = 1_000_000;
    const STARTS: u64 = 20;

    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self { subjects: vec![Subject::handler(handler)], starts: 2, messages: 1_000 }
    }

    /// Whether it is less than the bounds are meant for.
    fn is_short(&self) -> bool {
        self.starts < Self::STARTS || self.messages < Self::MESSAGES
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
    let starts = 2 * u64::from(arguments.comparison.runs);
    let plan = Plan { subjects, starts, messages: arguments.messages };
    let cases = if arguments.only.is_empty() { Case::ALL.to_vec() } else { arguments.only };
    let cases = measure(&plan, &cases).await;
    let results = Results::new("start", ground, plan.is_short(), cases);
    let finding = finding(&results);
    let results = results.with_finding(finding);
    report::publish(&results, arguments.comparison.frame.json, "")?;
    Ok(results.held())
}

/// In the words of the figures that the bounds are for.
fn finding(results: &Results) -> String {
    let told = [
        (results.value(time::MANAGED), "ready in", "ms"),
        (results.value(memory::IDLE), "idle with", "MB"),
        (results.value(memory::FULL), "with 256 messages in flight", "MB"),
    ];
    let told = told.into_iter().filter(|(value, ..)| value.is_finite());
    let told: Vec<String> = told.map(|(value, what, unit)| format!("{what} {value:.0} {unit}")).collect();
    if told.is_empty() { results.finding() } else { format!("The handler is {}", told.join(", ")) }
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
