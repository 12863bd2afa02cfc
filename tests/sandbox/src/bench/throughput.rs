//! How many messages one core processes, and what a second one adds: `cargo sandbox bench throughput`.
//!
//! The machine has few cores and the load needs some, so the rate alone could be limited by the load. Two figures of
//! the operating system are measured with it: how busy the handler's core was, and how much CPU time a message took.

mod ladder;
mod second;
mod stand_ins;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::{Comparison, Runs};
use super::{Benchmark, Findings, Handler, Results};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Messages per second on one core, and what a second core adds.

The load is queue messages in the host's envelope. The handler has one core to itself, except where a second one is measured; the
load and the services run in another process on another core.

It takes about five minutes after the build and ends with a table, a page and JSON. Everything is printed; nothing has a bound.

Cases:
  ladder     1, 2, 4 … 256 messages in flight, each waiting 2 ms for the lease and 6 ms for the PATCH, started staggered over
             that time. In step: the rate as a share of what 1 in flight does times the number in flight, or, where that is less,
             of what a full core does with 64 or, for the larger numbers, 256 in flight
  second     what a second core adds. With four cores or more the load has those beyond the first two to itself, and the rates of
             a handler with one core and with two are compared. With fewer, the load cannot be separated from a handler that uses
             both: one handler with both cores is compared with two that have one each, 64 messages in flight in all, the load
             free on both cores. To exclude the load's own CPU time, a second core adds 2 × (CPU time per message of the two : of
             the one) × (share of both cores used with the one : with the two), less 1
  stand-ins  against the embedded storage and the Dataverse stand-in, which keep blobs, leases and rows as the services do and cost
             more than the handler: messages per second of the handler's CPU time";

/// The end of `--help`.
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
    /// Against stand-ins that keep state.
    StandIns,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan(Runs);

impl Plan {
    /// One short run.
    pub fn quick(handler: &Path) -> Self {
        Self(Runs::quick(handler))
    }
}

impl Benchmark for Plan {
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
        let how = second::Method::here().in_short();
        let values = [
            one.is_finite().then(|| format!("{one:.0} messages a second on one core")),
            added.is_finite().then(|| format!("a second core adds {added:.0} % ({how})")),
        ];
        let values: Vec<String> = values.into_iter().flatten().collect();
        (!values.is_empty()).then(|| values.join("; "))
    }
}
