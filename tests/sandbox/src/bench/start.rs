//! Start time, executable size and memory: `cargo sandbox bench start`.
//!
//! Start time is from before the exec to the first `GET /` that is answered 200, polled without a pause on a separate
//! thread. Memory is the operating system's figure. Nothing is warmed up before a start except the file cache.

mod memory;
mod time;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::{Comparison, Runs};
use super::{Benchmark, Findings, Handler, Results};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Start time, executable size and memory.

Start time is from before the exec until GET / is answered 200, polled without a pause: the median of 20 starts, with the settings
of an app that has a managed identity, and with a client secret and locks by lease. No call to Entra ID, storage or Dataverse may
come before that answer. The executable is measured as it is deployed, stripped.

Memory is read from /proc: idle after the start, the maximum with 256 messages in flight, and after 10,000 and 1,000,000 queue
messages, each for another record.

It takes about five minutes after the build, ends with a table, a page and JSON, and exits with 1 when a bound is broken. The bound
on the start time needs --baseline: the handler of another commit, measured in alternating runs.

Cases:
  time    exec to the first answer: at most 1.5 times the baseline's
  memory  the executable: at most 12 MB; resident: at most 45 MB with 256 in flight, and at most 2 MB more after the last message
          than after 10,000";

/// The end of `--help`.
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
    /// The executable and its memory.
    Memory,
}

/// The options of this benchmark.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// The number of messages before the last reading of the memory.
    #[arg(long, default_value_t = Plan::MESSAGES, value_parser = clap::value_parser!(u64).range(1_000..=9_999_999))]
    messages: u64,
    #[command(flatten)]
    comparison: Comparison,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    runs: Runs,
    messages: u64,
}

impl Plan {
    const MESSAGES: u64 = 1_000_000;

    /// One short run.
    pub fn quick(handler: &Path) -> Self {
        Self { runs: Runs::quick(handler), messages: 1_000 }
    }
}

impl Benchmark for Plan {
    const NAME: &'static str = "start";
    type Case = Case;
    type Options = Options;

    fn plan(handler: Handler, options: Options) -> anyhow::Result<Self> {
        Ok(Self { runs: Runs::new(&handler.path, &options.comparison)?, messages: options.messages })
    }

    fn is_short(&self) -> bool {
        self.runs.are_few() || self.messages < Self::MESSAGES
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        let measurements = match case {
            Case::Time => time::measure(&self.runs, bar).await,
            Case::Memory => memory::measure(self, bar).await,
        };
        measurements.map(Into::into)
    }

    fn finding(&self, results: &Results) -> Option<String> {
        let values = [
            (results.value(time::MANAGED), "ready in", "ms"),
            (results.value(memory::IDLE), "idle with", "MB"),
            (results.value(memory::FULL), "with 256 messages in flight", "MB"),
        ];
        let values = values.into_iter().filter(|(value, ..)| value.is_finite());
        let texts: Vec<String> = values.map(|(value, what, unit)| format!("{what} {value:.0} {unit}")).collect();
        (!texts.is_empty()).then(|| format!("The handler is {}", texts.join(", ")))
    }
}
