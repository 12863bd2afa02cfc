//! What is left of a deleted row: its version, on the record's lock, so that an older message does not bring the row back.
//!
//! It is read and written under the lease only, so between the two nobody else decides. It lives as long as the lock's blob
//! does: a lifecycle rule that deletes old blobs says for how long. Without locks there is none.

use std::cmp::Ordering;

use super::{End, order};
use crate::classify;
use crate::lock::local_queue::Local;
use crate::lock::{Buried, Lease, LockName};
use crate::outcome::Reason;
use crate::record::Version;

/// The place for one record's tombstone.
pub(super) struct Grave<'a> {
    locks: &'a Local,
    name: LockName,
    lease: String,
}

impl<'a> Grave<'a> {
    /// On the lock that `lease` is about.
    pub(super) fn new(locks: &'a Local, lease: &Lease) -> Self {
        Self { locks, name: lease.name().clone(), lease: lease.id().to_owned() }
    }

    /// The version with which the row was deleted. What is no version is nobody's tombstone.
    pub(super) async fn version(&self) -> Result<Option<Version>, End> {
        match self.locks.tombstone(&self.name).await {
            Ok(text) => Ok(text.as_deref().and_then(order::parse)),
            Err(error) => Err(End::because(classify::judge_locks(&error)).detail(error.to_string())),
        }
    }

    /// Remembers that the row is deleted as of `version`, unless something newer is known.
    pub(super) async fn bury(&self, version: Version) -> Result<(), End> {
        let known = self.version().await?.and_then(|known| order::compare(known, version));
        if matches!(known, Some(Ordering::Greater | Ordering::Equal)) {
            return Ok(());
        }
        match self.locks.bury(&self.name, &self.lease, &order::text(version)).await {
            Ok(Buried::Done) => Ok(()),
            Ok(Buried::Lost) => {
                Err(End::because(Reason::LockLost).detail("the lease ended before the row was deleted"))
            }
            Err(error) => Err(End::because(classify::judge_locks(&error)).detail(error.to_string())),
        }
    }
}
