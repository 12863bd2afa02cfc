//! The way of one record: through the gate, under its lock, into Dataverse, to an [`Outcome`].
//!
//! It knows two seams, locks and store, and asks [`crate::classify`] what a failure means. Nothing is cancelled halfway: the
//! caller runs this in a task of its own.

mod order;
mod write;

use std::sync::Arc;
use std::time::Duration;

use crate::classify;
use crate::dataverse::{Fault, Store};
use crate::gate::Gate;
use crate::lock::{self, Acquired, Lease, LockName, Locks};
use crate::outcome::{Outcome, Reason};
use crate::record::{OnConflict, Record};
use write::Writer;

/// How much of a key's hash is shown in logs and reason phrases.
const HASH_SHOWN: usize = 12;

/// Everything that a record needs on its way.
#[derive(Debug)]
pub struct Sync {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The locks and the longest wait for one; none with `LOCK_MODE=off`.
    pub locks: Option<(Arc<dyn Locks>, Duration)>,
    /// The gate in front of the store.
    pub gate: Gate,
    /// What a lost create race leads to when the record does not say.
    pub on_conflict: OnConflict,
    /// The column that holds a record's version.
    pub version_column: Option<String>,
}

/// How a record came here.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// How often it was delivered, this time included, if that is known.
    pub attempts: Option<u32>,
    /// How long it may wait in place.
    pub patience: Duration,
}

/// Where the way ends.
#[derive(Debug)]
struct End {
    reason: Reason,
    detail: Option<String>,
    fault: Option<Fault>,
    /// Whether the row may yet change although nothing says so.
    fate_unknown: bool,
}

impl End {
    fn because(reason: Reason) -> Self {
        Self { reason, detail: None, fault: None, fate_unknown: false }
    }

    fn refused(reason: Reason, fault: Fault) -> Self {
        let detail = match &fault {
            Fault::Answered { message: Some(message), .. } => Some(message.clone()),
            other => Some(other.to_string()),
        };
        Self { reason, detail, fate_unknown: fault.fate_unknown(), fault: Some(fault) }
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
        if let (Reason::Throttled, Some(delay)) = (end.reason, end.fault.as_ref().and_then(Fault::retry_after)) {
            self.gate.pause(delay);
        }
        let mut outcome = Outcome::new(end.reason);
        outcome.detail = end.detail;
        outcome.table = Some(record.table.clone());
        outcome.key = Some(record.key_sent.clone());
        outcome.message_id.clone_from(&record.message_id);
        outcome.attempts = delivery.attempts;
        outcome.dataverse = end.fault.as_ref().and_then(Fault::answer);
        outcome.key_hash = name.rsplit_once('-').and_then(|(_, hash)| hash.get(..HASH_SHOWN)).map(str::to_owned);
        if let (Some(_), Some(named)) = (outcome.retry_after, end.fault.as_ref().and_then(Fault::retry_after)) {
            outcome.retry_after = Some(named);
        }
        outcome
    }

    async fn pass(&self, record: &Record, name: LockName, delivery: Delivery) -> End {
        let _permit = match self.gate.enter(delivery.patience).await {
            Ok(permit) => permit,
            Err(closed) => return throttled(closed.retry_after),
        };
        let writer = Writer::new(self, record, delivery);
        let Some((locks, wait)) = &self.locks else { return writer.run().await };
        match locks.acquire(&name, *wait).await {
            Ok(Acquired::Held(lease)) => under_lease(locks.as_ref(), lease, writer).await,
            Ok(Acquired::Busy) => End::because(Reason::LockBusy)
                .detail(format!("the lock was held by another writer for {} s", wait.as_secs())),
            Err(error) => End::because(classify::judge_locks(&error)).detail(error.to_string()),
        }
    }
}

async fn under_lease(locks: &dyn Locks, mut lease: Lease, writer: Writer<'_>) -> End {
    match lock::hold(locks, &mut lease, writer.run()).await {
        // The write may still be under way: nobody else gets the lock before it has run out.
        Ok(end) if end.fate_unknown => end,
        Ok(end) => {
            locks.release(lease).await;
            end
        }
        Err(lock::Lost) => End::because(Reason::LockLost).detail("the lease ended before Dataverse had answered"),
    }
}

fn throttled(retry_after: Option<Duration>) -> End {
    let fault = Fault::Answered { status: 429, code: None, message: None, request_id: None, retry_after };
    End::refused(Reason::Throttled, fault).detail(match retry_after {
        Some(_) => "Dataverse asked for a pause that is not over",
        None => "too many requests are under way, and none ended in time",
    })
}

#[cfg(test)]
mod tests;
