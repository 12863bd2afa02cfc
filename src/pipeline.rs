//! The way of one record: through the gate, under its lock, into Dataverse, to an [`Outcome`].
//!
//! It knows two seams, locks and store, and asks [`crate::classify`] what a failure means. Nothing is cancelled halfway: the
//! caller runs this in a task of its own.
//!
//! What time or an operator mends does not end the way: the message waits before the gate, without a lock, and goes again, as
//! long as its patience lasts. After a write of unknown fate that is not before its lease has lapsed: until then the first
//! write may still arrive, and nobody else may be let at the row. Where the fate is known the lease goes back behind the answer.

mod first_seen;
mod order;
mod tombstone;
mod versioned;
mod write;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use tokio::time::{Instant, timeout};
use tracing::{Instrument as _, Span, warn};

use crate::admission::{Closed, Gate, Patience, Permit, Scope, Trouble, Why};
use crate::classify::{self, FailureScope, News, news};
use crate::dataverse::{Error, Store};
use crate::lock::local_queue::{Acquired, Local};
use crate::lock::{self, Lease, LockName};
use crate::outcome::{Outcome, Reason, Spent};
use crate::record::{OnConflict, Record};
use crate::telemetry::metrics::{self, Stopwatch};
use crate::telemetry::trace;
use tombstone::Grave;
use write::Writer;

pub use first_seen::FirstSeen;

/// How much of a key's hash is shown in logs and reason phrases.
const HASH_SHOWN: usize = 12;

/// A lock that is free is ours within about this time; who waits longer for one lends its place inside the gate to others.
const LOCK_AT_ONCE: Duration = Duration::from_millis(20);

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
    /// How long it may wait in place through an outage or throttling, over all its tries.
    pub patience: Duration,
    /// How long it may wait for others to be done, while all goes well.
    pub in_line: Duration,
    /// Whether somebody waits for the answer, and is told at once where it is known that patience will not do.
    pub is_call: bool,
}

impl Delivery {
    fn beginning_now(self) -> Patience {
        let now = Instant::now();
        Patience { until: now + self.patience, in_line_until: now + self.in_line, leaves_early: self.is_call }
    }
}

/// Where the way ends.
#[derive(Debug)]
struct End {
    reason: Reason,
    detail: Option<String>,
    fault: Option<Box<Error>>,
    /// Whether the row may yet change although nothing says so.
    is_ambiguous: bool,
    /// The delay that Dataverse named, now or a moment ago.
    retry_after: Option<Duration>,
    /// The lease lapses then, and before that nobody is let at the row.
    lapses: Option<Instant>,
}

impl End {
    fn because(reason: Reason) -> Self {
        Self { reason, detail: None, fault: None, is_ambiguous: false, retry_after: None, lapses: None }
    }

    fn refused(reason: Reason, fault: Error) -> Self {
        let detail = match &fault {
            Error::Answered { message: Some(message), .. } => Some(message.clone()),
            other => Some(other.to_string()),
        };
        let (is_ambiguous, retry_after) = (fault.is_ambiguous(), fault.retry_after());
        Self { reason, detail, is_ambiguous, retry_after, fault: Some(Box::new(fault)), lapses: None }
    }

    /// What the message met last; the gate knows when the next try would be, if nobody named a delay.
    fn given_up(last_met: Option<Self>, closed: Closed) -> Self {
        match last_met {
            Some(end) => Self { retry_after: end.retry_after.or(closed.retry_after), ..end },
            None => Self::turned_away(closed),
        }
    }

    /// Nobody was asked: the gate knows.
    fn turned_away(closed: Closed) -> Self {
        let (reason, detail) = match closed.why {
            Why::Paused => (Reason::Throttled, "Dataverse asked for a pause that is not over".to_owned()),
            Why::Held(trouble) => (trouble.reason, format!("not tried, because others fail: {}", trouble.said)),
            Why::Full => (Reason::Throttled, "too many requests are under way, and none ended in time".to_owned()),
        };
        Self { retry_after: closed.retry_after, ..Self::because(reason).detail(detail) }
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
        let key_hash = name.rsplit_once('-').and_then(|(_, hash)| hash.get(..HASH_SHOWN));
        Span::current().record("key_hash", key_hash);
        let mut spent = Spent::default();
        let end = self.until_settled(record, &LockName::new(&*name), delivery, &mut spent).await;
        let mut outcome = Outcome::new(end.reason);
        outcome.detail = end.detail;
        outcome.table = Some(record.table.clone());
        outcome.key = Some(record.key_sent.clone());
        outcome.message_id.clone_from(&record.message_id);
        outcome.source.clone_from(&record.source);
        outcome.spent = Some(spent);
        outcome.attempts = delivery.attempts;
        outcome.dataverse = end.fault.as_deref().and_then(Error::answer);
        outcome.key_hash = key_hash.map(str::to_owned);
        outcome.retry_after = outcome.retry_after.map(|usual| end.retry_after.unwrap_or(usual));
        outcome
    }

    /// Waits until no lock is on its way back: answers do not wait for that, the end of the process does.
    pub async fn finished(&self) {
        if let Some((locks, _)) = &self.locks {
            locks.all_released().await;
        }
    }

    /// The status decided where the table has no such code, and may have decided wrongly: somebody should look, once.
    fn tell_unknown_code(&self, fault: Option<&Error>) {
        let Some(Error::Answered { status, code: Some(code), .. }) = fault else { return };
        if !classify::is_known(*code) && self.unknown_codes.is_new(*code) {
            let code = format!("{code:#010x}");
            warn!(status, code, "Dataverse answered with a code that is not in the table, so its status decided");
        }
    }

    /// Tries again and again, as long as the end of a try is worth waiting for and the patience lasts.
    async fn until_settled(&self, record: &Record, name: &LockName, delivery: Delivery, spent: &mut Spent) -> End {
        let mut visit = self.gate.visit(delivery.beginning_now());
        let mut delivered_before = delivery.attempts.is_some_and(|attempts| attempts > 1);
        let mut last_met = None;
        loop {
            let mut permit = match trace::span_if_pending(visit.enter(), trace::admission, |_, _| {}).await {
                Ok(permit) => permit,
                Err(closed) => return End::given_up(last_met, closed),
            };
            let writer = Writer::new(self, record, delivered_before);
            // On the heap for as long as it works: hundreds may wait before the gate, and they need no room for it.
            let Some(end) = Box::pin(self.pass(name, &mut permit, writer, spent)).await else { continue };
            match self.tell(permit, record, name, &end) {
                News::Works | News::Nothing => return end,
                News::TooMuch | News::Fails => {}
            }
            delivered_before |= end.is_ambiguous;
            last_met = Some(end);
        }
    }

    /// One try. `None`: the gate closed while the lock was waited for, and nothing was sent.
    async fn pass(
        &self,
        name: &LockName,
        permit: &mut Permit<'_>,
        writer: Writer<'_>,
        spent: &mut Spent,
    ) -> Option<End> {
        let Some((locks, wait)) = &self.locks else { return Some(timed(&mut spent.write, writer.run()).await) };
        match timed(&mut spent.lock, acquire_traced(locks, name, *wait, permit)).await {
            Ok(Acquired::Held(lease)) => under_lease(locks, lease, permit, writer, &mut spent.write).await,
            Ok(Acquired::Busy) => {
                let text = format!("the lock was held by another writer for {} s", wait.as_secs());
                Some(End::because(Reason::LockBusy).detail(text))
            }
            Err(error) => Some(End::because(classify::judge_locks(&error)).detail(error.to_string())),
        }
    }

    /// Tells the gate what the try has shown.
    fn tell(&self, permit: Permit<'_>, record: &Record, name: &LockName, end: &End) -> News {
        self.tell_unknown_code(end.fault.as_deref());
        let not_asked = matches!(end.fault.as_deref(), Some(Error::NotAddressable { .. }));
        let news = if not_asked { News::Nothing } else { news(end.reason) };
        match news {
            News::Works => permit.succeeded(self.store.parallelism()),
            News::Nothing => drop(permit),
            News::TooMuch => permit.throttled(end.retry_after, classify::limit_kind(end.fault.as_deref())),
            News::Fails => permit.failed(&trouble(record, name, end), end.lapses),
        }
        news
    }
}

/// Does it, and adds how long it took. An `async fn` would keep room for the work twice: as it came, and as it runs.
fn timed<T>(spent: &mut Duration, work: impl Future<Output = T>) -> impl Future<Output = T> {
    let begun = Instant::now();
    work.map(move |done| {
        *spent += begun.elapsed();
        done
    })
}

/// Waits for the lock, and tells how that went.
async fn acquire_traced(
    locks: &Local,
    name: &LockName,
    wait: Duration,
    permit: &mut Permit<'_>,
) -> Result<Acquired, lock::Error> {
    let (span, since) = (trace::lock(), Stopwatch::start());
    let acquired = acquire(locks, name, wait, permit).instrument(span.clone()).await;
    let result = match &acquired {
        Ok(Acquired::Held(lease)) if lease.is_handed_on() => "handed_on",
        Ok(Acquired::Held(_)) => "storage",
        Ok(Acquired::Busy) => "busy",
        Err(_) => "unknown",
    };
    trace::acquired(&span, result);
    metrics::lock_waited(since, result);
    acquired
}

/// Waits for the lock. Who waits for long is in nobody's way meanwhile.
async fn acquire(
    locks: &Local,
    name: &LockName,
    wait: Duration,
    permit: &mut Permit<'_>,
) -> Result<Acquired, lock::Error> {
    let mut acquire = pin!(locks.acquire(name, wait));
    if let Ok(acquired) = timeout(LOCK_AT_ONCE, &mut acquire).await {
        return acquired;
    }
    permit.step_aside();
    acquire.await
}

/// Writes under the lease, unless the gate has closed while the lock was waited for.
async fn under_lease<'a>(
    locks: &'a Local,
    mut lease: Lease,
    permit: &mut Permit<'_>,
    mut writer: Writer<'a>,
    spent: &mut Duration,
) -> Option<End> {
    let since = Stopwatch::start();
    writer.grave = Some(Grave::new(locks, &lease));
    let held = {
        // Pinned here, for whoever takes it by value on the way keeps room for it as well.
        let work = pin!(async {
            permit.step_back().await.ok()?;
            Some(timed(spent, writer.run()).await)
        });
        locks.hold(&mut lease, work).await
    };
    metrics::lock_held(since);
    match held {
        // The write may still be under way: nobody else gets the lock before it has run out.
        Ok(Some(end)) if end.is_ambiguous => Some(End { lapses: Some(lease.deadline() + lock::MARGIN), ..end }),
        Ok(end) => {
            // The row is as it will stay, so nothing depends on the lease any more, not the answer either.
            locks.release_soon(lease).await;
            end
        }
        Err(lock::Lost) => Some(End::because(Reason::LockLost).detail("the lease ended before Dataverse had answered")),
    }
}

/// A failure in the gate's words.
fn trouble(record: &Record, name: &LockName, end: &End) -> Trouble {
    let said = match &end.fault {
        // Without the service's own text, which can hold data.
        Some(fault) => fault.to_string(),
        None => end.detail.clone().unwrap_or_default(),
    };
    let scope = match end.fault.as_deref().map_or(FailureScope::Row, classify::failure_scope) {
        FailureScope::Environment => Scope::Everybody,
        FailureScope::Table => Scope::One(number(&record.table)),
        FailureScope::Row => Scope::One(number(name.as_str())),
    };
    Trouble { reason: end.reason, said, scope, delay: end.retry_after }
}

fn number(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
