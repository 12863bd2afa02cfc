//! What the per-record lock costs, and whether it keeps its guarantees: `cargo sandbox bench locks`.

mod contention;

use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::benchmark::Context;
use super::driver::{Keys, Load};
use super::message::{Message, many_columns};
use super::target::Services;
use super::{Benchmark, Bound, Samples, megabytes, meter, number};
use crate::world::{Options, World};
use stand_ins::dataverse;
use stand_ins::host::Host;
use stand_ins::net::http_client;
use stand_ins::storage;

/// The long text of `--help`.
pub const ABOUT: &str = "\
What the per-record lock costs, and whether it keeps its guarantees.

Real handler processes against the embedded storage, which counts requests and
logs leases, or against a null server that counts calls. It takes about fifteen
minutes after the build, most of them for the million keys. The lock under
random faults is a test: cargo test --test it simulation.

Cases:
  uncontended    calls of an uncontended write: the response waits for 2, lease
                 and write; 2 requests to the storage, 4 for a new key
  one-process    200 concurrent calls for one key in one process: at most 40
                 lease requests
  two-processes  two saturated processes contending for one key: each gets at
                 least 35 % of the writes and leases, a hand-over takes at most
                 1.5 times a write, at most 3 lease requests a second
  many-keys      a million keys through one process: memory grows by at most 5
                 MB after the first 10,000 (Linux)";

/// One case; the quick ones come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// An uncontended write.
    Uncontended,
    /// Many calls for one key in one process.
    OneProcess,
    /// Two processes contending for one key.
    TwoProcesses,
    /// Very many keys.
    ManyKeys,
}

impl Benchmark for Case {
    const NAME: &'static str = "locks";
    const RUNS: u64 = 1;

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        match self {
            Self::Uncontended => uncontended(context, samples).await,
            Self::OneProcess => one_process(context, samples).await,
            Self::TwoProcesses => contention::measure(context, samples).await,
            Self::ManyKeys => many_keys(context, samples).await,
        }
    }
}

/// One message at a time. A call counts as waited for if it was answered before the message: with latency in the network, a call
/// in the background is answered later.
async fn uncontended(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let background = Duration::from_millis(200);
    let (services, message) = (Services::prepare(context.target, false).await?, Message::new(&many_columns(1_024)));
    let running = services.warm(&message).await?;
    services.null_server.state().storage_delay = Duration::from_millis(10);
    for (keys_are_new, keys, bound) in
        [(false, "known key", Bound::Exactly(2.0)), (true, "new key", Bound::AtMost(4.0))]
    {
        services.null_server.state().keys_are_new = keys_are_new;
        let (mut before_answer, mut in_all) = (Vec::new(), Vec::new());
        for record in 0..context.or_quick(50, 3) {
            sleep(background).await;
            let before = services.null_server.state().calls;
            Load { keys: Keys::Fresh(1_000 + record), ..running.load(&message, 1, 1) }.send().await?;
            before_answer.push(services.null_server.state().calls - before);
            sleep(background).await;
            in_all.push(services.null_server.state().calls - before);
        }
        let most = |calls: &[u64]| calls.iter().max().map_or(f64::NAN, |most| number(*most));
        let fewest = in_all.iter().min().map_or(f64::NAN, |fewest| number(*fewest) - 1.0);
        let name = |what: &str| format!("{what}, {keys}");
        samples.bounded(name("calls that the answer waits for"), "calls", most(&before_answer), bound);
        samples.bounded(name("storage requests: fewest"), "requests", fewest, bound);
        samples.bounded(name("storage requests: most"), "requests", most(&in_all) - 1.0, bound);
    }
    running.stop().await
}

/// A lock without a local queue needs two requests per message.
async fn one_process(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    const CALLS: u32 = 200;
    let world = world(context, Duration::from_millis(10)).await?;
    // Long enough for the last call, even with a debug build on a busy machine.
    let process = Process::start(&world, "alone", &[("LOCK_WAIT_SECONDS", "60")]).await?;
    let store = world.storage.embedded().context("requests are counted by the embedded storage")?;
    // Creates the blob.
    process.write("P-1").await?;
    let before = store.counts();
    let answers = try_join_all((0..CALLS).map(|_| process.write("P-1"))).await?;
    let requests = store.counts().since(&before).leases();
    let applied = answers.iter().filter(|answer| answer.is_applied()).count();
    samples.bounded("calls applied", "calls", number(applied), Bound::Exactly(CALLS.into()));
    samples.bounded("lease requests", "requests", number(requests), Bound::AtMost(40.0));
    samples.bounded("writes that overlapped", "pairs", number(world.dataverse.overlaps().len()), Bound::Exactly(0.0));
    process.host.stop().await;
    Ok(())
}

/// Memory must not grow with the keys seen. The first 10,000 fill buffers, thread stacks and the allocator's pools.
async fn many_keys(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    const STEP: u64 = 10_000;
    let keys = context.or_quick(1_000_000, 20_000);
    let (services, message) = (Services::prepare(context.target, false).await?, Message::new(r#"{"firstname":"Ada"}"#));
    services.null_server.state().keys_are_new = true;
    let running = services.start().await?;
    let mut resident = Vec::new();
    super::report::begin(context.bar, keys, "keys");
    for from in (0..keys).step_by(10_000) {
        Load { keys: Keys::Fresh(from), ..running.load(&message, 48, STEP) }.send().await?;
        context.bar.inc(STEP);
        resident.push(megabytes(meter::resident(running.pid)?));
    }
    let writes = number(services.null_server.state().writes.len());
    ensure!(writes >= number(keys), "only {writes} rows for {keys} keys");
    let (first, last) = resident.first().zip(resident.last()).context("there are no keys")?;
    samples.add("resident after 10,000 keys", "MB", *first);
    samples.add(format!("resident after {keys} keys"), "MB", *last);
    samples.bounded("growth from there on", "MB", last - first, Bound::AtMost(5.0));
    running.stop().await
}

/// A new world in which a write takes Dataverse `write`, with a lease log.
async fn world(context: &Context<'_>, write: Duration) -> anyhow::Result<World> {
    let options = Options {
        handler: context.target.path.clone(),
        embedded: storage::Options { lease_log: 200_000, ..storage::Options::default() },
        dataverse: dataverse::Options { race_window: write, ..dataverse::Options::default() },
        ..Options::default()
    };
    World::start(options).await
}

/// A handler that is called on its own port, as the Functions host calls it, so that the host stand-in is not measured.
#[derive(Debug)]
struct Process {
    name: &'static str,
    host: Host,
    http: reqwest::Client,
}

/// The response to a call: its status and the contract's reason.
#[derive(Debug)]
struct Answer {
    status: u16,
    reason: String,
}

impl Answer {
    fn is_applied(&self) -> bool {
        matches!(self.status, 200 | 201)
    }
}

impl Process {
    async fn start(world: &World, name: &'static str, settings: &[(&str, &str)]) -> anyhow::Result<Self> {
        Ok(Self { name, host: world.host(name, settings).await?, http: http_client() })
    }

    /// Writes one row and waits for the answer.
    async fn write(&self, key: &str) -> anyhow::Result<Answer> {
        let columns = json!({ "firstname": "Ada", "jobtitle": self.name });
        let record = json!({ "table": "contacts", "key": { "employeeid": key }, "columns": columns }).to_string();
        let url = format!("http://127.0.0.1:{}/api/records", self.host.port_of_handler());
        let request = self.http.post(url).header("content-type", "application/json").body(record);
        let response = request.send().await.with_context(|| format!("calling {}", self.name))?;
        let status = response.status().as_u16();
        let body: Value = serde_json::from_str(&response.text().await?).context("the answer is not JSON")?;
        let reason = body["reason"].as_str().unwrap_or_default().to_owned();
        Ok(Answer { status, reason })
    }
}
