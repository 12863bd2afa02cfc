//! Collects the [`Evidence`] of a run from the hosts, the stand-ins and the run's own log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::time::Instant;

use super::evidence::{Event, Evidence, History, Lease, Part, Row, What};
use super::hosts::{HOST_HEADER, Member};
use super::workload::{
    BURST, CANARY, Columns, DENIED_TABLE, HR, MAIN, Message, ORG, TABLE, companion, folded, number_of,
};
use super::{Plan, lock};
use crate::world::{POISON_QUEUE, QUEUE, World};
use stand_ins::dataverse::Entry;
use stand_ins::host::{Category, Closing, InvocationResult};
use stand_ins::storage::{LeaseEvent, Op, Storage};

/// The beginning of every token: `{"` in base64, as JWTs begin.
const TOKEN: &str = "eyJ";

/// The count of deliveries beyond each message's first.
pub(super) const REDELIVERIES: &str = "deliveries beyond a message's first";

/// The duration of the handlers' leases.
const LEASE: Duration = Duration::from_secs(15);

/// The run's own log.
pub(super) struct RunLog {
    /// The beginning of the run on both clocks.
    pub(super) begun: Instant,
    pub(super) begun_utc: OffsetDateTime,
    /// The messages by the queue's ids.
    pub(super) sent: Mutex<HashMap<String, u32>>,
    /// Leases that a fault ended, as the storage would log it.
    pub(super) ended_leases: Mutex<Vec<LeaseEvent>>,
    /// The keys of the rows that existed from the beginning, by id.
    pub(super) existing: HashMap<String, String>,
}

/// The evidence of a finished run.
pub(super) fn evidence(
    plan: &Plan,
    world: &World,
    storage: &Storage,
    messages: &[Message],
    log: &RunLog,
    members: &[Member],
) -> anyhow::Result<Evidence> {
    let mut gather = Gather { messages, log, evidence: Evidence::default(), hashes: BTreeMap::new() };
    for message in messages {
        gather.of(&message.key).messages.push(message.clone());
    }
    let mut deliveries = HashMap::new();
    for member in members {
        gather.deliveries(member, &mut deliveries);
    }
    gather.dead_letters(storage, &deliveries);
    gather.writes(world);
    for values in [TABLE, DENIED_TABLE].iter().flat_map(|table| world.dataverse.rows(table)) {
        if let Some((key, row)) = row(&values) {
            gather.of(&folded(key)).rows.push(row);
        }
    }
    let history = storage.lease_history();
    anyhow::ensure!(history.dropped == 0, "the lease history was too short by {}", history.dropped);
    let ended = lock(&log.ended_leases);
    let leases = leases(history.events.iter().chain(ended.iter()), log.begun);
    let hosts: HashMap<String, &str> =
        members.iter().map(|member| (member.listener.authority(), member.records.host())).collect();
    let Gather { mut evidence, hashes, .. } = gather;
    // A blob's name ends with the hash of its key, of which the log lines have the beginning.
    let key =
        |blob: &str| hashes.iter().find(|(hash, _)| blob.rsplit('-').next().is_some_and(|of| of.starts_with(*hash)));
    evidence.leases.extend(leases.into_iter().map(|lease| Lease {
        key: key(&lease.key).map_or(lease.key.as_str(), |(_, key)| key).to_owned(),
        host: hosts.get(&lease.host).copied().unwrap_or_default().to_owned(),
        ..lease
    }));
    evidence.keys.values_mut().for_each(|history| history.events.sort_by_key(|event| event.to));
    let sent = lock(&log.sent);
    evidence.waiting = storage.messages(QUEUE).iter().filter_map(|message| sent.get(&message.id).copied()).collect();
    evidence.leaks = leaks(world, members);
    evidence.only_denied = plan.denial().start + BURST..plan.calm_until();
    evidence.counts.extend([
        ("puts into the queue", sent.len()),
        ("leases granted", evidence.leases.len()),
        ("held leases ended by a fault", ended.len()),
        ("hosts started", members.len()),
    ]);
    Ok(evidence)
}

struct Gather<'a> {
    messages: &'a [Message],
    log: &'a RunLog,
    evidence: Evidence,
    /// The key of each hash in the handlers' closing lines.
    hashes: BTreeMap<String, String>,
}

impl<'a> Gather<'a> {
    fn of(&mut self, key: &str) -> &mut History {
        self.evidence.keys.entry(key.to_owned()).or_default()
    }

    fn message(&self, number: u32) -> Option<&'a Message> {
        self.messages.get(usize::try_from(number).ok()?)
    }

    fn count(&mut self, what: &'static str, applies: bool) {
        *self.evidence.counts.entry(what).or_default() += usize::from(applies);
    }

    fn at(&self, utc: OffsetDateTime) -> Duration {
        Duration::try_from(utc - self.log.begun_utc).unwrap_or_default()
    }

    /// The deliveries to a host; `started` receives the beginning of each by its invocation.
    fn deliveries(&mut self, member: &Member, started: &mut HashMap<String, Duration>) {
        let mut closings = HashMap::new();
        for line in member.records.logs() {
            if let (Category::Invocation(id), Some(closing)) = (line.category, Closing::read(&line.text)) {
                closings.insert(id, closing);
            }
        }
        for record in member.records.invocations() {
            let number = record.message_id.as_ref().and_then(|id| lock(&self.log.sent).get(id).copied());
            let Some(message) = number.and_then(|number| self.message(number)) else { continue };
            let closing = closings.remove(&record.id);
            if let Some(hash) = closing.as_ref().and_then(|closing| closing.key_hash.clone()) {
                self.hashes.insert(hash, message.key.clone());
            }
            let what = match record.result {
                InvocationResult::Succeeded => {
                    What::Reported(closing.map(|closing| closing.ending).unwrap_or_default())
                }
                InvocationResult::Failed(exception) => What::Failed(exception),
                InvocationResult::TimedOut => What::Failed("the function's time limit".to_owned()),
            };
            self.count("deliveries that ended", true);
            self.count(REDELIVERIES, record.dequeue_count > 1);
            self.count("deliveries that went back to the queue", matches!(what, What::Failed(_)));
            let (from, to, host) = (self.at(record.started), self.at(record.ended), member.records.host().to_owned());
            let is_first = record.dequeue_count == 1;
            started.insert(record.id.to_string(), from);
            self.of(&message.key).events.push(Event { message: Some(message.number), host, from, to, is_first, what });
        }
    }

    fn dead_letters(&mut self, storage: &Storage, started: &HashMap<String, Duration>) {
        let sent: HashMap<&str, &Message> =
            self.messages.iter().map(|message| (message.text.as_str(), message)).collect();
        for letter in storage.messages(POISON_QUEUE) {
            let text = letter.text;
            let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
            let field = |name: &str| parsed[name].as_str();
            let Some(message) = sent.get(field("message").unwrap_or(&text)) else {
                self.evidence.foreign.push(text);
                continue;
            };
            let at = field("at").and_then(|at| OffsetDateTime::parse(at, &Rfc3339).ok());
            let from = field("invocationId").and_then(|id| started.get(id)).copied().unwrap_or_default();
            let to = at.map(|at| self.at(at)).unwrap_or_default();
            let what = What::DeadLetter(field("message").and(field("reason")).map(str::to_owned));
            let letter = Event { message: Some(message.number), host: String::new(), from, to, is_first: false, what };
            self.of(&message.key).events.push(letter);
        }
    }

    fn writes(&mut self, world: &World) {
        let (journal, begun) = (world.dataverse.journal(), world.dataverse.started());
        let message =
            |entry: &Entry| self.message(marked(&entry.values, &MAIN).or_else(|| marked(&entry.values, &ORG))?);
        // A deletion addresses its row by the id.
        let mut keys = self.log.existing.clone();
        keys.extend(journal.iter().filter_map(|entry| Some((entry.row.clone()?, message(entry)?.key.clone()))));
        let at = |time: Duration| (begun + time).saturating_duration_since(self.log.begun);
        let event = |entry: &Entry| {
            let message = message(entry);
            let key = message.map(|message| &message.key).or_else(|| keys.get(entry.row.as_ref()?));
            let what = entry.change.map_or(What::NotCommitted(entry.status), What::Committed);
            let host = entry.headers.get(HOST_HEADER).cloned().unwrap_or_default();
            let (from, to) = (at(entry.start), at(entry.commit.unwrap_or(entry.end)));
            (
                key.cloned().unwrap_or_default(),
                Event { message: message.map(|one| one.number), host, from, to, is_first: false, what },
            )
        };
        let events: Vec<_> = journal.iter().map(event).collect();
        let overlap = |(a, b): &(Entry, Entry)| (event(a).0, event(a).1, event(b).1);
        let overlaps = world.dataverse.overlaps().iter().map(overlap).collect();
        self.evidence.overlaps = overlaps;
        for ((key, event), entry) in events.into_iter().zip(&journal) {
            self.count("writes that reached Dataverse", true);
            self.count("writes answered 412", entry.status == Some(412));
            self.count("writes that got no answer", entry.status.is_none());
            self.count("writes that were made and got no answer", entry.status.is_none() && entry.change.is_some());
            self.count(
                "writes for which the privilege was missing",
                entry.set == DENIED_TABLE && entry.status == Some(403),
            );
            self.of(&key).events.push(event);
        }
    }
}

/// Every granted lease, with its caller as the host and its blob as the key.
fn leases<'a>(events: impl Iterator<Item = &'a LeaseEvent>, begun: Instant) -> Vec<Lease> {
    let mut events: Vec<&LeaseEvent> = events.collect();
    events.sort_by_key(|event| event.at);
    let (mut leases, mut newest) = (Vec::<Lease>::new(), HashMap::new());
    for LeaseEvent { at, op, blob, lease, status, caller, .. } in events {
        let at = at.saturating_duration_since(begun);
        let (host, key, id) = (caller.clone(), blob.clone(), lease.map(|id| id.to_string()).unwrap_or_default());
        let current = newest.get(blob).map(|index: &usize| &mut leases[*index]);
        match (op, status, current) {
            (Op::Break, _, Some(current)) => current.lost = current.lost.map(|lost| lost.min(at)),
            // An acquire whose response was lost is repeated with the same id.
            (Op::Acquire | Op::Renew, Some(200 | 201), Some(current)) if current.id == id => {
                current.lost = Some(at + LEASE);
            }
            (Op::Release, Some(200), Some(current)) if current.id == id => current.lost = None,
            (Op::Acquire, Some(201), _) => {
                newest.insert(blob, leases.len());
                leases.push(Lease { host, key, id, granted: at, lost: Some(at + LEASE) });
            }
            _ => {}
        }
    }
    leases
}

/// The message whose marker these columns contain.
fn marked(values: &Map<String, Value>, columns: &Columns) -> Option<u32> {
    number_of(values.get(columns.marker)?.as_str()?)
}

/// A row of the workload and its key; `None` if it has no key.
fn row(values: &Map<String, Value>) -> Option<(&str, Row)> {
    let text = |column: &str| values.get(column).and_then(Value::as_str);
    let number = |column: &str| values.get(column).and_then(Value::as_i64);
    let part = |columns: &Columns| Part {
        message: marked(values, columns),
        whole: text(columns.companion) == text(columns.marker).map(companion).as_deref(),
        version: number(columns.version),
    };
    let (mut main, org) = (part(&MAIN), part(&ORG));
    main.version = main.version.or(number(HR.version));
    Some((text("employeeid")?, Row { main, org, state: number("statecode").zip(number("statuscode")) }))
}

/// Log lines of any host or handler that contain a value, a record key, a token, or a storage or identity secret.
fn leaks(world: &World, members: &[Member]) -> Vec<String> {
    let account = world.settings["AzureWebJobsStorage"].split(';').find_map(|part| part.strip_prefix("AccountKey="));
    let secrets: Vec<&str> = [CANARY, TOKEN, world.identity.header()].into_iter().chain(account).collect();
    let lines = members.iter().flat_map(|member| {
        member.records.logs().into_iter().map(|line| format!("{}: {}", member.records.host(), line.text))
    });
    lines.filter(|line| secrets.iter().any(|secret| line.contains(secret))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// When the leases were granted and lost, in seconds. A request is a second, an operation, a lease and a status.
    fn granted_and_lost(requests: &[(u64, Op, u128, u16)]) -> Vec<(u64, Option<u64>)> {
        let begun = Instant::now();
        let event = |(second, op, lease, status): &(u64, Op, u128, u16)| LeaseEvent {
            at: begun + Duration::from_secs(*second),
            op: *op,
            container: String::new(),
            blob: "contacts-0123456789ab".to_owned(),
            lease: Some(uuid::Uuid::from_u128(*lease)),
            status: Some(*status),
            caller: String::new(),
        };
        let leases = leases(requests.iter().map(event).collect::<Vec<_>>().iter(), begun).into_iter();
        leases.map(|lease| (lease.granted.as_secs(), lease.lost.map(|lost| lost.as_secs()))).collect()
    }

    #[test]
    fn a_lease_is_lost_when_it_expires_or_a_fault_ends_it_and_not_when_it_is_released() {
        use Op::{Acquire, Break, Release, Renew};
        let (granted, renewed) = ((1, Acquire, 1, 201), (6, Renew, 1, 200));
        assert_eq!(granted_and_lost(&[granted, renewed, (7, Acquire, 2, 409)]), [(1, Some(21))]);
        assert_eq!(granted_and_lost(&[granted, renewed, (9, Release, 1, 200)]), [(1, None)]);
        assert_eq!(granted_and_lost(&[granted, (16, Acquire, 2, 201)]), [(1, Some(16)), (16, Some(31))]);
        assert_eq!(granted_and_lost(&[granted, (2, Acquire, 1, 201)]), [(1, Some(17))]);
        assert_eq!(granted_and_lost(&[granted, (6, Renew, 1, 409), (3, Break, 0, 202)]), [(1, Some(3))]);
        assert_eq!(granted_and_lost(&[granted, (3, Break, 0, 202), renewed]), [(1, Some(21))]);
    }
}
