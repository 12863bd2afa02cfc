//! The evidence of a run on one clock: the hosts' invocation records, Dataverse's journal, the rows, both queues, the leases and
//! the logs.
//!
//! Plain data, so that a test can remove a piece and check that [`super::verifier`] notices. Times are measured from the beginning
//! of the run.

use std::time::Duration;

use stand_ins::dataverse::Change;

/// The evidence of one run.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// Completed deliveries of all hosts, including those that are gone.
    pub(super) deliveries: Vec<Delivery>,
    /// Every write that reached Dataverse, in the order of arrival.
    pub(super) writes: Vec<Write>,
    /// Pairs of indices into `writes`: overlapping writes of one row.
    pub(super) overlaps: Vec<(usize, usize)>,
    /// The rows of the workload's table.
    pub(super) rows: Vec<Row>,
    /// The messages in the poison queue.
    pub(super) dead_letters: Vec<DeadLetter>,
    /// The messages that are still in the queue, hidden or not.
    pub(super) waiting: Vec<usize>,
    /// Every lease that was granted, in the order of the grants.
    pub(super) leases: Vec<Lease>,
    /// Log lines with values or secrets.
    pub(super) leaks: Vec<String>,
}

/// One delivery of a message to a handler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Delivery {
    /// The message's number.
    pub(super) message: usize,
    /// The host that received it.
    pub(super) host: String,
    /// Which delivery it was.
    pub(super) count: u32,
    pub(super) started: Duration,
    pub(super) ended: Duration,
    pub(super) invocation: String,
    pub(super) end: End,
}

/// How a delivery ended.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// The handler completed it with this outcome: `applied/created`.
    Reported(String),
    /// It failed, with this reason: `retry/unavailable`, or that the response is missing.
    Failed(String),
}

/// One write request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    /// The host whose handler sent it.
    pub(super) host: String,
    /// The message it belongs to; a deletion does not identify its message.
    pub(super) message: Option<usize>,
    /// The key of its row, if known.
    pub(super) key: Option<String>,
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) commit: Option<Duration>,
    pub(super) change: Option<Change>,
    pub(super) status: Option<u16>,
}

/// The final state of a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: String,
    /// The message whose values it holds; `None` if it is unchanged.
    pub(super) message: Option<usize>,
    /// Whether all its values come from that message.
    pub(super) whole: bool,
    pub(super) version: Option<i64>,
}

/// One text in the poison queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct DeadLetter {
    /// The message in it, if it is one of the workload's.
    pub(super) message: Option<usize>,
    /// Our reason; `None` for a message that the host moved there.
    pub(super) reason: Option<String>,
    pub(super) at: Duration,
    /// The delivery that created it; empty if the host moved it.
    pub(super) invocation: String,
}

/// One lease from its grant on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lease {
    /// The host that acquired it.
    pub(super) host: String,
    /// The key that it locks.
    pub(super) key: String,
    pub(super) id: String,
    pub(super) granted: Duration,
    /// When it ends unless it is renewed again.
    pub(super) until: Duration,
    /// When it was released.
    pub(super) released: Option<Duration>,
    /// When a fault ended it.
    pub(super) taken: Option<Duration>,
}

impl Lease {
    /// When it was lost, that is, ended without being released; `None` if it was released.
    pub(super) fn lost(&self) -> Option<Duration> {
        match (self.released, self.taken) {
            (Some(_), _) => None,
            (None, taken) => Some(taken.map_or(self.until, |taken| taken.min(self.until))),
        }
    }
}

impl Evidence {
    /// The lease under which a write was sent: the last one granted to its host for the key before the write.
    pub(super) fn lease_of(&self, write: &Write) -> Option<&Lease> {
        let of_write = |lease: &&Lease| {
            lease.host == write.host && Some(&lease.key) == write.key.as_ref() && lease.granted <= write.start
        };
        self.leases.iter().filter(of_write).max_by_key(|lease| lease.granted)
    }

    /// The deliveries of a message, in the order in which they ended.
    pub(super) fn deliveries_of(&self, message: usize) -> impl Iterator<Item = &Delivery> {
        self.deliveries.iter().filter(move |delivery| delivery.message == message)
    }
}
