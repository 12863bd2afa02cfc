//! The handler on `cargo sandbox host`; one of the two is stopped while messages are in flight, and every message is accounted for.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::time::Duration;

use sandbox::world::{Options, World};
use serde_json::{Value, json};
use stand_ins::dataverse;

use crate::command::handler;
use crate::host::{Process, eventually, runs, signal};

const MESSAGES: usize = 300;

/// Dataverse takes this long, so that the queue is not empty when the signal comes.
const LATENCY: Duration = Duration::from_millis(300);

/// The signal comes when this many rows are written: more than run at once, so that some are done and some in flight.
const WRITTEN: usize = 60;

struct Load {
    world: World,
}

/// The messages by their result.
#[derive(Debug, PartialEq, Eq)]
struct Counts {
    /// Their row was written once.
    once: usize,
    /// Their row was written again.
    again: usize,
    poison: usize,
    /// Still on the queue, visible or not.
    left: u64,
}

impl Load {
    async fn start() -> Self {
        let handler = handler().await;
        let dataverse = dataverse::Options { latency: LATENCY, ..dataverse::Options::default() };
        let world =
            World::start(Options { handler, dataverse, ..Options::default() }).await.expect("the sandbox starts");
        scale_down(&world);
        for number in 0..MESSAGES {
            let key = json!({ "employeeid": format!("E-{number}") });
            let record = json!({ "table": "contacts", "key": key, "columns": { "firstname": "Ada" } });
            world.put(&record.to_string()).await.expect("the storage works");
        }
        Self { world }
    }

    /// A host whose messages in flight come back after some seconds when it is gone.
    async fn host(&self) -> Process {
        let World { storage, settings, .. } = &self.world;
        let settings = settings.iter().filter(|(name, _)| *name != "AzureWebJobsStorage");
        Process::start(self.world.app(), &storage.connection_string(), &["--hidden", "6"], settings).await
    }

    /// Waits until some messages are done, and some are not.
    async fn under_load(&self) {
        let rows = || self.world.dataverse.rows("contacts").len();
        eventually("the load", async || (rows() >= WRITTEN).then_some(())).await;
        assert!(rows() < MESSAGES, "the signal comes too late");
    }

    async fn counts(&self) -> Counts {
        // Counted first: a message is deleted after its row is written.
        let left = self.world.waiting().await.expect("the storage works");
        let mut writes: BTreeMap<String, usize> = BTreeMap::new();
        for entry in self.world.dataverse.journal().into_iter().filter(|entry| entry.change.is_some()) {
            *writes.entry(entry.row.expect("a change has a row")).or_default() += 1;
        }
        let once = writes.values().filter(|count| **count == 1).count();
        let poison = self.world.dead_letters().await.expect("they are readable").len();
        Counts { once, again: writes.len() - once, poison, left }
    }

    /// Waits until no message is left, and prints the counts.
    async fn settled(&self, what: &str) -> Counts {
        let none_left = async || Some(self.counts().await).filter(|counts| counts.left == 0);
        let counts = eventually("an empty queue", none_left).await;
        let Counts { once, again, poison, left } = counts;
        let lost = MESSAGES - once - again - poison;
        // Shown whether or not the test passes.
        let text = format!(
            "{what}: of {MESSAGES} messages {} applied ({once} with one write, {again} with more), {poison} in poison, {left} left, \
             {lost} lost\n",
            once + again
        );
        std::io::stderr().write_all(text.as_bytes()).expect("stderr is open");
        assert_eq!((counts.once + counts.again, counts.poison), (MESSAGES, 0), "{text}");
        counts
    }
}

/// Redelivery after a second instead of half a minute, and so few messages in flight that a host that got SIGTERM can finish them in
/// its ten seconds, even on a busy machine.
fn scale_down(world: &World) {
    let path = world.app().join("host.json");
    let mut host: Value = serde_json::from_str(&fs::read_to_string(&path).expect("it is staged")).expect("it is JSON");
    let queues = &mut host["extensions"]["queues"];
    for name in ["visibilityTimeout", "maxPollingInterval"] {
        queues[name] = json!("00:00:01");
    }
    for name in ["batchSize", "newBatchThreshold"] {
        queues[name] = json!(16);
    }
    fs::write(path, host.to_string()).expect("it is the world's own");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_to_the_handler_the_host_starts_another_one_and_every_message_is_applied() {
    let load = Load::start().await;
    let host = load.host().await;
    load.under_load().await;
    let handler = host.handler().await;
    signal(handler, "TERM").await;
    let counts = load.settled("kill -TERM of the handler").await;
    assert_eq!(counts.again, 0, "what was in flight was finished");
    assert!(!runs(handler) && host.handler().await != handler);
    assert_eq!(host.printed("the handler ended: exit status: "), ["143"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigkill_of_the_host_its_handler_ends_and_every_message_is_applied() {
    let load = Load::start().await;
    let mut host = load.host().await;
    load.under_load().await;
    let handler = host.handler().await;
    host.signal("KILL").await;
    host.ended().await;
    let _next = load.host().await;
    load.settled("kill -9 of the host").await;
    eventually("the end of the handler that was left behind", async || (!runs(handler)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_sigterm_to_the_host_what_is_in_flight_is_finished_and_the_rest_is_left_to_the_next_host() {
    let load = Load::start().await;
    let mut host = load.host().await;
    load.under_load().await;
    let handler = host.handler().await;
    host.signal("TERM").await;
    assert_eq!(host.ended().await.code(), Some(0));
    assert!(!runs(handler));
    let Counts { once, again, poison, left } = load.counts().await;
    assert!(left > 0, "there is a rest");
    assert_eq!((once as u64 + left, again, poison), (MESSAGES as u64, 0, 0));
    let _next = load.host().await;
    assert_eq!(load.settled("kill -TERM of the host").await.again, 0);
}
