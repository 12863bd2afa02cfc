//! One writer per record at a time: the [`Locks`] seam, the [`Lease`] it hands out, and work that runs inside one.
//!
//! [`local_queue::Local`] is what the program uses: it queues the work of this process, asks the [`Locks`] behind it, and hands
//! leases on. Contention is an answer ([`Asked::Held`], [`local_queue::Acquired::Busy`]), never an error: an [`Error`] means that we do not know.
//!
//! Invariants:
//! - a lease's clock is read before the request that starts or renews it is sent, so it never believes to live longer than
//!   the service does;
//! - work runs only before [`Lease::deadline`], which lies [`MARGIN`] before the end; [`local_queue::Local::hold`] stops it there;
//! - renewals happen in the task of the work, there is no background task that could outlive it.
//!
//! **A lease is not a fence.** A process that was paused past its lease can still have a request on its way. What makes that
//! harmless is the row itself: the unique key, `If-Match`, the version column. The lease is for order and economy.
//!
//! The rules of the service: <https://learn.microsoft.com/rest/api/storageservices/lease-blob>.

pub mod blob;
pub mod local_queue;
#[cfg(test)]
pub(crate) mod memory;
mod poll_schedule;

use std::fmt;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep_until, timeout};

/// Work stops this long before its lease ends, so that a request that is under way finds the lease still there.
pub const MARGIN: Duration = Duration::from_secs(2);

/// A renewal that has no answer by then is repeated while the lease still lives.
const RENEW_TIMEOUT: Duration = Duration::from_secs(2);

/// Pause before a renewal without an answer is repeated.
const RENEW_AGAIN: Duration = Duration::from_millis(500);

/// The name of a lock. Holds no data of the record, see [`crate::record::RecordKey::lock_name`].
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

/// Exclusive locks by name, across processes, asked once at a time. Who waits, and how, is decided in [`local_queue`].
#[async_trait]
pub trait Locks: fmt::Debug + Send + Sync {
    /// Asks for the lock once.
    ///
    /// # Errors
    /// When it is not known whether it was given.
    async fn ask(&self, name: &LockName) -> Result<Asked, Error>;

    /// Starts the lease's life anew.
    ///
    /// # Errors
    /// When it is not known whether the lease lives on.
    async fn renew(&self, lease: &mut Lease) -> Result<Renewed, Error>;

    /// Gives the lock back. What cannot be given back lapses by itself, so this reports nothing.
    async fn release(&self, lease: Lease);

    /// What stands on the lock since the record's row was deleted; see [`Locks::bury`].
    ///
    /// # Errors
    /// When the storage gave no usable answer.
    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error>;

    /// Leaves a tombstone on the lock, in place of an earlier one: a line of ASCII that outlives the lease. The lease `id` must
    /// be alive, so that nobody else decides by the tombstone meanwhile.
    ///
    /// # Errors
    /// When it is not known whether it stands there.
    async fn bury(&self, name: &LockName, id: &str, tombstone: &str) -> Result<Buried, Error>;
}

/// What leaving a tombstone leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buried {
    /// It stands there.
    Done,
    /// The lease is not ours any more, and nothing was left.
    Lost,
}

/// What asking for a lock leads to.
#[derive(Debug)]
pub enum Asked {
    /// It is ours until the lease ends.
    Granted(Lease),
    /// Somebody else holds it.
    Held,
}

/// What asking for more time leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewed {
    /// The lease lives on.
    Extended,
    /// It is somebody else's, or nobody's.
    Lost,
}

/// The lock storage gave no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It refuses our identity or permissions; an operator can mend that.
    #[error("the lock storage refuses access ({status} {code})")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The service's code.
        code: String,
    },
    /// It answered with something that no lease operation should answer.
    #[error("the lock storage answered {status} {code}")]
    Service {
        /// HTTP status.
        status: u16,
        /// The service's code.
        code: String,
    },
    /// It could not be reached, or did not answer in time.
    #[error("the lock storage cannot be reached: {problem}")]
    Unreachable {
        /// What happened, without addresses.
        problem: String,
    },
    /// No token for it.
    #[error("no Entra ID token for the lock storage: {problem}")]
    Token {
        /// What happened.
        problem: String,
    },
}

/// The right to work on one record for a while.
///
/// Dropped without [`Locks::release`] it lapses by itself; that is what to do when a write's fate is unknown.
#[derive(Debug)]
pub struct Lease {
    name: LockName,
    id: String,
    begun: Instant,
    life: Duration,
    /// What this process knows of it beyond the storage.
    tenure: Option<local_queue::Tenure>,
}

impl Lease {
    /// A lease that began no later than `begun`.
    pub fn new(name: LockName, id: String, begun: Instant, life: Duration) -> Self {
        Self { name, id, begun, life, tenure: None }
    }

    /// The lock's name.
    pub fn name(&self) -> &LockName {
        &self.name
    }

    /// The lease id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The moment by which work under this lease must have stopped.
    pub fn deadline(&self) -> Instant {
        self.begun + self.life.saturating_sub(MARGIN)
    }

    /// The moment at which to ask for more time: a third of the life has passed.
    pub fn renewal_due(&self) -> Instant {
        self.begun + self.life / 3
    }

    /// Whether somebody in this process had it before, and handed it on.
    pub fn is_handed_on(&self) -> bool {
        self.tenure.as_ref().is_some_and(local_queue::Tenure::is_handed_on)
    }

    /// Counts the life from `begun` again.
    pub fn extend(&mut self, begun: Instant) {
        self.begun = begun;
    }
}

/// The lease ended before the work did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the lease ended before the work did")]
pub struct Lost;

/// Runs `work` inside the lease, renewing it as needed.
///
/// # Errors
/// [`Lost`] when the lease ended first. The work was dropped where it stood, so a request of it may still be under way.
async fn hold<T>(locks: &dyn Locks, lease: &mut Lease, work: impl Future<Output = T>) -> Result<T, Lost> {
    let mut work = pin!(work);
    let mut due = lease.renewal_due();
    loop {
        let deadline = lease.deadline();
        // A process that slept past its lease wakes with everything ready at once: the clock has the first word.
        let guarded = poll_fn(|cx| {
            if Instant::now() >= deadline {
                return Poll::Ready(Err(Lost));
            }
            work.as_mut().poll(cx).map(Ok)
        });
        tokio::select! {
            biased;
            done = guarded => return done,
            () = sleep_until(deadline) => return Err(Lost),
            renewed = renew_when(due, locks, lease) => match renewed {
                Ok(Renewed::Extended) => due = lease.renewal_due(),
                Ok(Renewed::Lost) => return Err(Lost),
                Err(error) => {
                    tracing::warn!(%error, "a lease could not be renewed yet");
                    due = Instant::now() + RENEW_AGAIN;
                }
            },
        }
    }
}

async fn renew_when(due: Instant, locks: &dyn Locks, lease: &mut Lease) -> Result<Renewed, Error> {
    sleep_until(due).await;
    renew_now(locks, lease).await
}

/// One renewal, with a deadline of its own.
async fn renew_now(locks: &dyn Locks, lease: &mut Lease) -> Result<Renewed, Error> {
    match timeout(RENEW_TIMEOUT, locks.renew(lease)).await {
        Ok(renewed) => renewed,
        Err(_) => Err(Error::Unreachable { problem: "no answer to a renewal in time".to_owned() }),
    }
}

#[cfg(test)]
mod tests;
