//! The messages of a run, generated from the seed: what each source sends, when, and which outcomes are valid.
//!
//! Pure: the same seed and plan give the same workload. Every message writes unique values, so a row and a journal entry identify
//! the message that wrote them. Every column value and every key contains the [`CANARY`], which must not appear in any log.
//!
//! The families differ in what the verifier can require of their rows, see [`Family`].

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

/// The entity set of all messages except those with an invalid one.
pub(super) const TABLE: &str = "contacts";

/// Part of every column value and every key.
pub(super) const CANARY: &str = "canary";

/// An e-mail address (another unique key) of an existing row.
pub(super) const TAKEN: &str = "canary@taken.example";

/// The sending systems.
pub(super) const SOURCES: [&str; 3] = ["hr", "crm", "shop"];

/// One in this many messages is sent twice, as by a sender that did not get a response.
const TWINS: usize = 20;

/// One in this many keys contains a character that is not allowed in a key URL.
const HIDDEN: usize = 8;

/// The maximum reordering of a message, as a share of the sending time.
const DISORDER: f64 = 0.06;

/// The operation of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Upsert,
    Create,
    Update,
    Delete,
}

/// Why a message must be rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Defect {
    TooLong,
    UnknownColumn,
    WrongTable,
    KeyTaken,
    UnknownField,
    NoRow,
}

impl Defect {
    const ALL: [Self; 6] =
        [Self::TooLong, Self::UnknownColumn, Self::WrongTable, Self::KeyTaken, Self::UnknownField, Self::NoRow];

    /// The expected reason of its dead letter.
    pub(super) fn reason(self) -> &'static str {
        match self {
            Self::TooLong | Self::UnknownColumn => "invalid_data",
            Self::WrongTable | Self::NoRow => "not_found",
            Self::KeyTaken => "key_collision",
            Self::UnknownField => "invalid_message",
        }
    }
}

/// The kind of a message, which determines the valid final states of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// Upserts, updates and deletes with versions: the highest version wins.
    Versioned,
    /// Upserts without versions: the row holds one of them completely.
    Plain,
    /// Updates without versions of a row that exists from the beginning: one of them, or the row as it was.
    Present,
    /// Creates: the first one wins, the others are rejected.
    Created,
    /// One upsert of a unique key, whose first write is never answered.
    Silent,
    /// Must be rejected: a dead letter, and no row.
    Invalid(Defect),
}

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Message {
    /// Its index in the workload; the `messageId` contains it.
    pub(super) number: usize,
    pub(super) family: Family,
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

impl Message {
    /// The value that only this message writes.
    pub(super) fn marker(&self) -> String {
        marker(self.number)
    }

    /// `m-17: delete canary-V-3 version 9, by hr`
    pub(super) fn shown(&self) -> String {
        let version = self.version.map(|version| format!(" version {version}")).unwrap_or_default();
        let operation = format!("{:?}", self.operation).to_ascii_lowercase();
        format!("m-{}: {operation} {}{version}, by {}", self.number, self.key, self.source)
    }
}

/// The value of `jobtitle` that message `number` writes.
pub(super) fn marker(number: usize) -> String {
    format!("{CANARY}-{number}")
}

/// The value of `firstname` beside a marker.
pub(super) fn companion(marker: &str) -> String {
    format!("{marker} beside it")
}

/// The size of a workload.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) messages: usize,
    /// The time over which they are sent.
    pub(super) sending: Duration,
    /// The number of messages whose first write is never answered.
    pub(super) silent: usize,
}

/// Everything that is sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Workload {
    pub(super) messages: Vec<Message>,
}

impl Workload {
    /// Generates the messages of a seed.
    pub(super) fn draw(seed: u64, extent: Extent) -> Self {
        let mut draw = Draw { rng: Rng::with_seed(seed), extent, versions: vec![0; keys(Family::Versioned, extent)] };
        Self { messages: (0..extent.messages).map(|number| draw.message(number)).collect() }
    }

    /// The keys of the rows that exist from the beginning.
    pub(super) fn present_keys(extent: Extent) -> Vec<String> {
        (0..keys(Family::Present, extent)).map(|number| key(Family::Present, number)).collect()
    }

    /// The number of messages put into the queue.
    pub(super) fn puts(&self) -> usize {
        self.messages.iter().map(|message| message.copies).sum()
    }
}

/// The number of keys of a family.
fn keys(family: Family, extent: Extent) -> usize {
    let per_key = match family {
        Family::Versioned => 20,
        Family::Plain => 40,
        Family::Present => 100,
        Family::Created => 60,
        Family::Silent | Family::Invalid(_) => return extent.messages,
    };
    extent.messages.div_ceil(per_key)
}

fn key(family: Family, number: usize) -> String {
    let letter = match family {
        Family::Versioned => 'V',
        Family::Plain => 'P',
        Family::Present => 'G',
        Family::Created => 'C',
        Family::Silent => 'S',
        Family::Invalid(_) => 'D',
    };
    let may_hide = matches!(family, Family::Versioned | Family::Plain);
    let mark = if may_hide && number % HIDDEN == HIDDEN - 1 { '/' } else { '-' };
    format!("{CANARY}-{letter}{mark}{number}")
}

struct Draw {
    rng: Rng,
    extent: Extent,
    /// The last version of each versioned key.
    versions: Vec<i64>,
}

impl Draw {
    fn message(&mut self, number: usize) -> Message {
        let family = self.family(number);
        let own = matches!(family, Family::Silent | Family::Invalid(_));
        let place = if own { number } else { self.rng.usize(..keys(family, self.extent)) };
        let operation = self.operation(family);
        let version = match family {
            Family::Versioned => {
                self.versions[place] += 1;
                Some(self.versions[place])
            }
            Family::Invalid(_) if self.rng.bool() => Some(1),
            _ => None,
        };
        let policy = self.policy(family);
        let (key, source) = (key(family, place), SOURCES[self.rng.usize(..SOURCES.len())]);
        let copies = if !own && self.rng.usize(..TWINS) == 0 { 2 } else { 1 };
        let at = self.time(number);
        let mut message =
            Message { number, family, key, source, operation, version, policy, at, copies, text: String::new() };
        message.text = text(&message).to_string();
        message
    }

    fn family(&mut self, number: usize) -> Family {
        if number < self.extent.silent {
            return Family::Silent;
        }
        match self.rng.usize(..100) {
            0..58 => Family::Versioned,
            58..81 => Family::Plain,
            81..87 => Family::Present,
            87..94 => Family::Created,
            _ => Family::Invalid(Defect::ALL[self.rng.usize(..Defect::ALL.len())]),
        }
    }

    fn operation(&mut self, family: Family) -> Operation {
        match family {
            Family::Versioned => match self.rng.usize(..100) {
                0..82 => Operation::Upsert,
                82..91 => Operation::Update,
                _ => Operation::Delete,
            },
            Family::Present | Family::Invalid(Defect::NoRow) => Operation::Update,
            Family::Created => Operation::Create,
            Family::Plain | Family::Silent | Family::Invalid(_) => Operation::Upsert,
        }
    }

    /// Under `retry` a collision with another key is retried by the host, so invalid messages do not use that policy.
    fn policy(&mut self, family: Family) -> Option<&'static str> {
        let policies: &[Option<&'static str>] = match family {
            Family::Plain => &[None, Some("verify"), Some("skip"), Some("retry")],
            Family::Invalid(_) => &[None, Some("verify"), Some("skip")],
            _ => &[None],
        };
        policies[self.rng.usize(..policies.len())]
    }

    /// Roughly in order; the silent ones first, as they take longest.
    fn time(&mut self, number: usize) -> Duration {
        if number < self.extent.silent {
            return Duration::ZERO;
        }
        let place = f64::from(u32::try_from(number).unwrap_or(u32::MAX));
        let share = place / f64::from(u32::try_from(self.extent.messages).unwrap_or(u32::MAX));
        let moved = (share + (self.rng.f64() - 0.5) * DISORDER).clamp(0.0, 1.0);
        self.extent.sending.mul_f64(moved)
    }
}

/// The message as JSON, with its defect.
fn text(message: &Message) -> Value {
    let marker = message.marker();
    let mut record = json!({
        "table": TABLE,
        "key": { "employeeid": message.key },
        "source": message.source,
        "messageId": format!("m-{}", message.number),
        "operation": format!("{:?}", message.operation).to_ascii_lowercase(),
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
    match message.family {
        Family::Invalid(Defect::TooLong) => record["columns"]["firstname"] = json!(CANARY.repeat(10)),
        Family::Invalid(Defect::UnknownColumn) => record["columns"]["shoesize"] = json!(marker),
        Family::Invalid(Defect::WrongTable) => record["table"] = json!("contact"),
        Family::Invalid(Defect::KeyTaken) => record["columns"]["emailaddress1"] = json!(TAKEN),
        Family::Invalid(Defect::UnknownField) => record["colums"] = json!({ "jobtitle": marker }),
        _ => {}
    }
    record
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    const EXTENT: Extent = Extent { messages: 2_000, sending: Duration::from_mins(1), silent: 2 };

    #[test]
    fn the_same_seed_generates_the_same_workload_and_another_seed_another_one() {
        assert_eq!(Workload::draw(7, EXTENT), Workload::draw(7, EXTENT));
        assert_ne!(Workload::draw(7, EXTENT), Workload::draw(8, EXTENT));
    }

    #[test]
    fn every_kind_of_message_is_generated() {
        let workload = Workload::draw(7, EXTENT);
        let count =
            |wanted: &dyn Fn(&Message) -> bool| workload.messages.iter().filter(|message| wanted(message)).count();
        for defect in Defect::ALL {
            assert!(count(&|message| message.family == Family::Invalid(defect)) > 0, "{defect:?}");
        }
        for operation in [Operation::Upsert, Operation::Create, Operation::Update, Operation::Delete] {
            assert!(count(&|message| message.operation == operation) > 0, "{operation:?}");
        }
        assert_eq!(count(&|message| message.family == Family::Silent), EXTENT.silent);
        assert!(count(&|message| message.copies == 2) > 0);
        assert!(count(&|message| message.key.contains('/')) > 0);
        assert!(count(&|message| message.at > EXTENT.sending) == 0);
    }

    #[test]
    fn versions_of_one_key_differ_and_come_out_of_order() {
        let workload = Workload::draw(7, EXTENT);
        let mut keys: BTreeMap<&str, Vec<(Duration, i64)>> = BTreeMap::new();
        for message in workload.messages.iter().filter(|message| message.family == Family::Versioned) {
            keys.entry(&message.key).or_default().push((message.at, message.version.expect("it has one")));
        }
        let mut disordered = 0;
        for versions in keys.values_mut() {
            let all: BTreeSet<i64> = versions.iter().map(|(_, version)| *version).collect();
            assert_eq!(all.len(), versions.len());
            versions.sort_unstable();
            disordered += usize::from(!versions.is_sorted_by_key(|(_, version)| *version));
        }
        assert!(disordered > 0, "each key came in order");
    }

    #[test]
    fn every_value_and_key_contains_the_canary() {
        for message in Workload::draw(7, EXTENT).messages {
            let record: Value = serde_json::from_str(&message.text).expect("JSON");
            let columns = record["columns"].as_object().cloned().unwrap_or_default();
            let values = columns.values().chain([&record["key"]["employeeid"]]);
            assert!(
                values.into_iter().all(|value| value.as_str().is_some_and(|text| text.contains(CANARY))),
                "{record}"
            );
        }
    }
}
