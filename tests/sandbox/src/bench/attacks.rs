//! What a hostile or misconfigured sender, service or reader costs: `cargo sandbox bench attacks`.
//!
//! Every case has a fresh process against stand-ins of its own, and a limit of time. What depends on the machine's speed is
//! printed; counts, memory, statuses and exit codes have bounds. A process that ends, or that does not answer, is a broken bound and
//! not a failure of the case, so that a vulnerable baseline can be measured too.

mod callers;
mod calls;
mod endless;
mod endless_server;
mod letters;
mod load;
mod stuck;

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::benchmark::Context;
use super::target::Launch;
use super::{Benchmark, Samples, megabytes, meter};
use crate::world::{Options, World};
use stand_ins::storage::{self, Storage};

/// The long text of `--help`.
pub const ABOUT: &str = "\
What a hostile or misconfigured sender, service or reader costs. It takes about
five minutes after the build, and as long again for a baseline.

Real handler processes against the stand-ins. Counts, memory, statuses and exit
codes have bounds; times are printed.

Cases:
  sockets      arrays of 1,000 keys, one and then ten at once beside queue
               messages: sockets to the storage, messages that fail
  descriptors  the same with a soft limit of 1,024 descriptors
  crowd        700 calls at once, with bodies that never come and for one key,
               beside queue messages: messages that fail
  zeros        8 MiB of [0,0,…: memory
  arrays       70 arrays of 64 KB with 1,000 records each: memory
  bodies       52 bodies of 8 MiB: memory
  lists        24 bodies of 8 MiB with a column of many small values, with 320
               MB of data: memory
  everything   70 arrays of 64 KB, 24 bodies of 8 MiB and ten arrays of 1,000
               keys at once with 320 MB of data (RLIMIT_DATA), beside queue
               messages: calls without an answer, messages that fail
  endless      answers of services that never end: bytes read, time until it
               gives up
  letters      hostile dead letters: exit codes of the commands, and what they
               leave visible
  versions     the highest version there is: the outcome of the message, and of
               the next one
  tables       records for the environment's schema, code and privileges
  origin       a POST from a web page
  logs         a reader of the log that stops reading: calls answered, and the
               end by SIGTERM
  fifo         host.json is a FIFO: whether the doctor, the other commands and
               the start get past it";

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Arrays of distinct keys.
    Sockets,
    /// Arrays of distinct keys, and few descriptors.
    Descriptors,
    /// More calls than connections.
    Crowd,
    /// A long array of zeros.
    Zeros,
    /// Many arrays of many records.
    Arrays,
    /// Many large bodies.
    Bodies,
    /// Large bodies of many small values.
    Lists,
    /// All of these at once, in little memory.
    Everything,
    /// Answers without an end.
    Endless,
    /// Hostile dead letters.
    Letters,
    /// A version that nothing supersedes.
    Versions,
    /// Tables that no record belongs in.
    Tables,
    /// A POST from a web page.
    Origin,
    /// A log that is not read.
    Logs,
    /// A host.json that cannot be read to its end.
    Fifo,
}

impl Benchmark for Case {
    const NAME: &'static str = "attacks";
    const RUNS: u64 = 1;

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        let fixture = Fixture::prepare(context).await?;
        match self {
            Self::Sockets => load::sockets(&fixture, None, samples).await,
            Self::Descriptors => load::sockets(&fixture, Some("-S -n 1024"), samples).await,
            Self::Crowd => load::crowd(&fixture, samples).await,
            Self::Zeros => load::zeros(&fixture, samples).await,
            Self::Arrays => load::arrays(&fixture, samples).await,
            Self::Bodies => load::bodies(&fixture, samples).await,
            Self::Lists => load::lists(&fixture, samples).await,
            Self::Everything => load::everything(&fixture, samples).await,
            Self::Endless => endless::measure(fixture, samples).await,
            Self::Letters => letters::measure(&fixture, samples).await,
            Self::Versions => callers::versions(&fixture, samples).await,
            Self::Tables => callers::tables(&fixture, samples).await,
            Self::Origin => callers::origin(&fixture, samples).await,
            Self::Logs => stuck::logs(&fixture, samples).await,
            Self::Fifo => stuck::fifo(&fixture, samples).await,
        }
    }
}

/// The stand-ins of one case, and the executable.
struct Fixture<'a> {
    world: World,
    context: &'a Context<'a>,
}

impl<'a> Fixture<'a> {
    /// The storage takes as long as one in the same region.
    async fn prepare(context: &'a Context<'a>) -> anyhow::Result<Self> {
        let embedded = storage::Options { latency: Duration::from_millis(5), ..storage::Options::default() };
        let options = Options { handler: context.target.path.clone(), embedded, ..Options::default() };
        Ok(Self { world: World::start(options).await?, context })
    }

    /// How to start the handler.
    fn launch(&self) -> Launch<'_> {
        Launch::new(&self.context.target.path, self.world.app(), &self.world.settings)
    }

    fn storage(&self) -> anyhow::Result<&Storage> {
        self.world.storage.embedded().context("the storage is the embedded one")
    }
}

/// Runs `load`; also gives the most memory that process `pid` has had by its end, in megabytes, also if it ends meanwhile.
async fn with_memory<T>(pid: u32, load: impl Future<Output = T>) -> (T, f64) {
    let mut most = f64::NAN;
    let mut read = || most = meter::most_resident(pid).map_or(most, megabytes);
    let loaded = {
        let reading = async {
            loop {
                read();
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            loaded = load => loaded,
            never = reading => never,
        }
    };
    read();
    (loaded, most)
}
