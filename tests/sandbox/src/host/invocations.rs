//! The outcome of every invocation, which tests compare with Dataverse's journal.
//!
//! It keeps all records; [`HostRecords`] outlive the host.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use uuid::Uuid;

use super::logs::{LogLine, Logs};

/// One invocation that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationRecord {
    /// The function.
    pub function: String,
    /// The invocation's id, as the handler saw it.
    pub id: Uuid,
    /// The id of the trace that the handler was asked to continue; `None` for a request, which has its caller's.
    pub trace: Option<Uuid>,
    /// The queue message; `None` for a request.
    pub message_id: Option<String>,
    /// Which delivery of the message it was; 0 for a request.
    pub dequeue_count: u32,
    /// When the host began.
    pub started: OffsetDateTime,
    /// When the outcome was known, outputs included.
    pub ended: OffsetDateTime,
    /// The outcome.
    pub result: InvocationResult,
    /// The texts that were put into queues, before wrapping, each with its binding's name.
    pub outputs: Vec<(String, String)>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// The handler completed it; for a request, it gave any answer.
    Succeeded,
    /// It did not; the exception text is all that is known.
    Failed(String),
    /// It was not complete at the function timeout.
    TimedOut,
}

/// Counts since the host's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Invocations that succeeded.
    pub succeeded: u64,
    /// Invocations that failed or ran out of time.
    pub failed: u64,
    /// Messages moved to a poison queue by the host itself.
    pub poisoned: u64,
    /// Invocations that run now.
    pub in_flight: u64,
    /// Starts of the handler after the first.
    pub restarts: u32,
}

/// The records and logs of a host. They outlive the host; clones share them.
#[derive(Debug, Clone)]
pub struct HostRecords {
    invocations: Arc<InvocationLog>,
    logs: Logs,
}

impl HostRecords {
    pub(super) fn new(invocations: Arc<InvocationLog>, logs: Logs) -> Self {
        Self { invocations, logs }
    }

    /// The host's name.
    pub fn host(&self) -> &str {
        self.logs.host()
    }

    /// The newest lines of the log, oldest first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.logs.lines()
    }

    /// All invocations that have ended, in that order. One that ran when the host was dropped is not among them.
    pub fn invocations(&self) -> Vec<InvocationRecord> {
        self.invocations.records()
    }

    /// Invocations that run now.
    pub fn in_flight(&self) -> u64 {
        self.invocations.in_flight.load(Ordering::Relaxed)
    }
}

/// The invocations of one host.
#[derive(Debug, Default)]
pub(super) struct InvocationLog {
    records: Mutex<Vec<InvocationRecord>>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    poisoned: AtomicU64,
    in_flight: AtomicU64,
}

/// Counts an invocation as running until it is dropped.
#[derive(Debug)]
pub(super) struct Running<'a> {
    invocations: &'a InvocationLog,
}

impl InvocationLog {
    /// An invocation begins.
    pub(super) fn begin(&self) -> Running<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Running { invocations: self }
    }

    /// A message went to a poison queue.
    pub(super) fn poisoned(&self) {
        self.poisoned.fetch_add(1, Ordering::Relaxed);
    }

    /// All records, in the order in which the invocations ended.
    pub(super) fn records(&self) -> Vec<InvocationRecord> {
        self.records.lock().expect("no holder panics").clone()
    }

    /// The counts.
    pub(super) fn stats(&self, restarts: u32) -> Stats {
        Stats {
            succeeded: self.succeeded.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
            poisoned: self.poisoned.load(Ordering::Relaxed),
            in_flight: self.in_flight.load(Ordering::Relaxed),
            restarts,
        }
    }
}

impl Running<'_> {
    /// The invocation has ended.
    pub(super) fn end(self, record: InvocationRecord) {
        let count = match record.result {
            InvocationResult::Succeeded => &self.invocations.succeeded,
            InvocationResult::Failed(_) | InvocationResult::TimedOut => &self.invocations.failed,
        };
        count.fetch_add(1, Ordering::Relaxed);
        self.invocations.records.lock().expect("no holder panics").push(record);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.invocations.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
