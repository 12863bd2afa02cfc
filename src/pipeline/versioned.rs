//! A record with a version: reads the row, and writes only a newer version, on the condition that the row has not changed since.
//!
//! Correct whatever the lock does: the row's own version and ETag decide. A deleted row has neither, so a delete stores its version
//! with the lock (see `tombstone.rs`) before it deletes the row.

use std::cmp::Ordering;

use time::OffsetDateTime;
use tokio::time::{timeout, timeout_at};
use tracing::warn;
use uuid::Uuid;

use super::order::{self, RecordVersion, Stored};
use super::write::{MAX_READS, Past, READ_BACK_TIMEOUT, Writer, as_sent, collision, pause, unidentified};
use super::{MIN_WRITE_TIME, Settlement};
use crate::classify::{FailureScope, Verdict, judge};
use crate::dataverse::{Error, ReadAccess, Row, Write};
use crate::outcome::Reason;
use crate::record::Operation;

/// The next request and its condition.
enum Step {
    /// There is no row.
    Create,
    /// The row has this ETag. Its primary key is needed where the record's key cannot be part of a URL.
    Change { etag: String, deletes: bool, id: Option<Uuid> },
}

impl Step {
    fn write(&self) -> Write<'_> {
        match self {
            Self::Create => Write::Create,
            Self::Change { etag, deletes: true, .. } => Write::DeleteUnchanged(etag),
            Self::Change { etag, deletes: false, .. } => Write::UpdateUnchanged(etag),
        }
    }

    fn id(&self) -> Option<Uuid> {
        match self {
            Self::Create => None,
            Self::Change { id, .. } => *id,
        }
    }
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

    /// An error ends the attempt, also with a reason that is not a failure.
    async fn one_round(&self, version: &RecordVersion<'_>, past: &mut Past, last: bool) -> Result<(), Settlement> {
        let step = self.next_step(version, past).await?;
        let sent = match (&step, &self.state) {
            (Step::Create, Some(state)) => self.send_with_state(state, Write::Create, past).await?,
            _ => self.send(step.write(), step.id()).await,
        };
        let fault = match sent {
            Ok(reason) => return Err(Settlement::new(reason)),
            Err(fault) if fault.is_ambiguous() => return Err(self.resolve_conditional_write(version, fault).await),
            Err(fault) => fault,
        };
        match judge(&fault, self.attempt(step.write().kind(), past.again)) {
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
            return Ok(Step::Create);
        };
        let mut unversioned = None;
        match order::stored(&row, version.column) {
            // Another source may have created the row again after this one had deleted it.
            Stored::Nothing => {
                unversioned = if delete { Some(row.id(&columns).ok_or_else(unidentified)?) } else { None };
                self.check_tombstone(version, unversioned).await?;
                self.check_visible(version.column).await?;
            }
            stored @ (Stored::Version(_) | Stored::Unreadable) => {
                self.visible.add(&self.record.table, version.column);
                let is_newer = is_newer(version, &stored);
                if !matches!(is_newer, Ok(true)) {
                    self.log_implausible(version, &stored);
                }
                if !is_newer? {
                    return Err(Settlement::new(Reason::Superseded));
                }
            }
        }
        let Some(etag) = row.etag() else { return Err(self.without_etag().await) };
        if delete {
            // First the tombstone: from then on an older message cannot create the row again.
            self.put_tombstone(version, unversioned).await?;
        }
        let id = if self.is_unaddressable() { Some(row.id(&columns).ok_or_else(unidentified)?) } else { None };
        Ok(Step::Change { etag, deletes: delete, id })
    }

    /// No version is older than every other only where it is known not to be hidden.
    pub(super) async fn check_visible(&self, column: &str) -> Result<(), Settlement> {
        if self.visible.contains(&self.record.table, column) {
            return Ok(());
        }
        let columns = [column.to_owned()];
        let access = self.look(self.store.read_access(&self.record.table, &columns)).await;
        match access.unwrap_or(ReadAccess::Unknown) {
            ReadAccess::Granted | ReadAccess::NoMetadata => Ok(()),
            ReadAccess::Denied => {
                let text = format!("our user may not read {column}, so the row's version is not known");
                Err(Settlement { scope: FailureScope::Table, ..Settlement::new(Reason::Unauthorized).detail(text) })
            }
            ReadAccess::Unknown => {
                let text = format!("{column} is empty, and it is not known whether our user may read it");
                Err(Settlement::new(Reason::Unavailable).detail(text))
            }
        }
    }

    /// Without an ETag the row may change between the read and the write.
    async fn without_etag(&self) -> Settlement {
        let metadata = self.look(self.store.metadata(&self.record.table)).await.flatten();
        if metadata.is_some_and(|metadata| metadata.is_virtual()) {
            let text = "rows of a virtual table have no ETags, so its records cannot have a version";
            return Settlement::new(Reason::InvalidData).detail(text);
        }
        Settlement::new(Reason::Unavailable).detail("Dataverse sent a row without its ETag")
    }

    /// A look at metadata takes no time from a write.
    async fn look<T>(&self, look: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.ends_at - MIN_WRITE_TIME, look).await.ok()
    }

    /// A row without a version, missing or present, may be written unless a deletion with this version or a newer one is known.
    /// `deleting` is the row that is to be deleted.
    pub(super) async fn check_tombstone(
        &self,
        version: &RecordVersion<'_>,
        deleting: Option<Uuid>,
    ) -> Result<(), Settlement> {
        let Some(tombstones) = &self.tombstones else { return Ok(()) };
        if let Some(covering) = tombstones.covering(version, deleting).await? {
            self.log_implausible(version, &Stored::Version(covering));
            let detail = "the row was deleted with this version or a newer one";
            return Err(Settlement::new(Reason::Superseded).detail(detail));
        }
        Ok(())
    }

    /// A stored version that no record could have now, or of another kind, stands in the way of all that follow: logged once per
    /// table, with the key's hash from the span.
    fn log_implausible(&self, version: &RecordVersion<'_>, stored: &Stored) {
        let is_plausible = match stored {
            Stored::Nothing => true,
            Stored::Version(stored) => {
                order::compare(version.value, *stored).is_some() && stored.is_plausible(OffsetDateTime::now_utc())
            }
            Stored::Unreadable => false,
        };
        if !is_plausible && self.implausible_versions.is_first(self.record.table.clone()) {
            warn!(
                column = version.column,
                "a stored version is implausible, and newer records are not applied; functions/README.md says how to undo it"
            );
        }
    }

    async fn put_tombstone(&self, version: &RecordVersion<'_>, row: Option<Uuid>) -> Result<(), Settlement> {
        let Some(tombstones) = &self.tombstones else { return Ok(()) };
        tombstones.put(version, row).await
    }

    /// An ambiguous conditional write must not be repeated before a read: the row's version shows whether it was made.
    pub(super) async fn resolve_conditional_write(&self, version: &RecordVersion<'_>, fault: Error) -> Settlement {
        let read = timeout(READ_BACK_TIMEOUT, self.read(&[version.column.to_owned()])).await;
        let delete = self.record.operation == Operation::Delete;
        match read {
            Ok(Ok(None)) if delete => as_sent(Reason::Deleted, fault),
            Ok(Ok(Some(row))) if !delete && is_equal(version, &row) => as_sent(Reason::Upserted, fault),
            _ => Settlement::refused(Reason::Unavailable, fault),
        }
    }
}

/// Whether the version is newer than the stored one.
pub(super) fn is_newer(version: &RecordVersion<'_>, stored: &Stored) -> Result<bool, Settlement> {
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
