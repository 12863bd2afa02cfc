//! The evidence of a run on one clock: for each key what was sent, what happened and what is left, then the leases and the logs.
//!
//! Plain data, so that a test can change a piece and check that [`super::verifier`] notices; [`super::gather`] collects it. Times
//! are measured from the beginning of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use super::workload::{Message, State};
use stand_ins::dataverse::Change;

/// The evidence of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) keys: BTreeMap<String, History>,
    /// The messages that are still in the queue, hidden or not.
    pub(super) waiting: BTreeSet<u32>,
    /// Texts in the poison queue that are not messages of the workload.
    pub(super) foreign: Vec<String>,
    /// Overlapping writes of one row, with its key.
    pub(super) overlaps: Vec<(String, Event, Event)>,
    /// Every lease that was granted, in the order of the grants.
    pub(super) leases: Vec<Lease>,
    /// When many messages already waited for the missing privilege of their table, and there was no other fault.
    pub(super) only_denied: Range<Duration>,
    /// Log lines with values or secrets.
    pub(super) leaks: Vec<String>,
    /// Further lines of the report.
    pub(super) counts: BTreeMap<&'static str, usize>,
}

/// Everything about one key.
#[derive(Debug, Clone, Default)]
pub(super) struct History {
    pub(super) messages: Vec<Message>,
    /// In the order in which they ended.
    pub(super) events: Vec<Event>,
    /// The rows at the end.
    pub(super) rows: Vec<Row>,
}

/// A delivery, a write request or a dead letter.
#[derive(Debug, Clone)]
pub(super) struct Event {
    /// The message it belongs to; a deletion does not identify its message.
    pub(super) message: Option<u32>,
    /// The host of the handler; empty for a dead letter.
    pub(super) host: String,
    /// When the delivery or the request began; for a dead letter, when its delivery did, if known.
    pub(super) from: Duration,
    /// When it ended, or was committed.
    pub(super) to: Duration,
    /// A delivery with the dequeue count 1.
    pub(super) is_first: bool,
    pub(super) what: What,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum What {
    /// A delivery that the handler completed with this outcome, such as `applied/created`.
    Reported(String),
    /// A delivery that failed, and why.
    Failed(String),
    /// A write that Dataverse committed.
    Committed(Change),
    /// A write without a commit, and the status of the response, if there was one.
    NotCommitted(Option<u16>),
    /// In the poison queue with this reason; without one if the host moved it there.
    DeadLetter(Option<String>),
}

/// A row at the end.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) main: Part,
    /// The columns that only the second source of [`Kind::TwoColumns`](super::workload::Kind::TwoColumns) writes.
    pub(super) org: Part,
    pub(super) state: Option<State>,
}

/// The columns of a row that one message writes together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// The message whose values they hold; `None` if they hold none.
    pub(super) message: Option<u32>,
    /// Whether all their values come from that message.
    pub(super) whole: bool,
    pub(super) version: Option<i64>,
}

/// One lease from its grant on.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    /// The host that acquired it.
    pub(super) host: String,
    /// The key that it locks.
    pub(super) key: String,
    pub(super) id: String,
    pub(super) granted: Duration,
    /// When it expired or was ended by a fault; `None` if it was released.
    pub(super) lost: Option<Duration>,
}

impl Evidence {
    /// Whether the lease under which a write was sent, the last one granted to its host for the key before it, was lost by then.
    pub(super) fn had_lost_its_lease(&self, key: &str, write: &Event, by: Duration) -> bool {
        let of_write = |lease: &&Lease| lease.host == write.host && lease.key == key && lease.granted <= write.from;
        let lease = self.leases.iter().filter(of_write).max_by_key(|lease| lease.granted);
        lease.and_then(|lease| lease.lost).is_some_and(|lost| lost <= by)
    }
}
