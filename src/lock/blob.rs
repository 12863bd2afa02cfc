//! Leases on blobs: one empty blob per lock, in one container, both created when missing.
//!
//! Every acquire proposes a fresh id, so a request whose answer was lost can be repeated, and two deliveries of one message
//! never both believe to hold the lock.
//!
//! Only this module uses `azure_storage_blob`. The SDK's own retries are off: its default outlives a lease, and what
//! may be repeated is decided here, in one place.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/lease-blob>

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::RequestContent;
use azure_core::http::headers::HeaderName;
use azure_storage_blob::models::{
    BlobClientAcquireLeaseOptions, BlobClientSetMetadataOptions, BlockBlobClientUploadOptions,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use futures::FutureExt as _;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::{Asked, Buried, Error, Lease, LockName, Locks, Renewed};
use crate::storage::Connection;

/// One request to the storage must be answered within this time.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A request without a usable answer is repeated at most this often.
const MOST_REPEATS: u32 = 2;

/// The pause before a request is repeated, on average.
const REPEAT_PAUSE: Duration = Duration::from_millis(150);

/// The blob's metadata that holds a tombstone: written with the lease's id, and gone with the blob.
/// <https://learn.microsoft.com/rest/api/storageservices/set-blob-metadata>
const TOMBSTONE: &str = "tombstone";
const TOMBSTONE_HEADER: HeaderName = HeaderName::from_static("x-ms-meta-tombstone");

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
        let url = connection.within(container);
        let container = BlobContainerClient::new(url, connection.credential(), Some(options))?;
        Ok(Self { container, life })
    }

    /// Whether the lease was given; it was not when somebody else holds it.
    async fn ask_as(&self, blob: &BlobClient, id: &str) -> Result<bool, Error> {
        let seconds = i32::try_from(self.life.as_secs()).expect("a lease lives 15 to 60 seconds");
        // Two creations at most: the container, then the blob.
        for _ in 0..3 {
            let options =
                BlobClientAcquireLeaseOptions { proposed_lease_id: Some(id.to_owned()), ..Default::default() };
            match request(blob.acquire_lease(seconds, Some(options))).await {
                Ok(_) => return Ok(true),
                Err(Failure::Service { status: 409, code }) if code.starts_with("LeaseAlreadyPresent") => {
                    return Ok(false);
                }
                // A lease that somebody broke keeps others out until it ends.
                Err(Failure::Service { status: 409, code }) if code == "LeaseIsBreakingAndCannotBeAcquired" => {
                    return Ok(false);
                }
                // On the heap: it is rare, and takes more room than all the rest.
                Err(Failure::Service { status: 404, code }) => Box::pin(self.create(blob, &code)).await?,
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
}

#[async_trait]
impl Locks for BlobLocks {
    async fn ask(&self, name: &LockName) -> Result<Asked, Error> {
        let blob = self.container.blob_client(name.as_str());
        let id = Uuid::new_v4().to_string();
        let mut repeats = 0;
        loop {
            let begun = Instant::now();
            let granted = self.ask_as(&blob, &id).await;
            let again = matches!(&granted, Err(Error::Unreachable { .. }))
                || matches!(&granted, Err(Error::Service { status, .. }) if *status >= 500);
            if again && repeats < MOST_REPEATS {
                repeats += 1;
                sleep(REPEAT_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
                continue;
            }
            return Ok(if granted? {
                Asked::Granted(Lease::new(name.clone(), id, begun, self.life))
            } else {
                Asked::Held
            });
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

    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error> {
        let blob = self.container.blob_client(name.as_str());
        match repeated(|| blob.get_properties(None)).await {
            Ok(answer) => Ok(answer.headers().get_optional_string(&TOMBSTONE_HEADER)),
            // A blob that somebody deleted has taken its tombstone along.
            Err(Failure::Service { status: 404, .. }) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn bury(&self, name: &LockName, id: &str, tombstone: &str) -> Result<Buried, Error> {
        let blob = self.container.blob_client(name.as_str());
        let metadata = HashMap::from([(TOMBSTONE.to_owned(), tombstone.to_owned())]);
        let options = || BlobClientSetMetadataOptions { lease_id: Some(id.to_owned()), ..Default::default() };
        match repeated(|| blob.set_metadata(&metadata, Some(options()))).await {
            Ok(_) => Ok(Buried::Done),
            Err(Failure::Service { status: 404 | 409 | 412, .. }) => Ok(Buried::Lost),
            Err(failure) => Err(failure.into()),
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

/// A request that may be made twice, made again where it got no usable answer.
async fn repeated<T, R>(make: impl Fn() -> R) -> Result<T, Failure>
where
    R: Future<Output = azure_core::Result<T>>,
{
    for _ in 0..MOST_REPEATS {
        match request(make()).await {
            Err(Failure::Unreachable { .. } | Failure::Service { status: 500.., .. }) => {
                sleep(REPEAT_PAUSE.mul_f64(0.5 + fastrand::f64())).await;
            }
            settled => return settled,
        }
    }
    request(make()).await
}

/// Makes it within its time. An `async fn` would keep room for the request twice: as it came, and as it runs.
fn request<T>(request: impl Future<Output = azure_core::Result<T>>) -> impl Future<Output = Result<T, Failure>> {
    timeout(REQUEST_TIMEOUT, request).map(|answer| match answer {
        Ok(answered) => answered.map_err(|error| failure(&error)),
        Err(_) => Err(Failure::Unreachable { problem: "no answer in time".to_owned() }),
    })
}

fn failure(error: &azure_core::Error) -> Failure {
    match error.kind() {
        ErrorKind::HttpResponse { status, error_code, .. } => {
            Failure::Service { status: (*status).into(), code: error_code.clone().unwrap_or_default() }
        }
        ErrorKind::Connection => Failure::Unreachable { problem: "no connection".to_owned() },
        ErrorKind::Io => Failure::Unreachable { problem: "the connection broke".to_owned() },
        ErrorKind::Credential => Failure::Token { problem: crate::identity::problem(error) },
        _ => Failure::Unreachable { problem: "the answer was not understood".to_owned() },
    }
}
