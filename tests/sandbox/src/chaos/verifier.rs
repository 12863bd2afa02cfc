//! Compares the messages sent with their outcomes.
//!
//! Pure: [`Evidence`] in, a [`Verification`] out. Every message ends in one state, which needs proof: "applied" needs a commit of
//! its values, "skipped" and a dead letter need a reason that held while the delivery ran. Then the row of each key is compared
//! with the rule of its kind, and overlapping writes of one row need a lost lease.
//!
//! One difference is a documented limit: a lease is not a fence, so a create that outlives its lease may restore a row that was
//! deleted meanwhile (`src/docs/limits.md`). It is counted separately, and only if the lease was lost before the commit.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use super::evidence::{Event, Evidence, History, Part, Row, What};
use super::workload::{Columns, HR, Kind, MAIN, Message, ORG};
use stand_ins::dataverse::{Change, Operation};

/// The host's clock and the journal's are read one after the other.
const TOLERANCE: Duration = Duration::from_millis(50);

/// While nothing but one table's privilege is missing, one in this many of the messages of other tables must be settled. On a busy
/// machine there is a backlog; a handler that waits for the privilege settles hardly any.
const SETTLED_PART: usize = 4;

/// Of the messages that were sent so long before the end of that time.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);

/// The states of messages without a valid outcome.
pub(super) const STUCK: &str = "stuck in the queue";
pub(super) const RAW: &str = "in the poison queue without a reason";
pub(super) const LOST: &str = "lost: in no queue, and without a reported outcome";

/// The result of the comparison.
#[derive(Debug, Clone, Default)]
pub(super) struct Verification {
    /// The number of messages by kind and final state: `applied/created`, `dead letter/not_found`, or a state above.
    pub(super) states: BTreeMap<(&'static str, String), usize>,
    /// What differs from the expected outcome, by key; without a key for logs and texts in the poison queue.
    pub(super) differences: BTreeMap<String, Vec<String>>,
    /// Overlapping writes of one row, of which one had lost its lease.
    pub(super) late_overlaps: usize,
    /// Deleted rows that were restored by a write that had lost its lease.
    pub(super) restored: usize,
}

impl Verification {
    fn differs(&mut self, key: &str, what: String) {
        self.differences.entry(key.to_owned()).or_default().push(what);
    }
}

/// Verifies all messages and rows.
pub(super) fn verify(evidence: &Evidence) -> Verification {
    let mut result = Verification::default();
    for (key, history) in &evidence.keys {
        let verifier = Verifier { key, history, evidence };
        for message in &history.messages {
            verifier.verify_message(message, &mut result);
        }
        verifier.verify_row(&mut result);
    }
    for (key, a, b) in &evidence.overlaps {
        let later = a.from.max(b.from);
        if [a, b].into_iter().any(|write| evidence.had_lost_its_lease(key, write, later)) {
            result.late_overlaps += 1;
        } else {
            let (at, hosts) = (later.as_secs_f64(), [a.host.as_str(), &b.host].join(" and "));
            let what = format!("two writes overlapped at {at:.3} s, by {hosts}, and neither had lost its lease");
            result.differs(key, what);
        }
    }
    if let Some(what) = waited_for_the_privilege(evidence) {
        result.differs("", what);
    }
    for text in &evidence.foreign {
        result.differs("", format!("a text in the poison queue is not a message that was sent: {text}"));
    }
    for line in &evidence.leaks {
        result.differs("", format!("a log contains a value or a secret: {line}"));
    }
    result
}

/// Whether other tables waited while the privilege for one was missing: of the messages that were not settled before, too few were.
fn waited_for_the_privilege(evidence: &Evidence) -> Option<String> {
    let Range { start, end } = evidence.only_denied;
    let (mut settled, mut waiting) = (0, 0);
    for history in evidence.keys.values() {
        let is_settled = |message: &Message, by| {
            let mut ended =
                history.events.iter().filter(|event| event.message == Some(message.number) && event.to <= by);
            ended.any(|event| matches!(event.what, What::Reported(_) | What::DeadLetter(_)))
        };
        let of_others = history.messages.iter().filter(|message| message.kind != Kind::Denied);
        for message in of_others.filter(|message| message.at + SETTLED_WITHIN <= end && !is_settled(message, start)) {
            (settled, waiting) = (settled + usize::from(is_settled(message, end)), waiting + 1);
        }
    }
    let what =
        format!("only {settled} of {waiting} messages of other tables were settled while a privilege was missing");
    (settled * SETTLED_PART < waiting).then_some(what)
}

/// Verifies the messages and the row of one key.
struct Verifier<'a> {
    key: &'a str,
    history: &'a History,
    evidence: &'a Evidence,
}

impl Verifier<'_> {
    fn events_of(&self, message: &Message) -> impl Iterator<Item = &Event> {
        self.history.events.iter().filter(|event| event.message == Some(message.number))
    }

    /// The committed writes, in order.
    fn commits(&self) -> impl DoubleEndedIterator<Item = (Change, &Event)> {
        self.history.events.iter().filter_map(|event| match event.what {
            What::Committed(change) => Some((change, event)),
            _ => None,
        })
    }

    /// The state in which a message ended; the error is a state without a valid outcome.
    fn state(&self, message: &Message) -> Result<String, &'static str> {
        if self.evidence.waiting.contains(&message.number) {
            return Err(STUCK);
        }
        let (mut dead_letter, mut reported) = (None, None);
        for event in self.events_of(message) {
            match &event.what {
                What::DeadLetter(None) => return Err(RAW),
                What::DeadLetter(Some(reason)) => dead_letter = Some(format!("dead letter/{reason}")),
                What::Reported(outcome) => reported = Some(outcome.clone()),
                _ => {}
            }
        }
        dead_letter.or(reported).ok_or(LOST)
    }

    /// Verifies the final state of a message, every reported outcome, and the cause of its dead letter.
    fn verify_message(&self, message: &Message, result: &mut Verification) {
        let mut differs = |what: &str| result.differs(self.key, format!("m-{}: {what}", message.number));
        let state = self.state(message);
        match (&state, message.kind) {
            (Err(problem), _) => differs(problem),
            (Ok(state), Kind::Invalid(defect)) if *state != format!("dead letter/{}", defect.reason) => {
                differs(&format!("{state}, but the only valid reason is {}", defect.reason));
            }
            _ => {}
        }
        for event in self.events_of(message) {
            match &event.what {
                What::Reported(outcome) if !self.proves(message, outcome, event) => {
                    differs(&format!("{outcome} was reported without proof"));
                }
                What::DeadLetter(Some(reason)) if !self.has_cause(message, reason, event) => {
                    differs(&format!("dead letter/{reason} without a cause"));
                }
                _ => {}
            }
        }
        let state = state.unwrap_or_else(str::to_owned);
        *result.states.entry((message.kind.profile().name, state)).or_default() += 1;
    }

    /// Whether the outcome that the handler reported for a delivery can be true.
    fn proves(&self, message: &Message, outcome: &str, delivery: &Event) -> bool {
        let (deletes, by) = (message.operation == Operation::Delete, delivery.to + TOLERANCE);
        match outcome {
            "applied/deleted" => deletes && self.changed(by, |change| change == Change::Deleted),
            "applied/created" | "applied/updated" | "applied/upserted" | "skipped/already_written" => {
                !deletes && self.written(message, by)
            }
            "skipped/written_elsewhere" => message.policy == Some("skip") && self.created_during(delivery.from, by),
            "skipped/superseded" => self.superseded(message, by),
            "skipped/already_absent" => deletes && self.absent(delivery.from, by),
            _ => {
                let mut events = self.events_of(message);
                outcome.starts_with("rejected/") && events.any(|event| matches!(event.what, What::DeadLetter(Some(_))))
            }
        }
    }

    /// Whether the reason of a dead letter held. That an invalid message has the expected one is verified with its state.
    fn has_cause(&self, message: &Message, reason: &str, letter: &Event) -> bool {
        let by = letter.to + TOLERANCE;
        match (message.kind, reason, message.operation) {
            (Kind::Invalid(_), ..) => !self.written(message, Duration::MAX),
            // Its own row is `already_written`, unless the sender sent it twice.
            (Kind::Created, "exists", _) => self.commits().any(|(_, write)| {
                let is_other = write.message != Some(message.number) || message.copies > 1;
                write.to <= by && (is_other || self.is_overtaken(message, letter, write))
            }),
            (Kind::Versioned, "not_found", Operation::Update) => self.absent(letter.from, by),
            _ => false,
        }
    }

    /// Whether another delivery of a message wrote while its first one, which does not know of a second, was under way.
    fn is_overtaken(&self, message: &Message, letter: &Event, write: &Event) -> bool {
        let mut deliveries = self.events_of(message).filter(|event| event.is_first && event.from == letter.from);
        deliveries.any(|first| first.host != write.host && (first.from..=first.to).contains(&write.to))
    }

    /// Whether the values of a message were committed by then.
    fn written(&self, message: &Message, by: Duration) -> bool {
        self.commits().any(|(_, write)| write.to <= by && write.message == Some(message.number))
    }

    /// Whether another request created the row between these times.
    fn created_during(&self, from: Duration, by: Duration) -> bool {
        self.commits().any(|(change, write)| change == Change::Created && (from..=by).contains(&write.to))
    }

    fn changed(&self, by: Duration, wanted: impl Fn(Change) -> bool) -> bool {
        self.commits().any(|(change, write)| write.to <= by && wanted(change))
    }

    /// Whether this version or a newer one in its column was committed by then, or a deletion with one was sent: a deletion writes
    /// its tombstone before it appears in the journal.
    fn superseded(&self, message: &Message, by: Duration) -> bool {
        let same_column = |other: &&Message| other.columns() == message.columns();
        let mut newer =
            self.history.messages.iter().filter(same_column).filter(|other| other.version >= message.version);
        newer.any(|other| self.written(other, by) || (other.operation == Operation::Delete && other.at <= by))
    }

    /// Whether there was no row at any moment of this time.
    fn absent(&self, from: Duration, to: Duration) -> bool {
        let present = self.history.messages.iter().any(|message| message.kind.is_present());
        let mut absent_since = (!present).then_some(Duration::ZERO);
        for (change, write) in self.commits() {
            if absent_since.is_some_and(|since| since <= to) && write.to + TOLERANCE >= from {
                return true;
            }
            absent_since = (change == Change::Deleted).then_some(write.to);
        }
        absent_since.is_some_and(|since| since <= to)
    }

    /// Verifies the row of a key at the end: one row at most, with the values of one of its messages, and as the kind requires.
    fn verify_row(&self, result: &mut Verification) {
        let History { messages, rows, .. } = self.history;
        let row = rows.first();
        let held = row.and_then(|row| row.main.message);
        let right = match messages.first().map(|message| message.kind) {
            // Rows that existed from the beginning belong to no message.
            None => held.is_none(),
            Some(
                Kind::Versioned
                | Kind::Hot
                | Kind::Spelled
                | Kind::Recreated
                | Kind::Denied
                | Kind::State { versions: true }
                | Kind::Unanswered { .. },
            ) => self.is_newest(row, &MAIN, None, result),
            // A deletion removes the values of both sources, and the other one may create the row again.
            Some(Kind::TwoColumns) => self.is_newest(row, &HR, self.newest_since_the_deletion(), result),
            Some(Kind::Plain | Kind::Silent | Kind::State { versions: false }) => held.is_some(),
            Some(Kind::Present) => row.is_some(),
            // It is as its only commit created it.
            Some(Kind::Created) => {
                let commits: Vec<_> = self.commits().collect();
                matches!(commits[..], [(Change::Created, write)] if held.is_some() && write.message == held)
            }
            Some(Kind::Invalid(_)) => row.is_none(),
        };
        if rows.len() > 1 || !right || row.is_some_and(|row| !self.is_whole(row)) {
            let top = self.top(&MAIN).or_else(|| self.top(&HR));
            let top = top.filter(|top| top.version.is_some());
            let top = top.map(|top| format!(", and m-{} must win", top.number)).unwrap_or_default();
            result.differs(self.key, format!("the row is wrong: {rows:?}{top}"));
        }
    }

    /// Whether every part of the row is from one message of this key, and the state is the one that was sent.
    fn is_whole(&self, row: &Row) -> bool {
        [&row.main, &row.org].into_iter().all(|part| {
            let Some(number) = part.message else { return true };
            let mut messages = self.history.messages.iter();
            let message = messages.find(|message| message.number == number);
            message.is_some_and(|message| part.whole && (message.state.is_none() || message.state == row.state))
        })
    }

    /// Whether the row holds the highest version in `columns`, and `org` in those of the other source; if there is neither, there
    /// must be no row.
    fn is_newest(
        &self,
        row: Option<&Row>,
        columns: &Columns,
        org: Option<&Message>,
        result: &mut Verification,
    ) -> bool {
        let top = self.top(columns);
        let Some(row) = row else { return top.is_none() && org.is_none() };
        if top.is_none() && self.is_restored(row) {
            result.restored += 1;
            return holds(&row.org, org);
        }
        (top.is_some() || org.is_some()) && holds(&row.main, top) && holds(&row.org, org)
    }

    /// The message with the highest version in these columns that was not rejected; `None` if it is a deletion.
    fn top(&self, columns: &Columns) -> Option<&Message> {
        let rejected = |message: &Message| self.state(message).is_ok_and(|state| state.starts_with("dead letter/"));
        let counts = |message: &&Message| {
            message.columns() == columns && (!rejected(message) || self.written(message, Duration::MAX))
        };
        let top = self.history.messages.iter().filter(counts).max_by_key(|message| message.version)?;
        (top.operation != Operation::Delete).then_some(top)
    }

    /// The message of the second source with the highest version of those committed after the last deletion.
    fn newest_since_the_deletion(&self) -> Option<&Message> {
        let since = self.commits().rev().take_while(|(change, _)| *change != Change::Deleted);
        let of_commit = |(_, write): (_, &Event)| {
            let mut messages = self.history.messages.iter();
            messages.find(|message| write.message == Some(message.number) && *message.columns() == ORG)
        };
        since.filter_map(of_commit).max_by_key(|message| message.version)
    }

    /// Whether the row was last written under a lease that was lost before the commit.
    fn is_restored(&self, row: &Row) -> bool {
        let newest = self.commits().rfind(|(_, write)| write.message.is_some() && write.message == row.main.message);
        newest.is_some_and(|(_, write)| self.evidence.had_lost_its_lease(self.key, write, write.to))
    }
}

/// Whether these columns hold the values of this message; of none if there is none.
fn holds(part: &Part, message: Option<&Message>) -> bool {
    part.message == message.map(|message| message.number) && part.version == message.and_then(|message| message.version)
}

#[cfg(test)]
mod tests;
