//! The lock storage with a bound on the requests in flight, so that no sender takes its connections from the others.
//!
//! First requests for a lock, polls of a lock that another holder has, renewals and releases have a share each: a renewal never
//! waits behind a thousand acquisitions. The time-out of a request and the clock of its lease begin when
//! it has its permit. Reads and writes of tombstones have no share: only a message with an admission slot sends them.
//!
//! <https://learn.microsoft.com/azure/architecture/patterns/bulkhead>

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::{Error, Lease, LockName, Locks};

/// A renewal without an answer after this time is repeated while the lease lives.
pub(super) const RENEW_TIMEOUT: Duration = Duration::from_secs(2);

/// The storage, and the permits for requests to it.
#[derive(Debug)]
pub(super) struct Bulkhead {
    storage: Arc<dyn Locks>,
    acquisitions: Arc<Semaphore>,
    polls: Arc<Semaphore>,
    renewals: Semaphore,
    releases: Semaphore,
}

/// Which request for a lock it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LockRequest {
    /// The lock may be free.
    First,
    /// Another holder had it.
    Poll,
}

/// The right to send one request.
pub(super) type SendPermit = OwnedSemaphorePermit;

impl Bulkhead {
    /// `width`: the messages that are admitted at once. As many acquisitions and as many releases are in flight, and half as many
    /// polls and renewals.
    pub(super) fn new(storage: Arc<dyn Locks>, width: usize) -> Self {
        let half = width.div_ceil(2);
        Self {
            storage,
            acquisitions: Arc::new(Semaphore::new(width)),
            polls: Arc::new(Semaphore::new(half)),
            renewals: Semaphore::new(half),
            releases: Semaphore::new(width),
        }
    }

    /// The storage, for requests that have no share.
    pub(super) fn storage(&self) -> &Arc<dyn Locks> {
        &self.storage
    }

    /// Waits until a request for a lock may be sent; `None` if that is not before `latest`.
    pub(super) async fn permit(&self, request: LockRequest, latest: Instant) -> Option<SendPermit> {
        let share = match request {
            LockRequest::First => &self.acquisitions,
            LockRequest::Poll => &self.polls,
        };
        timeout_at(latest, share.clone().acquire_owned()).await.ok()?.ok()
    }

    /// Requests the lock once, see [`Locks::try_acquire`].
    pub(super) async fn try_acquire(&self, name: &LockName, permit: SendPermit) -> Result<Option<Lease>, Error> {
        let granted = self.storage.try_acquire(name).await;
        drop(permit);
        granted
    }

    /// One renewal, see [`Locks::renew`].
    pub(super) async fn renew(&self, lease: &mut Lease) -> Result<bool, Error> {
        const NOT_SENT: Error = Error::Unreachable { sent: false, problem: "too many renewals were waiting" };
        const NO_ANSWER: Error = Error::Unreachable { sent: true, problem: "no answer to a renewal in time" };
        let _permit = timeout_at(lease.expires_at(), self.renewals.acquire()).await.map_err(|_| NOT_SENT)?;
        timeout(RENEW_TIMEOUT, self.storage.renew(lease)).await.unwrap_or(Err(NO_ANSWER))
    }

    /// Releases the lock, unless the lease expires before that request may be sent.
    pub(super) async fn release(&self, lease: Lease) {
        let Ok(_permit) = timeout_at(lease.expires_at(), self.releases.acquire()).await else {
            return tracing::debug!(lock = %lease.name(), "a lease expired before it could be released");
        };
        self.storage.release(lease).await;
    }
}
