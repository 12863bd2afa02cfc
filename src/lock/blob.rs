//! Leases on blobs: one empty blob per lock, in one container, both created when missing.
//!
//! Every acquire proposes a fresh lease id, so a request whose answer was lost can be repeated, and two deliveries of one message
//! never both hold the lock.
//!
//! Only this module uses `azure_storage_blob`.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/lease-blob>

pub(crate) mod held;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use azure_core::http::RequestContent;
use azure_core::http::headers::HeaderName;
use azure_storage_blob::models::{
    BlobClientAcquireLeaseOptions, BlobClientSetMetadataOptions, BlockBlobClientUploadOptions,
};
use azure_storage_blob::{BlobClient, BlobContainerClient, BlobContainerClientOptions};
use tokio::time::Instant;
use uuid::Uuid;

use super::{Error, Lease, LockName, Locks};
use crate::storage::{Connection, RetryPolicy};

/// Short: a lease lives for seconds, and the host delivers the message again.
static RETRIES: RetryPolicy =
    RetryPolicy { request_timeout: Duration::from_secs(5), max_retries: 2, first_pause: Duration::from_millis(150) };

/// The bytes of an answer that are read: only error answers have a body.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The blob's metadata that holds a tombstone: written under the lease, and deleted with the blob.
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
    /// Locks in `container` of the account of `connection`; leases live for `life`, 15 to 60 s.
    ///
    /// # Errors
    /// When no client can be made for that address.
    pub fn new(connection: &Connection, container: &str, life: Duration) -> azure_core::Result<Self> {
        let options = BlobContainerClientOptions {
            client_options: connection.client_options(MAX_BODY_BYTES),
            ..Default::default()
        };
        let url = connection.url(container);
        let container = BlobContainerClient::new(url, connection.credential(), Some(options))?;
        Ok(Self { container, life })
    }

    fn blob(&self, name: &LockName) -> BlobClient {
        self.container.blob_client(name.as_str())
    }

    /// When the granted lease began; `None` if another holder has the lock.
    async fn acquire_as(&self, blob: &BlobClient, id: &str) -> Result<Option<Instant>, Error> {
        let seconds = i32::try_from(self.life.as_secs()).expect("a lease lives 15 to 60 seconds");
        // At most two creations: the container, then the blob.
        for _ in 0..3 {
            let options =
                BlobClientAcquireLeaseOptions { proposed_lease_id: Some(id.to_owned()), ..Default::default() };
            let begun = Instant::now();
            match RETRIES.once(blob.acquire_lease(seconds, Some(options))).await {
                Ok(_) => return Ok(Some(begun)),
                Err(Error::Service { status: 409, code })
                    // A broken lease still excludes others until it ends.
                    if code.starts_with("LeaseAlreadyPresent") || code == "LeaseIsBreakingAndCannotBeAcquired" =>
                {
                    return Ok(None);
                }
                Err(Error::Service { status: 404, code }) => self.create(blob, &code).await?,
                Err(error) => return Err(error),
            }
        }
        Err(Error::Service { status: 404, code: "BlobNotFound".to_owned() })
    }

    async fn create(&self, blob: &BlobClient, missing: &str) -> Result<(), Error> {
        if missing == "ContainerNotFound" {
            return match RETRIES.once(self.container.create(None)).await {
                Err(Error::Service { code, .. }) if code == "ContainerAlreadyExists" => Ok(()),
                created => created.map(|_| ()),
            };
        }
        let options = BlockBlobClientUploadOptions::default().if_not_exists();
        match RETRIES.once(blob.block_blob_client().upload(RequestContent::from(Vec::new()), Some(options))).await {
            // Another process created it, and may hold it already.
            Err(Error::Service { code, .. })
                if ["BlobAlreadyExists", "ConditionNotMet", "LeaseIdMissing"].contains(&code.as_str()) =>
            {
                Ok(())
            }
            created => created.map(|_| ()),
        }
    }
}

/// Whether a lease has ended, or was deleted with its blob. Other refusals, for example by a policy that makes the blob immutable,
/// say nothing about the lease.
/// <https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes>
fn is_lease_gone(error: &Error) -> bool {
    match error {
        Error::Service { status: 404, .. } => true,
        Error::Service { status, code } => matches!(status, 409 | 412) && code.starts_with("Lease"),
        Error::Refused { .. } | Error::Unreachable { .. } | Error::NotUnderstood | Error::Token { .. } => false,
    }
}

#[async_trait]
impl Locks for BlobLocks {
    async fn try_acquire(&self, name: &LockName) -> Result<Option<Lease>, Error> {
        let (blob, id) = (self.blob(name), Uuid::new_v4().to_string());
        let begun = RETRIES.run(|| self.acquire_as(&blob, &id)).await.result?;
        Ok(begun.map(|begun| Lease::new(name.clone(), id, begun, self.life)))
    }

    async fn renew(&self, lease: &mut Lease) -> Result<bool, Error> {
        let begun = Instant::now();
        match RETRIES.once(self.blob(lease.name()).renew_lease(lease.id().to_owned(), None)).await {
            Ok(_) => {
                lease.extend(begun);
                Ok(true)
            }
            Err(error) if is_lease_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self, lease: Lease) {
        let blob = self.blob(lease.name());
        match RETRIES.run(|| RETRIES.once(blob.release_lease(lease.id().to_owned(), None))).await.result {
            Ok(_) => {}
            // Released before (the answer was lost), or expired and taken.
            Err(error) if is_lease_gone(&error) => {}
            Err(error) => {
                tracing::warn!(%error, lock = %lease.name(), "a lease was not released; it expires by itself");
            }
        }
    }

    async fn tombstone(&self, name: &LockName) -> Result<Option<String>, Error> {
        let blob = self.blob(name);
        match RETRIES.run(|| RETRIES.once(blob.get_properties(None))).await.result {
            Ok(answer) => Ok(answer.headers().get_optional_string(&TOMBSTONE_HEADER)),
            // The tombstone is deleted with its blob.
            Err(Error::Service { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn put_tombstone(&self, name: &LockName, id: &str, tombstone: &str) -> Result<bool, Error> {
        let blob = self.blob(name);
        let metadata = HashMap::from([(TOMBSTONE.to_owned(), tombstone.to_owned())]);
        let options = || BlobClientSetMetadataOptions { lease_id: Some(id.to_owned()), ..Default::default() };
        match RETRIES.run(|| RETRIES.once(blob.set_metadata(&metadata, Some(options())))).await.result {
            Ok(_) => Ok(true),
            Err(error) if is_lease_gone(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }
}
