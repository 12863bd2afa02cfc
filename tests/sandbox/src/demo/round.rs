//! Messages for a hundred new keys, in simultaneous pairs, through the queue and several instances.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::report::Report;
use crate::progress;
use crate::world::World;
use stand_ins::dataverse;
use stand_ins::host::{Category, Closing, Host};
use stand_ins::storage::Counts;

pub(super) const KEYS: usize = 100;

/// The host's batch size, so that one instance fetches the first messages of these pairs and another the second.
const KEYS_AT_ONCE: usize = 16;

/// Far longer than a run takes, even on Azurite and a busy machine.
const TIMEOUT: Duration = Duration::from_mins(10);

/// The race window without locks: long enough for two first writes of a row to race even on a busy machine.
const RACE_WINDOW: Duration = Duration::from_millis(200);

/// How often the queue is counted: rarely enough not to add load.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// One run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Names the chapter and prefixes the keys.
    pub(super) label: &'static str,
    /// The sources: a single one sends duplicates, several send conflicting values.
    pub(super) sources: &'static [&'static str],
    /// The value of `SYNC_ON_CONFLICT`.
    pub(super) policy: &'static str,
    pub(super) leases: bool,
    /// The number of messages: the same number of pairs for each key.
    pub(super) messages: usize,
}

/// The result of a run.
#[derive(Debug)]
pub(super) struct RoundResult {
    pub(super) sources: &'static str,
    pub(super) leases: bool,
    pub(super) messages: usize,
    /// The number of each reported outcome.
    outcomes: BTreeMap<String, usize>,
    writes: usize,
    /// Dataverse's 412 responses.
    pub(super) refused: usize,
    /// Writes of one row that overlapped in time.
    pub(super) overlaps: usize,
    /// Messages in the poison queue, moved there by the host or the handler.
    poisoned: u64,
    /// Requests to the lock storage, if counted.
    pub(super) lock_requests: Option<Counts>,
}

impl RoundResult {
    /// The number of deliveries with an outcome that begins like this.
    pub(super) fn count(&self, class: &str) -> usize {
        self.outcomes.iter().filter(|(outcome, _)| outcome.starts_with(class)).map(|(_, count)| count).sum()
    }
}

impl Round {
    pub(super) async fn show(&self, world: &World, instances: usize, report: &mut Report<'_>) -> anyhow::Result<()> {
        report.act(&self.title());
        report.screen.text_at(2, &self.description(instances));
        let result = self.run(world, instances).await?;
        let outcomes: Vec<_> = result.outcomes.iter().map(|(outcome, count)| format!("{count} {outcome}")).collect();
        let answered = format!("Dataverse answered {} writes, {} of them with 412.", result.writes, result.refused);
        report.screen.text_at(2, &answered);
        report.screen.items("  Outcomes: ", outcomes);
        if let Some(calls) = result.lock_requests.filter(|_| self.leases) {
            let calls = [
                format!("{} acquires", calls.acquire),
                format!("of them {} found it held", calls.acquire_conflict),
                format!("{} releases", calls.release),
                format!("{} creations", calls.put_blob + calls.create_container),
            ];
            report.screen.items("  Lock storage: ", calls);
        }
        self.check(world, &result, report);
        report.results.push(result);
        Ok(())
    }

    fn title(&self) -> String {
        let locks = if self.leases { "with leases" } else { "without locks" };
        format!("{locks}, {}", self.sources())
    }

    fn sources(&self) -> &'static str {
        if let [_] = self.sources { "one source" } else { "two sources" }
    }

    fn description(&self, instances: usize) -> String {
        let who = if let [_] = self.sources {
            "one source that sends everything twice"
        } else {
            "two sources with different data"
        };
        let mode = if self.leases { "lease" } else { "off" };
        format!(
            "{} messages for {KEYS} new keys from {who}, through {instances} instances. LOCK_MODE={mode}, SYNC_ON_CONFLICT={}.",
            self.messages, self.policy
        )
    }

    async fn run(&self, world: &World, instances: usize) -> anyhow::Result<RoundResult> {
        let (writes_before, counts_before) = (world.dataverse.journal().len(), world.storage.counts());
        let letters_before = dead_letters(world).await?;
        let window = if self.leases { dataverse::Options::default().race_window } else { RACE_WINDOW };
        world.dataverse.set_race_window(window);
        self.send(world).await?;
        let mode = if self.leases { "lease" } else { "off" };
        let settings = [("LOCK_MODE", mode), ("SYNC_ON_CONFLICT", self.policy), ("LOCK_WAIT_SECONDS", "30")];
        let names: Vec<String> = (1..=instances).map(|number| format!("instance-{number}")).collect();
        let hosts: Vec<Host> = try_join_all(names.iter().map(|name| world.host(name, &settings))).await?;
        wait(world, &hosts, self.messages).await?;
        let writes = world.dataverse.journal().split_off(writes_before);
        let first = writes.first().map_or(u64::MAX, |entry| entry.seq);
        let moved_by_host: u64 = hosts.iter().map(|host| host.stats().poisoned).sum();
        let result = RoundResult {
            sources: self.sources(),
            leases: self.leases,
            messages: self.messages,
            outcomes: outcomes(&hosts),
            writes: writes.len(),
            refused: writes.iter().filter(|entry| entry.status == Some(412)).count(),
            overlaps: world.dataverse.overlaps().iter().filter(|(_, late)| late.seq >= first).count(),
            poisoned: moved_by_host + dead_letters(world).await? - letters_before,
            lock_requests: world.storage.counts().zip(counts_before).map(|(now, then)| now.since(&then)),
        };
        for host in hosts {
            host.stop().await;
        }
        Ok(result)
    }

    /// Sends the pairs so close together that two instances fetch the two messages of a pair at the same time.
    async fn send(&self, world: &World) -> anyhow::Result<()> {
        let bar = progress::messages(self.messages, "sending ");
        let keys: Vec<usize> = (0..KEYS).collect();
        for _ in 0..self.messages / (2 * KEYS) {
            for group in keys.chunks(KEYS_AT_ONCE) {
                for half in 0..2 {
                    let texts: Vec<String> = group.iter().map(|key| self.message(*key, half)).collect();
                    try_join_all(texts.iter().map(|text| world.put(text))).await?;
                    bar.inc(u64::try_from(texts.len()).unwrap_or(u64::MAX));
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    }

    fn key(&self, number: usize) -> String {
        format!("{}-{number:03}", self.label.to_ascii_uppercase())
    }

    fn message(&self, number: usize, half: usize) -> String {
        let source = self.sources[half % self.sources.len()];
        json!({
            "table": "contacts",
            "key": { "employeeid": self.key(number) },
            "columns": { "firstname": format!("{source} {number}"), "jobtitle": format!("as {source} says") },
            "source": source,
        })
        .to_string()
    }

    fn check(&self, world: &World, result: &RoundResult, report: &mut Report<'_>) {
        let settled = result.count("") - result.count("retry/");
        report
            .claim(settled == result.messages, &format!("each of the {} messages was settled, once", result.messages));
        report.claim(result.poisoned == 0, "none is in the poison queue");
        if self.leases {
            report.claim(result.refused == 0, "no 412 is left");
            report.claim(result.overlaps == 0, "no two writes of one row overlapped");
        } else {
            report.claim(result.refused >= 20, "without locks at least 20 first writes were refused with 412");
            let (outcome, expected, claim) = match self.policy {
                "skip" => (
                    "skipped/already_written",
                    result.refused,
                    "each 412 was settled as already written: another instance had done it",
                ),
                _ => ("applied/upserted", result.messages, "each 412 was sent again, until the message was applied"),
            };
            report.claim(result.count(outcome) == expected, claim);
        }
        let right = (0..KEYS).all(|number| self.row_is_right(world, number));
        report.claim(right, &format!("all {KEYS} rows hold what a source sent, whole"));
    }

    fn row_is_right(&self, world: &World, number: usize) -> bool {
        let Some(row) = world.dataverse.row("contacts", &[("employeeid", &self.key(number))]) else { return false };
        self.sources.iter().any(|source| {
            row.get("firstname").and_then(|value| value.as_str()) == Some(&*format!("{source} {number}"))
                && row.get("jobtitle").and_then(|value| value.as_str()) == Some(&*format!("as {source} says"))
        })
    }
}

async fn dead_letters(world: &World) -> anyhow::Result<u64> {
    world.poison.approximate_count().await.context("counting dead letters")
}

/// Waits until the queue is empty, including hidden messages, and no invocation runs.
async fn wait(world: &World, hosts: &[Host], messages: usize) -> anyhow::Result<()> {
    let (bar, begun) = (progress::messages(messages, "settling"), Instant::now());
    loop {
        let settled: u64 = hosts.iter().map(|host| host.stats().succeeded).sum();
        bar.set_position(settled);
        let running: u64 = hosts.iter().map(|host| host.stats().in_flight).sum();
        // A failed request to busy storage is repeated.
        if running == 0 && world.waiting().await.is_ok_and(|waiting| waiting == 0) {
            bar.finish_and_clear();
            return Ok(());
        }
        ensure!(begun.elapsed() < TIMEOUT, "stuck: {settled} of {messages} messages settled, {running} running");
        sleep(COUNT_EVERY).await;
    }
}

/// The number of each reported outcome, from the log lines in the handler's responses and from reason phrases.
fn outcomes(hosts: &[Host]) -> BTreeMap<String, usize> {
    let mut outcomes = BTreeMap::new();
    for line in hosts.iter().flat_map(Host::logs) {
        let Category::Invocation(_) = line.category else { continue };
        let phrase = || line.text.rsplit_once("500 (")?.1.split([' ', ')']).next().map(str::to_owned);
        let ending = Closing::read(&line.text).map(|closing| closing.ending).or_else(phrase);
        if let Some(ending) = ending.filter(|ending| ending.contains('/')) {
            *outcomes.entry(ending).or_default() += 1;
        }
    }
    outcomes
}
