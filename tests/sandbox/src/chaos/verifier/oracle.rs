//! Whether a reported outcome can be true, according to Dataverse's journal and the workload.
//!
//! A reason must have held while its delivery ran. Where the evidence does not say when something was observed, any earlier time
//! is accepted.

use std::collections::HashMap;
use std::time::Duration;

use super::super::evidence::{DeadLetter, Delivery, Evidence};
use super::super::workload::{Family, Message, Operation, Workload};
use stand_ins::dataverse::Change;

/// The host's clock and the journal's are read one after the other.
const TOLERANCE: Duration = Duration::from_millis(50);

/// The journal and the workload, indexed for these checks.
pub(super) struct Oracle<'a> {
    /// When the values of each message were first committed.
    commits: HashMap<usize, Duration>,
    /// The commits of each key, in order.
    changes: HashMap<&'a str, Vec<(Duration, Change)>>,
    /// The messages of each key.
    messages: HashMap<&'a str, Vec<&'a Message>>,
}

impl<'a> Oracle<'a> {
    pub(super) fn new(workload: &'a Workload, evidence: &'a Evidence) -> Self {
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
        for message in &workload.messages {
            messages.entry(&message.key).or_default().push(message);
        }
        Self { commits, changes, messages }
    }

    /// Whether the values of a message were committed at any time.
    pub(super) fn committed(&self, message: usize) -> bool {
        self.commits.contains_key(&message)
    }

    /// Checks the outcome that the handler reported for a delivery. The error says why it cannot be true.
    pub(super) fn of_reported(
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
                holds_or(self.changed(message, ended, |change| change == Change::Deleted), "no row was deleted")
            }
            ("applied", "created" | "updated" | "upserted", operation) if operation != Operation::Delete => {
                holds_or(self.written(message, ended), "its values were not committed")
            }
            ("skipped", "already_written", operation) if operation != Operation::Delete => {
                holds_or(self.written(message, ended), "its values were not committed")
            }
            ("skipped", "written_elsewhere", Operation::Upsert) => {
                let skips = message.policy == Some("skip");
                holds_or(
                    skips && self.changed(message, ended, |_| true),
                    "there is no other write, or the policy is not `skip`",
                )
            }
            ("skipped", "superseded", _) => holds_or(self.superseded(message, ended), "no such version was committed"),
            ("skipped", "already_absent", Operation::Delete) => {
                holds_or(self.absent(message, delivery.started, ended), "the row existed all the time")
            }
            ("rejected", _, _) => holds_or(lies_in_poison(message, evidence), "its dead letter is missing"),
            _ => Err("the outcome does not match the operation"),
        }
    }

    /// Checks the reason of a dead letter.
    pub(super) fn of_letter(
        &self,
        message: &Message,
        reason: &str,
        letter: &DeadLetter,
        evidence: &Evidence,
    ) -> Result<(), &'static str> {
        let known = evidence.deliveries_of(message.number).find(|delivery| delivery.invocation == letter.invocation);
        let (from, to) = (known.map_or(Duration::ZERO, |delivery| delivery.started), letter.at + TOLERANCE);
        match (message.family, reason, message.operation) {
            // Whether it is the expected reason is checked with the final state.
            (Family::Invalid(_), ..) => holds_or(!self.committed(message.number), "its values were committed"),
            (Family::Created, "exists", _) => holds_or(self.changed(message, to, |_| true), "there was no row"),
            (Family::Versioned, "not_found", Operation::Update) => {
                holds_or(self.absent(message, from, to), "the row existed all the time")
            }
            _ => Err("the message is valid"),
        }
    }

    fn written(&self, message: &Message, by: Duration) -> bool {
        self.commits.get(&message.number).is_some_and(|commit| *commit <= by)
    }

    fn changed(&self, message: &Message, by: Duration, wanted: impl Fn(Change) -> bool) -> bool {
        let changes = self.changes.get(message.key.as_str()).into_iter().flatten();
        changes.into_iter().any(|(commit, change)| *commit <= by && wanted(*change))
    }

    /// Whether this version or a newer one was committed by then, or a deletion with one was sent: a deletion writes its tombstone
    /// before it appears in the journal.
    fn superseded(&self, message: &Message, by: Duration) -> bool {
        let others = self.messages.get(message.key.as_str()).into_iter().flatten();
        let mut newer = others.filter(|other| other.version >= message.version);
        newer.any(|other| self.written(other, by) || (other.operation == Operation::Delete && other.at <= by))
    }

    /// Whether there was no row at any moment from `from` to `to`.
    fn absent(&self, message: &Message, from: Duration, to: Duration) -> bool {
        let mut there = message.family == Family::Present;
        for (commit, change) in self.changes.get(message.key.as_str()).into_iter().flatten() {
            // The state at the beginning of the interval, and after each change in it.
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
    evidence.dead_letters.iter().any(|letter| letter.message == Some(message.number) && letter.reason.is_some())
}

fn holds_or(holds: bool, objection: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(objection) }
}
