//! One record into one row: sends it, and asks [`crate::classify`] what a refusal means, until the attempt is settled.
//!
//! It repeats only what is cheap and bounded: a lost create race, a deadlock, a row that changed, and one dropped connection under
//! an idempotent write. Everything else goes back to the pipeline. `versioned.rs` writes the records with a version.
//!
//! A row whose key cannot be part of a URL is read by a query first, and then written by its primary key.

mod race;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::value::RawValue;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::Instrument as _;
use uuid::Uuid;

use super::order::{self, RecordVersion};
use super::state::State;
use super::tombstone::Tombstones;
use super::visible::VisibleColumns;
use super::{AFTER_WRITE, LoggedOnce, MAX_WRITE_TIME, MIN_WRITE_TIME, Pipeline, Settlement};
use crate::classify::{self, AfterRace, Attempt, FailureScope, Verdict, judge};
use crate::dataverse::verify::{RowMatch, verify};
use crate::dataverse::{Change, Error, Row, Store, Write, WriteKind, Written};
use crate::outcome::Reason;
use crate::record::{KeyValue, OnConflict, Operation, Record};
use crate::telemetry::trace;

pub(super) use race::collision;

/// How often a row that changes while it is written is read again.
pub(super) const MAX_READS: u32 = 5;

/// Bounds the read after an ambiguous write.
pub(super) const READ_BACK_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that drops within this time had hardly begun the request, so sending it again is cheap.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);

/// The shortest pause before a deletion whose connection dropped is sent again; the longest is twice as long.
const DELETE_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The first pause before something is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// Writes one record.
pub(super) struct Writer<'a> {
    pub(super) store: &'a dyn Store,
    pub(super) record: &'a Record,
    pub(super) policy: OnConflict,
    pub(super) version: Option<RecordVersion<'a>>,
    /// The value that the record itself sets in the version column.
    version_sent: Option<&'a RawValue>,
    pub(super) binds: bool,
    /// Where the record may create a row and sets its state.
    pub(super) state: Option<State>,
    /// While the record's lock is held.
    pub(super) tombstones: Option<Tombstones>,
    delivered_before: bool,
    pub(super) visible: &'a VisibleColumns,
    pub(super) implausible_versions: &'a LoggedOnce<String>,
    /// When the invocation must have ended.
    pub(super) ends_at: Instant,
    /// Whether a request was sent again after its connection dropped: the first one may still be in flight.
    repeated: AtomicBool,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Past {
    /// Sent again after a deadlock, or an answer that deserves one more try.
    pub(super) again: u32,
    /// Sent again after a lost race: a key was taken.
    pub(super) resends: u32,
    /// Read again after a row disappeared between the read and the write.
    moved: u32,
    /// Whether a row was read.
    pub(super) seen: bool,
    /// Whether the state was refused, so that the row is created without it.
    pub(super) state_refused: bool,
}

impl<'a> Writer<'a> {
    /// A writer of `record`; `delivered_before` if an earlier attempt may have created the row.
    pub(super) fn new(pipeline: &'a Pipeline, record: &'a Record, delivered_before: bool, ends_at: Instant) -> Self {
        let column = record.version_column.as_deref().or(pipeline.version_column.as_deref());
        let version = column.zip(record.version).map(|(column, version)| RecordVersion::new(column, version));
        Self {
            store: pipeline.store.as_ref(),
            record,
            policy: record.on_conflict.unwrap_or(pipeline.on_conflict),
            version_sent: version.as_ref().and_then(|version| record.columns.value(version.column)),
            version,
            binds: binds(record),
            state: State::of(record, column),
            tombstones: None,
            delivered_before,
            visible: &pipeline.visible_columns,
            implausible_versions: &pipeline.implausible_versions,
            ends_at,
            repeated: AtomicBool::new(false),
        }
    }

    pub(super) async fn run(&self) -> Settlement {
        let end = timeout_at(self.ends_at, self.run_once()).await.unwrap_or_else(|_| out_of_time());
        let end = self.name_refused_key(end);
        if !self.repeated.load(Ordering::Relaxed) {
            return end;
        }
        // The first of the two deletions may have removed the row.
        let deleted = end.reason == Reason::AlreadyAbsent;
        Settlement { reason: if deleted { Reason::Deleted } else { end.reason }, is_ambiguous: true, ..end }
    }

    /// A key that is missing in its table, or not active, concerns all records that use it; the service names only the table.
    fn name_refused_key(&self, end: Settlement) -> Settlement {
        let Some(fault) = end.fault.as_deref() else { return end };
        let keys = self.record.addressed_keys();
        let Some(refused) = classify::refused_key(fault, &keys) else { return end };
        let said = end.detail.as_deref().unwrap_or_default();
        let detail = format!("the key {} is missing or not active: {said}", keys[refused]);
        Settlement { scope: FailureScope::Key(refused), ..end.detail(detail) }
    }

    /// The facts about a request of this record that was sent again in place so often.
    pub(super) fn attempt(&self, kind: WriteKind, again: u32) -> Attempt {
        // A row of this table can be missing itself.
        let impersonates = self.store.impersonates() && self.record.table != "systemusers";
        Attempt { kind, binds: self.binds, impersonates, again }
    }

    async fn run_once(&self) -> Settlement {
        if let Some(end) = self.contradiction() {
            return end;
        }
        match (self.record.operation, &self.version) {
            (Operation::Create, None) => self.plain(Write::Create).await,
            (Operation::Create, Some(version)) => match self.check_tombstone(version, None).await {
                Err(end) => end,
                Ok(()) => self.plain(Write::Create).await,
            },
            (_, Some(version)) => self.in_order(version).await,
            (Operation::Upsert, None) => self.plain(Write::Upsert).await,
            (Operation::Update, None) => self.plain(Write::Update).await,
            (Operation::Delete, None) => self.plain(Write::Delete).await,
        }
    }

    /// The sender may set the version column itself, but only to the version.
    fn contradiction(&self) -> Option<Settlement> {
        let (version, sent) = self.version.as_ref().zip(self.version_sent)?;
        let text = format!("`columns.{}` contradicts `version`", version.column);
        (!order::agrees(sent, version.value)).then(|| Settlement::new(Reason::InvalidMessage).detail(text))
    }

    /// Sends the whole record.
    pub(super) async fn send(&self, write: Write<'_>, id: Option<Uuid>) -> Result<Reason, Error> {
        let change =
            Change { record: self.record, columns: &self.record.columns, id, write, version: self.version_to_add() };
        Ok(self.send_change(&change, &[]).await?.0)
    }

    /// The version column, unless the record's columns hold it.
    pub(super) fn version_to_add(&self) -> Option<(&str, &str)> {
        let version = self.version.as_ref().filter(|_| self.version_sent.is_none());
        version.map(|version| (version.column, version.json.as_str()))
    }

    /// Sends a change, once more if its connection drops early, and returns these columns of the row.
    pub(super) async fn send_change(
        &self,
        change: &Change<'_>,
        returning: &[String],
    ) -> Result<(Reason, Option<Row>), Error> {
        let begun = Instant::now();
        let mut written = self.write(change, returning).await;
        if written.as_ref().is_err_and(|error| classify::may_repeat(error, change.write.kind()))
            && begun.elapsed() < DROPPED_WITHIN
            && !self.repeated.swap(true, Ordering::Relaxed)
        {
            if change.write == Write::Delete {
                // The first may still be under way, and Dataverse refuses a second one beside it.
                sleep(DELETE_AGAIN_AFTER.mul_f64(1.0 + fastrand::f64())).await;
            }
            written = self.write(change, returning).await;
        }
        let (written, row) = written?;
        let reason = match written {
            Written::Created => Reason::Created,
            Written::Updated => Reason::Updated,
            Written::Upserted => Reason::Upserted,
            Written::Deleted => Reason::Deleted,
        };
        Ok((reason, row))
    }

    /// One request, which begins only with enough time left, and ends while there is still time to read the row.
    async fn write(&self, change: &Change<'_>, returning: &[String]) -> Result<(Written, Option<Row>), Error> {
        let now = Instant::now();
        if now + MIN_WRITE_TIME > self.ends_at {
            return Err(Error::NoAnswer { sent: false, problem: "no time was left to send it" });
        }
        let deadline = (now + MAX_WRITE_TIME).min(self.ends_at - AFTER_WRITE);
        let unanswered = |_| Err(Error::NoAnswer { sent: true, problem: "no answer in time" });
        timeout_at(deadline, self.store.write_returning(change, returning)).await.unwrap_or_else(unanswered)
    }

    /// Without a version: Dataverse decides.
    async fn plain(&self, write: Write<'_>) -> Settlement {
        let mut past = Past::default();
        loop {
            if let Err(end) = self.try_once(write, &mut past).await {
                return end;
            }
            pause(past.again + past.resends + past.moved).await;
        }
    }

    /// An error ends the attempt, also with a reason that is not a failure.
    async fn try_once(&self, write: Write<'_>, past: &mut Past) -> Result<(), Settlement> {
        let (write, id) = if self.is_unaddressable() { self.resolve_target(write).await? } else { (write, None) };
        let sent = match (write, &self.state) {
            (Write::Upsert | Write::Create, Some(state)) => self.send_with_state(state, write, past).await?,
            _ => self.send(write, id).await,
        };
        let fault = match sent {
            Ok(reason) => return Err(Settlement::new(reason)),
            Err(fault) if fault.is_ambiguous() => return Err(self.resolve_ambiguous_write(fault).await),
            Err(fault) => fault,
        };
        match judge(&fault, self.attempt(write.kind(), past.again)) {
            Verdict::Settle(reason) => Err(Settlement::refused(reason, fault)),
            Verdict::Again => {
                past.again += 1;
                Ok(())
            }
            Verdict::LostRace => self.after_race(fault, past).await,
            Verdict::Moved if write == Write::UpdateFound => past.move_on(fault),
            // We sent no condition, so an extra header of the settings did; the host may try again.
            Verdict::Moved => Err(Settlement::refused(Reason::Conflict, fault)),
            Verdict::RowOrParent if self.is_present().await? => Err(Settlement::refused(Reason::ParentMissing, fault)),
            Verdict::RowOrParent if write == Write::UpdateFound => past.move_on(fault),
            Verdict::RowOrParent => Err(Settlement::refused(Reason::NotFound, fault)),
        }
    }

    /// Whether the record's key cannot be part of a URL.
    pub(super) fn is_unaddressable(&self) -> bool {
        self.record.key.not_addressable().is_some()
    }

    /// What to send for an unaddressable row, and its primary key.
    async fn resolve_target<'w>(&self, write: Write<'w>) -> Result<(Write<'w>, Option<Uuid>), Settlement> {
        let columns = self.key_columns();
        let Some(row) = self.read(&columns).await? else {
            return match write {
                Write::Update => Err(Settlement::new(Reason::NotFound).detail("there is no row to update")),
                Write::Delete => Err(Settlement::new(Reason::AlreadyAbsent)),
                Write::Upsert
                | Write::Create
                | Write::UpdateFound
                | Write::UpdateUnchanged(_)
                | Write::DeleteUnchanged(_) => Ok((Write::Create, None)),
            };
        };
        let id = row.id(&columns).ok_or_else(unidentified)?;
        match write {
            Write::Create => match self.create_refused(self.verify().await?).await? {
                AfterRace::Settle(Reason::AlreadyWritten) => Err(self.complete_earlier(None).await),
                AfterRace::Settle(reason) => Err(Settlement::new(reason).detail("the row is there")),
                AfterRace::Resend => Ok((Write::Create, None)),
            },
            Write::Upsert => Ok((Write::UpdateFound, Some(id))),
            Write::Update
            | Write::UpdateFound
            | Write::UpdateUnchanged(_)
            | Write::Delete
            | Write::DeleteUnchanged(_) => Ok((write, Some(id))),
        }
    }

    /// A write without an answer may have been made. If one read proves that the row is as sent, the message is done; the fault
    /// stays with it, because the request may still be in flight, and so the lease is not released.
    async fn resolve_ambiguous_write(&self, fault: Error) -> Settlement {
        let reason = match self.record.operation {
            Operation::Upsert => Reason::Upserted,
            Operation::Update => Reason::Updated,
            Operation::Delete => Reason::Deleted,
            // A read cannot prove that a row with our values was created by us.
            Operation::Create => return Settlement::refused(Reason::Unavailable, fault),
        };
        let span = trace::child("verify");
        let is_as_sent = timeout(READ_BACK_TIMEOUT, self.is_as_sent()).instrument(span.clone()).await.unwrap_or(false);
        trace::ended(&span, "dataverse_sync.verify.result", if is_as_sent { "same" } else { "unknown" });
        if is_as_sent { as_sent(reason, fault) } else { Settlement::refused(Reason::Unavailable, fault) }
    }

    async fn is_as_sent(&self) -> bool {
        match self.record.operation {
            Operation::Delete => matches!(self.read(&self.key_columns()).await, Ok(None)),
            Operation::Upsert | Operation::Create | Operation::Update => {
                !self.record.columns.is_empty()
                    && matches!(verify(self.store, self.record, &self.record.columns).await, Ok(RowMatch::Same))
            }
        }
    }

    fn key_columns(&self) -> Vec<String> {
        self.record.key.columns().iter().map(|column| column.name.clone()).collect()
    }

    pub(super) async fn read(&self, columns: &[String]) -> Result<Option<Row>, Settlement> {
        let mut again = 0;
        loop {
            match self.store.read(&self.record.table, &self.record.key, columns).await {
                Ok(row) => return Ok(row),
                Err(fault) => self.read_refused(fault, &mut again).await?,
            }
        }
    }

    /// Pauses before a read is sent again, where the answer may be another the next time.
    async fn read_refused(&self, fault: Error, again: &mut u32) -> Result<(), Settlement> {
        match judge(&fault, self.attempt(WriteKind::Read, *again)) {
            Verdict::Settle(reason) => Err(read_failed(reason, fault)),
            Verdict::LostRace | Verdict::Moved | Verdict::RowOrParent => Err(read_failed(Reason::Unavailable, fault)),
            Verdict::Again => {
                *again += 1;
                pause(*again).await;
                Ok(())
            }
        }
    }

    /// Whether a row has our key.
    pub(super) async fn is_present(&self) -> Result<bool, Settlement> {
        Ok(self.read(&self.key_columns()).await?.is_some())
    }
}

/// Whether the record refers to another row, in a column or in its key.
fn binds(record: &Record) -> bool {
    record.columns.binds() || record.key.columns().iter().any(|column| matches!(column.value, KeyValue::Guid(_)))
}

impl Past {
    /// The row disappeared or changed: read it again, a bounded number of times.
    fn move_on(&mut self, fault: Error) -> Result<(), Settlement> {
        self.moved += 1;
        if self.moved < MAX_READS { Ok(()) } else { Err(Settlement::refused(Reason::Conflict, fault)) }
    }
}

/// The row is as sent, although no answer came.
pub(super) fn as_sent(reason: Reason, fault: Error) -> Settlement {
    let detail = Some("no answer came, but the row is as it was sent".to_owned());
    Settlement { reason, detail, ..Settlement::refused(reason, fault) }
}

/// The reads after a write took too long. No write is under way any more, but one may have gone without an answer.
fn out_of_time() -> Settlement {
    let end = Settlement::new(Reason::Unavailable).detail("Dataverse did not show the row in time");
    Settlement { is_ambiguous: true, ..end }
}

/// The row was found by its key, but the answer lacks its primary key.
pub(super) fn unidentified() -> Settlement {
    Settlement::new(Reason::Unavailable).detail("Dataverse sent a row without its primary key")
}

/// A failed read changes nothing, so the settlement is not ambiguous.
fn read_failed(reason: Reason, fault: Error) -> Settlement {
    Settlement { is_ambiguous: false, ..Settlement::refused(reason, fault) }
}

/// Exponential, with jitter between half of the pause and all of it, so that rivals do not meet again.
pub(super) async fn pause(round: u32) {
    let pause = FIRST_PAUSE * 2u32.pow(round.saturating_sub(1).min(5));
    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
