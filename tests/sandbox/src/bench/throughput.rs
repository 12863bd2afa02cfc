//! How many messages a core does, and what a second one adds: `cargo sandbox bench throughput`.
//!
//! The machine has few cores and the load needs some, so a rate alone would be that of the load. Two figures of the operating
//! system make it honest: how busy the handler's core was, and how much CPU time a message took.

mod ladder;
mod second;
mod stand_ins;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::{Comparison, Runs};
use super::{Findings, Handler, Results, Room};

/// `--help`, the text.
pub const ABOUT: &str = "\
How many messages a core does, and what a second one adds.

Messages of the queue in the host's envelope. The handler has one core to itself, but where a second one is in question; the
load and the services it calls run in another process on another core.

It takes about five minutes after the build, and ends with a table, a page and JSON, and with exit code 1 when a bound is broken.

Cases:
  ladder     1, 2, 4 … 256 messages in flight, each waiting 2 ms for the lease and 6 ms for the PATCH, and begun one after the
             other over that time, as messages come: the rate has to grow in step with them until the core is full. In step: at
             least 80 % of what 1 in flight does, times the number in flight, or of what a core does that is full with 64 or,
             for the rungs above, 256: so many messages do not fit into its caches. A rung that would need 70 to 143 % of a core
             is told and not judged: it neither leaves the core idle nor fills it, and messages wait for each other there
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

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan(Runs);

impl Plan {
    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self(Runs::quick(handler))
    }
}

impl Room for Plan {
    const NAME: &'static str = "throughput";
    type Case = Case;
    type Options = Comparison;

    fn plan(handler: Handler, options: Comparison) -> anyhow::Result<Self> {
        Runs::new(&handler.path, &options).map(Self)
    }

    fn is_short(&self) -> bool {
        self.0.are_few()
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        match case {
            Case::Ladder => ladder::measure(&self.0, bar).await,
            Case::Second => second::measure(&self.0, bar).await,
            Case::StandIns => stand_ins::measure(&self.0, bar).await.map(Into::into),
        }
    }

    fn finding(&self, results: &Results) -> Option<String> {
        let (one, added) = (results.value(&ladder::full_rate()), results.value(second::ADDS));
        let how = second::Way::here().in_short();
        let told = [
            one.is_finite().then(|| format!("{one:.0} messages a second on one core")),
            added.is_finite().then(|| format!("a second core adds {added:.0} % ({how})")),
        ];
        let told: Vec<String> = told.into_iter().flatten().collect();
        (!told.is_empty()).then(|| told.join("; "))
    }
}
