//! A record with a version: read the row, compare, and write only what is newer, on condition that the row is as it was read.
//!
//! Right whatever the lock does: what decides is the row's own version and ETag. Only a deleted row has neither, so a delete
//! leaves its version on the lock (see `grave.rs`) before the row goes.

use std::cmp::Ordering;
use std::ops::ControlFlow::{self, Break, Continue};

use tokio::time::timeout;
use uuid::Uuid;

use super::End;
use super::order::{self, Stamp, Stored};
use super::write::{FATE_TIMEOUT, MOST_READS, Writer, as_sent, collision, pause, unidentified};
use crate::classify::{Attempt, Verdict, judge};
use crate::dataverse::{Error, Row, WriteKind};
use crate::outcome::Reason;
use crate::record::Operation;

/// What is to be sent, and on what condition.
struct Step {
    kind: WriteKind,
    etag: Option<String>,
    id: Option<Uuid>,
}

/// What was met so far.
#[derive(Default)]
struct Past {
    again: u32,
    /// Whether there was a row at any time.
    seen: bool,
    /// Creations that were refused because a key is taken.
    refused: u32,
}

impl Writer<'_> {
    /// With a version: never over a newer one.
    pub(super) async fn in_order(&self, stamp: &Stamp<'_>) -> End {
        let mut past = Past::default();
        for reads in 1..=MOST_READS {
            match self.one_round(stamp, &mut past, reads == MOST_READS).await {
                Break(end) => return end,
                Continue(()) => pause(reads).await,
            }
        }
        End::because(Reason::Conflict).detail("the row kept changing while it was read and written")
    }

    async fn one_round(&self, stamp: &Stamp<'_>, past: &mut Past, last: bool) -> ControlFlow<End> {
        let step = match self.next_step(stamp, past).await {
            Ok(step) => step,
            Err(end) => return Break(end),
        };
        let fault = match self.send(step.kind, step.etag.as_deref(), step.id).await {
            Ok(reason) => return Break(End::because(reason)),
            Err(fault) if fault.is_ambiguous() => return Break(self.after_conditional(stamp, fault).await),
            Err(fault) => fault,
        };
        match judge(&fault, Attempt { kind: step.kind, binds: self.binds, again: past.again }) {
            Verdict::Settle(reason) => Break(End::refused(reason, fault)),
            Verdict::Again => {
                past.again += 1;
                Continue(())
            }
            Verdict::RowOrParent => match self.is_present().await {
                Ok(true) => Break(End::refused(Reason::ParentMissing, fault)),
                // It was there a moment ago, so it has moved.
                Ok(false) => Continue(()),
                Err(end) => Break(end),
            },
            // Refused twice while no row is to be seen: that is another key, or the recycle bin.
            Verdict::LostRace if !past.seen && past.refused > 0 => Break(collision(fault)),
            Verdict::LostRace | Verdict::Moved if last => Break(End::refused(Reason::Conflict, fault)),
            Verdict::LostRace => {
                past.refused += 1;
                Continue(())
            }
            Verdict::Moved => Continue(()),
        }
    }

    /// What to send for the row as it is, or how the record ends without sending.
    async fn next_step(&self, stamp: &Stamp<'_>, past: &mut Past) -> Result<Step, End> {
        let columns = [stamp.column.to_owned()];
        let row = self.read(&columns).await?;
        past.seen |= row.is_some();
        let delete = self.record.operation == Operation::Delete;
        let Some(row) = row else {
            return Err(match self.record.operation {
                Operation::Delete => self.buried(stamp).await,
                Operation::Update => match self.outlived(stamp).await {
                    Ok(()) => End::because(Reason::NotFound).detail("there is no row to update"),
                    Err(end) => end,
                },
                Operation::Upsert | Operation::Create => {
                    self.outlived(stamp).await?;
                    return Ok(Step { kind: WriteKind::Create, etag: None, id: None });
                }
            });
        };
        if !is_newer(stamp, &row)? {
            return Err(End::because(Reason::Superseded));
        }
        if let Some(grave) = self.grave.as_ref().filter(|_| delete) {
            // First the tombstone: whatever happens to the row after that, an older message does not bring it back.
            grave.bury(stamp.version).await?;
        }
        let id = if self.is_hidden() { Some(row.id(&columns).ok_or_else(unidentified)?) } else { None };
        Ok(Step {
            kind: if delete { WriteKind::DeleteUnchanged } else { WriteKind::UpdateUnchanged },
            etag: row.etag(),
            id,
        })
    }

    /// Whether a missing row may be written: not when it was deleted with this version or a newer one.
    pub(super) async fn outlived(&self, stamp: &Stamp<'_>) -> Result<(), End> {
        let Some(grave) = &self.grave else { return Ok(()) };
        let deleted = grave.version().await?.and_then(|deleted| order::compare(deleted, stamp.version));
        if matches!(deleted, Some(Ordering::Greater | Ordering::Equal)) {
            return Err(End::because(Reason::Superseded).detail("the row was deleted with this version or a newer one"));
        }
        Ok(())
    }

    /// The end of a deletion that came before its row did.
    async fn buried(&self, stamp: &Stamp<'_>) -> End {
        match &self.grave {
            None => End::because(Reason::AlreadyAbsent),
            Some(grave) => grave.bury(stamp.version).await.err().unwrap_or_else(|| End::because(Reason::AlreadyAbsent)),
        }
    }

    /// A conditional write without an answer must not be sent again before a read: the row's version tells whether it was made.
    async fn after_conditional(&self, stamp: &Stamp<'_>, fault: Error) -> End {
        let read = timeout(FATE_TIMEOUT, self.read(&[stamp.column.to_owned()])).await;
        let delete = self.record.operation == Operation::Delete;
        match read {
            Ok(Ok(None)) if delete => as_sent(Reason::Deleted, fault),
            Ok(Ok(Some(row))) if !delete && is_equal(stamp, &row) => as_sent(Reason::Upserted, fault),
            _ => End::refused(Reason::Unavailable, fault),
        }
    }
}

fn is_newer(stamp: &Stamp<'_>, row: &Row) -> Result<bool, End> {
    let order = match order::stored(row, stamp.column) {
        Stored::Nothing => return Ok(true),
        Stored::Version(stored) => order::compare(stamp.version, stored),
        Stored::Unreadable => None,
    };
    order.map(|order| order == Ordering::Greater).ok_or_else(|| incomparable(stamp))
}

fn is_equal(stamp: &Stamp<'_>, row: &Row) -> bool {
    match order::stored(row, stamp.column) {
        Stored::Version(stored) => order::compare(stamp.version, stored) == Some(Ordering::Equal),
        Stored::Nothing | Stored::Unreadable => false,
    }
}

fn incomparable(stamp: &Stamp<'_>) -> End {
    let text =
        format!("the row's {} cannot be compared with `version`: one is a number, the other is not", stamp.column);
    End::because(Reason::InvalidData).detail(text)
}
