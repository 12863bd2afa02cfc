//! A machine dies while it processes messages: every message is still settled, and every row is right.
//!
//! The killed host loses its handler and abandons its leases and messages in flight. The leases expire, the messages
//! become visible again, and the other hosts process them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::future::try_join_all;
use sandbox::world::World;
use serde_json::json;
use stand_ins::dataverse::Entry;
use stand_ins::host::{Category, Closing, Host, InvocationResult};
use tokio::time::{Instant, sleep};

use super::waiting::wait_until;

const KEYS: usize = 30;
const MESSAGES: usize = 600;

/// Enough messages in flight at the kill that some writes are certainly interrupted.
const MIN_IN_FLIGHT: u64 = 8;

/// How long a received message stays hidden; far longer than processing takes.
const INVISIBILITY: Duration = Duration::from_secs(20);

/// Leases expire after 15 s and messages reappear after 20 s; the rest is slack for a slow machine.
const DRAIN_TIMEOUT: Duration = Duration::from_mins(4);

/// The state after a run.
struct RunResult {
    world: World,
    writes: Vec<Entry>,
    /// The outcomes that the surviving hosts logged, counted by reason.
    outcomes: BTreeMap<String, usize>,
    delivered_again: usize,
}

/// Every message has a unique marker, or shares it with one other message if `twins`.
fn message(number: usize, twins: bool) -> String {
    let marker = if twins { number / KEYS / 2 } else { number / KEYS };
    json!({
        "table": "contacts",
        "key": { "employeeid": key(number % KEYS) },
        "columns": { "jobtitle": format!("{}-{marker}", number % KEYS) },
    })
    .to_string()
}

fn key(number: usize) -> String {
    format!("K-{number:02}")
}

fn marker(entry: &Entry) -> &str {
    entry.values["jobtitle"].as_str().expect("every message has one")
}

/// Sends all messages to three hosts and kills one of them halfway. A write takes about as long as `window`.
async fn run(settings: &[(&str, &str)], twins: bool, window: Duration) -> RunResult {
    let world = crate::world().await;
    world.dataverse.set_race_window(window);
    let texts: Vec<_> = (0..MESSAGES).map(|number| message(number, twins)).collect();
    for part in texts.chunks(KEYS) {
        try_join_all(part.iter().map(|text| world.put(text))).await.expect("the queue takes them");
    }
    let options = ["one", "two", "three"].map(|name| stand_ins::host::Options {
        invisibility: Some(INVISIBILITY),
        ..world.host_options(name, settings)
    });
    let mut hosts = try_join_all(options.map(Host::start)).await.expect("the handlers start");
    let dying = hosts.remove(1);
    let settled = || hosts.iter().map(|host| host.stats().succeeded).sum::<u64>();
    wait_until("all hosts are busy", async || settled() >= 100 && dying.stats().in_flight >= MIN_IN_FLIGHT).await;
    let pid = dying.pid().expect("it runs");
    kill(pid).await;
    dying.stop().await;
    drain(&world, &hosts).await;
    let writes = world.dataverse.journal();
    let invocations: Vec<_> = hosts.iter().flat_map(Host::invocations).collect();
    let failed: Vec<_> = invocations.iter().filter(|run| run.result != InvocationResult::Succeeded).collect();
    assert!(failed.is_empty(), "no invocation failed on the surviving hosts: {failed:?}");
    let delivered_again = invocations.iter().filter(|invocation| invocation.dequeue_count > 1).count();
    RunResult { outcomes: outcomes(&hosts), world, writes, delivered_again }
}

/// Sends SIGKILL without telling the host.
async fn kill(pid: u32) {
    let killed = tokio::process::Command::new("kill").args(["-9", &pid.to_string()]).status().await;
    assert!(killed.expect("there is a kill command").success());
}

/// Waits until the queue is empty, hidden messages included.
async fn drain(world: &World, hosts: &[Host]) {
    let begun = Instant::now();
    loop {
        let left = world.waiting().await.expect("the queue answers");
        let running: u64 = hosts.iter().map(|host| host.stats().in_flight).sum();
        if left == 0 && running == 0 {
            return;
        }
        assert!(begun.elapsed() < DRAIN_TIMEOUT, "stuck with {left} messages left, {running} in flight");
        sleep(Duration::from_millis(100)).await;
    }
}

fn outcomes(hosts: &[Host]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for line in hosts.iter().flat_map(Host::logs) {
        let Category::Invocation(_) = line.category else { continue };
        let Some(closing) = Closing::read(&line.text) else { continue };
        *outcomes.entry(closing.ending).or_default() += 1;
    }
    outcomes
}

impl RunResult {
    async fn nothing_is_lost_and_every_row_is_right(&self, markers: usize) {
        assert!(self.delivered_again > 0, "the kill must interrupt messages in flight");
        assert_eq!(
            self.world.poison.approximate_count().await.expect("the queue answers"),
            0,
            "no message is in the poison queue"
        );
        let written: BTreeSet<_> = self.committed().map(marker).collect();
        assert_eq!(written.len(), markers, "every message was written");
        assert_eq!(self.world.dataverse.rows("contacts").len(), KEYS);
        for number in 0..KEYS {
            let key = key(number);
            let row = self.world.dataverse.row("contacts", &[("employeeid", &key)]).expect("there is a row");
            let last = self.committed().filter(|entry| entry.key.contains(&key)).max_by_key(|entry| entry.commit);
            assert_eq!(row["jobtitle"], marker(last.expect("it was written")), "{key} holds the last write");
        }
    }

    fn committed(&self) -> impl Iterator<Item = &Entry> {
        self.writes.iter().filter(|entry| entry.commit.is_some())
    }

    fn refused(&self) -> Vec<&Entry> {
        self.writes.iter().filter(|entry| entry.status == Some(412)).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_machine_with_leases_loses_no_message_and_no_writes_overlap() {
    // Slow enough that the kill interrupts writes.
    let after = run(&[("LOCK_WAIT_SECONDS", "60")], false, Duration::from_millis(60)).await;
    after.nothing_is_lost_and_every_row_is_right(MESSAGES).await;
    assert_eq!(after.outcomes.keys().collect::<Vec<_>>(), ["applied/upserted"], "{:?}", after.outcomes);
    assert_eq!(after.refused().len(), 0, "no write got a 412");
    // The interrupted writes finished long before their leases expired.
    assert_eq!(after.world.dataverse.overlaps().len(), 0);
    let twice = after.committed().count() - MESSAGES;
    assert!(twice <= after.delivered_again, "{twice} written twice, {} delivered again", after.delivered_again);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_machine_without_locks_loses_no_message_and_verify_settles_every_412() {
    // Slow enough that the first writes of a row race.
    let settings = [("LOCK_MODE", "off"), ("SYNC_ON_CONFLICT", "verify")];
    let after = run(&settings, true, Duration::from_millis(400)).await;
    after.nothing_is_lost_and_every_row_is_right(MESSAGES / 2).await;
    let reasons: Vec<_> = after.outcomes.keys().map(String::as_str).collect();
    let allowed = ["applied/upserted", "skipped/already_written"];
    assert!(reasons.iter().all(|reason| allowed.contains(reason)), "{:?}", after.outcomes);
    let refused = after.refused();
    assert!(!refused.is_empty(), "first writes must race");
    for refusal in refused {
        let twin = after.committed().find(|entry| marker(entry) == marker(refusal));
        assert!(twin.is_some(), "a refused value was written by one of the two messages: {refusal:?}");
    }
}
