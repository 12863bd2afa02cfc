//! The effect of a ten-minute outage, compared with a plain queue trigger: `cargo sandbox bench outage`.
//!
//! For each kind of outage two worlds run concurrently: one as the app is deployed, one as a plain queue trigger. Recovery is not
//! scaled: leases, probes and writes take their real time.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use reqwest::StatusCode;
use serde_json::json;
use tokio::time::{Instant, sleep, sleep_until};

use super::benchmark::Context;
use super::{Benchmark, Bound, Samples, number, report};
use crate::world::{Options, POISON_QUEUE, QUEUE, World};
use stand_ins::dataverse::{self, Status};
use stand_ins::host::{self, Host};
use stand_ins::identity;
use stand_ins::storage::{self, Op, Storage};

/// The long text of `--help`.
pub const ABOUT: &str = "\
What an outage of ten minutes costs.

500 messages wait while Dataverse answers 503, 401, or 429 with Retry-After:
300, while the lock storage is gone, while the identity endpoint is gone. Real
handlers and hosts, as deployed, and beside them the same with the host's
defaults (5 immediate deliveries) and SYNC_HOLD_SECONDS=0: a plain queue
trigger.

Times are scaled 1:20 (--factor): outage, Retry-After, host.json's visibility
timeout and the like, SYNC_HOLD_SECONDS. The time from the outage's end until
all messages are applied is not: the handler's own waits take their real time.

The bounds: none in poison, at most one delivery more than without the outage,
all applied. The time from the outage's end until then is printed.

Cases:
  503       Dataverse answers 503 to everything
  401       Dataverse refuses every token
  429       Dataverse answers 429 with Retry-After: 300
  storage   every connection to the lock storage breaks
  identity  the identity endpoint fails, and the tokens that were issued are
            revoked";

const OUTAGE: Duration = Duration::from_mins(10);
const RETRY_AFTER: Duration = Duration::from_mins(5);
const INSTANCES: usize = 2;
const TABLE: &str = "contacts";

/// Generous also for a busy machine; messages not settled by then are stuck.
const TIMEOUT: Duration = Duration::from_mins(3);

/// A kind of outage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Case {
    /// Dataverse answers 503 to everything.
    #[value(name = "503")]
    Busy,
    /// Dataverse refuses every token.
    #[value(name = "401")]
    Unauthorized,
    /// Dataverse answers 429 with Retry-After: 300.
    #[value(name = "429")]
    Throttled,
    /// Every connection to the lock storage breaks.
    Storage,
    /// The identity endpoint fails, and the tokens that were issued are revoked.
    Identity,
}

impl Benchmark for Case {
    const NAME: &'static str = "outage";
    const RUNS: u64 = 1;
    const FACTOR: Option<u32> = Some(20);

    async fn run(self, context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
        let (factor, messages) = (context.or_quick(context.factor, 60), context.or_quick(500, 60));
        let handler = &context.target.path;
        let trial = |deployed| Trial { handler, case: self, factor, messages, deployed }.run();
        // The bar covers the outage only; the duration of the recovery is not known.
        let showing = async {
            report::pass(context.bar, OUTAGE / factor).await;
            anyhow::Ok(())
        };
        let (deployed, alone, ()) = tokio::try_join!(trial(true), trial(false), showing)?;
        let after = deployed.settled_after.map_or(f64::NAN, |after| after.as_secs_f64());
        let applied = Bound::Exactly(number(messages));
        samples.bounded("as deployed: in poison", "messages", number(deployed.in_poison), Bound::Exactly(0.0));
        samples.bounded("applied", "messages", number(deployed.applied), applied);
        let most = Bound::AtMost(2.0);
        samples.bounded("most deliveries of one message", "", deployed.most_deliveries.into(), most);
        samples.add("from the end until all were applied", "s", after);
        samples.add("left alone: in poison", "messages", number(alone.in_poison));
        samples.add("left alone: applied", "messages", number(alone.applied));
        samples.add("times are scaled by", "", factor.into());
        Ok(())
    }
}

/// Scales a time down to whole seconds, at least one.
fn seconds(time: Duration, factor: u32) -> Duration {
    Duration::from_secs(time.as_secs().div_ceil(factor.into()).max(1))
}

/// One outage in its own world: the outage begins, messages arrive, it ends, and the outcomes are counted.
struct Trial<'a> {
    handler: &'a Path,
    case: Case,
    factor: u32,
    messages: usize,
    /// As the app is deployed; otherwise the host's defaults, without holding.
    deployed: bool,
}

/// The outcomes of the messages.
struct Losses {
    in_poison: usize,
    applied: usize,
    most_deliveries: u32,
    /// From the outage's end until every message was settled; `None`: not within the time limit.
    settled_after: Option<Duration>,
}

impl Trial<'_> {
    async fn run(self) -> anyhow::Result<Losses> {
        let options = Options { handler: self.handler.to_owned(), ..Options::default() };
        let world = World::start(options).await?;
        let storage = world.storage.embedded().context("an outage needs the embedded storage")?;
        let hosts = try_join_all((1..=INSTANCES).map(|number| self.host(&world, number))).await?;
        // Gives all handlers a token and connections before the outage begins.
        for number in 0..INSTANCES * 8 {
            world.put(&record(&format!("warm-{number}"))).await?;
        }
        ensure!(settled(storage, &hosts).await.is_some(), "the messages before the outage were not settled");
        // Hidden for far longer than it takes to put them, so that all appear at once when the outage begins.
        for number in 0..self.messages {
            let text = record(&format!("O-{number}"));
            world.queue.put_with(&text, Duration::from_hours(1)).await.context("putting a message on the queue")?;
        }
        let begun = Instant::now();
        self.begin(&world, storage);
        storage.redeliver(QUEUE, usize::MAX);
        sleep_until(begun + OUTAGE / self.factor).await;
        world.dataverse.clear_faults();
        storage.clear_faults();
        world.identity.clear_faults();
        let settled_after = settled(storage, &hosts).await;
        let deliveries = hosts.iter().flat_map(Host::invocations).map(|invocation| invocation.dequeue_count);
        let keys = world.dataverse.rows(TABLE).into_iter().filter_map(|mut row| row.remove("employeeid"));
        let losses = Losses {
            in_poison: storage.messages(POISON_QUEUE).len(),
            applied: keys.filter(|key| key.as_str().is_some_and(|key| key.starts_with("O-"))).count(),
            most_deliveries: deliveries.max().unwrap_or_default(),
            settled_after,
        };
        for host in hosts {
            host.stop().await;
        }
        Ok(losses)
    }

    /// A host with the times of the app's host.json and of the queue extension, scaled.
    async fn host(&self, world: &World, number: usize) -> anyhow::Result<Host> {
        // SYNC_HOLD_SECONDS, visibilityTimeout, maxDequeueCount: as deployed, or the host's defaults without holding.
        let (hold, visibility, deliveries) = if self.deployed {
            let (hold, visibility) = (Duration::from_mins(8), Duration::from_secs(30));
            (seconds(hold, self.factor), seconds(visibility, self.factor), None)
        } else {
            (Duration::ZERO, Duration::ZERO, Some(5))
        };
        let name = format!("instance-{number}");
        let hold = hold.as_secs().to_string();
        let options = host::Options {
            // A host polls no more often than every 100 ms.
            polling: Some((Duration::from_secs(5) / self.factor).max(Duration::from_millis(100))),
            // A message is hidden for ten minutes while it is processed, which may take ten minutes.
            invisibility: Some(seconds(Duration::from_mins(10), self.factor)),
            function_timeout: Some(Duration::from_mins(10) / self.factor),
            visibility_timeout: Some(visibility),
            max_dequeue_count: deliveries,
            ..world.host_options(&name, &[("SYNC_HOLD_SECONDS", &hold)])
        };
        Host::start(options).await.with_context(|| format!("starting {name}"))
    }

    fn begin(&self, world: &World, storage: &Storage) {
        let dataverse = |status| {
            let fault = dataverse::Fault::new(dataverse::Effect::Status(status));
            world.dataverse.fault(fault.until_cleared());
        };
        match self.case {
            Case::Busy => dataverse(Status::new(503, "0x8004a001", "The server is busy.")),
            Case::Unauthorized => dataverse(Status::new(401, "", "Authorization has been denied for this request.")),
            Case::Throttled => {
                let text = "Number of requests exceeded the limit of 6000 over time window of 300 seconds.";
                let retry_after = u32::try_from(seconds(RETRY_AFTER, self.factor).as_secs()).ok();
                dataverse(Status { retry_after, ..Status::new(429, "0x80072322", text) });
            }
            Case::Storage => storage.fault(storage::Fault::until_cleared(Op::AnyBlob, storage::Effect::DropBefore)),
            Case::Identity => {
                world.identity.fault(identity::Fault::Status(StatusCode::INTERNAL_SERVER_ERROR));
                world.identity.revoke_all();
            }
        }
    }
}

fn record(key: &str) -> String {
    json!({ "table": TABLE, "key": { "employeeid": key }, "columns": { "firstname": "Ada" } }).to_string()
}

/// The time until the queue is empty and nothing runs; `None` if that takes too long.
async fn settled(storage: &Storage, hosts: &[Host]) -> Option<Duration> {
    let begun = Instant::now();
    while begun.elapsed() < TIMEOUT {
        let running: u64 = hosts.iter().map(|host| host.stats().in_flight).sum();
        if running == 0 && storage.messages(QUEUE).is_empty() {
            return Some(begun.elapsed());
        }
        sleep(Duration::from_millis(50)).await;
    }
    None
}
