//! What a run left behind, put on one clock: the hosts' books, Dataverse's journal, the rows, both queues, the leases and the
//! logs.
//!
//! Plain data, so that a test can take a piece away, and then the [`super::judge`] must miss it. It judges nothing. Times are
//! measured from the beginning of the run.

use std::time::Duration;

use crate::dataverse::Change;

/// Everything.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// Deliveries that ended, by the books of all hosts, dead ones included.
    pub(super) deliveries: Vec<Delivery>,
    /// Every write that reached Dataverse, in the order of arrival.
    pub(super) writes: Vec<Write>,
    /// Pairs of places in `writes`: one row, at one time.
    pub(super) overlaps: Vec<(usize, usize)>,
    /// The rows of the ledger's table.
    pub(super) rows: Vec<Row>,
    /// What lies in the poison queue.
    pub(super) letters: Vec<Letter>,
    /// The messages that are still in the queue, hidden or not.
    pub(super) waiting: Vec<usize>,
    /// Every lease that was granted, in the order of the grants.
    pub(super) leases: Vec<Lease>,
    /// Log lines that hold what no log may hold.
    pub(super) leaks: Vec<String>,
}

/// One delivery of a message to a handler.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Delivery {
    /// The message's number.
    pub(super) message: usize,
    /// The host that had it.
    pub(super) host: String,
    /// Which delivery it was.
    pub(super) count: u32,
    pub(super) started: Duration,
    pub(super) ended: Duration,
    pub(super) invocation: String,
    pub(super) end: End,
}

/// What a delivery came to.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum End {
    /// The handler completed it and said this: `applied/created`.
    Said(String),
    /// It did not; this is what the host knows: `retry/unavailable`, or that no answer came.
    Failed(String),
}

/// One write request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Write {
    /// The host whose handler sent it.
    pub(super) host: String,
    /// The message that it is for; a deletion holds nothing of its message.
    pub(super) message: Option<usize>,
    /// The key of its row, where that can be told.
    pub(super) key: Option<String>,
    pub(super) start: Duration,
    pub(super) end: Duration,
    pub(super) commit: Option<Duration>,
    pub(super) change: Option<Change>,
    pub(super) status: Option<u16>,
}

/// One row as it is in the end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    pub(super) key: String,
    /// The message whose values it holds; `None` for one that is as it was in the beginning.
    pub(super) message: Option<usize>,
    /// Whether all its values are of that message.
    pub(super) whole: bool,
    pub(super) version: Option<i64>,
}

/// One text in the poison queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    /// The message in it, if it is one of the ledger's.
    pub(super) message: Option<usize>,
    /// Our reason; `None`: it lies there as it was sent.
    pub(super) reason: Option<String>,
    pub(super) at: Duration,
    /// The delivery that ended in it; empty for a raw one.
    pub(super) invocation: String,
}

/// One lease from its grant on.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lease {
    /// The host that got it.
    pub(super) host: String,
    /// The key that it locks.
    pub(super) key: String,
    pub(super) id: String,
    pub(super) granted: Duration,
    /// When it ends unless it is renewed again.
    pub(super) until: Duration,
    /// When it was given back.
    pub(super) released: Option<Duration>,
    /// When the storm ended it under its holder.
    pub(super) taken: Option<Duration>,
}

impl Lease {
    /// When it was lost: it ended and was not given back. `None`: given back.
    pub(super) fn lost(&self) -> Option<Duration> {
        match (self.released, self.taken) {
            (Some(_), _) => None,
            (None, taken) => Some(taken.map_or(self.until, |taken| taken.min(self.until))),
        }
    }
}

impl Evidence {
    /// The lease under which a write was sent: the last one that its host was granted for the key before.
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
