//! One record into one row: sends, and asks [`crate::classify`] what a refusal means, until the record has come to its end.
//!
//! In place it repeats only what is cheap and bounded: a lost create race, a deadlock, a row that moved, one dropped connection
//! under a write that means the same twice. Everything else goes back to the pipeline. Records with a version go the way of
//! `versioned.rs`.
//!
//! A row whose key no address can hold is looked for first, and then written by its primary key.

mod race;

use std::ops::ControlFlow::{self, Break, Continue};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout};
use tracing::Instrument as _;
use uuid::Uuid;

use super::order::{self, Stamp};
use super::tombstone::Grave;
use super::{End, Sync};
use crate::classify::{self, AfterRace, Attempt, Verdict, create_refused, judge};
use crate::dataverse::verify::{RowMatch, verify};
use crate::dataverse::{Change, Error, Row, Store, WriteKind, Written};
use crate::outcome::Reason;
use crate::record::{KeyValue, OnConflict, Operation, Record};
use crate::telemetry::trace;

pub(super) use race::collision;

/// How often a row that moves while it is written is looked for again.
pub(super) const MOST_READS: u32 = 5;

/// How long the read after a write without an answer may take.
pub(super) const FATE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that drops within this time drops under a request that had hardly begun, and to send it again is cheap.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);

/// The first pause before something is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// Writes one record.
pub(super) struct Writer<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) record: &'a Record,
    pub(super) policy: OnConflict,
    pub(super) stamp: Option<Stamp<'a>>,
    /// What the sender set the version's column to, where it did.
    version_sent: Option<&'a RawValue>,
    pub(super) binds: bool,
    /// Where the version of a deleted row is kept, while the record's lock is held.
    pub(super) grave: Option<Grave<'a>>,
    delivered_before: bool,
    /// Whether a request was sent again after its connection dropped: the first one may still be under way.
    repeated: AtomicBool,
}

/// What was tried in place so far.
#[derive(Debug, Default)]
struct Tries {
    /// After a deadlock, or an answer that deserves one more try.
    again: u32,
    /// After a lost race.
    resends: u32,
    /// After a row went away between the read and the write.
    moved: u32,
}

impl<'a> Writer<'a> {
    /// A writer of `record`; `delivered_before` says that an earlier try may have made the row.
    pub(super) fn new(sync: &'a Sync, record: &'a Record, delivered_before: bool) -> Self {
        let column = record.version_column.as_deref().or(sync.version_column.as_deref());
        let stamp = column.zip(record.version).map(|(column, version)| Stamp::new(column, version));
        Self {
            store: sync.store.as_ref(),
            record,
            policy: record.on_conflict.unwrap_or(sync.on_conflict),
            version_sent: stamp.as_ref().and_then(|stamp| record.columns.value(stamp.column)),
            stamp,
            binds: binds(record),
            grave: None,
            delivered_before,
            repeated: AtomicBool::new(false),
        }
    }

    pub(super) async fn run(&self) -> End {
        let end = self.to_the_end().await;
        if !self.repeated.load(Ordering::Relaxed) {
            return end;
        }
        // What the first of two deletions did is not there for the second.
        let deleted = end.reason == Reason::AlreadyAbsent;
        End { reason: if deleted { Reason::Deleted } else { end.reason }, is_ambiguous: true, ..end }
    }

    async fn to_the_end(&self) -> End {
        if let Some(end) = self.contradiction() {
            return end;
        }
        match (self.record.operation, &self.stamp) {
            (Operation::Create, None) => self.plain(WriteKind::Create).await,
            (Operation::Create, Some(stamp)) => match self.outlived(stamp).await {
                Err(end) => end,
                Ok(()) => self.plain(WriteKind::Create).await,
            },
            (_, Some(stamp)) => self.in_order(stamp).await,
            (Operation::Upsert, None) => self.plain(WriteKind::Upsert).await,
            (Operation::Update, None) => self.plain(WriteKind::Update).await,
            (Operation::Delete, None) => self.plain(WriteKind::Delete).await,
        }
    }

    /// The sender may set the version column itself, but not to something else.
    fn contradiction(&self) -> Option<End> {
        let (stamp, sent) = self.stamp.as_ref().zip(self.version_sent)?;
        let text = format!("`columns.{}` contradicts `version`", stamp.column);
        (!order::agrees(sent, stamp.version)).then(|| End::because(Reason::InvalidMessage).detail(text))
    }

    pub(super) async fn send(&self, kind: WriteKind, etag: Option<&str>, id: Option<Uuid>) -> Result<Reason, Error> {
        let stamp = self.stamp.as_ref().filter(|_| self.version_sent.is_none());
        let stamp = stamp.map(|stamp| (stamp.column, stamp.json.as_str()));
        let change = Change { record: self.record, id, kind, etag, stamp };
        let begun = Instant::now();
        let mut written = self.store.write(&change).await;
        if written.as_ref().is_err_and(|error| classify::may_repeat(error, kind))
            && begun.elapsed() < DROPPED_WITHIN
            && !self.repeated.swap(true, Ordering::Relaxed)
        {
            written = self.store.write(&change).await;
        }
        match written {
            Ok(Written::Created) => Ok(Reason::Created),
            Ok(Written::Updated) => Ok(Reason::Updated),
            Ok(Written::Upserted) => Ok(Reason::Upserted),
            Ok(Written::Deleted) => Ok(Reason::Deleted),
            Err(error) => Err(error),
        }
    }

    /// Without a version: the request decides, and what it is refused with.
    async fn plain(&self, kind: WriteKind) -> End {
        let mut tries = Tries::default();
        loop {
            match self.try_once(kind, &mut tries).await {
                Break(end) => return end,
                Continue(()) => pause(tries.again + tries.resends + tries.moved).await,
            }
        }
    }

    async fn try_once(&self, kind: WriteKind, tries: &mut Tries) -> ControlFlow<End> {
        let (kind, id) = if self.is_hidden() { self.aim(kind).await? } else { (kind, None) };
        let fault = match self.send(kind, None, id).await {
            Ok(reason) => return Break(End::because(reason)),
            Err(fault) if fault.is_ambiguous() => return Break(self.after_silence(fault).await),
            Err(fault) => fault,
        };
        match judge(&fault, Attempt { kind, binds: self.binds, again: tries.again }) {
            Verdict::Settle(reason) => Break(End::refused(reason, fault)),
            Verdict::Again => {
                tries.again += 1;
                Continue(())
            }
            Verdict::LostRace => self.after_race(fault, tries).await,
            Verdict::Moved if kind == WriteKind::UpdateFound => tries.move_on(fault),
            // Nothing was asked of the row's version, so somebody's header did; the host may try again.
            Verdict::Moved => Break(End::refused(Reason::Conflict, fault)),
            Verdict::RowOrParent => match self.is_present().await {
                Ok(true) => Break(End::refused(Reason::ParentMissing, fault)),
                Ok(false) if kind == WriteKind::UpdateFound => tries.move_on(fault),
                Ok(false) => Break(End::refused(Reason::NotFound, fault)),
                Err(end) => Break(end),
            },
        }
    }

    /// Whether no address can hold the record's key.
    pub(super) fn is_hidden(&self) -> bool {
        self.record.key.not_addressable().is_some()
    }

    /// What to send for a hidden row as it is, and its primary key.
    async fn aim(&self, kind: WriteKind) -> ControlFlow<End, (WriteKind, Option<Uuid>)> {
        let columns = self.key_columns();
        let row = match self.read(&columns).await {
            Ok(row) => row,
            Err(end) => return Break(end),
        };
        let Some(row) = row else {
            return match kind {
                WriteKind::Update => Break(End::because(Reason::NotFound).detail("there is no row to update")),
                WriteKind::Delete => Break(End::because(Reason::AlreadyAbsent)),
                _ => Continue((WriteKind::Create, None)),
            };
        };
        let Some(id) = row.id(&columns) else { return Break(unidentified()) };
        match kind {
            WriteKind::Create => match self.verify().await {
                Ok(found) => match create_refused(found, self.delivered_before) {
                    AfterRace::Settle(reason) => Break(End::because(reason).detail("the row is there")),
                    AfterRace::Resend => Continue((WriteKind::Create, None)),
                },
                Err(end) => Break(end),
            },
            WriteKind::Upsert => Continue((WriteKind::UpdateFound, Some(id))),
            _ => Continue((kind, Some(id))),
        }
    }

    /// A write without an answer may have been made. Where one read can tell that the row is as it should be, the message is
    /// done; the fault stays with it, because the request may still be on its way, and so the lease is not given back.
    async fn after_silence(&self, fault: Error) -> End {
        let reason = match self.record.operation {
            Operation::Upsert => Reason::Upserted,
            Operation::Update => Reason::Updated,
            Operation::Delete => Reason::Deleted,
            // Whether a row that holds our values is our own creation, no read can tell.
            Operation::Create => return End::refused(Reason::Unavailable, fault),
        };
        let span = trace::verify();
        let is_as_sent = timeout(FATE_TIMEOUT, self.is_as_sent()).instrument(span.clone()).await.unwrap_or(false);
        trace::found(&span, if is_as_sent { "same" } else { "unknown" });
        if is_as_sent { as_sent(reason, fault) } else { End::refused(Reason::Unavailable, fault) }
    }

    async fn is_as_sent(&self) -> bool {
        match self.record.operation {
            Operation::Delete => matches!(self.read(&self.key_columns()).await, Ok(None)),
            _ => !self.record.columns.is_empty() && matches!(verify(self.store, self.record).await, Ok(RowMatch::Same)),
        }
    }

    fn key_columns(&self) -> Vec<String> {
        self.record.key.columns().iter().map(|column| column.name.clone()).collect()
    }

    pub(super) async fn read(&self, columns: &[String]) -> Result<Option<Row>, End> {
        let row = self.store.read(&self.record.table, &self.record.key, columns).await;
        row.map_err(read_failed)
    }

    /// Whether there is a row by our key.
    pub(super) async fn is_present(&self) -> Result<bool, End> {
        Ok(self.read(&self.key_columns()).await?.is_some())
    }
}

/// Whether the record refers to another row, by a column or by a lookup in its key.
fn binds(record: &Record) -> bool {
    record.columns.binds() || record.key.columns().iter().any(|column| matches!(column.value, KeyValue::Guid(_)))
}

impl Tries {
    /// The row went away, or changed: look for it again, a bounded number of times.
    fn move_on(&mut self, fault: Error) -> ControlFlow<End> {
        self.moved += 1;
        if self.moved < MOST_READS { Continue(()) } else { Break(End::refused(Reason::Conflict, fault)) }
    }
}

/// The row is as the message wants it, although no answer said so.
pub(super) fn as_sent(reason: Reason, fault: Error) -> End {
    let detail = Some("no answer came, but the row is as it was sent".to_owned());
    End { reason, detail, ..End::refused(reason, fault) }
}

/// The row was found by its key, and its primary key did not come along.
pub(super) fn unidentified() -> End {
    End::because(Reason::Unavailable).detail("Dataverse sent a row without its primary key")
}

/// A read that failed leaves the record where it was, and the row as well.
fn read_failed(fault: Error) -> End {
    let attempt = Attempt { kind: WriteKind::Read, binds: false, again: classify::MOST_DEADLOCKS };
    let reason = match judge(&fault, attempt) {
        Verdict::Settle(reason) => reason,
        Verdict::LostRace | Verdict::Moved | Verdict::RowOrParent | Verdict::Again => Reason::Unavailable,
    };
    End { is_ambiguous: false, ..End::refused(reason, fault) }
}

/// Between half of the pause and all of it, so that rivals do not meet again.
pub(super) async fn pause(round: u32) {
    let pause = FIRST_PAUSE * 2u32.pow(round.saturating_sub(1).min(5));
    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
