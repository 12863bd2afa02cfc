//! The outcome of every invocation, which tests compare with Dataverse's journal.
//!
//! It keeps all records; [`HostRecords`] outlive the host.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use time::OffsetDateTime;
use uuid::Uuid;

use super::logs::{LogLine, Logs};

/// A finished invocation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvocationRecord {
    /// The function.
    pub function: String,
    /// The invocation's id, as sent to the handler.
    pub id: Uuid,
    /// The trace id sent to the handler; `None` for an HTTP request, which carries its caller's.
    pub trace: Option<Uuid>,
    /// The queue message's id; `None` for an HTTP request.
    pub message_id: Option<String>,
    /// The message's dequeue count; 0 for an HTTP request.
    pub dequeue_count: u32,
    /// When the invocation started.
    pub started: OffsetDateTime,
    /// When the outcome was known and the outputs were written.
    pub ended: OffsetDateTime,
    /// The outcome.
    pub result: InvocationResult,
    /// The messages written to queues, before encoding, each with its binding's name.
    pub outputs: Vec<(String, String)>,
}

/// How an invocation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvocationResult {
    /// The handler completed it; for an HTTP request, any response counts.
    Succeeded,
    /// It failed with this exception text.
    Failed(String),
    /// It did not complete within the function timeout.
    TimedOut,
}

/// Counts since the host's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Invocations that succeeded.
    pub succeeded: u64,
    /// Invocations that failed or timed out.
    pub failed: u64,
    /// Messages moved to a poison queue by the host itself.
    pub poisoned: u64,
    /// Running invocations.
    pub in_flight: u64,
    /// Restarts of the handler.
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

    /// All finished invocations, in the order in which they ended, without those that ran when the host was dropped.
    pub fn invocations(&self) -> Vec<InvocationRecord> {
        self.invocations.records()
    }

    /// Running invocations.
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
    /// Starts counting an invocation.
    pub(super) fn begin(&self) -> Running<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        Running { invocations: self }
    }

    /// Counts a message moved to a poison queue.
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
    /// Records the end of the invocation.
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
