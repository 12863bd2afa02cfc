//! How many messages a core does, and what a second one adds: `cargo sandbox bench throughput`.
//!
//! The machine has few cores and the load needs some, so a rate alone would be that of the load. Two figures of the operating
//! system make it honest: how busy the handler's core was, and how much CPU time a message took.

mod ladder;
mod second;
mod stand_ins;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::Comparison;
use super::subject::Subject;
use super::{CaseResult, Findings, Results, measured, report};

/// `--help`, the text.
pub const ABOUT: &str = "\
How many messages a core does, and what a second one adds.

Messages of the queue in the host's envelope. The handler has one core to itself, but where a second one is in question; the
load and the services it calls run in another process on another core.

It takes about five minutes after the build, and ends with a table, a page and JSON, and with exit code 1 when a bound is broken.

Cases:
  ladder     1, 2, 4 … 256 messages in flight, each waiting 3 ms for the lease and 10 ms for the PATCH: the rate has to grow in
             step with them until the core is full. In step: at least 80 % of what 1 in flight does, times the number in flight,
             or of what the core does at its best
  second     what a second core adds: at least 70 %. With four cores or more the load has those beyond the first two to itself,
             and the rates of a handler with one core and with two are compared. With fewer the load can never be apart from a
             handler that uses both. There one handler with both cores is compared with two that have one each, which do twice
             what one does: 64 messages in flight in all, the load free on both cores. That the load's own CPU time does not
             dilute it, a second core adds 2 × (CPU time per message of the two : of the one) × (share of both cores used with
             the one : with the two), less 1
  stand-ins  against the embedded store and the Dataverse stand-in, which keep blobs, leases and rows as the services do and cost
             more than the handler: messages per second of the handler's CPU time";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench throughput
  cargo sandbox bench throughput --only ladder --runs 3
  cargo sandbox bench throughput --baseline ../other/handler";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The rate by messages in flight.
    Ladder,
    /// One core and two.
    Second,
    /// Against stand-ins that keep what they are told.
    StandIns,
}

impl Case {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ladder, Self::Second, Self::StandIns];

    async fn measure(self, plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
        match self {
            Self::Ladder => ladder::measure(plan, bar).await,
            Self::Second => second::measure(plan, bar).await,
            Self::StandIns => stand_ins::measure(plan, bar).await.map(Into::into),
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
    shorter: u64,
}

impl Plan {
    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self { subjects: vec![Subject::handler(handler)], runs: 1, shorter: 20 }
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
    let plan = Plan { subjects, runs: arguments.comparison.runs.into(), shorter: 1 };
    let cases = if arguments.only.is_empty() { Case::ALL.to_vec() } else { arguments.only };
    let cases = measure(&plan, &cases).await;
    let results = Results::new("throughput", ground, plan.runs < 10, cases);
    let finding = finding(&results);
    let results = results.with_finding(finding);
    report::publish(&results, arguments.comparison.frame.json, "")?;
    Ok(results.held())
}

/// In the words of the figures that the bounds are for.
fn finding(results: &Results) -> String {
    let (one, added) = (results.value(ladder::FULL_RATE), results.value(second::ADDS));
    let how = second::Way::here().in_short();
    let told = [
        one.is_finite().then(|| format!("{one:.0} messages a second on one core")),
        added.is_finite().then(|| format!("a second core adds {added:.0} % ({how})")),
    ];
    let told: Vec<String> = told.into_iter().flatten().collect();
    if told.is_empty() { results.finding() } else { told.join("; ") }
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
