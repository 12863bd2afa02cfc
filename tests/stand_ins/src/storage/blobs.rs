//! The state of the blob service: containers, block blobs and their leases.
//!
//! Independent of HTTP except for its errors. Invariants: an ETag is never reused; a blob's ETag and modification time
//! change with its content or metadata, never with its lease; a deleted container's name stays reserved for 30 seconds,
//! see <https://learn.microsoft.com/rest/api/storageservices/delete-container>.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use time::OffsetDateTime;
use tokio::time::Instant;

use super::call::Metadata;
use super::error::{BLOB_NOT_FOUND, CONTAINER_ALREADY_EXISTS, CONTAINER_BEING_DELETED, CONTAINER_NOT_FOUND, Result};
use super::lease::Lease;
use super::reply::Now;

/// How long a deleted container's name stays reserved.
pub(super) const DELETION: Duration = Duration::from_secs(30);
/// Makes ETags look like the service's.
const FIRST_ETAG: u64 = 0x8DE_0000_0000_0000;

/// All containers.
#[derive(Debug, Default)]
pub(super) struct Blobs {
    pub(super) containers: BTreeMap<String, Container>,
    deleted: HashMap<String, Instant>,
    writes: u64,
}

/// A container.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) blobs: BTreeMap<String, Blob>,
    pub(super) metadata: Metadata,
    pub(super) stamp: Stamp,
}

/// A block blob.
#[derive(Debug)]
pub(super) struct Blob {
    pub(super) content: Bytes,
    pub(super) content_type: String,
    pub(super) metadata: Metadata,
    pub(super) stamp: Stamp,
    pub(super) lease: Lease,
}

impl Blob {
    /// An empty blob without metadata or a lease.
    pub(super) fn empty(stamp: Stamp) -> Self {
        let content_type = "application/octet-stream".to_owned();
        Self { content: Bytes::new(), content_type, metadata: Metadata::new(), stamp, lease: Lease::Available }
    }
}

/// When something was last written.
#[derive(Debug, Clone)]
pub(super) struct Stamp {
    /// With quotes, as in headers.
    pub(super) etag: String,
    pub(super) modified: OffsetDateTime,
}

impl Blobs {
    /// The stamp for a write at this moment.
    pub(super) fn stamp(&mut self, now: Now) -> Stamp {
        self.writes += 1;
        Stamp { etag: format!("\"0x{:X}\"", FIRST_ETAG + self.writes), modified: now.utc }
    }

    /// Creates a container.
    pub(super) fn create(&mut self, name: &str, metadata: Metadata, now: Now) -> Result<&Container> {
        self.deleted.retain(|_, until| *until > now.instant);
        if self.deleted.contains_key(name) {
            return Err(CONTAINER_BEING_DELETED);
        }
        if self.containers.contains_key(name) {
            return Err(CONTAINER_ALREADY_EXISTS);
        }
        let container = Container { blobs: BTreeMap::new(), metadata, stamp: self.stamp(now) };
        Ok(self.containers.entry(name.to_owned()).or_insert(container))
    }

    /// Deletes a container and all its blobs, including leased ones.
    pub(super) fn delete(&mut self, name: &str, now: Now) -> Result<()> {
        self.containers.remove(name).ok_or(CONTAINER_NOT_FOUND)?;
        self.deleted.insert(name.to_owned(), now.instant + DELETION);
        Ok(())
    }

    /// A container, or the error that it does not exist.
    pub(super) fn container(&self, name: &str) -> Result<&Container> {
        self.containers.get(name).ok_or(CONTAINER_NOT_FOUND)
    }

    /// Like [`Self::container`], mutable.
    pub(super) fn container_mut(&mut self, name: &str) -> Result<&mut Container> {
        self.containers.get_mut(name).ok_or(CONTAINER_NOT_FOUND)
    }

    /// A blob, or the error that it does not exist.
    pub(super) fn blob(&self, container: &str, name: &str) -> Result<&Blob> {
        self.container(container)?.blobs.get(name).ok_or(BLOB_NOT_FOUND)
    }

    /// Like [`Self::blob`], mutable.
    pub(super) fn blob_mut(&mut self, container: &str, name: &str) -> Result<&mut Blob> {
        self.container_mut(container)?.blobs.get_mut(name).ok_or(BLOB_NOT_FOUND)
    }

    /// Every blob with its container's name and its own, sorted.
    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &str, &Blob)> {
        self.containers.iter().flat_map(|(container, held)| {
            held.blobs.iter().map(move |(name, blob)| (container.as_str(), name.as_str(), blob))
        })
    }

    /// Like [`Self::all`], mutable.
    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = (&str, &str, &mut Blob)> {
        self.containers.iter_mut().flat_map(|(container, held)| {
            held.blobs.iter_mut().map(move |(name, blob)| (container.as_str(), name.as_str(), blob))
        })
    }
}
