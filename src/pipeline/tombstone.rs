//! The version of a deleted row, kept with the record's lock, so that an older message does not create the row again.
//!
//! It is read and written under the lease only, so no other writer decides in between. It lives as long as the lock's blob: a
//! lifecycle rule that deletes old blobs sets its lifetime. Without locks there are no tombstones.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Settlement, order};
use crate::lock::local_queue::HeldLock;
use crate::lock::{LockName, Locks};
use crate::outcome::Reason;
use crate::record::Version;

/// The tombstone of one record.
pub(super) struct Tombstones {
    storage: Arc<dyn Locks>,
    name: LockName,
    lease_id: String,
}

impl Tombstones {
    /// The tombstone stored with the lock `held`.
    pub(super) fn new(held: &HeldLock) -> Self {
        let (name, lease_id) = (held.lease.name().clone(), held.lease.id().to_owned());
        Self { storage: held.storage(), name, lease_id }
    }

    /// Whether the row was deleted with this version or a newer one. Text that is not a version is ignored.
    pub(super) async fn covers(&self, version: Version) -> Result<bool, Settlement> {
        let text = self.storage.tombstone(&self.name).await.map_err(|error| Settlement::lock_storage(&error))?;
        let order = text.as_deref().and_then(order::parse).and_then(|deleted| order::compare(deleted, version));
        Ok(order.is_some_and(Ordering::is_ge))
    }

    /// Remembers that the row is deleted as of `version`, unless something newer is known.
    pub(super) async fn put(&self, version: Version) -> Result<(), Settlement> {
        if self.covers(version).await? {
            return Ok(());
        }
        match self.storage.put_tombstone(&self.name, &self.lease_id, &order::text(version)).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Settlement::new(Reason::LockLost).detail("the lease ended before the row was deleted")),
            Err(error) => Err(Settlement::lock_storage(&error)),
        }
    }
}
