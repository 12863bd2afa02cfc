//! Whether what was said about a message can be true: looked up in Dataverse's journal and in the ledger.
//!
//! A reason is judged by the time in which its delivery ran. It is lenient in one direction only: where the books do not say when
//! something was seen, any time up to then will do.

use std::collections::HashMap;
use std::time::Duration;

use super::super::evidence::{Delivery, Evidence, Letter};
use super::super::workload::{Family, Ledger, Message, Operation};
use crate::dataverse::Change;

/// The host's clock and the journal's are read one after the other.
const TOLERANCE: Duration = Duration::from_millis(50);

/// The journal, in the order that is asked for here.
pub(super) struct Truth<'a> {
    /// When the values of each message were committed first.
    commits: HashMap<usize, Duration>,
    /// The commits of each key, in order.
    changes: HashMap<&'a str, Vec<(Duration, Change)>>,
    /// The messages of each key.
    messages: HashMap<&'a str, Vec<&'a Message>>,
}

impl<'a> Truth<'a> {
    pub(super) fn new(ledger: &'a Ledger, evidence: &'a Evidence) -> Self {
        let (mut commits, mut changes) = (HashMap::new(), HashMap::<&str, Vec<_>>::new());
        for write in &evidence.writes {
            let (Some(commit), Some(change)) = (write.commit, write.change) else { continue };
            if let Some(message) = write.message {
                let first = commits.entry(message).or_insert(commit);
                *first = commit.min(*first);
            }
            if let Some(key) = &write.key {
                changes.entry(key).or_default().push((commit, change));
            }
        }
        for changes in changes.values_mut() {
            changes.sort_by_key(|(commit, _)| *commit);
        }
        let mut messages: HashMap<&str, Vec<&Message>> = HashMap::new();
        for message in &ledger.messages {
            messages.entry(&message.key).or_default().push(message);
        }
        Self { commits, changes, messages }
    }

    /// Whether the values of a message were committed at any time.
    pub(super) fn committed(&self, message: usize) -> bool {
        self.commits.contains_key(&message)
    }

    /// Judges what the handler said at the end of a delivery; the error says what speaks against it.
    pub(super) fn of_said(
        &self,
        message: &Message,
        outcome: &str,
        delivery: &Delivery,
        evidence: &Evidence,
    ) -> Result<(), &'static str> {
        let ended = delivery.ended + TOLERANCE;
        let (kind, reason) = outcome.split_once('/').unwrap_or((outcome, ""));
        match (kind, reason, message.operation) {
            ("applied", "deleted", Operation::Delete) => {
                told(self.changed(message, ended, |change| change == Change::Deleted), "no row was deleted")
            }
            ("applied", "created" | "updated" | "upserted", operation) if operation != Operation::Delete => {
                told(self.written(message, ended), "its values were not committed")
            }
            ("skipped", "already_written", operation) if operation != Operation::Delete => {
                told(self.written(message, ended), "its values were not committed")
            }
            ("skipped", "written_elsewhere", Operation::Upsert) => {
                let skips = message.policy == Some("skip");
                told(skips && self.changed(message, ended, |_| true), "nobody else wrote, or the policy is another")
            }
            ("skipped", "superseded", _) => told(self.superseded(message, ended), "no such version was there"),
            ("skipped", "already_absent", Operation::Delete) => {
                told(self.absent(message, delivery.started, ended), "the row was there all the time")
            }
            ("rejected", _, _) => told(lies_in_poison(message, evidence), "no dead letter of it is there"),
            _ => Err("that fits nothing that it asked for"),
        }
    }

    /// Judges the reason of a dead letter.
    pub(super) fn of_letter(
        &self,
        message: &Message,
        reason: &str,
        letter: &Letter,
        evidence: &Evidence,
    ) -> Result<(), &'static str> {
        let known = evidence.deliveries_of(message.number).find(|delivery| delivery.invocation == letter.invocation);
        let (from, to) = (known.map_or(Duration::ZERO, |delivery| delivery.started), letter.at + TOLERANCE);
        match (message.family, reason, message.operation) {
            // Whether it is the right one, its fate tells.
            (Family::Doomed(_), ..) => told(!self.committed(message.number), "its values were committed"),
            (Family::Created, "exists", _) => told(self.changed(message, to, |_| true), "there was no row"),
            (Family::Versioned, "not_found", Operation::Update) => {
                told(self.absent(message, from, to), "the row was there all the time")
            }
            _ => Err("nothing about it is wrong"),
        }
    }

    fn written(&self, message: &Message, by: Duration) -> bool {
        self.commits.get(&message.number).is_some_and(|commit| *commit <= by)
    }

    fn changed(&self, message: &Message, by: Duration, wanted: impl Fn(Change) -> bool) -> bool {
        let changes = self.changes.get(message.key.as_str()).into_iter().flatten();
        changes.into_iter().any(|(commit, change)| *commit <= by && wanted(*change))
    }

    /// Whether this version or a newer one was committed by then, or a deletion with one was sent: it leaves its tombstone before
    /// it is in any book.
    fn superseded(&self, message: &Message, by: Duration) -> bool {
        let others = self.messages.get(message.key.as_str()).into_iter().flatten();
        let mut newer = others.filter(|other| other.version >= message.version);
        newer.any(|other| self.written(other, by) || (other.operation == Operation::Delete && other.at <= by))
    }

    /// Whether there was no row at any moment from `from` to `to`.
    fn absent(&self, message: &Message, from: Duration, to: Duration) -> bool {
        let mut there = message.family == Family::Present;
        for (commit, change) in self.changes.get(message.key.as_str()).into_iter().flatten() {
            // As it was when the time began, and as it was left by what happened then.
            if *commit + TOLERANCE >= from && !there {
                return true;
            }
            if *commit > to {
                return false;
            }
            there = *change != Change::Deleted;
        }
        !there
    }
}

fn lies_in_poison(message: &Message, evidence: &Evidence) -> bool {
    evidence.letters.iter().any(|letter| letter.message == Some(message.number) && letter.reason.is_some())
}

fn told(holds: bool, against: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(against) }
}
