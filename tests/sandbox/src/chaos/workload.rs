//! The messages of a run, generated from the seed: what each source sends, when, and the expected outcome.
//!
//! Pure: the same seed and plan give the same messages. Every message writes unique values, so a row and a journal entry identify
//! the message that wrote them. Every column value and every key contains the [`CANARY`], which must not appear in any log.
//!
//! A new kind of message is a variant of [`Kind`], a line in [`KINDS`], an arm of its `profile`, and the rule for its row in
//! [`super::verifier`].

use std::collections::{BTreeSet, HashMap};
use std::iter::repeat_n;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::{Plan, VERSION_COLUMN};
use stand_ins::dataverse::Operation;

/// The entity set of all messages except those with an invalid one, and of [`Kind::Denied`].
pub(super) const TABLE: &str = "contacts";

/// The entity set for which the privileges are missing during a part of the run.
pub(super) const DENIED_TABLE: &str = "new_contractors";

/// Part of every column value and every key.
pub(super) const CANARY: &str = "canary";

/// An e-mail address (another unique key) of an existing row.
pub(super) const TAKEN: &str = "canary@taken.example";

/// The sending systems.
pub(super) const SOURCES: [&str; 3] = ["hr", "org", "shop"];

/// The columns that a message writes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    /// Receives the marker.
    pub(super) marker: &'static str,
    /// Receives the companion of the marker.
    pub(super) companion: &'static str,
    pub(super) version: &'static str,
}

/// The columns of most messages; the version's is the one of the settings.
pub(super) const MAIN: Columns = Columns { marker: "jobtitle", companion: "firstname", version: VERSION_COLUMN };

/// The columns of the two sources of [`Kind::TwoColumns`].
pub(super) const HR: Columns = Columns { version: "new_hrversion", ..MAIN };
pub(super) const ORG: Columns = Columns { marker: "description", companion: "lastname", version: "new_orgversion" };

/// The values of `statecode` and `statuscode`.
pub(super) type State = (i64, i64);

/// Active and inactive, each with its default status and another one.
const STATES: [State; 4] = [(0, 1), (0, 3), (1, 2), (1, 4)];

/// One in this many messages with a shared key is sent twice, as by a sender that did not get a response.
const DUPLICATES: usize = 20;

/// One in this many keys contains a character that is not allowed in a key URL, where the kind permits it.
const UNADDRESSABLE: u32 = 8;

/// The time over which the messages of a burst are sent, in random order.
pub(super) const BURST: Duration = Duration::from_secs(1);

/// The maximum reordering of a message, as a share of the sending time.
const DISORDER: f64 = 0.06;

/// Why a message must be rejected: this field of this object in the record has a wrong value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Defect {
    /// The expected reason of its dead letter.
    pub(super) reason: &'static str,
    object: &'static str,
    field: &'static str,
    value: &'static str,
}

/// The kind of a message, which determines the valid final states of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Upserts, updates and deletes with versions: the highest version wins.
    Versioned,
    /// Upserts with versions of a single row, in bursts.
    Hot,
    /// Upserts and deletes with versions under several spellings of a key: they are one row.
    Spelled,
    /// Deletions and upserts with versions, about equally many.
    Recreated,
    /// Two sources with columns and a version column of their own: one upserts and deletes the row, the other upserts it.
    TwoColumns,
    /// Upserts with versions, in a burst when the privileges for their table begin to be missing.
    Denied,
    /// Upserts that set the state, deletes if there are versions.
    State { versions: bool },
    /// One message for its key; the first write is made, and its response is lost.
    Unanswered { operation: Operation, versions: bool },
    /// Upserts without versions: the row holds one of them completely.
    Plain,
    /// Updates without versions of a row that exists from the beginning: one of them, or the row as it was.
    Present,
    /// Creates: the first one wins, the others are rejected.
    Created,
    /// One upsert of a unique key, whose first write is never answered, made or not. The plan determines their number.
    Silent,
    /// Must be rejected: a dead letter, and no row.
    Invalid(Defect),
}

/// How many of a hundred messages are of which kind.
const KINDS: [(usize, Kind); 23] = [
    (16, Kind::Versioned),
    (10, Kind::Hot),
    (8, Kind::Spelled),
    (6, Kind::Recreated),
    (8, Kind::TwoColumns),
    (11, Kind::Denied),
    (4, Kind::State { versions: true }),
    (3, Kind::State { versions: false }),
    (1, unanswered(Operation::Upsert)),
    (1, unanswered(Operation::Create)),
    (1, unanswered(Operation::Update)),
    (1, unanswered(Operation::Delete)),
    (1, Kind::Unanswered { operation: Operation::Upsert, versions: true }),
    (1, Kind::Unanswered { operation: Operation::Delete, versions: true }),
    (13, Kind::Plain),
    (4, Kind::Present),
    (5, Kind::Created),
    (1, invalid("invalid_data", "/columns", "firstname", TOO_LONG)),
    (1, invalid("invalid_data", "/columns", "shoesize", "canary 42")),
    (1, invalid("key_collision", "/columns", "emailaddress1", TAKEN)),
    (1, invalid("not_found", "", "table", "contact")),
    (1, invalid("not_found", "", "operation", "update")),
    (1, invalid("invalid_message", "", "colums", "canary")),
];

/// Longer than the column permits.
const TOO_LONG: &str = "canary-canary-canary-canary-canary-canary-canary-canary-canary";

pub(super) const fn unanswered(operation: Operation) -> Kind {
    Kind::Unanswered { operation, versions: false }
}

pub(super) const fn invalid(
    reason: &'static str,
    object: &'static str,
    field: &'static str,
    value: &'static str,
) -> Kind {
    Kind::Invalid(Defect { reason, object, field, value })
}

/// How the messages of a kind are generated.
pub(super) struct Profile {
    /// The name of the kind in the report.
    pub(super) name: &'static str,
    /// The prefix of its keys, within the canary.
    prefix: &'static str,
    /// How many messages share a key; `None`: every message has its own.
    per_key: Option<u32>,
    /// Equally likely.
    operations: &'static [Operation],
    /// The values of `onConflict`, equally likely.
    policies: &'static [Option<&'static str>],
}

impl Kind {
    pub(super) fn profile(self) -> Profile {
        use Operation::{Create, Delete, Update, Upsert};
        const ALL_POLICIES: &[Option<&str>] = &[None, Some("verify"), Some("skip"), Some("retry")];
        const MIXED: &[Operation] =
            &[Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Update, Delete];
        const SOME_DELETES: &[Operation] = &[Upsert, Upsert, Upsert, Delete];
        let (name, prefix, per_key, operations, policies): (_, _, _, &[_], &[_]) = match self {
            Self::Versioned => ("with versions", "v", Some(60), MIXED, &[None]),
            Self::Hot => ("versions of a hot row", "h", Some(u32::MAX), &[Upsert], &[None]),
            Self::Spelled => ("several spellings of a key", "k", Some(150), SOME_DELETES, &[None]),
            Self::Recreated => ("deletions and re-creations", "r", Some(170), &[Upsert, Delete], &[None]),
            Self::TwoColumns => ("two version columns", "t", Some(150), SOME_DELETES, &[None]),
            Self::Denied => ("a table without privilege", "n", Some(100), &[Upsert], &[None]),
            Self::State { versions: true } => ("states with versions", "w", Some(200), SOME_DELETES, &[None]),
            Self::State { versions: false } => ("states without versions", "x", Some(300), &[Upsert], &[None]),
            Self::Unanswered { operation, .. } => {
                let operations: &[_] = match operation {
                    Create => &[Create],
                    Update => &[Update],
                    Delete => &[Delete],
                    Upsert | Operation::UpsertMultiple | Operation::Unknown => &[Upsert],
                };
                ("first response lost", "l", None, operations, &[None])
            }
            Self::Plain => ("upserts without versions", "p", Some(60), &[Upsert], ALL_POLICIES),
            Self::Present => ("updates without versions", "g", Some(150), &[Update], &[None]),
            Self::Created => ("creates", "c", Some(80), &[Create], &[None]),
            Self::Silent => ("first write never answered", "s", None, &[Upsert], &[None]),
            // Under `retry` a collision with another key is retried by the host, so invalid messages do not use that policy.
            Self::Invalid(_) => ("invalid", "d", None, &[Upsert], &ALL_POLICIES[..3]),
        };
        Profile { name, prefix, per_key, operations, policies }
    }

    /// The entity set of its rows.
    pub(super) fn table(self) -> &'static str {
        if self == Self::Denied { DENIED_TABLE } else { TABLE }
    }

    /// Whether its rows exist from the beginning.
    pub(super) fn is_present(self) -> bool {
        matches!(self, Self::Present | Self::Unanswered { operation: Operation::Update | Operation::Delete, .. })
    }

    fn has_versions(self) -> bool {
        match self {
            Self::Versioned | Self::Hot | Self::Spelled | Self::Recreated | Self::TwoColumns | Self::Denied => true,
            Self::State { versions } | Self::Unanswered { versions, .. } => versions,
            Self::Plain | Self::Present | Self::Created | Self::Silent | Self::Invalid(_) => false,
        }
    }

    fn key(self, number: u32) -> String {
        let unaddressable = matches!(self, Self::Versioned | Self::Spelled | Self::Recreated | Self::Plain)
            && number % UNADDRESSABLE == UNADDRESSABLE - 1;
        format!("{CANARY}-{}{}{number}", self.profile().prefix, if unaddressable { '/' } else { '-' })
    }
}

/// The same for all spellings of a key that Dataverse takes for one.
pub(super) fn folded(key: &str) -> String {
    key.trim_end().to_lowercase()
}

/// Another spelling of `key`, apart from the canary.
fn spelled(key: &str, rng: &mut Rng) -> String {
    let rest = key.strip_prefix(CANARY).unwrap_or(key);
    let rest = if rng.bool() { rest.to_uppercase() } else { rest.to_owned() };
    format!("{CANARY}{rest}{}", " ".repeat(rng.usize(..3)))
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its index in the workload; the `messageId` contains it.
    pub(super) number: u32,
    pub(super) kind: Kind,
    /// The value of the key column, [`folded`].
    pub(super) key: String,
    pub(super) source: &'static str,
    pub(super) operation: Operation,
    pub(super) version: Option<i64>,
    pub(super) state: Option<State>,
    pub(super) policy: Option<&'static str>,
    /// When it is sent, from the beginning of the run.
    pub(super) at: Duration,
    /// How many times it is sent.
    pub(super) copies: usize,
    /// The message text, before base64.
    pub(super) text: String,
}

impl Message {
    pub(super) fn columns(&self) -> &'static Columns {
        match (self.kind, self.source) {
            (Kind::TwoColumns, "org") => &ORG,
            (Kind::TwoColumns, _) => &HR,
            _ => &MAIN,
        }
    }
}

/// The value of the marker's column that message `number` writes, and no other.
pub(super) fn marker(number: u32) -> String {
    format!("{CANARY}-{number}")
}

/// The message that wrote this marker.
pub(super) fn number_of(marker: &str) -> Option<u32> {
    marker.strip_prefix(CANARY)?.strip_prefix('-')?.parse().ok()
}

/// The value beside a marker.
pub(super) fn companion(marker: &str) -> String {
    format!("{marker} beside it")
}

/// The keys of the rows that exist from the beginning.
pub(super) fn present_keys(messages: &[Message]) -> BTreeSet<&str> {
    messages.iter().filter(|message| message.kind.is_present()).map(|message| message.key.as_str()).collect()
}

/// Generates the messages of a seed.
pub(super) fn draw(seed: u64, plan: &Plan) -> Vec<Message> {
    let (mut rng, mut versions) = (Rng::with_seed(seed), HashMap::new());
    let kinds: Vec<Kind> = KINDS.iter().flat_map(|(share, kind)| repeat_n(*kind, *share)).collect();
    let message = |number| {
        let kind = if number < plan.silent() { Kind::Silent } else { pick(&mut rng, &kinds) };
        message(number, kind, plan, &mut rng, &mut versions)
    };
    (0..plan.messages).map(message).collect()
}

fn pick<T: Copy>(rng: &mut Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

/// `versions` holds the last version of each key and column.
fn message(
    number: u32,
    kind: Kind,
    plan: &Plan,
    rng: &mut Rng,
    versions: &mut HashMap<(String, &'static str), i64>,
) -> Message {
    let Profile { per_key, operations, policies, .. } = kind.profile();
    let sets_state = matches!(kind, Kind::State { .. }) || kind == unanswered(Operation::Create);
    let mut message = Message {
        number,
        kind,
        key: kind.key(per_key.map_or(number, |per_key| rng.u32(..plan.messages.div_ceil(per_key)))),
        source: pick(rng, if kind == Kind::TwoColumns { &SOURCES[..2] } else { &SOURCES }),
        operation: pick(rng, operations),
        version: matches!(kind, Kind::Invalid(_)).then_some(1).filter(|_| rng.bool()),
        state: sets_state.then(|| pick(rng, &STATES)),
        policy: pick(rng, policies),
        at: send_time(number, kind, plan, rng),
        copies: if per_key.is_some() && rng.usize(..DUPLICATES) == 0 { 2 } else { 1 },
        text: String::new(),
    };
    if *message.columns() == ORG {
        message.operation = Operation::Upsert;
    }
    if kind.has_versions() {
        let last = versions.entry((message.key.clone(), message.columns().version)).or_default();
        *last += 1;
        message.version = Some(*last);
    }
    let key = if kind == Kind::Spelled { spelled(&message.key, rng) } else { message.key.clone() };
    message.text = record(&message, &key).to_string();
    message
}

/// Roughly in order; the silent ones first, as they take longest, then those that lose a response; and the bursts.
fn send_time(number: u32, kind: Kind, plan: &Plan, rng: &mut Rng) -> Duration {
    let sending = plan.sending();
    match kind {
        Kind::Silent => return Duration::ZERO,
        Kind::Hot => return sending.mul_f64(pick(rng, &[0.2, 0.6])) + BURST.mul_f64(rng.f64()),
        // Such a create waits for the end of its lease.
        Kind::Unanswered { .. } => return sending.mul_f64(rng.f64() / 2.0),
        Kind::Denied => return plan.denial().start + BURST.mul_f64(rng.f64()),
        _ => {}
    }
    let in_order = sending * number / plan.messages;
    let disorder = sending.mul_f64(DISORDER);
    (in_order + disorder.mul_f64(rng.f64())).saturating_sub(disorder / 2).min(sending)
}

/// The message as JSON, with its defect.
fn record(message: &Message, key: &str) -> Value {
    let (marker, columns) = (marker(message.number), message.columns());
    let mut record = json!({
        "table": message.kind.table(),
        "key": { "employeeid": key },
        "source": message.source,
        "messageId": format!("m-{}", message.number),
        "operation": message.operation,
    });
    if message.operation != Operation::Delete {
        record["columns"] = json!({ columns.companion: companion(&marker), columns.marker: marker });
        if let Some((state, status)) = message.state {
            record["columns"]["statecode"] = json!(state);
            record["columns"]["statuscode"] = json!(status);
        }
    }
    if let Some(version) = message.version {
        record["version"] = json!(version);
        if message.kind == Kind::TwoColumns {
            record["versionColumn"] = json!(columns.version);
        }
    }
    if let Some(policy) = message.policy {
        record["onConflict"] = json!(policy);
    }
    if let Kind::Invalid(Defect { object, field, value, .. }) = message.kind
        && let Some(object) = record.pointer_mut(object)
    {
        object[field] = json!(value);
    }
    record
}

#[cfg(test)]
mod tests;
