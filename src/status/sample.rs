//! What was seen at one moment, what in it needs a person, and both as JSON. Pure.

use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::Instant;

use super::history::{History, Trend};
use crate::dead_letters::entry::timestamp;
use crate::dead_letters::summary::Summary;
use crate::lock::blob::held::LockCount;

/// What was asked for, by name.
#[derive(Debug, Clone)]
pub(super) struct Names {
    pub(super) host: String,
    pub(super) records: String,
    pub(super) dead_letters: String,
    /// The container of the locks; `None` with `LOCK_MODE=off`.
    pub(super) locks: Option<String>,
}

#[derive(Debug, Clone)]
pub(super) enum Reading<T> {
    Found(T),
    /// The queue or container does not exist.
    Missing,
    /// What is wrong, as a clause.
    Failed(String),
}

impl<T> Reading<T> {
    pub(super) fn found(&self) -> Option<&T> {
        match self {
            Self::Found(value) => Some(value),
            Self::Missing | Self::Failed(_) => None,
        }
    }

    fn problem(&self) -> Option<&str> {
        match self {
            Self::Failed(problem) => Some(problem),
            Self::Found(_) | Self::Missing => None,
        }
    }
}

#[derive(Debug, Clone)]
pub(super) struct QueueState {
    /// About how many messages the service counts, hidden ones included.
    pub(super) messages: usize,
    /// The visible messages that were seen.
    pub(super) visible: usize,
    /// How many of them a peek can show.
    pub(super) peeked: usize,
    /// The age of the oldest of those.
    pub(super) oldest: Option<Duration>,
    /// When the service counted.
    pub(super) counted: Instant,
}

#[derive(Debug)]
pub(super) struct Sample {
    /// By the service's clock, if it answered.
    pub(super) at: OffsetDateTime,
    pub(super) records: Reading<QueueState>,
    /// With the reasons of the messages that were seen.
    pub(super) dead_letters: Reading<(QueueState, Summary)>,
    /// `None` with `LOCK_MODE=off`.
    pub(super) locks: Option<Reading<LockCount>>,
}

impl QueueState {
    /// Whether a peek can have shown every visible message.
    pub(super) fn shows_all_visible(&self) -> bool {
        self.visible < self.peeked
    }
}

impl Sample {
    /// The length of the queue of records, if it is known, and of which moment.
    pub(super) fn length(&self) -> Option<(Instant, usize)> {
        self.records.found().map(|state| (state.counted, state.messages))
    }

    /// What needs a person, a sentence each; nothing when all is well.
    pub(super) fn attention(&self, names: &Names, older_than: Duration) -> Vec<String> {
        let Names { records, dead_letters, .. } = names;
        let mut attention = self.failures(names);
        if let Reading::Missing = self.records {
            attention.push(format!(
                "the queue {records} does not exist, so nothing is written; handler doctor says how to create it"
            ));
        }
        let oldest = self.records.found().and_then(|state| state.oldest);
        if let Some(oldest) = oldest.filter(|oldest| *oldest > older_than) {
            let (oldest, limit) = (HumanDuration(oldest), HumanDuration(older_than));
            attention.push(format!(
                "a message in {records} is {oldest} old (limit: {limit}): the app is stopped, too slow, or waits; see its log"
            ));
        }
        if let Some((state, _)) = self.dead_letters.found().filter(|(state, _)| state.messages > 0) {
            let letters = count(state.messages, "dead letter");
            attention.push(format!("{letters} in {dead_letters}: see handler dead-letters list"));
        }
        attention
    }

    /// What could not be read; parts with the same problem share a sentence.
    fn failures(&self, names: &Names) -> Vec<String> {
        let mut failures: Vec<(&str, Vec<&str>)> = Vec::new();
        let parts = [
            (&*names.records, self.records.problem()),
            (&*names.dead_letters, self.dead_letters.problem()),
            (names.locks.as_deref().unwrap_or_default(), self.locks.as_ref().and_then(Reading::problem)),
        ];
        for (name, problem) in parts {
            let Some(problem) = problem else { continue };
            match failures.iter_mut().find(|(known, _)| *known == problem) {
                Some((_, names)) => names.push(name),
                None => failures.push((problem, vec![name])),
            }
        }
        let sentence = |(problem, names): (&str, Vec<&str>)| {
            format!("{}: {problem}; handler doctor says what to check", names.join(", "))
        };
        failures.into_iter().map(sentence).collect()
    }

    /// The sample as one JSON object; with the trend under `--watch`, when there is a `history`.
    pub(super) fn to_json(&self, names: &Names, older_than: Duration, history: Option<&History>) -> Value {
        let queue = |name: &str, state: &QueueState| {
            json!({
                "name": name, "messages": state.messages, "visibleSeen": state.visible,
                "oldestVisibleSeconds": state.oldest.map(|oldest| oldest.as_secs()),
            })
        };
        let dead_letters = reading(&names.dead_letters, &self.dead_letters, |(state, reasons)| {
            let mut letters = queue(&names.dead_letters, state);
            letters["reasons"] = json!(reasons);
            letters
        });
        let locks = match (&self.locks, &names.locks) {
            (Some(locks), Some(container)) => reading(
                container,
                locks,
                |count| json!({ "name": container, "held": count.held, "blobs": count.blobs, "complete": count.is_complete }),
            ),
            (None, _) | (_, None) => Value::Null,
        };
        let attention = self.attention(names, older_than);
        let mut sample = json!({
            "at": timestamp(self.at),
            "queue": reading(&names.records, &self.records, |state| queue(&names.records, state)),
            "deadLetters": dead_letters,
            "locks": locks,
            "needsPerson": !attention.is_empty(),
            "attention": attention,
        });
        if let Some(history) = history {
            sample["trend"] = history.trend().map_or(Value::Null, Trend::to_json);
        }
        sample
    }
}

fn reading<T>(name: &str, reading: &Reading<T>, found: impl FnOnce(&T) -> Value) -> Value {
    match reading {
        Reading::Found(value) => found(value),
        Reading::Missing => json!({ "name": name, "missing": true }),
        Reading::Failed(problem) => json!({ "name": name, "problem": problem }),
    }
}

/// `5,000 messages`.
pub(super) fn count(number: usize, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", human(number))
}

/// `5,000`
pub(super) fn human(number: usize) -> HumanCount {
    HumanCount(u64::try_from(number).expect("usize fits u64"))
}

#[cfg(test)]
pub(super) mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::dead_letters::entry::Entry;
    use crate::dead_letters::queue::MAX_PEEK;

    pub(in crate::status) const LIMIT: Duration = Duration::from_mins(15);

    pub(in crate::status) fn names() -> Names {
        Names {
            host: "contoso.queue.core.windows.net".to_owned(),
            records: "sync-records".to_owned(),
            dead_letters: "sync-records-poison".to_owned(),
            locks: Some("sync-locks".to_owned()),
        }
    }

    pub(in crate::status) fn queue(messages: usize, visible: usize, oldest: Option<u64>) -> QueueState {
        let (oldest, counted) = (oldest.map(Duration::from_secs), Instant::now());
        QueueState { messages, visible, peeked: MAX_PEEK, oldest, counted }
    }

    /// Two rejected records and one message that the host moved.
    pub(in crate::status) fn letters(messages: usize) -> Reading<(QueueState, Summary)> {
        let letter = json!({ "message": r#"{"table":"contacts"}"#, "reason": "key_collision", "at": "2026-11-24T09:00:00Z",
            "dataverse": { "status": 412, "code": "0x80060892" } });
        let mut reasons = Summary::default();
        for content in [&letter.to_string(), &letter.to_string(), r#"{"table":"accounts"}"#] {
            reasons.add(&Entry::example(content.as_bytes()));
        }
        Reading::Found((queue(messages, 3, Some(7200)), reasons))
    }

    pub(in crate::status) fn well() -> Sample {
        Sample {
            at: datetime!(2026-11-30 00:31:05 UTC),
            records: Reading::Found(queue(5_000, 32, Some(192))),
            dead_letters: Reading::Found((queue(0, 0, None), Summary::default())),
            locks: Some(Reading::Found(LockCount { held: 48, blobs: 1_204, is_complete: true })),
        }
    }

    #[test]
    fn letters_old_messages_and_a_missing_queue_need_a_person() {
        assert!(well().attention(&names(), LIMIT).is_empty());
        let attention = |sample: Sample| sample.attention(&names(), LIMIT).join("\n");
        let letters = attention(Sample { dead_letters: letters(1), ..well() });
        assert!(letters.starts_with("1 dead letter in sync-records-poison: see handler dead-letters"), "{letters}");
        let old = attention(Sample { records: Reading::Found(queue(1, 1, Some(1_500))), ..well() });
        assert!(old.starts_with("a message in sync-records is 25 minutes old (limit: 15 minutes)"), "{old}");
        let missing = attention(Sample { records: Reading::Missing, ..well() });
        assert!(missing.starts_with("the queue sync-records does not exist"), "{missing}");
        let none = Sample { dead_letters: Reading::Missing, locks: Some(Reading::Missing), ..well() };
        assert_eq!(attention(none), "", "both are created when they are first needed");
    }

    #[test]
    fn parts_that_fail_alike_are_named_together() {
        let gone = || "the storage cannot be reached: no connection".to_owned();
        let sample = Sample {
            records: Reading::Failed(gone()),
            dead_letters: Reading::Failed(gone()),
            locks: Some(Reading::Failed("refused".to_owned())),
            ..well()
        };
        let expected = [("sync-records, sync-records-poison", &*gone()), ("sync-locks", "refused")]
            .map(|(names, problem)| format!("{names}: {problem}; handler doctor says what to check"));
        assert_eq!(sample.attention(&names(), LIMIT), expected);
        let json = sample.to_json(&names(), LIMIT, None);
        assert_eq!((&json["queue"]["problem"], &json["needsPerson"]), (&json!(gone()), &json!(true)));
    }

    #[test]
    fn the_json_has_everything() {
        let sample = Sample { dead_letters: letters(40), ..well() };
        let json = sample.to_json(&names(), LIMIT, None);
        assert_eq!(json["at"], "2026-11-30T00:31:05Z");
        let queue =
            json!({ "name": "sync-records", "messages": 5_000, "visibleSeen": 32, "oldestVisibleSeconds": 192 });
        let locks = json!({ "name": "sync-locks", "held": 48, "blobs": 1_204, "complete": true });
        assert_eq!((&json["queue"], &json["locks"]), (&queue, &locks));
        let group = &json["deadLetters"]["reasons"]["groups"][0];
        assert_eq!((&group["letters"], &group["reason"]), (&json!(2), &json!("key_collision")));
        assert_eq!((&json["deadLetters"]["messages"], &json["needsPerson"]), (&json!(40), &json!(true)));
        assert!(json.get("trend").is_none());
        let missing = Sample { records: Reading::Missing, locks: None, ..well() };
        let json = missing.to_json(&names(), LIMIT, Some(&History::default()));
        assert_eq!(json["queue"], json!({ "name": "sync-records", "missing": true }));
        assert_eq!((&json["locks"], json.get("trend")), (&Value::Null, Some(&Value::Null)));
    }
}
