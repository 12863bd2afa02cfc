//! A record with a version: reads the row, and writes only a newer version, on the condition that the row has not changed since.
//!
//! Correct whatever the lock does: the row's own version and ETag decide. A deleted row has neither, so a delete stores its version
//! with the lock (see `tombstone.rs`) before it deletes the row.

use std::cmp::Ordering;

use tokio::time::timeout;
use uuid::Uuid;

use super::Settlement;
use super::order::{self, RecordVersion, Stored};
use super::write::{MAX_READS, Past, READ_BACK_TIMEOUT, Writer, as_sent, collision, pause, unidentified};
use crate::classify::{Attempt, Verdict, judge};
use crate::dataverse::{Error, Row, WriteKind};
use crate::outcome::Reason;
use crate::record::Operation;

/// What to send, and on what condition.
struct Step {
    kind: WriteKind,
    etag: Option<String>,
    id: Option<Uuid>,
}

impl Writer<'_> {
    /// With a version: never overwrites a newer one.
    pub(super) async fn in_order(&self, version: &RecordVersion<'_>) -> Settlement {
        let mut past = Past::default();
        for reads in 1..=MAX_READS {
            if let Err(end) = self.one_round(version, &mut past, reads == MAX_READS).await {
                return end;
            }
            pause(reads).await;
        }
        Settlement::new(Reason::Conflict).detail("the row kept changing while it was read and written")
    }

    /// An error is the end of the attempt, whatever its reason.
    async fn one_round(&self, version: &RecordVersion<'_>, past: &mut Past, last: bool) -> Result<(), Settlement> {
        let step = self.next_step(version, past).await?;
        let fault = match self.send(step.kind, step.etag.as_deref(), step.id).await {
            Ok(reason) => return Err(Settlement::new(reason)),
            Err(fault) if fault.is_ambiguous() => return Err(self.resolve_conditional_write(version, fault).await),
            Err(fault) => fault,
        };
        match judge(&fault, Attempt { kind: step.kind, binds: self.binds, again: past.again }) {
            Verdict::Settle(reason) => Err(Settlement::refused(reason, fault)),
            Verdict::Again => {
                past.again += 1;
                Ok(())
            }
            Verdict::RowOrParent if self.is_present().await? => Err(Settlement::refused(Reason::ParentMissing, fault)),
            // Refused twice while no row has our key: another unique key, or the recycle bin.
            Verdict::LostRace if !past.seen && past.resends > 0 => Err(collision(fault)),
            Verdict::LostRace | Verdict::Moved if last => Err(Settlement::refused(Reason::Conflict, fault)),
            Verdict::LostRace => {
                past.resends += 1;
                Ok(())
            }
            // It was read a moment ago, so it was changed or deleted since.
            Verdict::RowOrParent | Verdict::Moved => Ok(()),
        }
    }

    /// What to send for the row as it is, or the settlement without sending.
    async fn next_step(&self, version: &RecordVersion<'_>, past: &mut Past) -> Result<Step, Settlement> {
        let columns = [version.column.to_owned()];
        let row = self.read(&columns).await?;
        past.seen |= row.is_some();
        let delete = self.record.operation == Operation::Delete;
        let Some(row) = row else {
            if delete {
                // The version is remembered, as the row's creation may arrive later.
                self.put_tombstone(version, None).await?;
                return Err(Settlement::new(Reason::AlreadyAbsent));
            }
            self.check_tombstone(version, None).await?;
            if self.record.operation == Operation::Update {
                return Err(Settlement::new(Reason::NotFound).detail("there is no row to update"));
            }
            return Ok(Step { kind: WriteKind::Create, etag: None, id: None });
        };
        let mut unversioned = None;
        match order::stored(&row, version.column) {
            // Another source may have created the row again after this one had deleted it.
            Stored::Nothing => {
                unversioned = if delete { Some(row.id(&columns).ok_or_else(unidentified)?) } else { None };
                self.check_tombstone(version, unversioned).await?;
            }
            stored @ (Stored::Version(_) | Stored::Unreadable) => {
                if !is_newer(version, &stored)? {
                    return Err(Settlement::new(Reason::Superseded));
                }
            }
        }
        if delete {
            // First the tombstone: from then on an older message cannot create the row again.
            self.put_tombstone(version, unversioned).await?;
        }
        let id = if self.is_unaddressable() { Some(row.id(&columns).ok_or_else(unidentified)?) } else { None };
        Ok(Step {
            kind: if delete { WriteKind::DeleteUnchanged } else { WriteKind::UpdateUnchanged },
            etag: row.etag(),
            id,
        })
    }

    /// A row without a version, missing or present, may be written unless a deletion with this version or a newer one is known.
    /// `deleting` is the row that is to be deleted.
    pub(super) async fn check_tombstone(
        &self,
        version: &RecordVersion<'_>,
        deleting: Option<Uuid>,
    ) -> Result<(), Settlement> {
        let Some(tombstones) = &self.tombstones else { return Ok(()) };
        if tombstones.covers(version, deleting).await? {
            let detail = "the row was deleted with this version or a newer one";
            return Err(Settlement::new(Reason::Superseded).detail(detail));
        }
        Ok(())
    }

    async fn put_tombstone(&self, version: &RecordVersion<'_>, row: Option<Uuid>) -> Result<(), Settlement> {
        let Some(tombstones) = &self.tombstones else { return Ok(()) };
        tombstones.put(version, row).await
    }

    /// An ambiguous conditional write must not be repeated before a read: the row's version shows whether it was made.
    async fn resolve_conditional_write(&self, version: &RecordVersion<'_>, fault: Error) -> Settlement {
        let read = timeout(READ_BACK_TIMEOUT, self.read(&[version.column.to_owned()])).await;
        let delete = self.record.operation == Operation::Delete;
        match read {
            Ok(Ok(None)) if delete => as_sent(Reason::Deleted, fault),
            Ok(Ok(Some(row))) if !delete && is_equal(version, &row) => as_sent(Reason::Upserted, fault),
            _ => Settlement::refused(Reason::Unavailable, fault),
        }
    }
}

fn is_newer(version: &RecordVersion<'_>, stored: &Stored) -> Result<bool, Settlement> {
    let order = match stored {
        Stored::Nothing => return Ok(true),
        Stored::Version(stored) => order::compare(version.value, *stored),
        Stored::Unreadable => None,
    };
    order.map(|order| order == Ordering::Greater).ok_or_else(|| incomparable(version))
}

fn is_equal(version: &RecordVersion<'_>, row: &Row) -> bool {
    match order::stored(row, version.column) {
        Stored::Version(stored) => order::compare(version.value, stored) == Some(Ordering::Equal),
        Stored::Nothing | Stored::Unreadable => false,
    }
}

fn incomparable(version: &RecordVersion<'_>) -> Settlement {
    let text =
        format!("the row's {} cannot be compared with `version`: one is a number, the other is not", version.column);
    Settlement::new(Reason::InvalidData).detail(text)
}
