//! The messages of a run, generated from the seed: what each source sends, when, and what must come of it.
//!
//! Pure: the same seed and plan give the same messages. Every message writes unique values, so a row and a journal entry identify
//! the message that wrote them. Every column value and every key contains the [`CANARY`], which must not appear in any log.
//!
//! A new kind of message is a variant of [`Kind`], a line in [`KINDS`], an arm of its `profile`, and the rule for its row in
//! [`super::verifier`].

use std::collections::HashMap;
use std::iter::repeat_n;
use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use super::Plan;
use stand_ins::dataverse::Operation;

/// The entity set of all messages except those with an invalid one.
pub(super) const TABLE: &str = "contacts";

/// Part of every column value and every key.
pub(super) const CANARY: &str = "canary";

/// An e-mail address (another unique key) of an existing row.
pub(super) const TAKEN: &str = "canary@taken.example";

/// The sending systems.
pub(super) const SOURCES: [&str; 3] = ["hr", "crm", "shop"];

/// One in this many messages with a shared key is sent twice, as by a sender that did not get a response.
const DUPLICATES: usize = 20;

/// One in this many keys contains a character that is not allowed in a key URL, where the kind permits it.
const UNADDRESSABLE: u32 = 8;

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
    /// Upserts without versions: the row holds one of them completely.
    Plain,
    /// Updates without versions of a row that exists from the beginning: one of them, or the row as it was.
    Present,
    /// Creates: the first one wins, the others are rejected.
    Created,
    /// One upsert of a unique key, whose first write is never answered. The plan determines their number.
    Silent,
    /// Must be rejected: a dead letter, and no row.
    Invalid(Defect),
}

/// How many of a hundred messages are of which kind.
const KINDS: [(usize, Kind); 10] = [
    (58, Kind::Versioned),
    (23, Kind::Plain),
    (6, Kind::Present),
    (7, Kind::Created),
    (1, invalid("invalid_data", "/columns", "firstname", TOO_LONG)),
    (1, invalid("invalid_data", "/columns", "shoesize", "canary 42")),
    (1, invalid("key_collision", "/columns", "emailaddress1", TAKEN)),
    (1, invalid("not_found", "", "table", "contact")),
    (1, invalid("not_found", "", "operation", "update")),
    (1, invalid("invalid_message", "", "colums", "canary")),
];

/// Longer than the column permits.
const TOO_LONG: &str = "canary-canary-canary-canary-canary-canary-canary-canary-canary";

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
        const ALL_POLICIES: [Option<&str>; 4] = [None, Some("verify"), Some("skip"), Some("retry")];
        const MIXED: &[Operation] =
            &[Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Upsert, Update, Delete];
        let (name, prefix, per_key, operations, policies): (_, _, _, &[_], &[_]) = match self {
            Self::Versioned => ("with versions", "V", Some(20), MIXED, &[None]),
            Self::Plain => ("upserts without versions", "P", Some(40), &[Upsert], &ALL_POLICIES),
            Self::Present => ("updates without versions", "G", Some(100), &[Update], &[None]),
            Self::Created => ("creates", "C", Some(60), &[Create], &[None]),
            Self::Silent => ("first write never answered", "S", None, &[Upsert], &[None]),
            // Under `retry` a collision with another key is retried by the host, so invalid messages do not use that policy.
            Self::Invalid(_) => ("invalid", "D", None, &[Upsert], &ALL_POLICIES[..3]),
        };
        Profile { name, prefix, per_key, operations, policies }
    }

    fn key(self, number: u32) -> String {
        let unaddressable =
            matches!(self, Self::Versioned | Self::Plain) && number % UNADDRESSABLE == UNADDRESSABLE - 1;
        format!("{CANARY}-{}{}{number}", self.profile().prefix, if unaddressable { '/' } else { '-' })
    }
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its index in the workload; the `messageId` contains it.
    pub(super) number: u32,
    pub(super) kind: Kind,
    pub(super) key: String,
    pub(super) source: &'static str,
    pub(super) operation: Operation,
    pub(super) version: Option<i64>,
    pub(super) policy: Option<&'static str>,
    /// When it is sent, from the beginning of the run.
    pub(super) at: Duration,
    /// How many times it is sent.
    pub(super) copies: usize,
    /// The message text, before base64.
    pub(super) text: String,
}

/// The value of `jobtitle` that message `number` writes, and no other.
pub(super) fn marker(number: u32) -> String {
    format!("{CANARY}-{number}")
}

/// The message that wrote this `jobtitle`.
pub(super) fn number_of(marker: &str) -> Option<u32> {
    marker.strip_prefix(CANARY)?.strip_prefix('-')?.parse().ok()
}

/// The value of `firstname` beside a marker.
pub(super) fn companion(marker: &str) -> String {
    format!("{marker} beside it")
}

/// The keys of the rows that exist from the beginning.
pub(super) fn present_keys(plan: &Plan) -> impl Iterator<Item = String> {
    let keys = Kind::Present.profile().per_key.map_or(0, |per_key| plan.messages.div_ceil(per_key));
    (0..keys).map(|number| Kind::Present.key(number))
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

/// `versions` holds the last version of each versioned key.
fn message(number: u32, kind: Kind, plan: &Plan, rng: &mut Rng, versions: &mut HashMap<String, i64>) -> Message {
    let Profile { per_key, operations, policies, .. } = kind.profile();
    let key = kind.key(per_key.map_or(number, |per_key| rng.u32(..plan.messages.div_ceil(per_key))));
    let version = match kind {
        Kind::Versioned => {
            let last = versions.entry(key.clone()).or_default();
            *last += 1;
            Some(*last)
        }
        Kind::Invalid(_) => rng.bool().then_some(1),
        _ => None,
    };
    let mut message = Message {
        number,
        kind,
        key,
        source: pick(rng, &SOURCES),
        operation: pick(rng, operations),
        version,
        policy: pick(rng, policies),
        at: send_time(number, plan, rng),
        copies: if per_key.is_some() && rng.usize(..DUPLICATES) == 0 { 2 } else { 1 },
        text: String::new(),
    };
    message.text = record(&message).to_string();
    message
}

/// Roughly in order; the silent ones first, as they take longest.
fn send_time(number: u32, plan: &Plan, rng: &mut Rng) -> Duration {
    if number < plan.silent() {
        return Duration::ZERO;
    }
    let sending = plan.sending();
    let in_order = sending * number / plan.messages;
    let disorder = sending.mul_f64(DISORDER);
    (in_order + disorder.mul_f64(rng.f64())).saturating_sub(disorder / 2).min(sending)
}

/// The message as JSON, with its defect.
fn record(message: &Message) -> Value {
    let marker = marker(message.number);
    let mut record = json!({
        "table": TABLE,
        "key": { "employeeid": message.key },
        "source": message.source,
        "messageId": format!("m-{}", message.number),
        "operation": message.operation,
    });
    if message.operation != Operation::Delete {
        record["columns"] = json!({ "firstname": companion(&marker), "jobtitle": marker });
    }
    if let Some(version) = message.version {
        record["version"] = json!(version);
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
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_messages_and_every_kind_occurs() {
        let plan = Plan::for_test();
        let all = draw(7, &plan);
        assert!(all == draw(7, &plan) && all != draw(8, &plan));
        for (_, kind) in KINDS.into_iter().chain([(0, Kind::Silent)]) {
            for operation in kind.profile().operations {
                let occurs = |message: &Message| (message.kind, message.operation) == (kind, *operation);
                assert!(all.iter().any(occurs), "{kind:?} {operation:?}");
            }
        }
        assert!(all.iter().any(|message| message.copies == 2) && all.iter().any(|message| message.key.contains('/')));
        for message in all {
            let record: Value = serde_json::from_str(&message.text).expect("JSON");
            let mut values = record["columns"].as_object().into_iter().flatten().map(|(_, value)| value);
            let has_canary = |value: &Value| value.as_str().is_some_and(|text| text.contains(CANARY));
            assert!(values.all(has_canary) && has_canary(&record["key"]["employeeid"]), "{record}");
        }
    }

    #[test]
    fn versions_are_unique_to_a_key_and_some_are_sent_out_of_order() {
        let mut versioned = draw(7, &Plan::for_test());
        versioned.retain(|message| message.kind == Kind::Versioned);
        versioned.sort_by_key(|message| (message.key.clone(), message.version));
        let same_key = || versioned.windows(2).filter(|pair| pair[0].key == pair[1].key);
        assert!(same_key().all(|pair| pair[0].version < pair[1].version));
        assert!(same_key().any(|pair| pair[0].at > pair[1].at), "every key is sent in order");
    }
}
