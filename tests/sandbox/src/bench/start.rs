//! Start time, executable size and memory: `cargo sandbox bench start`.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::benchmark::Context;
use super::message::{Message, many_columns};
use super::target::{MAX_IN_FLIGHT, Services};
use super::{Benchmark, Bound, Limit, Samples, megabytes, meter, milliseconds, number};

/// The long text of `--help`.
pub const ABOUT: &str = "\
Start time, executable size and memory: medians of 10 runs.

Start time is from before the exec until GET / is answered 200, polled without a
pause, with the settings of an app that has a managed identity, and with a
client secret. No call to Entra ID, storage or Dataverse may come before that
answer. The bound on it needs --baseline: the handler of another commit,
measured in alternating runs. The executable is measured as it is deployed,
stripped; memory is read from /proc.

Cases:
  time    exec to the first answer: at most 1.5 times the baseline's
  memory  the executable: at most 12 MB; resident: idle after the start, and at
          most 45 MB with 256 messages in flight";

/// A start may take at most this many times the baseline's.
const MAX_START_RATIO: f64 = 1.5;

/// In megabytes.
const MAX_EXECUTABLE: f64 = 12.0;
const MAX_FULL: f64 = 45.0;

/// With these settings, too, no call may be made during the start; that they are invalid would show only later.
const CLIENT_SECRET: [(&str, &str); 3] = [
    ("AZURE_TENANT_ID", "11111111-1111-4111-8111-111111111111"),
    ("AZURE_CLIENT_ID", "22222222-2222-4222-8222-222222222222"),
    ("AZURE_CLIENT_SECRET", "none"),
];

/// A delay of writes long enough for all messages to be in flight together.
const SLOW: Duration = Duration::from_millis(500);

/// One case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// From the exec to the first answer.
    Time,
    /// The executable and its memory.
    Memory,
}

impl Benchmark for Case {
    const NAME: &'static str = "start";
    const RUNS: u64 = 10;

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        let services = Services::prepare(context.target, false).await?;
        match self {
            Self::Time => time(services, samples).await,
            Self::Memory => memory(context, &services, samples).await,
        }
    }
}

async fn time(mut services: Services, samples: &mut Samples) -> anyhow::Result<()> {
    let managed_identity = services.settings.clone();
    let mut client_secret = managed_identity.clone();
    client_secret.retain(|name, _| !name.starts_with("IDENTITY_"));
    client_secret.extend(CLIENT_SECRET.map(|(name, value)| (name.to_owned(), value.to_owned())));
    for (name, settings) in [("managed identity", managed_identity), ("client secret", client_secret)] {
        services.settings = settings;
        let running = services.start().await?;
        let limit = Limit::TimesBaseline(MAX_START_RATIO);
        samples.add(format!("exec to the first 200, {name}"), "ms", milliseconds(running.ready_after)).limit(limit);
        running.stop().await?;
    }
    samples.bounded("calls to the network before it", "calls", number(services.calls()), Bound::Exactly(0.0));
    Ok(())
}

/// Measures a process that idles and then gets the full load.
async fn memory(context: &Context<'_>, services: &Services, samples: &mut Samples) -> anyhow::Result<()> {
    let executable = fs::metadata(&context.target.path).context("looking at the executable")?.len();
    samples.bounded("executable", "MB", megabytes(executable), Bound::AtMost(MAX_EXECUTABLE));
    let running = services.start().await?;
    // The start is finished by then.
    sleep(Duration::from_millis(300)).await;
    samples.add("resident, idle", "MB", megabytes(meter::resident(running.pid)?));
    let message = Message::new(&many_columns(1_024));
    running.load(&message, 1, 20).send().await?;
    services.null_server.state().dataverse_delay = SLOW;
    let mut most = 0;
    let looking = async {
        loop {
            sleep(Duration::from_millis(10)).await;
            most = most.max(meter::resident(running.pid)?);
        }
    };
    let rounds = context.or_quick(4, 1);
    tokio::select! {
        sent = running.load(&message, MAX_IN_FLIGHT, rounds * MAX_IN_FLIGHT).send() => drop(sent?),
        failed = looking => return failed,
    }
    samples.bounded("resident, the most with 256 in flight", "MB", megabytes(most), Bound::AtMost(MAX_FULL));
    running.stop().await
}
