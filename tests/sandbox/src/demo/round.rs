//! Two thousand messages for a hundred new keys, in simultaneous pairs, through the queue and several instances.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use serde_json::json;
use tokio::time::sleep;

use super::report::{Report, Row};
use crate::progress::bar;
use crate::world::World;
use stand_ins::dataverse::{self, Entry};
use stand_ins::host::{Category, Closing, Host};
use stand_ins::storage::Counts;

const KEYS: usize = 100;
const PAIRS_PER_KEY: usize = 10;
const MESSAGES: usize = KEYS * PAIRS_PER_KEY * 2;

/// The host's batch size, so that one instance fetches the first messages of these pairs and another the second.
const KEYS_AT_ONCE: usize = 16;

/// Far longer than a run takes, even on Azurite and a busy machine.
const PATIENCE: Duration = Duration::from_mins(10);

/// The race window without locks: long enough for two first writes of a row to race even on a busy machine.
const RACE_WINDOW: Duration = Duration::from_millis(200);

/// How often the queue is counted: rarely enough not to add load.
const COUNT_EVERY: Duration = Duration::from_millis(100);

/// The conflict policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Policy {
    Skip,
    Retry,
}

impl Policy {
    fn name(self) -> &'static str {
        match self {
            Self::Skip => "skip",
            Self::Retry => "retry",
        }
    }
}

/// One run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Round {
    /// Names the chapter and prefixes the keys.
    pub(super) label: &'static str,
    /// The sources: a single one sends duplicates, several send conflicting values.
    pub(super) sources: &'static [&'static str],
    pub(super) policy: Policy,
    pub(super) leases: bool,
}

/// The result of a run.
struct Result {
    reasons: BTreeMap<String, usize>,
    writes: Vec<Entry>,
    overlaps: usize,
    poisoned: u64,
    letters: u64,
    lease_calls: Option<Counts>,
    took: Duration,
}

impl Round {
    pub(super) async fn show(&self, world: &World, instances: usize, report: &mut Report) -> anyhow::Result<()> {
        report.chapter(self.label, &self.title(instances));
        let result = self.run(world, instances).await?;
        let refused = result.writes.iter().filter(|entry| entry.status == Some(412)).count();
        let settled: Vec<_> = result.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        report.line(&format!("    Dataverse answered {} writes, {refused} of them with 412", result.writes.len()));
        report.line(&format!("    how the messages ended: {}", settled.join(", ")));
        if let Some(calls) = result.lease_calls.filter(|_| self.leases) {
            let (acquired, held, released) = (calls.acquire, calls.acquire_conflict, calls.release);
            report.line(&format!(
                "    lock storage: {acquired} acquires ({held} found the lock held), {released} releases, {} creations",
                calls.put_blob + calls.create_container
            ));
        }
        self.check(world, &result, refused, report);
        report.row(self.row(&result, refused, instances));
        Ok(())
    }

    fn title(&self, instances: usize) -> String {
        let who = match self.sources {
            [_] => "one source that sends everything twice",
            _ => "two sources with different data",
        };
        let locks = if self.leases { "leases on" } else { "LOCK_MODE=off" };
        let policy = self.policy.name();
        format!("{MESSAGES} messages for {KEYS} new keys from {who}; {instances} instances, policy {policy}, {locks}")
    }

    async fn run(&self, world: &World, instances: usize) -> anyhow::Result<Result> {
        let (begun, before) = (Instant::now(), Before::of(world).await?);
        let window = if self.leases { dataverse::Options::default().race_window } else { RACE_WINDOW };
        world.dataverse.set_race_window(window);
        self.send(world).await?;
        let mode = if self.leases { "lease" } else { "off" };
        let settings = [("LOCK_MODE", mode), ("SYNC_ON_CONFLICT", self.policy.name()), ("LOCK_WAIT_SECONDS", "30")];
        let names: Vec<String> = (1..=instances).map(|number| format!("instance-{number}")).collect();
        let hosts: Vec<Host> = try_join_all(names.iter().map(|name| world.host(name, &settings))).await?;
        wait(world, &hosts).await?;
        let took = begun.elapsed();
        let writes: Vec<Entry> = world.dataverse.journal().split_off(before.writes);
        let overlaps = world.dataverse.overlaps().into_iter().filter(|(_, late)| late.seq > before.last_seq()).count();
        let result = Result {
            reasons: reasons(&hosts),
            writes,
            overlaps,
            poisoned: hosts.iter().map(|host| host.stats().poisoned).sum(),
            letters: world.poison.approximate_count().await.context("counting dead letters")? - before.letters,
            lease_calls: world.storage.counts().zip(before.counts).map(|(now, then)| now.since(&then)),
            took,
        };
        for host in hosts {
            host.stop().await;
        }
        Ok(result)
    }

    /// Sends the pairs so close together that two instances fetch the two messages of a pair at the same time.
    async fn send(&self, world: &World) -> anyhow::Result<()> {
        let bar = bar(MESSAGES, "sending ");
        let keys: Vec<usize> = (0..KEYS).collect();
        for _ in 0..PAIRS_PER_KEY {
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

    fn check(&self, world: &World, result: &Result, refused: usize, report: &mut Report) {
        let count = |reason: &str| result.reasons.get(reason).copied().unwrap_or_default();
        let settled: usize =
            result.reasons.iter().filter(|(reason, _)| !reason.starts_with("retry/")).map(|(_, n)| n).sum();
        report.claim(settled == MESSAGES, &format!("every one of {MESSAGES} messages was settled, once"));
        report.claim(result.poisoned + result.letters == 0, "none is in the poison queue");
        if self.leases {
            report.claim(refused == 0, "no 412 is left");
            report.claim(result.overlaps == 0, "no two writes of one row overlapped");
        } else {
            report.claim(refused >= 20, "without locks at least 20 first writes were refused with 412");
            match self.policy {
                Policy::Skip => report.claim(
                    count("skipped/written_elsewhere") == refused,
                    "each 412 was settled as written elsewhere: another instance had done the work",
                ),
                Policy::Retry => report.claim(
                    count("applied/upserted") == MESSAGES,
                    "each 412 was sent again, until the message was applied",
                ),
            }
        }
        let wrong: Vec<_> = (0..KEYS).filter(|number| !self.row_is_right(world, *number)).collect();
        report.claim(wrong.is_empty(), &format!("all {KEYS} rows hold what a source sent, whole"));
    }

    fn row_is_right(&self, world: &World, number: usize) -> bool {
        let Some(row) = world.dataverse.row("contacts", &[("employeeid", &self.key(number))]) else { return false };
        self.sources.iter().any(|source| {
            row.get("firstname").and_then(|value| value.as_str()) == Some(&*format!("{source} {number}"))
                && row.get("jobtitle").and_then(|value| value.as_str()) == Some(&*format!("as {source} says"))
        })
    }

    fn row(&self, result: &Result, refused: usize, instances: usize) -> Row {
        let sum =
            |class: &str| result.reasons.iter().filter(|(reason, _)| reason.starts_with(class)).map(|(_, n)| n).sum();
        let locks = if self.leases { "leases" } else { "no locks" };
        Row {
            run: format!("({}) {} × {} source(s), {locks}", self.label, instances, self.sources.len()),
            messages: MESSAGES,
            refused,
            applied: sum("applied/"),
            skipped: sum("skipped/"),
            retried: sum("retry/"),
            lease_calls: result.lease_calls.map(|counts| counts.blob()),
            overlaps: result.overlaps,
            took: result.took,
        }
    }
}

/// The counts before a run.
struct Before {
    writes: usize,
    letters: u64,
    counts: Option<Counts>,
    seq: u64,
}

impl Before {
    async fn of(world: &World) -> anyhow::Result<Self> {
        let journal = world.dataverse.journal();
        let letters = world.poison.approximate_count().await.context("counting dead letters")?;
        let seq = journal.last().map_or(0, |entry| entry.seq);
        Ok(Self { writes: journal.len(), letters, counts: world.storage.counts(), seq })
    }

    fn last_seq(&self) -> u64 {
        self.seq
    }
}

/// Waits until the queue is empty, including hidden messages, and no invocation runs.
async fn wait(world: &World, hosts: &[Host]) -> anyhow::Result<()> {
    let (bar, begun) = (bar(MESSAGES, "settling"), Instant::now());
    loop {
        let settled: u64 = hosts.iter().map(|host| host.stats().succeeded).sum();
        bar.set_position(settled);
        let running: u64 = hosts.iter().map(|host| host.stats().in_flight).sum();
        // A failed request to busy storage is repeated.
        if running == 0 && world.waiting().await.is_ok_and(|waiting| waiting == 0) {
            bar.finish_and_clear();
            return Ok(());
        }
        ensure!(begun.elapsed() < PATIENCE, "stuck: {settled} of {MESSAGES} messages settled, {running} running");
        sleep(COUNT_EVERY).await;
    }
}

/// The number of each reported outcome, from the log lines in the handler's responses and from reason phrases.
fn reasons(hosts: &[Host]) -> BTreeMap<String, usize> {
    let mut reasons = BTreeMap::new();
    for line in hosts.iter().flat_map(Host::logs) {
        let Category::Invocation(_) = line.category else { continue };
        let phrase = || line.text.rsplit_once("500 (")?.1.split([' ', ')']).next().map(str::to_owned);
        let ending = Closing::read(&line.text).map(|closing| closing.ending).or_else(phrase);
        if let Some(ending) = ending.filter(|ending| ending.contains('/')) {
            *reasons.entry(ending).or_default() += 1;
        }
    }
    reasons
}
