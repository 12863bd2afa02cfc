//! Leases on blobs: one empty blob per lock, in one container, both created when missing.
//!
//! Every acquire proposes a fresh id, so a request whose answer was lost can be repeated, and two deliveries of one message
//! never both believe to hold the lock. A waiter polls with exponential back-off and jitter.
//!
//! Only this module uses `azure_storage_blob`. The SDK's own retries are off: its default outlives a lease, and what may be
//! repeated here is decided in [`BlobLocks::repeat`].
//!
//! <https://learn.microsoft.com/rest/api/storageservices/lease-blob>

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::RequestContent;
use azure_storage_blob::models::{BlobClientAcquireLeaseOptions, BlockBlobClientUploadOptions};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use uuid::Uuid;

use super::{Acquired, Error, LONGEST_PAUSE, Lease, LockName, Locks, Renewed};
use crate::connection::Connection;

/// One request to the storage must be answered within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A request without a usable answer is repeated at most this often.
const MOST_REPEATS: u32 = 2;

/// First pause of a waiter. A held lock is usually free again after one write, about 100 ms.
const FIRST_PAUSE: Duration = Duration::from_millis(60);

/// The lease was created, or is held by someone else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asked {
    Granted,
    Held,
}

/// Locks as leases on the blobs of one container.
pub struct BlobLocks {
    container: BlobContainerClient,
    life: Duration,
}

impl fmt::Debug for BlobLocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobLocks").field("life", &self.life).finish_non_exhaustive()
    }
}

impl BlobLocks {
    /// Locks in `container` of the storage that `connection` names; leases live for `life`, 15 to 60 s.
    ///
    /// # Errors
    /// When no client can be made for that address.
    pub fn new(connection: &Connection, container: &str, life: Duration) -> azure_core::Result<Self> {
        let options = BlobContainerClientOptions { client_options: connection.client_options(), ..Default::default() };
        let url = connection.container(container);
        let container = BlobContainerClient::new(url, connection.credential(), Some(options))?;
        Ok(Self { container, life })
    }

    async fn ask(&self, blob: &BlobClient, id: &str) -> Result<Asked, Error> {
        let seconds = i32::try_from(self.life.as_secs()).expect("a lease lives 15 to 60 seconds");
        // Two creations at most: the container, then the blob.
        for _ in 0..3 {
            let options =
                BlobClientAcquireLeaseOptions { proposed_lease_id: Some(id.to_owned()), ..Default::default() };
            match request(blob.acquire_lease(seconds, Some(options))).await {
                Ok(_) => return Ok(Asked::Granted),
                Err(Failure::Service { status: 409, code }) if code.starts_with("LeaseAlreadyPresent") => {
                    return Ok(Asked::Held);
                }
                // A lease that somebody broke keeps others out until it ends.
                Err(Failure::Service { status: 409, code }) if code == "LeaseIsBreakingAndCannotBeAcquired" => {
                    return Ok(Asked::Held);
                }
                Err(Failure::Service { status: 404, code }) => self.create(blob, &code).await?,
                Err(failure) => return Err(failure.into()),
            }
        }
        Err(Error::Service { status: 404, code: "BlobNotFound".to_owned() })
    }

    async fn create(&self, blob: &BlobClient, missing: &str) -> Result<(), Error> {
        if missing == "ContainerNotFound" {
            return match request(self.container.create(None)).await {
                Ok(_) => Ok(()),
                Err(Failure::Service { code, .. }) if code == "ContainerAlreadyExists" => Ok(()),
                Err(failure) => Err(failure.into()),
            };
        }
        let options = BlockBlobClientUploadOptions::default().if_not_exists();
        match request(blob.block_blob_client().upload(RequestContent::from(Vec::new()), Some(options))).await {
            // 409 or 412: somebody else created it, and may hold it already.
            Ok(_) | Err(Failure::Service { status: 409 | 412, .. }) => Ok(()),
            Err(failure) => Err(failure.into()),
        }
    }

    /// Repeats what is safe to repeat: the proposed id makes an acquire whose answer was lost harmless.
    async fn repeat(&self, blob: &BlobClient, id: &str, deadline: Instant) -> (Instant, Result<Asked, Error>) {
        let mut repeats = 0;
        loop {
            let begun = Instant::now();
            let asked = self.ask(blob, id).await;
            let again = matches!(&asked, Err(Error::Unreachable { .. }))
                || matches!(&asked, Err(Error::Service { status, .. }) if *status >= 500);
            let pause = jitter(FIRST_PAUSE * 2u32.pow(repeats + 1));
            if !again || repeats == MOST_REPEATS || Instant::now() + pause >= deadline {
                return (begun, asked);
            }
            repeats += 1;
            sleep(pause).await;
        }
    }
}

#[async_trait]
impl Locks for BlobLocks {
    async fn acquire(&self, name: &LockName, wait: Duration) -> Result<Acquired, Error> {
        let blob = self.container.blob_client(name.as_str());
        let id = Uuid::new_v4().to_string();
        let deadline = Instant::now() + wait;
        let mut pause = FIRST_PAUSE;
        loop {
            let (begun, asked) = self.repeat(&blob, &id, deadline).await;
            if asked? == Asked::Granted {
                return Ok(Acquired::Held(Lease::new(name.clone(), id, begun, self.life)));
            }
            let next = Instant::now() + jitter(pause);
            if next >= deadline {
                return Ok(Acquired::Busy);
            }
            sleep_until(next).await;
            pause = (pause * 3 / 2).min(LONGEST_PAUSE);
        }
    }

    async fn renew(&self, lease: &mut Lease) -> Result<Renewed, Error> {
        let blob = self.container.blob_client(lease.name().as_str());
        let begun = Instant::now();
        match request(blob.renew_lease(lease.id().to_owned(), None)).await {
            Ok(_) => {
                lease.extend(begun);
                Ok(Renewed::Extended)
            }
            // A blob that is gone has taken its lease along.
            Err(Failure::Service { status: 404 | 409 | 412, .. }) => Ok(Renewed::Lost),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn release(&self, lease: Lease) {
        let blob = self.container.blob_client(lease.name().as_str());
        for _ in 0..=MOST_REPEATS {
            match request(blob.release_lease(lease.id().to_owned(), None)).await {
                // 409: released before (the answer was lost), or lapsed and taken. 404: the blob is gone.
                Ok(_) | Err(Failure::Service { status: 404 | 409 | 412, .. }) => return,
                Err(failure) => {
                    let error = Error::from(failure);
                    tracing::warn!(%error, lock = %lease.name(), "a lease was not released; it lapses by itself");
                    if !matches!(error, Error::Unreachable { .. }) {
                        return;
                    }
                }
            }
        }
    }
}

/// What one request met.
#[derive(Debug)]
enum Failure {
    Service { status: u16, code: String },
    Unreachable { problem: String },
    Token { problem: String },
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Service { status: status @ (401 | 403), code } => Self::Refused { status, code },
            Failure::Service { status, code } => Self::Service { status, code },
            Failure::Unreachable { problem } => Self::Unreachable { problem },
            Failure::Token { problem } => Self::Token { problem },
        }
    }
}

async fn request<T>(request: impl Future<Output = azure_core::Result<T>>) -> Result<T, Failure> {
    let error = match timeout(REQUEST_TIMEOUT, request).await {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(error)) => error,
        Err(_) => return Err(Failure::Unreachable { problem: "no answer in time".to_owned() }),
    };
    Err(match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            Failure::Service { status: (*status).into(), code: error_code.clone().unwrap_or_default() }
        }
        ErrorKind::Connection => Failure::Unreachable { problem: "no connection".to_owned() },
        ErrorKind::Io => Failure::Unreachable { problem: "the connection broke".to_owned() },
        ErrorKind::Credential => Failure::Token { problem: crate::identity::problem(&error) },
        _ => Failure::Unreachable { problem: "the answer was not understood".to_owned() },
    })
}

/// Between half of the pause and all of it, so that waiters do not poll in step.
fn jitter(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64() / 2.0)
}
