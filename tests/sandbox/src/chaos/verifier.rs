//! Compares the messages sent with their outcomes.
//!
//! Pure: a [`Workload`] and [`Evidence`] in, a [`Verification`] out. Every message has one [`FinalState`], which needs proof:
//! "applied" needs a commit of its values, "skipped" and a dead letter need a reason that held at that time. Then each row is
//! compared with what the messages of its key allow, and overlapping writes of one row need a lost lease.
//!
//! One difference is a documented limit: a lease is not a fence, so a create that outlives its lease may restore a row that was
//! deleted meanwhile (README, *Limits*). It is counted separately, and only if the lease was lost before the commit.

mod oracle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::evidence::{End, Evidence, Row, Write};
use super::workload::{Family, Message, Operation, Workload};
use oracle::Oracle;
use stand_ins::dataverse::Change;

/// The final state of a message.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FinalState {
    /// The last outcome that the handler reported, such as `applied/created` or `skipped/superseded`.
    Settled(String),
    /// A dead letter with this reason.
    DeadLetter(String),
    /// In the poison queue as it was sent, without a reason.
    Raw,
    /// Still in the queue.
    Stuck,
    /// In no queue, and without a reported outcome.
    Lost,
}

impl fmt::Display for FinalState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(outcome) => f.write_str(outcome),
            Self::DeadLetter(reason) => write!(f, "dead letter/{reason}"),
            Self::Raw => f.write_str("raw in poison"),
            Self::Stuck => f.write_str("stuck"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

/// An unexpected outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The messages concerned.
    pub(super) messages: Vec<usize>,
    /// What differs.
    pub(super) what: String,
}

/// The result of the comparison.
#[derive(Debug, Clone)]
pub(super) struct Verification {
    /// The final state of every message, by number.
    pub(super) final_states: Vec<FinalState>,
    pub(super) differences: Vec<Difference>,
    /// Overlapping writes of one row, of which one had lost its lease.
    pub(super) late_overlaps: usize,
    /// Deleted rows that were restored by a write that had lost its lease.
    pub(super) brought_back: usize,
}

/// Compares.
pub(super) fn verify(workload: &Workload, evidence: &Evidence) -> Verification {
    let mut verify = Verifier {
        workload,
        evidence,
        oracle: Oracle::new(workload, evidence),
        differences: Vec::new(),
        late_overlaps: 0,
        brought_back: 0,
    };
    let final_states = verify.final_states();
    for message in &workload.messages {
        verify.message(message, &final_states[message.number]);
    }
    verify.dead_letters();
    verify.rows(&final_states);
    verify.overlaps();
    verify.leaks();
    let Verifier { differences, late_overlaps, brought_back, .. } = verify;
    Verification { final_states, differences, late_overlaps, brought_back }
}

struct Verifier<'a> {
    workload: &'a Workload,
    evidence: &'a Evidence,
    oracle: Oracle<'a>,
    differences: Vec<Difference>,
    late_overlaps: usize,
    brought_back: usize,
}

impl<'a> Verifier<'a> {
    fn differs(&mut self, messages: impl IntoIterator<Item = usize>, what: impl Into<String>) {
        self.differences.push(Difference { messages: messages.into_iter().collect(), what: what.into() });
    }

    fn final_states(&self) -> Vec<FinalState> {
        let waiting: BTreeSet<usize> = self.evidence.waiting.iter().copied().collect();
        let mut dead_letters: HashMap<usize, FinalState> = HashMap::new();
        for letter in &self.evidence.dead_letters {
            let Some(number) = letter.message else { continue };
            let final_state = letter.reason.clone().map_or(FinalState::Raw, FinalState::DeadLetter);
            // In ascending order of severity: a raw message beside a dead letter counts.
            dead_letters
                .entry(number)
                .and_modify(|known| *known = known.clone().max(final_state.clone()))
                .or_insert(final_state);
        }
        let mut reported: HashMap<usize, &str> = HashMap::new();
        for delivery in &self.evidence.deliveries {
            if let End::Reported(text) = &delivery.end {
                reported.insert(delivery.message, outcome(text));
            }
        }
        let final_state = |message: &Message| {
            if waiting.contains(&message.number) {
                return FinalState::Stuck;
            }
            let settled = || reported.get(&message.number).map(|text| FinalState::Settled((*text).to_owned()));
            dead_letters.get(&message.number).cloned().or_else(settled).unwrap_or(FinalState::Lost)
        };
        self.workload.messages.iter().map(final_state).collect()
    }

    /// Checks that the final state is valid for this message, and that every reported outcome holds.
    fn message(&mut self, message: &Message, final_state: &FinalState) {
        let number = message.number;
        match (final_state, message.family) {
            (FinalState::Stuck, _) => self.differs([number], "still in the queue long after the fault phase"),
            (FinalState::Raw, _) => self.differs([number], "in the poison queue without a reason"),
            (FinalState::Lost, _) => self.differs([number], "lost: in no queue, and without a reported outcome"),
            (FinalState::DeadLetter(reason), Family::Invalid(defect)) if reason == defect.reason() => {}
            (other, Family::Invalid(defect)) => {
                self.differs([number], format!("{other}, but the only valid reason is {}", defect.reason()));
            }
            (FinalState::Settled(_) | FinalState::DeadLetter(_), _) => {}
        }
        for delivery in self.evidence.deliveries_of(number) {
            let End::Reported(text) = &delivery.end else { continue };
            let (text, evidence) = (outcome(text), self.evidence);
            if let Err(why) = self.oracle.of_reported(message, text, delivery, evidence) {
                self.differs([number], format!("{text} was reported, but {why}"));
            }
        }
    }

    /// Checks that each dead letter belongs to a message, and that its reason holds.
    fn dead_letters(&mut self) {
        for letter in &self.evidence.dead_letters {
            let Some(number) = letter.message else {
                self.differs([], "a text in the poison queue is not a message that was sent");
                continue;
            };
            let Some(reason) = &letter.reason else { continue };
            let message = &self.workload.messages[number];
            if let Err(why) = self.oracle.of_letter(message, reason, letter, self.evidence) {
                self.differs([number], format!("dead letter/{reason}, but {why}"));
            }
        }
    }

    fn rows(&mut self, final_states: &[FinalState]) {
        let mut keys: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for message in &self.workload.messages {
            keys.entry(&message.key).or_default().push(message);
        }
        let mut rows: HashMap<&str, Vec<&Row>> = HashMap::new();
        for row in &self.evidence.rows {
            rows.entry(&row.key).or_default().push(row);
        }
        for (key, messages) in keys {
            let rows = rows.remove(key).unwrap_or_default();
            let numbers = messages.iter().map(|message| message.number);
            if rows.len() > 1 {
                self.differs(numbers, format!("{key} has {} rows", rows.len()));
                continue;
            }
            let row = rows.first().copied();
            if row.is_some_and(|row| !row.whole && row.message.is_some()) {
                self.differs(numbers.clone(), format!("the row of {key} holds values of several messages"));
            }
            if let Err((concerned, why)) = self.row(key, &messages, row, final_states) {
                self.differs(concerned, format!("the row of {key} is wrong: {why}"));
            }
        }
        // The remaining rows belong to no message: they existed from the beginning.
        for row in rows.into_values().flatten().filter(|row| row.message.is_some()) {
            self.differs(row.message, format!("{} has a row and no message", row.key));
        }
    }

    /// Compares one row with what the messages of its key allow.
    fn row(
        &mut self,
        key: &str,
        messages: &[&'a Message],
        row: Option<&Row>,
        final_states: &[FinalState],
    ) -> Result<(), (Vec<usize>, String)> {
        let all = || messages.iter().map(|message| message.number).collect::<Vec<_>>();
        let held = row.and_then(|row| row.message);
        let of_key = held.is_none_or(|number| messages.iter().any(|message| message.number == number));
        if !of_key {
            return Err((held.into_iter().collect(), "it holds the values of a message for another key".to_owned()));
        }
        match messages[0].family {
            Family::Invalid(_) if row.is_some() => {
                Err((all(), "it exists, although its message is invalid".to_owned()))
            }
            Family::Plain | Family::Silent if held.is_none() => Err((all(), "it holds no upsert".to_owned())),
            Family::Present if row.is_none() => Err((all(), "it is gone".to_owned())),
            Family::Invalid(_) | Family::Plain | Family::Silent | Family::Present => Ok(()),
            Family::Created => self.created(key, held).map_err(|why| (all(), why)),
            Family::Versioned => self.versioned(messages, row, final_states),
        }
    }

    /// Checks that there was one create, and that the row is as it was created.
    fn created(&self, key: &str, held: Option<usize>) -> Result<(), String> {
        let of_key = |write: &&Write| write.key.as_deref() == Some(key) && write.commit.is_some();
        let commits: Vec<&Write> = self.evidence.writes.iter().filter(of_key).collect();
        match commits[..] {
            [write] if write.message == held && write.change == Some(Change::Created) => Ok(()),
            [_] => Err("it has changed since it was created".to_owned()),
            _ => Err(format!("{} creates were committed", commits.len())),
        }
    }

    /// Checks that the highest version that was not rejected wins.
    fn versioned(
        &mut self,
        messages: &[&'a Message],
        row: Option<&Row>,
        final_states: &[FinalState],
    ) -> Result<(), (Vec<usize>, String)> {
        let counts = |message: &&&Message| {
            !matches!(final_states[message.number], FinalState::DeadLetter(_)) || self.oracle.committed(message.number)
        };
        let Some(top) = messages.iter().filter(counts).max_by_key(|message| message.version) else {
            return match row {
                None => Ok(()),
                Some(row) => Err((row.message.into_iter().collect(), "all its messages were rejected".to_owned())),
            };
        };
        let top_version = top.version.unwrap_or_default();
        let right = match (top.operation, row) {
            (Operation::Delete, None) => true,
            (Operation::Delete, Some(_)) | (_, None) => false,
            (_, Some(row)) => row.message == Some(top.number) && row.version == top.version,
        };
        if right {
            return Ok(());
        }
        if let (Operation::Delete, Some(row)) = (top.operation, row)
            && row.version < top.version
            && self.was_late(row)
        {
            self.brought_back += 1;
            return Ok(());
        }
        let found =
            row.map_or("there is no row".to_owned(), |row| format!("it has version {}", row.version.unwrap_or(0)));
        let concerned = [Some(top.number), row.and_then(|row| row.message)].into_iter().flatten().collect();
        Err((concerned, format!("{found}, and version {top_version} must win")))
    }

    /// Whether the last write of this row had lost its lease before it was committed.
    fn was_late(&self, row: &Row) -> bool {
        let made = |write: &&Write| write.commit.is_some() && write.message == row.message;
        let newest = self.evidence.writes.iter().filter(made).max_by_key(|write| write.commit);
        let lost = newest.and_then(|write| Some((write.commit?, self.evidence.lease_of(write)?.lost()?)));
        lost.is_some_and(|(committed, lost)| lost <= committed)
    }

    /// Checks overlapping writes of one row: one of them must have lost its lease before the later one began.
    fn overlaps(&mut self) {
        for (a, b) in &self.evidence.overlaps {
            let (a, b) = (&self.evidence.writes[*a], &self.evidence.writes[*b]);
            let later = a.start.max(b.start);
            let lost = |write: &Write| {
                let lease = self.evidence.lease_of(write);
                lease.and_then(super::evidence::Lease::lost).is_some_and(|lost| lost <= later)
            };
            if lost(a) || lost(b) {
                self.late_overlaps += 1;
                continue;
            }
            let key = a.key.as_deref().or(b.key.as_deref()).unwrap_or("a row");
            let what = format!("two writes of {key} at {:.3} s, each under its lease", later.as_secs_f64());
            self.differs([a.message, b.message].into_iter().flatten(), what);
        }
    }

    fn leaks(&mut self) {
        for line in &self.evidence.leaks {
            self.differs([], format!("a log contains a value or a secret: {line}"));
        }
    }
}

/// `applied/created` of `applied/created key=… table=…`.
pub(super) fn outcome(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
