//! The way of one record: through the gate, under its lock, into Dataverse, to an [`Outcome`].
//!
//! It knows two seams, locks and store, and asks [`crate::classify`] what a failure means. Nothing is cancelled halfway: the
//! caller runs this in a task of its own.

mod first_seen;
mod grave;
mod order;
mod versioned;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tracing::warn;

use crate::classify;
use crate::dataverse::{Fault, Store};
use crate::gate::Gate;
use crate::lock::local::{Acquired, Local};
use crate::lock::{self, Lease, LockName};
use crate::outcome::{Outcome, Reason};
use crate::record::{OnConflict, Record};
use grave::Grave;
use write::Writer;

pub use first_seen::FirstSeen;

/// How much of a key's hash is shown in logs and reason phrases.
const HASH_SHOWN: usize = 12;

/// Everything that a record needs on its way.
#[derive(Debug)]
pub struct Sync {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The locks and the longest wait for one; none with `LOCK_MODE=off`.
    pub locks: Option<(Local, Duration)>,
    /// The gate in front of the store.
    pub gate: Gate,
    /// What a lost create race leads to when the record does not say.
    pub on_conflict: OnConflict,
    /// The column that holds a record's version.
    pub version_column: Option<String>,
    /// Service codes that the table does not know.
    pub unknown_codes: FirstSeen,
}

/// How a record came here.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// How often it was delivered, this time included, if that is known.
    pub attempts: Option<u32>,
    /// Whether the host will not deliver it again.
    pub last: bool,
    /// How long it may wait in place.
    pub patience: Duration,
}

/// Where the way ends.
#[derive(Debug)]
struct End {
    reason: Reason,
    detail: Option<String>,
    fault: Option<Box<Fault>>,
    /// Whether the row may yet change although nothing says so.
    fate_unknown: bool,
    /// The delay that Dataverse named, now or a moment ago.
    retry_after: Option<Duration>,
}

impl End {
    fn because(reason: Reason) -> Self {
        Self { reason, detail: None, fault: None, fate_unknown: false, retry_after: None }
    }

    fn refused(reason: Reason, fault: Fault) -> Self {
        let detail = match &fault {
            Fault::Answered { message: Some(message), .. } => Some(message.clone()),
            other => Some(other.to_string()),
        };
        let (fate_unknown, retry_after) = (fault.fate_unknown(), fault.retry_after());
        Self { reason, detail, fate_unknown, retry_after, fault: Some(Box::new(fault)) }
    }

    fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }
}

impl Sync {
    /// Brings one record to its end.
    pub async fn settle(&self, record: &Record, delivery: Delivery) -> Outcome {
        let name = record.key.lock_name(&record.table);
        let end = self.pass(record, LockName::new(&*name), delivery).await;
        self.tell_unknown_code(end.fault.as_deref());
        if let (Reason::Throttled, Some(delay)) = (end.reason, end.fault.as_ref().and(end.retry_after)) {
            self.gate.pause(delay);
        }
        let mut outcome = Outcome::new(end.reason);
        outcome.detail = end.detail;
        outcome.table = Some(record.table.clone());
        outcome.key = Some(record.key_sent.clone());
        outcome.message_id.clone_from(&record.message_id);
        outcome.attempts = delivery.attempts;
        outcome.dataverse = end.fault.as_deref().and_then(Fault::answer);
        outcome.key_hash = name.rsplit_once('-').and_then(|(_, hash)| hash.get(..HASH_SHOWN)).map(str::to_owned);
        outcome.retry_after = outcome.retry_after.map(|usual| end.retry_after.unwrap_or(usual));
        outcome
    }

    /// The status decided where the table has no such code, and may have decided wrongly: somebody should look, once.
    fn tell_unknown_code(&self, fault: Option<&Fault>) {
        let Some(Fault::Answered { status, code: Some(code), .. }) = fault else { return };
        if !classify::is_known(*code) && self.unknown_codes.is_new(*code) {
            let code = format!("{code:#010x}");
            warn!(status, code, "Dataverse answered with a code that is not in the table, so its status decided");
        }
    }

    async fn pass(&self, record: &Record, name: LockName, delivery: Delivery) -> End {
        let _permit = match self.gate.enter(delivery.patience).await {
            Ok(permit) => permit,
            Err(closed) => return throttled(closed.retry_after),
        };
        let writer = Writer::new(self, record, delivery);
        let Some((locks, wait)) = &self.locks else { return writer.run().await };
        match locks.acquire(&name, *wait).await {
            Ok(Acquired::Held(lease)) => under_lease(locks, lease, writer).await,
            Ok(Acquired::Busy) => End::because(Reason::LockBusy)
                .detail(format!("the lock was held by another writer for {} s", wait.as_secs())),
            Err(error) => End::because(classify::judge_locks(&error)).detail(error.to_string()),
        }
    }
}

async fn under_lease<'a>(locks: &'a Local, mut lease: Lease, mut writer: Writer<'a>) -> End {
    writer.grave = Some(Grave::new(locks, &lease));
    match locks.hold(&mut lease, writer.run()).await {
        // The write may still be under way: nobody else gets the lock before it has run out.
        Ok(end) if end.fate_unknown => end,
        Ok(end) => {
            locks.release(lease).await;
            end
        }
        Err(lock::Lost) => End::because(Reason::LockLost).detail("the lease ended before Dataverse had answered"),
    }
}

/// Nobody was asked: the gate knows.
fn throttled(retry_after: Option<Duration>) -> End {
    let end = End::because(Reason::Throttled).detail(match retry_after {
        Some(_) => "Dataverse asked for a pause that is not over",
        None => "too many requests are under way, and none ended in time",
    });
    End { retry_after, ..end }
}

#[cfg(test)]
mod tests;
