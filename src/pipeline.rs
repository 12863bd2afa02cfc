//! One record to its [`Outcome`]: admission, lock, write.
//!
//! It knows two seams, locks and store, and asks [`crate::classify`] what a failure means. Nothing is cancelled halfway: the
//! caller runs this in a task of its own.
//!
//! Transient and operator-fixable failures are retried in place: the message waits for admission, without a lock, within its
//! [`WaitBudget`]. After an ambiguous write the retry waits until the lease has expired, because the first write may still
//! arrive. Once the write's outcome is known, the lease is released after the response is sent.

mod hint;
mod logged_once;
mod missing_parent;
mod order;
mod settlement;
mod state;
mod tombstone;
mod versioned;
mod visible;
mod write;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tracing::{Instrument as _, Span, warn};

use crate::admission::{Admission, CHECK_TIMEOUT, OutageCause, Permit, Subjects, WaitBudget};
use crate::classify::{self, FailureScope};
use crate::dataverse::{Error, Store};
use crate::lock::local_queue::{Acquired, HeldLock, LocalQueue, WaitLimits};
use crate::lock::{self, LeaseLost, LockName};
use crate::outcome::{Outcome, Reason, Timings};
use crate::record::{OnConflict, Record, Tables};
use crate::telemetry::{metrics, trace};
pub use logged_once::LoggedOnce;
use missing_parent::MissingParent;
use settlement::Settlement;
use tombstone::Tombstones;
pub use visible::VisibleColumns;
use write::Writer;

/// How much of a key's hash is shown in logs and reason phrases.
const HASH_SHOWN: usize = 12;

/// The detail of a record that goes back unsent.
const BEHIND: &str = "not sent, because an earlier record of this key in the same call goes back";

/// A message may wait so long beyond its hold for other work of this process: that is waiting in line, not a failure.
pub(crate) const LINE_GRACE: Duration = Duration::from_mins(1);

/// No invocation lasts longer than its hold and this: the host would end the process with all that is in flight.
pub const INVOCATION_GRACE: Duration = Duration::from_secs(110);

/// A write begins only with so much time left.
const MIN_WRITE_TIME: Duration = Duration::from_secs(40);

/// A write is given so much time: synchronous plug-ins may run for two minutes and twenty seconds.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/analyze-performance>
const MAX_WRITE_TIME: Duration = Duration::from_secs(150);

/// What is left of the invocation when a write without an answer ends: time to read the row.
const AFTER_WRITE: Duration = Duration::from_secs(10);

/// The services and settings that all records share.
#[derive(Debug)]
pub struct Pipeline {
    /// The rows.
    pub store: Arc<dyn Store>,
    /// The environment's host and port: part of each lock's name, because environments may share lock storage.
    pub environment: String,
    /// The locks and the longest wait for one; `None` with `LOCK_MODE=off`.
    pub locks: Option<(LocalQueue, Duration)>,
    /// Admission to the store.
    pub admission: Admission,
    /// The conflict policy of a record that has none of its own.
    pub on_conflict: OnConflict,
    /// The column that holds a record's version.
    pub version_column: Option<String>,
    /// The tables that may be written.
    pub tables: Tables,
    /// Service codes without an entry in [`crate::classify`].
    pub unknown_codes: LoggedOnce<u32>,
    /// Tables in which a stored version was implausible.
    pub implausible_versions: LoggedOnce<String>,
    /// Version columns in which a value was seen.
    pub visible_columns: VisibleColumns,
}

/// How a record was delivered, and how long it may wait.
#[derive(Debug, Clone, Copy)]
pub struct Delivery {
    /// How often it was delivered, including this time, if known.
    pub attempts: Option<u32>,
    /// Whether the host will not deliver it again.
    pub last: bool,
    /// How long it may wait in place through an outage or throttling, over all its attempts, from its arrival on.
    pub wait_budget: Duration,
    /// How long it may wait for other work of this process, from its arrival on: for a free slot while nothing fails, and for its
    /// lock. Once that time is over it is not begun.
    pub queue_budget: Duration,
    /// How long ago it arrived.
    pub waited: Duration,
    /// Whether it ends at once when the wait is known to exceed the budget.
    pub fail_fast: bool,
    /// How long it may wait in place for a row that a lookup names, from its arrival on.
    pub parent_wait: Duration,
    /// Why an earlier record of the same key and call goes back: then this one does too, unsent, or it would be applied first.
    pub behind: Option<Reason>,
}

impl Pipeline {
    /// Writes one record, and returns what became of it.
    pub async fn settle(&self, record: &Record, delivery: Delivery) -> Outcome {
        let name = record.key.lock_name(&self.environment, &record.table);
        let key_hash = shown_hash(&name);
        Span::current().record("key_hash", key_hash);
        let checked = record.check(&self.tables, OffsetDateTime::now_utc());
        let (settlement, spent) = match (checked, delivery.behind) {
            (Err(error), _) => (Settlement::new(Reason::InvalidMessage).detail(error.to_string()), Timings::default()),
            (Ok(()), Some(reason)) => (Settlement::new(reason).detail(BEHIND), Timings::default()),
            (Ok(()), None) => self.run_with_retries(record, &LockName::new(&*name), delivery).await,
        };
        let mut outcome = Outcome::new(settlement.reason);
        outcome.log_detail = settlement.log_detail();
        if let Some(parent) = MissingParent::of(&settlement, record) {
            outcome.log_detail = Some(parent.loggable(&self.environment));
            outcome.detail = Some(format!("{parent}: {}", settlement.detail.unwrap_or_default()));
        } else {
            outcome.detail = settlement.detail;
        }
        outcome.table = Some(record.table.clone());
        outcome.key = Some(record.key_sent.clone());
        outcome.message_id.clone_from(&record.message_id);
        outcome.source.clone_from(&record.source);
        outcome.timings = Some(spent);
        outcome.attempts = delivery.attempts;
        outcome.dataverse = settlement.fault.as_deref().and_then(Error::answer);
        outcome.key_hash = key_hash.map(str::to_owned);
        outcome.retry_after = outcome.retry_after.map(|default| settlement.retry_after.unwrap_or(default));
        outcome
    }

    /// Waits until all background releases of locks are done, before the process ends.
    pub async fn finished(&self) {
        if let Some((locks, _)) = &self.locks {
            locks.all_released().await;
        }
    }

    async fn run_with_retries(&self, record: &Record, name: &LockName, delivery: Delivery) -> (Settlement, Timings) {
        let mut spent = Timings::default();
        if delivery.waited >= delivery.queue_budget {
            return (Settlement::not_admitted(None, self.admission.rejected()), spent);
        }
        let now = Instant::now();
        let left = |budget: Duration| now + budget.saturating_sub(delivery.waited);
        let (until, queue_until) = (left(delivery.wait_budget), left(delivery.queue_budget));
        let parent_until = left(delivery.parent_wait.min(delivery.wait_budget));
        let ends_at = left(delivery.wait_budget + INVOCATION_GRACE);
        // A caller learns at once that the lock is held; a queue message asks again within its hold.
        let for_others_until = if delivery.fail_fast { now } else { until };
        let keys = record.addressed_keys().iter().map(|key| hash(&key.to_string())).collect();
        let subjects = Subjects { table: hash(&record.table), row: hash(name.as_str()), keys };
        let mut entry =
            self.admission.entry(subjects, WaitBudget { until, queue_until, fail_fast: delivery.fail_fast });
        let mut delivered_before = delivery.attempts.is_some_and(|attempts| attempts > 1);
        let mut last = None;
        loop {
            let mut permit = match trace::span_if_pending(entry.enter(), || trace::child("gate"), |_, _| {}).await {
                Ok(permit) => permit,
                Err(rejection) => return (Settlement::not_admitted(last, rejection), spent),
            };
            let writer = Writer::new(self, record, delivered_before, ends_at);
            let locked = self.locks.as_ref().map(|(locks, for_others)| {
                let (in_line_until, latest) = (queue_until, ends_at - MIN_WRITE_TIME);
                (locks, WaitLimits { in_line_until, for_others: *for_others, for_others_until, latest })
            });
            // On the heap: hundreds of messages may wait for admission.
            let Some(settlement) = Box::pin(attempt(locked, name, &mut permit, writer, &mut spent)).await else {
                continue;
            };
            if settlement.is_withheld() {
                delivered_before |= settlement.has_created;
                continue;
            }
            if !self.report(permit, &settlement, parent_until, ends_at).await {
                return (hint::with_hint(settlement, self.store.as_ref(), record, ends_at).await, spent);
            }
            delivered_before |= settlement.is_ambiguous || settlement.has_created;
            last = Some(settlement);
        }
    }

    /// Reports the attempt to admission; returns whether to wait for another one in place.
    async fn report(
        &self,
        permit: Permit<'_>,
        settlement: &Settlement,
        parent_until: Instant,
        ends_at: Instant,
    ) -> bool {
        let fault = settlement.fault.as_deref();
        self.log_unknown_code(fault);
        match settlement.reason {
            Reason::Throttled => permit.throttled(settlement.retry_after, classify::limit_kind(fault)),
            // A service is down or refuses our credentials: transient, or fixable by an operator.
            Reason::Unavailable | Reason::Unauthorized | Reason::StorageUnavailable => {
                if permit.failed(&outage_cause(settlement), settlement.not_before) {
                    // It goes on where this message has no time left.
                    drop(timeout_at(ends_at, self.check_store()).await);
                }
            }
            // It may be on its way.
            Reason::ParentMissing => return permit.parent_missing(self.store.parallelism(), parent_until),
            // Contention, a lost lease, a defect or an invalid message: Dataverse was not asked, or is not the cause.
            Reason::LockBusy | Reason::LockLost | Reason::Internal | Reason::InvalidMessage => return false,
            Reason::Created
            | Reason::Updated
            | Reason::Upserted
            | Reason::Deleted
            | Reason::AlreadyWritten
            | Reason::WrittenElsewhere
            | Reason::Superseded
            | Reason::AlreadyAbsent
            | Reason::Conflict
            | Reason::NotFound
            | Reason::Exists
            | Reason::KeyCollision
            | Reason::DuplicateDetected
            | Reason::InvalidData
            | Reason::TooLarge => {
                // Dataverse answered, even if only to refuse the data.
                if !matches!(fault, Some(Error::NotAddressable { .. })) {
                    permit.succeeded(self.store.parallelism());
                }
                return false;
            }
        }
        true
    }

    /// Checks whether everything fails, in a task of its own, after several rows have failed in succession.
    fn check_store(&self) -> JoinHandle<()> {
        let (store, admission) = (self.store.clone(), self.admission.clone());
        let check = async move {
            let silence = Error::NoAnswer { sent: true, problem: "no answer in time" };
            let checked = timeout(CHECK_TIMEOUT, store.check()).await.unwrap_or(Err(silence));
            let outage = checked.err().and_then(|fault| {
                let (reason, delay) = (classify::judge_check(&fault)?, fault.retry_after());
                Some(OutageCause { reason, message: fault.to_string(), scope: FailureScope::Environment, delay })
            });
            admission.checked(outage);
        };
        tokio::spawn(check.in_current_span())
    }

    /// A code that is not in the table was judged by its status, perhaps wrongly: logged once per code.
    fn log_unknown_code(&self, fault: Option<&Error>) {
        let Some(Error::Answered { status, code: Some(code), .. }) = fault else { return };
        if !classify::is_known(*code) && self.unknown_codes.is_first(*code) {
            let code = format!("{code:#010x}");
            warn!(status, code, "Dataverse answered with a code that is not in the table, so its status decided");
        }
    }
}

/// Runs `work`, and adds its duration to `spent`.
async fn timed<T>(spent: &mut Duration, work: impl Future<Output = T>) -> T {
    let begun = Instant::now();
    let done = work.await;
    *spent += begun.elapsed();
    done
}

/// One attempt. `None`: admission was revoked while the message waited for its lock, and nothing was sent.
async fn attempt(
    locked: Option<(&LocalQueue, WaitLimits)>,
    name: &LockName,
    permit: &mut Permit<'_>,
    writer: Writer<'_>,
    spent: &mut Timings,
) -> Option<Settlement> {
    let Some((locks, limits)) = locked else { return Some(timed(&mut spent.write, writer.run()).await) };
    let begun = Instant::now();
    match timed(&mut spent.lock, acquire(locks, name, limits, permit)).await {
        Ok(Acquired::Held(held)) => write_under_lease(locks, held, permit, writer, &mut spent.write).await,
        Ok(Acquired::Busy) => {
            let detail = format!("the lock was held by another writer for {} s", begun.elapsed().as_secs());
            Some(Settlement::new(Reason::LockBusy).detail(detail))
        }
        Err(error) => Some(Settlement::lock_storage(&error)),
    }
}

/// Waits for the lock, and records the wait. While the lock is held by another, the message's admission slot is released.
async fn acquire(
    locks: &LocalQueue,
    name: &LockName,
    limits: WaitLimits,
    permit: &mut Permit<'_>,
) -> Result<Acquired, lock::Error> {
    let (span, since) = (trace::child("lock"), Instant::now());
    let on_held = || permit.release_slot();
    let acquired = locks.acquire(name, limits, on_held).instrument(span.clone()).await;
    let result = match &acquired {
        Ok(Acquired::Held(held)) if held.is_handed_on() => "handed_on",
        Ok(Acquired::Held(_)) => "storage",
        Ok(Acquired::Busy) => "busy",
        Err(_) => "unknown",
    };
    trace::ended(&span, "dataverse_sync.lock.result", result);
    metrics::lock_waited(since, result);
    acquired
}

/// Writes under the lease, unless admission was revoked while the message waited for the lock.
async fn write_under_lease(
    locks: &LocalQueue,
    mut held: HeldLock,
    permit: &mut Permit<'_>,
    mut writer: Writer<'_>,
    spent: &mut Duration,
) -> Option<Settlement> {
    let since = Instant::now();
    writer.tombstones = Some(Tombstones::new(&held, &writer.record.key));
    let work = async {
        permit.reacquire_slot().await.ok()?;
        Some(timed(spent, writer.run()).await)
    };
    let done = held.run(work).await;
    metrics::lock_held(since);
    match done {
        // The write may still be in flight: the lease is left to expire.
        Ok(Some(settlement)) if settlement.is_ambiguous => {
            Some(Settlement { not_before: Some(held.lease.expires_at()), ..settlement })
        }
        Ok(settlement) => {
            locks.release_in_background(held);
            settlement
        }
        Err(LeaseLost) => {
            Some(Settlement::new(Reason::LockLost).detail("the lease ended before Dataverse had answered"))
        }
    }
}

/// What logs show of a key: the start of the hash in its lock's name.
fn shown_hash(lock_name: &str) -> Option<&str> {
    lock_name.rsplit_once('-').and_then(|(_, hash)| hash.get(..HASH_SHOWN))
}

fn outage_cause(settlement: &Settlement) -> OutageCause {
    let message = match &settlement.fault {
        // Without the service's own text, which can hold data.
        Some(fault) => fault.to_string(),
        None => settlement.detail.clone().unwrap_or_default(),
    };
    OutageCause { reason: settlement.reason, message, scope: settlement.scope, delay: settlement.retry_after }
}

/// Identifies a table, a key or a row to admission.
fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
