//! What the handler adds to the cost of the network: `cargo sandbox bench overhead`.
//!
//! The load is queue messages in the host's own envelope, over real sockets. CPU time is the operating system's figure
//! for the process. Time added is the time until the response, less the latency of the two calls that a write waits for
//! (acquiring the lease and the PATCH), each as measured at the null server. The handler has its own core; the load and
//! the null server share another. All values of one table are measured in alternating runs.

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
use super::{Benchmark, Findings, Handler, Results};
use crate::stage::Build;

/// The long text of `--help`.
pub const ABOUT: &str = "\
What the handler adds to the cost of the network: CPU time, allocations, and time.

The load is queue messages, byte for byte as the Functions host sends them, with 1 KiB of columns unless stated otherwise.
Storage and Dataverse are a null server with a fixed latency: 3 ms for the storage and 80 ms for Dataverse, or none. The handler
has a core to itself; the load and the null server share another, in another process.

Time added is the time until the response, less the measured latency of the two calls that a write waits for (acquiring the
lease, the PATCH). With network latency the messages in flight start staggered over one round trip; without latency they start
together. CPU time is user and system time of the whole process.

It takes about ten minutes after the builds, ends with a table, a page and JSON, and exits with 1 when a bound is broken. Bounds
on time need --baseline: the handler of another commit, measured in alternating runs. Without it times are printed, not checked.

Cases:
  path         the calls that a response waits for: exactly two, and at most three in all
  load         CPU time and time added with 1, 16, 48 and 256 messages in flight. With 48 and network latency: CPU time at most
               2.5 times the baseline's, and at most 1 ms added at the median
  relay        the same with 48, in turn with a relay that forwards the handler's own bytes without parsing them: the cost of
               these calls on this machine
  size         CPU time by kind of message: columns of 1 KiB; of 32 KiB, as hundreds of columns and as one long text; a new lock;
               TLS to both services. The copy is the CPU time of a thread that only reads the additional bytes of the larger
               message from a socket and writes its columns to another
  allocations  allocations and instructions per message, by valgrind: the difference between N and 2 N messages. Allocations
               are counted in a second build, without mimalloc, whose allocations valgrind cannot see. With --handler there is
               no second build";

/// The end of `--help`.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench overhead
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench overhead --only allocations
  cargo sandbox bench overhead --baseline ../other/handler";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// The calls that a response waits for.
    Path,
    /// CPU time and time added, by messages in flight.
    Load,
    /// CPU time and time added, beside a relay that forwards bytes.
    Relay,
    /// CPU time by kind of message.
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
    /// The largest number of messages in flight.
    widest: u64,
}

impl Plan {
    /// One short run.
    pub fn quick(handler: &Path) -> Self {
        Self { runs: Runs::quick(handler), built: None, widest: 48 }
    }
}

impl Benchmark for Plan {
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
        let [cpu, added] = steps::quoted().map(|name| results.value(&name));
        let found =
            || format!("A message costs {cpu:.0} µs of CPU time and adds {added:.1} ms to the network's latency");
        cpu.is_finite().then(found)
    }
}
