//! Compares what was sent with what became of it: the books must balance.
//!
//! Pure: a [`Ledger`] and [`Evidence`] in, a [`Judgement`] out. Every message has one [`Fate`]. It is believed only with a proof:
//! "applied" needs a commit of its values, "skipped" and a dead letter need a reason that was true at that time. Then each row
//! is compared with what its key's messages allow, and writes of one row that overlapped need a lease that was lost.
//!
//! One difference is known and no defect: a lease is not a fence, so a creation that outlives its lease may bring back a row that
//! was deleted meanwhile (README, *Limits*). It is counted apart, and only when the lease was lost before the commit.

mod oracle;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::evidence::{End, Evidence, Row, Write};
use super::workload::{Family, Ledger, Message, Operation};
use crate::dataverse::Change;
use oracle::Truth;

/// Where a message is in the end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fate {
    /// `applied/created`, `skipped/superseded`: as the handler said last.
    Settled(String),
    /// A dead letter with this reason.
    Letter(String),
    /// In the poison queue as it was sent: nobody knows why.
    Raw,
    /// Still in the queue.
    Stuck,
    /// Nowhere, and nobody says what became of it.
    Lost,
}

impl fmt::Display for Fate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settled(outcome) => f.write_str(outcome),
            Self::Letter(reason) => write!(f, "dead letter/{reason}"),
            Self::Raw => f.write_str("raw in poison"),
            Self::Stuck => f.write_str("stuck"),
            Self::Lost => f.write_str("lost"),
        }
    }
}

/// Something that does not balance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// The messages whose stories tell more.
    pub(super) messages: Vec<usize>,
    /// What is wrong.
    pub(super) what: String,
}

/// What the comparison found.
#[derive(Debug, Clone)]
pub(super) struct Judgement {
    /// Of every message, by number.
    pub(super) fates: Vec<Fate>,
    pub(super) differences: Vec<Difference>,
    /// Overlapping writes of one row, of which one had lost its lease.
    pub(super) late_overlaps: usize,
    /// Rows that a write brought back which had lost its lease.
    pub(super) brought_back: usize,
}

/// Compares.
pub(super) fn judge(ledger: &Ledger, evidence: &Evidence) -> Judgement {
    let mut judge = Judge {
        ledger,
        evidence,
        truth: Truth::new(ledger, evidence),
        differences: Vec::new(),
        late_overlaps: 0,
        brought_back: 0,
    };
    let fates = judge.fates();
    for message in &ledger.messages {
        judge.message(message, &fates[message.number]);
    }
    judge.letters();
    judge.rows(&fates);
    judge.overlaps();
    judge.leaks();
    let Judge { differences, late_overlaps, brought_back, .. } = judge;
    Judgement { fates, differences, late_overlaps, brought_back }
}

struct Judge<'a> {
    ledger: &'a Ledger,
    evidence: &'a Evidence,
    truth: Truth<'a>,
    differences: Vec<Difference>,
    late_overlaps: usize,
    brought_back: usize,
}

impl<'a> Judge<'a> {
    fn differs(&mut self, messages: impl IntoIterator<Item = usize>, what: impl Into<String>) {
        self.differences.push(Difference { messages: messages.into_iter().collect(), what: what.into() });
    }

    fn fates(&self) -> Vec<Fate> {
        let waiting: BTreeSet<usize> = self.evidence.waiting.iter().copied().collect();
        let mut letters: HashMap<usize, Fate> = HashMap::new();
        for letter in &self.evidence.letters {
            let Some(number) = letter.message else { continue };
            let fate = letter.reason.clone().map_or(Fate::Raw, Fate::Letter);
            // Worst last: a raw one beside a letter counts.
            letters.entry(number).and_modify(|known| *known = known.clone().max(fate.clone())).or_insert(fate);
        }
        let mut said: HashMap<usize, &str> = HashMap::new();
        for delivery in &self.evidence.deliveries {
            if let End::Said(text) = &delivery.end {
                said.insert(delivery.message, outcome(text));
            }
        }
        let fate = |message: &Message| {
            if waiting.contains(&message.number) {
                return Fate::Stuck;
            }
            let settled = || said.get(&message.number).map(|text| Fate::Settled((*text).to_owned()));
            letters.get(&message.number).cloned().or_else(settled).unwrap_or(Fate::Lost)
        };
        self.ledger.messages.iter().map(fate).collect()
    }

    /// Whether the fate is one that this message may have, and every word about it is true.
    fn message(&mut self, message: &Message, fate: &Fate) {
        let number = message.number;
        match (fate, message.family) {
            (Fate::Stuck, _) => self.differs([number], "still in the queue, long after the storm"),
            (Fate::Raw, _) => self.differs([number], "raw in the poison queue, so nobody knows why"),
            (Fate::Lost, _) => self.differs([number], "gone, and nobody says what became of it"),
            (Fate::Letter(reason), Family::Doomed(doom)) if reason == doom.reason() => {}
            (other, Family::Doomed(doom)) => {
                self.differs([number], format!("{other}, but it can only be {}", doom.reason()));
            }
            (Fate::Settled(_) | Fate::Letter(_), _) => {}
        }
        for delivery in self.evidence.deliveries_of(number) {
            let End::Said(text) = &delivery.end else { continue };
            let (text, evidence) = (outcome(text), self.evidence);
            if let Err(why) = self.truth.of_said(message, text, delivery, evidence) {
                self.differs([number], format!("{text} was said, but {why}"));
            }
        }
    }

    /// Whether each dead letter is about a message, and its reason was true.
    fn letters(&mut self) {
        for letter in &self.evidence.letters {
            let Some(number) = letter.message else {
                self.differs([], "a text in the poison queue is no message that was sent");
                continue;
            };
            let Some(reason) = &letter.reason else { continue };
            let message = &self.ledger.messages[number];
            if let Err(why) = self.truth.of_letter(message, reason, letter, self.evidence) {
                self.differs([number], format!("dead letter/{reason}, but {why}"));
            }
        }
    }

    fn rows(&mut self, fates: &[Fate]) {
        let mut keys: BTreeMap<&str, Vec<&Message>> = BTreeMap::new();
        for message in &self.ledger.messages {
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
            if let Err((concerned, why)) = self.row(key, &messages, row, fates) {
                self.differs(concerned, format!("the row of {key} is wrong: {why}"));
            }
        }
        // What is left belongs to no message: the rows that were there from the beginning.
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
        fates: &[Fate],
    ) -> Result<(), (Vec<usize>, String)> {
        let all = || messages.iter().map(|message| message.number).collect::<Vec<_>>();
        let held = row.and_then(|row| row.message);
        let of_key = held.is_none_or(|number| messages.iter().any(|message| message.number == number));
        if !of_key {
            return Err((held.into_iter().collect(), "it holds what a message for another key says".to_owned()));
        }
        match messages[0].family {
            Family::Doomed(_) if row.is_some() => {
                Err((all(), "there is one, and its message can never work".to_owned()))
            }
            Family::Plain | Family::Silent if held.is_none() => Err((all(), "no upsert is in it".to_owned())),
            Family::Present if row.is_none() => Err((all(), "it is gone".to_owned())),
            Family::Doomed(_) | Family::Plain | Family::Silent | Family::Present => Ok(()),
            Family::Created => self.created(key, held).map_err(|why| (all(), why)),
            Family::Versioned => self.versioned(messages, row, fates),
        }
    }

    /// There was one creation, and the row is as that made it.
    fn created(&self, key: &str, held: Option<usize>) -> Result<(), String> {
        let of_key = |write: &&Write| write.key.as_deref() == Some(key) && write.commit.is_some();
        let commits: Vec<&Write> = self.evidence.writes.iter().filter(of_key).collect();
        match commits[..] {
            [write] if write.message == held && write.change == Some(Change::Created) => Ok(()),
            [_] => Err("it is not as it was created".to_owned()),
            _ => Err(format!("{} creates were committed", commits.len())),
        }
    }

    /// The highest version counts, of all changes that were not refused.
    fn versioned(
        &mut self,
        messages: &[&'a Message],
        row: Option<&Row>,
        fates: &[Fate],
    ) -> Result<(), (Vec<usize>, String)> {
        let counts = |message: &&&Message| {
            !matches!(fates[message.number], Fate::Letter(_)) || self.truth.committed(message.number)
        };
        let Some(top) = messages.iter().filter(counts).max_by_key(|message| message.version) else {
            return match row {
                None => Ok(()),
                Some(row) => Err((row.message.into_iter().collect(), "all its messages were refused".to_owned())),
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
            row.map_or("there is none".to_owned(), |row| format!("it has version {}", row.version.unwrap_or(0)));
        let concerned = [Some(top.number), row.and_then(|row| row.message)].into_iter().flatten().collect();
        Err((concerned, format!("{found}, and version {top_version} is the last word")))
    }

    /// Whether the write that made this row had lost its lease before it was committed.
    fn was_late(&self, row: &Row) -> bool {
        let made = |write: &&Write| write.commit.is_some() && write.message == row.message;
        let newest = self.evidence.writes.iter().filter(made).max_by_key(|write| write.commit);
        let lost = newest.and_then(|write| Some((write.commit?, self.evidence.lease_of(write)?.lost()?)));
        lost.is_some_and(|(committed, lost)| lost <= committed)
    }

    /// Two writes of one row at one time: one of them had lost its lease when the later one began, or both were sure of theirs.
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
            self.differs([], format!("a log holds what it must not: {line}"));
        }
    }
}

/// `applied/created` of `applied/created key=… table=…`.
pub(super) fn outcome(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

#[cfg(test)]
mod tests;
