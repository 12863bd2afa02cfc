//! How soon the handler is there, and how much room it takes: `cargo sandbox bench start`.
//!
//! Start is from before the exec to the first `GET /` that is answered 200, by a client that asks again at once, on a thread of
//! its own. Memory is the operating system's figure. It refuses to warm anything up before a start but the file cache.

mod memory;
mod time;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::{Comparison, Runs};
use super::{Findings, Handler, Results, Room};

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

/// What it alone is told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// After how many messages the memory is read last.
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

    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self { runs: Runs::quick(handler), messages: 1_000 }
    }
}

impl Room for Plan {
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
        let told = [
            (results.value(time::MANAGED), "ready in", "ms"),
            (results.value(memory::IDLE), "idle with", "MB"),
            (results.value(memory::FULL), "with 256 messages in flight", "MB"),
        ];
        let told = told.into_iter().filter(|(value, ..)| value.is_finite());
        let told: Vec<String> = told.map(|(value, what, unit)| format!("{what} {value:.0} {unit}")).collect();
        (!told.is_empty()).then(|| format!("The handler is {}", told.join(", ")))
    }
}
