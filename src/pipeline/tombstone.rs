//! The versions of deleted rows, kept with the record's lock, so that an older message does not create the row again.
//!
//! There is one entry per key, version column and kind of version, because each source counts for itself. The entries are read and
//! written under the lease only, so no other writer decides in between. They live as long as the lock's blob: a lifecycle rule
//! that deletes old blobs sets their lifetime. Without locks there are no tombstones.
//!
//! As text, entries are separated by blanks: `<key>/<column>/<version>`, and `/<row id>` where the row that was to be deleted
//! showed no version itself.

use std::cmp::Ordering;
use std::sync::Arc;

use uuid::Uuid;

use super::Settlement;
use super::order::{self, RecordVersion};
use crate::lock::local_queue::HeldLock;
use crate::lock::{LockName, Locks};
use crate::outcome::Reason;
use crate::record::{RecordKey, Version};

/// The tombstones of one record, and of those that share its lock.
pub(super) struct Tombstones {
    storage: Arc<dyn Locks>,
    name: LockName,
    lease_id: String,
    /// Names the record within its lock.
    key: String,
}

/// How a known deletion compares with a version.
struct Tombstone {
    version: Version,
    order: Ordering,
    /// The row, if it showed no version itself: it may still be there.
    row: Option<Uuid>,
}

impl Tombstones {
    /// The tombstones stored with the lock `held` on the record with this key.
    pub(super) fn new(held: &HeldLock, key: &RecordKey) -> Self {
        let (name, lease_id) = (held.lease.name().clone(), held.lease.id().to_owned());
        Self { storage: held.storage(), name, lease_id, key: key.tombstone_name() }
    }

    /// The version of a known deletion, if it is this one or newer. The same deletion of the `row` that is about to be deleted
    /// does not count: it was not completed.
    pub(super) async fn covering(
        &self,
        version: &RecordVersion<'_>,
        row: Option<Uuid>,
    ) -> Result<Option<Version>, Settlement> {
        let known = self.find(&self.read().await?, version);
        let covers =
            |known: &Tombstone| known.order.is_gt() || (known.order.is_eq() && (row.is_none() || known.row != row));
        Ok(known.filter(covers).map(|known| known.version))
    }

    /// Remembers that the row is deleted as of `version`, unless something newer is known.
    pub(super) async fn put(&self, version: &RecordVersion<'_>, row: Option<Uuid>) -> Result<(), Settlement> {
        let text = self.read().await?;
        if self.find(&text, version).is_some_and(|known| known.order.is_ge()) {
            return Ok(());
        }
        let others = text.split_whitespace().filter(|entry| self.parse(entry, version).is_none());
        let row = row.map(|row| format!("/{row}")).unwrap_or_default();
        let entry = format!("{}/{}/{}{row}", self.key, version.column, order::text(version.value));
        let text = others.chain([entry.as_str()]).collect::<Vec<_>>().join(" ");
        match self.storage.put_tombstone(&self.name, &self.lease_id, &text).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Settlement::new(Reason::LockLost).detail("the lease ended before the row was deleted")),
            Err(error) => Err(Settlement::lock_storage(&error)),
        }
    }

    async fn read(&self) -> Result<String, Settlement> {
        let text = self.storage.tombstone(&self.name).await.map_err(|error| Settlement::lock_storage(&error))?;
        Ok(text.unwrap_or_default())
    }

    fn find(&self, text: &str, version: &RecordVersion<'_>) -> Option<Tombstone> {
        text.split_whitespace().find_map(|entry| self.parse(entry, version))
    }

    /// An entry of this record, for the version's column and kind.
    fn parse(&self, entry: &str, version: &RecordVersion<'_>) -> Option<Tombstone> {
        let mut parts = entry.split('/');
        if (parts.next()?, parts.next()?) != (&self.key, version.column) {
            return None;
        }
        let stored = order::parse(parts.next()?)?;
        let order = order::compare(stored, version.value)?;
        Some(Tombstone { version: stored, order, row: parts.next().and_then(|row| Uuid::try_parse(row).ok()) })
    }
}
