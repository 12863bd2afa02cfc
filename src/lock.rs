//! One writer per record at a time: the [`Locks`] seam, the [`Lease`] it grants, and work that runs under one.
//!
//! [`local_queue::LocalQueue`] is what the program uses: it queues the work of this process in front of [`Locks`]. Contention is
//! an answer ([`local_queue::Acquired::Busy`]), never an error: an [`Error`] means that we do not know.
//!
//! Invariants:
//! - the clock is read before a lease is requested or renewed, so a lease is never believed to live longer than it does;
//! - work runs only until [`Lease::deadline`], which lies [`MARGIN`] before the lease expires;
//! - a lease is renewed by the task that does the work, so no background task outlives the work;
//! - the requests in flight to the storage are bounded.
//!
//! **A lease is not a fence.** A process that was suspended past its lease can still have a request in flight. Safety comes from
//! the row itself: the unique key, `If-Match`, the version column. The lease provides order and saves requests.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/lease-blob>

pub mod blob;
mod bulkhead;
pub mod local_queue;
mod poll_schedule;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until};

pub use crate::storage::Error;
use bulkhead::Bulkhead;

/// Work stops this long before its lease expires, so that a request in flight is still covered.
pub(crate) const MARGIN: Duration = Duration::from_secs(2);

/// Pause before a failed renewal is repeated.
const RENEW_RETRY_PAUSE: Duration = Duration::from_millis(500);

/// The name of a lock. It contains no data of the record, see [`crate::record::RecordKey::lock_name`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LockName(String);

impl LockName {
    /// A lock of that name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LockName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Exclusive locks by name, across processes. Waiting is the business of [`local_queue`].
#[async_trait]
pub trait Locks: fmt::Debug + Send + Sync {
    /// Requests the lock once; `None` if another holder has it.
    ///
    /// # Errors
    /// When it is not known whether it was granted.
    async fn try_acquire(&self, name: &LockName) -> Result<Option<Lease>, Error>;

    /// Restarts the life of the lease; `false` if it has ended.
    ///
    /// # Errors
    /// When it is not known whether the lease was renewed.
    async fn renew(&self, lease: &mut Lease) -> Result<bool, Error>;

    /// Releases the lock. A lease that cannot be released expires by itself, so failures are only logged.
    async fn release(&self, lease: Lease);

    /// The tombstone stored with the lock, see [`Locks::put_tombstone`].
    ///
    /// # Errors
    /// When the storage gave no usable answer.
    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error>;

    /// Stores a tombstone with the lock, replacing an earlier one: one line of ASCII that outlives the lease. `false` if the lease
    /// `id` has ended: then nothing was stored, because another writer may be deciding by the tombstone.
    ///
    /// # Errors
    /// When it is not known whether it was stored.
    async fn put_tombstone(&self, name: &LockName, id: &str, tombstone: &str) -> Result<bool, Error>;
}

/// The right to work on one record for a limited time. Dropped without [`Locks::release`] it expires by itself.
#[derive(Debug)]
pub struct Lease {
    name: LockName,
    id: String,
    begun: Instant,
    life: Duration,
}

impl Lease {
    /// A lease that began no later than `begun`.
    pub fn new(name: LockName, id: String, begun: Instant, life: Duration) -> Self {
        Self { name, id, begun, life }
    }

    /// The lock's name.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// The lease id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When the lease has expired at the service.
    pub fn expires_at(&self) -> Instant {
        self.begun + self.life
    }

    /// When work under this lease must have stopped.
    pub fn deadline(&self) -> Instant {
        self.begun + self.life.saturating_sub(MARGIN)
    }

    /// When to renew: after a third of the life.
    pub fn renewal_due(&self) -> Instant {
        self.begun + self.life / 3
    }

    /// Restarts the life at `begun`.
    pub fn extend(&mut self, begun: Instant) {
        self.begun = begun;
    }
}

/// The lease ended before the work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease ended before the work did")]
pub struct LeaseLost;

/// Runs `work` under the lease, and renews the lease when a renewal is due.
///
/// # Errors
/// [`LeaseLost`] when the lease ended first. The work was dropped where it stood, so a request of it may still be in flight.
async fn run_under_lease<T>(
    storage: &Bulkhead,
    lease: &mut Lease,
    work: impl Future<Output = T>,
) -> Result<T, LeaseLost> {
    let mut work = pin!(work);
    let mut due = lease.renewal_due();
    loop {
        let deadline = lease.deadline();
        // After a suspension of the process everything is ready at once: check the clock before polling the work.
        let guarded = poll_fn(|cx| {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(LeaseLost));
            }
            work.as_mut().poll(cx).map(Ok)
        });
        let renewal = async {
            sleep_until(due).await;
            storage.renew(lease).await
        };
        tokio::select! {
            biased;
            done = guarded => return done,
            () = sleep_until(deadline) => return Err(LeaseLost),
            renewed = renewal => match renewed {
                Ok(true) => due = lease.renewal_due(),
                Ok(false) => return Err(LeaseLost),
                Err(error) => {
                    tracing::warn!(%error, "the lease could not be renewed; retrying");
                    due = Instant::now() + RENEW_RETRY_PAUSE;
                }
            },
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
