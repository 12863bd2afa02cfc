//! What the handler adds to what the network costs: `cargo sandbox bench overhead`.
//!
//! Messages of the queue, in the host's own envelope, over real sockets. CPU time is the operating system's figure for the
//! process; time added is the time to the answer less the own times of the two calls that a write needs (taking the lease and the
//! PATCH), each as it really was at the sink. The handler has a core to itself, the load and the sink share another.
//!
//! It refuses to compare figures of different times: everything of one table is measured side by side.

mod allocations;
mod copy;
mod no_mimalloc;
mod path;
mod relay;
mod size;
mod steps;

use std::path::Path;

use indicatif::ProgressBar;

use super::runs::{Comparison, Runs};
use super::scene::WIDEST;
use super::{Findings, Handler, Results, Room};
use crate::stage::Build;

/// `--help`, the text.
pub const ABOUT: &str = "\
What the handler adds to what the network costs: CPU time, allocations, and time.

Messages of the queue, byte for byte as the Functions host sends them, with 1 KiB of columns unless said. Storage and Dataverse are a
sink on bare sockets that takes its time: 3 ms for the storage and 80 ms for Dataverse, or none. The handler has a core to itself;
the load and the sink share another, in another process.

Time added is the time until the message is answered, less what the two calls that a write needs (taking the lease, the PATCH)
really took at the sink; a timer is never exact. Where the network takes its time, the messages in flight begin one after the other
over one such time, as messages come; without latency they begin at once. CPU time is user and system time of the whole process, by the OS.

It takes about ten minutes after the builds, and ends with a table, a page and JSON, and with exit code 1 when a bound is broken.

Cases:
  path         the calls that an answer waits for: two
  load         CPU time and time added with 1, 16, 48 and 256 messages in flight. With 48: at most 150 µs, and 1 ms added at the
               median, 5 ms at p99
  relay        the same with 48, in turn with a relay of the handler's own bytes that understands none of them: what this machine
               asks of anybody who makes these calls
  size         CPU time by what the message is: at most 150 µs; columns of 32 KiB, as hundreds of columns and as one long text, at
               most twice those of 1 KiB and the copy; a lock that is new; TLS to both services. The copy is the CPU time of a
               thread that reads what the larger message has more from a socket and writes its columns to another, and does
               nothing else
  allocations  allocations and instructions per message, by valgrind: N messages and 2 N, and the difference.
               Allocations are counted in a second build, without mimalloc: valgrind sees none of its allocations. A handler that
               is given takes no second build";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench overhead
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench overhead --only allocations
  cargo sandbox bench overhead --baseline ../other/handler";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The calls that an answer waits for.
    Path,
    /// CPU time and time added, by messages in flight.
    Load,
    /// CPU time and time added, beside a relay that understands nothing.
    Relay,
    /// CPU time by what the message is.
    Size,
    /// Allocations and instructions.
    Allocations,
}

/// What is measured.
#[derive(Debug, Clone)]
pub struct Plan {
    runs: Runs,
    /// How the handler was built; `None`: it was given.
    built: Option<Build>,
    /// No more than so many are in flight.
    widest: u64,
}

impl Plan {
    /// As short as it can be.
    pub fn quick(handler: &Path) -> Self {
        Self { runs: Runs::quick(handler), built: None, widest: 48 }
    }
}

impl Room for Plan {
    const NAME: &'static str = "overhead";
    type Case = Case;
    type Options = Comparison;

    fn plan(handler: Handler, options: Comparison) -> anyhow::Result<Self> {
        Ok(Self { runs: Runs::new(&handler.path, &options)?, built: handler.built, widest: WIDEST })
    }

    fn is_short(&self) -> bool {
        self.runs.are_few()
    }

    async fn measure(&self, case: &Case, bar: &ProgressBar) -> anyhow::Result<Findings> {
        match case {
            Case::Path => path::measure(&self.runs, bar).await.map(Into::into),
            Case::Load => steps::measure(self, bar).await,
            Case::Relay => relay::measure(self, bar).await,
            Case::Size => size::measure(&self.runs, bar).await.map(Into::into),
            Case::Allocations => allocations::measure(&self.runs, self.built.as_ref(), bar).await,
        }
    }

    fn finding(&self, results: &Results) -> Option<String> {
        let [cpu, added] = steps::judged().map(|name| results.value(&name));
        let found = || {
            format!("A message costs the handler {cpu:.0} µs of CPU time and {added:.1} ms beyond the network's own")
        };
        cpu.is_finite().then(found)
    }
}
