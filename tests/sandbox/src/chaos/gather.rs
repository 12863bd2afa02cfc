//! Collects the [`Evidence`] of a run from the hosts, the stand-ins and the run itself, on one clock.

mod leases;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;
use uuid::Uuid;

use super::evidence::{DeadLetter, Delivery, End, Evidence, Row, Write};
use super::hosts::{HOST_HEADER, Member};
use super::workload::{CANARY, TABLE, Workload, companion, marker};
use crate::world::{POISON_QUEUE, QUEUE, World};
use stand_ins::dataverse::{Dataverse, Entry};
use stand_ins::host::{Category, Closing, InvocationRecord, InvocationResult};
use stand_ins::storage::Storage;

/// The beginning of every token: `{"` in base64, as JWTs begin.
const TOKEN: &str = "eyJ";

/// The start of a run on both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) instant: Instant,
    utc: OffsetDateTime,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { instant: Instant::now(), utc: OffsetDateTime::now_utc() }
    }

    fn at(self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.instant)
    }

    fn at_utc(self, utc: OffsetDateTime) -> Duration {
        Duration::try_from(utc - self.utc).unwrap_or_default()
    }
}

/// What the run itself recorded.
pub(super) struct Notes {
    pub(super) clock: Clock,
    /// The messages by the queue's ids.
    pub(super) sent: HashMap<String, usize>,
    /// Leases that a fault ended, by blob.
    pub(super) taken: Vec<(Instant, String)>,
    /// The keys of the rows that existed from the beginning, by id.
    pub(super) given: HashMap<String, String>,
    pub(super) members: Vec<Member>,
}

/// The evidence of a finished run.
pub(super) fn evidence(
    world: &World,
    storage: &Storage,
    workload: &Workload,
    notes: &Notes,
) -> anyhow::Result<Evidence> {
    let markers: HashMap<String, usize> =
        workload.messages.iter().map(|message| (message.marker(), message.number)).collect();
    let (deliveries, hashes) = deliveries(workload, notes);
    let journal = world.dataverse.journal();
    let writes = writes(&world.dataverse, &journal, workload, &markers, notes);
    let place: HashMap<u64, usize> = journal.iter().enumerate().map(|(place, entry)| (entry.seq, place)).collect();
    let overlaps = world.dataverse.overlaps().iter().map(|(a, b)| (place[&a.seq], place[&b.seq])).collect();
    let waiting = storage.messages(QUEUE).iter().filter_map(|message| notes.sent.get(&message.id).copied()).collect();
    let history = storage.lease_history();
    anyhow::ensure!(history.dropped == 0, "the lease history was too short by {}", history.dropped);
    Ok(Evidence {
        deliveries,
        writes,
        overlaps,
        rows: world.dataverse.rows(TABLE).iter().filter_map(|row| self::row(row, &markers)).collect(),
        dead_letters: dead_letters(storage, workload, notes)?,
        waiting,
        leases: leases::read(&history.events, &hashes, notes),
        leaks: leaks(world, &notes.members),
    })
}

/// All deliveries, and the key of each reported hash.
fn deliveries(workload: &Workload, notes: &Notes) -> (Vec<Delivery>, HashMap<String, String>) {
    let (mut deliveries, mut hashes) = (Vec::new(), HashMap::new());
    for member in &notes.members {
        let lines = invocation_lines(member);
        for record in member.records.invocations() {
            let Some(number) = record.message_id.as_ref().and_then(|id| notes.sent.get(id)) else { continue };
            let end = end(&record, &lines);
            let (End::Reported(text) | End::Failed(text)) = &end;
            if let Some(hash) = hash(text) {
                hashes.insert(hash.to_owned(), workload.messages[*number].key.clone());
            }
            deliveries.push(Delivery {
                message: *number,
                host: member.name.clone(),
                count: record.dequeue_count,
                started: notes.clock.at_utc(record.started),
                ended: notes.clock.at_utc(record.ended),
                invocation: record.id.to_string(),
                end,
            });
        }
    }
    deliveries.sort_by_key(|delivery| delivery.ended);
    (deliveries, hashes)
}

/// The reported outcomes by invocation: `applied/created key=1f2e3d4c5b6a`, as a reason phrase would.
fn invocation_lines(member: &Member) -> HashMap<Uuid, String> {
    let lines = member.records.logs().into_iter().filter_map(|line| match line.category {
        Category::Invocation(id) => Some((id, outcome(&Closing::read(&line.text)?))),
        Category::Handler | Category::Host => None,
    });
    lines.collect()
}

fn outcome(closing: &Closing) -> String {
    let key = closing.key_hash.as_ref().map(|hash| format!(" key={hash}")).unwrap_or_default();
    format!("{}{key}", closing.ending)
}

fn end(record: &InvocationRecord, lines: &HashMap<Uuid, String>) -> End {
    match &record.result {
        InvocationResult::Succeeded => End::Reported(lines.get(&record.id).cloned().unwrap_or_default()),
        InvocationResult::Failed(exception) => End::Failed(phrase(exception).to_owned()),
        InvocationResult::TimedOut => End::Failed("the function's time limit".to_owned()),
    }
}

/// The reason phrase in the host's exception, where there is one.
fn phrase(exception: &str) -> &str {
    exception.rsplit_once("500 (").and_then(|(_, rest)| rest.strip_suffix(").")).unwrap_or(exception)
}

/// `1f2e3d4c5b6a` in `applied/created key=1f2e3d4c5b6a`.
fn hash(text: &str) -> Option<&str> {
    text.split(' ').find_map(|word| word.strip_prefix("key="))
}

fn writes(
    dataverse: &Dataverse,
    journal: &[Entry],
    workload: &Workload,
    markers: &HashMap<String, usize>,
    notes: &Notes,
) -> Vec<Write> {
    let mut keys = notes.given.clone();
    let message =
        |entry: &Entry| entry.values.get("jobtitle")?.as_str().and_then(|marker| markers.get(marker)).copied();
    for entry in journal {
        if let (Some(row), Some(number)) = (&entry.row, message(entry)) {
            keys.insert(row.clone(), workload.messages[number].key.clone());
        }
    }
    let at = |time: Duration| notes.clock.at(dataverse.started() + time);
    let write = |entry: &Entry| {
        let message = message(entry);
        let by_row = || entry.row.as_ref().and_then(|row| keys.get(row)).cloned();
        Write {
            host: entry.headers.get(HOST_HEADER).cloned().unwrap_or_default(),
            message,
            key: message.map(|number| workload.messages[number].key.clone()).or_else(by_row),
            start: at(entry.start),
            end: at(entry.end),
            commit: entry.commit.map(at),
            change: entry.change,
            status: entry.status,
        }
    };
    journal.iter().map(write).collect()
}

/// A row of the workload; the row that only holds [`TAKEN`](super::workload::TAKEN) has no key.
fn row(values: &Map<String, Value>, markers: &HashMap<String, usize>) -> Option<Row> {
    let text = |column: &str| values.get(column).and_then(Value::as_str);
    let message = text("jobtitle").and_then(|marker| markers.get(marker)).copied();
    let whole = message.is_some_and(|number| text("firstname") == Some(&companion(&marker(number))));
    let version = values.get(super::VERSION_COLUMN).and_then(Value::as_i64);
    Some(Row { key: text("employeeid")?.to_owned(), message, whole, version })
}

fn dead_letters(storage: &Storage, workload: &Workload, notes: &Notes) -> anyhow::Result<Vec<DeadLetter>> {
    let texts: HashMap<&str, usize> =
        workload.messages.iter().map(|message| (message.text.as_str(), message.number)).collect();
    let letter = |raw: &str| {
        let bytes = STANDARD.decode(raw).context("a dead letter is not base64")?;
        let text = String::from_utf8(bytes).context("a dead letter is not UTF-8")?;
        let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
        let member = |name: &str| parsed[name].as_str();
        let at = member("at").and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
        anyhow::Ok(DeadLetter {
            message: member("message").or(Some(&text)).and_then(|text| texts.get(text)).copied(),
            reason: member("message").and(member("reason")).map(str::to_owned),
            at: at.map(|at| notes.clock.at_utc(at)).unwrap_or_default(),
            invocation: member("invocationId").unwrap_or_default().to_owned(),
        })
    };
    storage.messages(POISON_QUEUE).iter().map(|message| letter(&message.text)).collect()
}

/// Log lines of any host or handler that contain a value, a record key, a token, or a storage or identity secret.
fn leaks(world: &World, members: &[Member]) -> Vec<String> {
    let account = world.settings["AzureWebJobsStorage"].split(';').find_map(|part| part.strip_prefix("AccountKey="));
    let secrets = [CANARY, TOKEN, world.identity.header()].into_iter().chain(account);
    let secrets: Vec<&str> = secrets.collect();
    let lines =
        members.iter().flat_map(|member| member.records.logs().into_iter().map(|line| (&member.name, line.text)));
    let leaked = lines.filter(|(_, text)| secrets.iter().any(|secret| text.contains(secret)));
    leaked.map(|(host, text)| format!("{host}: {text}")).collect()
}
