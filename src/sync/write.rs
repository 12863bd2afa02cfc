//! One record into one row: sends, and asks [`crate::classify`] what a refusal means, until the record has come to its end.
//!
//! In place it repeats only what is cheap and bounded: a lost create race, a deadlock, a row that moved under a version, one
//! dropped connection under a write that means the same twice.
//! Everything else goes back to the pipeline.

use std::cmp::Ordering;
use std::sync::atomic::{self, AtomicBool};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::{End, Sync, order};
use crate::classify::{self, AfterRace, Attempt, Found, Verdict, create_refused, judge, race};
use crate::dataverse::compare::{Comparison, compare, select};
use crate::dataverse::{Change, Fault, Form, Row, Store, Written};
use crate::outcome::Reason;
use crate::record::{KeyValue, OnConflict, Operation, Record, Version};
use order::Stored;

/// How often a row that moves under a version is read again.
const MOST_READS: u32 = 5;

/// How long the read after a write without an answer may take.
const FATE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection that drops within this time drops under a request that had hardly begun, and to send it again is cheap.
const DROPPED_WITHIN: Duration = Duration::from_secs(5);

/// The first pause before something is sent again; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(80);

/// A version and the column that holds it.
#[derive(Clone)]
struct Stamp<'a> {
    column: &'a str,
    version: Version,
    json: String,
}

/// Writes one record.
pub(super) struct Writer<'a> {
    store: &'a dyn Store,
    record: &'a Record,
    policy: OnConflict,
    stamp: Option<Stamp<'a>>,
    binds: bool,
    delivered_before: bool,
    /// Whether a request was sent again after its connection dropped: the first one may still be under way.
    repeated: AtomicBool,
}

impl<'a> Writer<'a> {
    /// A writer of `record`; `delivered_before` says that an earlier try may have made the row.
    pub(super) fn new(sync: &'a Sync, record: &'a Record, delivered_before: bool) -> Self {
        let stamp = sync.version_column.as_deref().zip(record.version);
        Self {
            store: sync.store.as_ref(),
            record,
            policy: record.on_conflict.unwrap_or(sync.on_conflict),
            stamp: stamp.map(|(column, version)| Stamp { column, version, json: order::json(version) }),
            binds: binds(record),
            delivered_before,
            repeated: AtomicBool::new(false),
        }
    }

    pub(super) async fn run(&self) -> End {
        let end = self.to_the_end().await;
        if !self.repeated.load(atomic::Ordering::Relaxed) {
            return end;
        }
        // What the first of two deletions did is not there for the second.
        let deleted = end.reason == Reason::AlreadyAbsent;
        End { reason: if deleted { Reason::Deleted } else { end.reason }, fate_unknown: true, ..end }
    }

    async fn to_the_end(&self) -> End {
        if let Some(end) = self.contradiction() {
            return end;
        }
        match (self.record.operation, &self.stamp) {
            (Operation::Create, _) => self.plain(Form::Create).await,
            (_, Some(stamp)) => self.in_order(stamp).await,
            (Operation::Upsert, None) => self.plain(Form::Upsert).await,
            (Operation::Update, None) => self.plain(Form::Update).await,
            (Operation::Delete, None) => self.plain(Form::Delete).await,
        }
    }

    /// The sender may set the version column itself, but not to something else.
    fn contradiction(&self) -> Option<End> {
        let stamp = self.stamp.as_ref()?;
        let sent = self.record.columns.iter().find(|column| column.name == stamp.column)?;
        let text = format!("`columns.{}` contradicts `version`", stamp.column);
        (!order::agrees(&sent.value, stamp.version)).then(|| End::because(Reason::InvalidMessage).detail(text))
    }

    async fn send(&self, form: Form, etag: Option<&str>) -> Result<Reason, Fault> {
        let sent_by_sender = |stamp: &&Stamp<'_>| self.record.columns.iter().any(|column| column.name == stamp.column);
        let stamp = self.stamp.as_ref().filter(|stamp| !sent_by_sender(stamp));
        let stamp = stamp.map(|stamp| (stamp.column, stamp.json.as_str()));
        let change = Change { record: self.record, form, etag, stamp };
        let begun = Instant::now();
        let mut written = self.store.write(&change).await;
        if written.as_ref().is_err_and(|error| classify::may_repeat(&error.fault, form))
            && begun.elapsed() < DROPPED_WITHIN
            && !self.repeated.swap(true, atomic::Ordering::Relaxed)
        {
            written = self.store.write(&change).await;
        }
        match written {
            Ok(Written::Created) => Ok(Reason::Created),
            Ok(Written::Updated) => Ok(Reason::Updated),
            Ok(Written::Upserted) => Ok(Reason::Upserted),
            Ok(Written::Deleted) => Ok(Reason::Deleted),
            Err(error) => Err(error.fault),
        }
    }

    /// Without a version: the request decides, and what it is refused with.
    async fn plain(&self, form: Form) -> End {
        let (mut again, mut resends, mut seen) = (0, 0, false);
        loop {
            let fault = match self.send(form, None).await {
                Ok(reason) => return End::because(reason),
                Err(fault) if fault.fate_unknown() => return self.after_silence(form, fault).await,
                Err(fault) => fault,
            };
            match judge(&fault, Attempt { form, binds: self.binds, again }) {
                Verdict::Settle(reason) => return End::refused(reason, fault),
                Verdict::Again => again += 1,
                Verdict::LostRace => {
                    let found = match self.look(form).await {
                        Ok(found) => found,
                        Err(end) => return end,
                    };
                    let after = if form == Form::Create {
                        create_refused(found, self.delivered_before, resends)
                    } else {
                        race(self.policy, found, seen, resends)
                    };
                    match after {
                        AfterRace::Settle(reason) => return settled_race(reason, fault),
                        AfterRace::Resend => resends += 1,
                    }
                    seen = found != Found::Nothing;
                }
                // Nothing was asked of the row's version, so somebody's header did; the host may try again.
                Verdict::Moved => return End::refused(Reason::Conflict, fault),
                Verdict::RowOrParent => {
                    return match self.is_present().await {
                        Ok(true) => End::refused(Reason::ParentMissing, fault),
                        Ok(false) => End::refused(Reason::NotFound, fault),
                        Err(end) => end,
                    };
                }
            }
            pause(again + resends).await;
        }
    }

    /// A write without an answer may have been made. Where one read can tell that the row is as it should be, the message is
    /// done; the fault stays with it, because the request may still be on its way, and so the lease is not given back.
    async fn after_silence(&self, form: Form, fault: Fault) -> End {
        let reason = match form {
            Form::Upsert => Reason::Upserted,
            Form::Update => Reason::Updated,
            Form::Delete => Reason::Deleted,
            // Whether a row that holds our values is our own creation, no read can tell.
            Form::Create | Form::UpdateUnchanged | Form::DeleteUnchanged | Form::Read => {
                return End::refused(Reason::Unavailable, fault);
            }
        };
        let landed = timeout(FATE_TIMEOUT, self.is_as_sent(form)).await;
        if landed != Ok(true) {
            return End::refused(Reason::Unavailable, fault);
        }
        let detail = Some("no answer came, but the row is as it was sent".to_owned());
        End { reason, detail, ..End::refused(reason, fault) }
    }

    async fn is_as_sent(&self, form: Form) -> bool {
        if form == Form::Delete {
            return matches!(self.store.read(self.record, &self.key_columns()).await, Ok(None));
        }
        let Some(columns) = select(&self.record.columns).filter(|columns| !columns.is_empty()) else { return false };
        let row = self.store.read(self.record, &columns).await;
        matches!(row, Ok(Some(row)) if compare(&self.record.columns, &row) == Comparison::Same)
    }

    fn key_columns(&self) -> Vec<String> {
        self.record.key.columns().iter().map(|column| column.name.clone()).collect()
    }

    /// With a version: never over a newer one, whatever the lock does.
    async fn in_order(&self, stamp: &Stamp<'_>) -> End {
        let (mut again, mut seen) = (0, false);
        for reads in 1..=MOST_READS {
            let row = match self.read(&[stamp.column.to_owned()]).await {
                Ok(row) => row,
                Err(end) => return end,
            };
            seen |= row.is_some();
            let (form, etag) = match self.next_step(row.as_ref(), stamp) {
                Ok(step) => step,
                Err(end) => return end,
            };
            let fault = match self.send(form, etag.as_deref()).await {
                Ok(reason) => return End::because(reason),
                Err(fault) => fault,
            };
            match judge(&fault, Attempt { form, binds: self.binds, again }) {
                Verdict::Settle(reason) => return End::refused(reason, fault),
                Verdict::Again => again += 1,
                Verdict::RowOrParent => match self.is_present().await {
                    Ok(true) => return End::refused(Reason::ParentMissing, fault),
                    // It was there a moment ago, so it has moved.
                    Ok(false) => {}
                    Err(end) => return end,
                },
                Verdict::LostRace | Verdict::Moved if reads == MOST_READS => {
                    // A row that never shows itself is no race: another key, or the recycle bin.
                    let reason = if seen { Reason::Conflict } else { Reason::KeyCollision };
                    return End::refused(reason, fault);
                }
                Verdict::LostRace | Verdict::Moved => {}
            }
            pause(reads).await;
        }
        End::because(Reason::Conflict).detail("the row kept changing while it was read and written")
    }

    /// What to send for the row as it is, or how the record ends without sending.
    fn next_step(&self, row: Option<&Row>, stamp: &Stamp<'_>) -> Result<(Form, Option<String>), End> {
        let Some(row) = row else {
            return match self.record.operation {
                Operation::Upsert | Operation::Create => Ok((Form::Create, None)),
                Operation::Update => Err(End::because(Reason::NotFound).detail("there is no row to update")),
                Operation::Delete => Err(End::because(Reason::AlreadyAbsent)),
            };
        };
        let newer = match order::stored(row, stamp.column) {
            Stored::Nothing => true,
            Stored::Version(stored) => match order::compare(stamp.version, stored) {
                Some(order) => order == Ordering::Greater,
                None => return Err(incomparable(stamp)),
            },
            Stored::Unreadable => return Err(incomparable(stamp)),
        };
        if !newer {
            return Err(End::because(Reason::Superseded));
        }
        let delete = self.record.operation == Operation::Delete;
        Ok((if delete { Form::DeleteUnchanged } else { Form::UpdateUnchanged }, row.etag()))
    }

    async fn read(&self, columns: &[String]) -> Result<Option<Row>, End> {
        self.store.read(self.record, columns).await.map_err(|error| read_failed(error.fault))
    }

    /// Looks at the row by our key after a 412.
    async fn look(&self, form: Form) -> Result<Found, End> {
        if form == Form::Upsert && self.policy == OnConflict::Retry {
            return Ok(Found::Other);
        }
        let compares = form == Form::Create || self.policy == OnConflict::Verify;
        if let Some(columns) = select(&self.record.columns).filter(|columns| compares && !columns.is_empty()) {
            match self.store.read(self.record, &columns).await {
                Ok(None) => return Ok(Found::Nothing),
                Ok(Some(row)) if compare(&self.record.columns, &row) == Comparison::Same => return Ok(Found::Same),
                Ok(Some(_)) => return Ok(Found::Other),
                // A navigation name need not be its column's name: then see at least whether the row is there.
                Err(error) if matches!(error.fault, Fault::Answered { status: 400, .. }) => {}
                Err(error) => return Err(read_failed(error.fault)),
            }
        }
        // Where nothing was sent beyond the key, a row that is there holds all of it.
        let present = if self.record.columns.is_empty() { Found::Same } else { Found::Other };
        Ok(if self.is_present().await? { present } else { Found::Nothing })
    }

    /// Whether there is a row by our key.
    async fn is_present(&self) -> Result<bool, End> {
        Ok(self.read(&self.key_columns()).await?.is_some())
    }
}

/// Whether the record refers to another row, by a column or by a lookup in its key.
fn binds(record: &Record) -> bool {
    record.columns.iter().any(|column| column.name.ends_with("@odata.bind"))
        || record.key.columns().iter().any(|column| matches!(column.value, KeyValue::Guid(_)))
}

fn settled_race(reason: Reason, fault: Fault) -> End {
    match reason {
        Reason::AlreadyWritten | Reason::WrittenElsewhere => End { detail: None, ..End::refused(reason, fault) },
        other => End::refused(other, fault),
    }
}

fn incomparable(stamp: &Stamp<'_>) -> End {
    let text =
        format!("the row's {} cannot be compared with `version`: one is a number, the other is not", stamp.column);
    End::because(Reason::InvalidData).detail(text)
}

/// A read that failed leaves the record where it was, and the row as well.
fn read_failed(fault: Fault) -> End {
    let attempt = Attempt { form: Form::Read, binds: false, again: classify::MOST_DEADLOCKS };
    let reason = match judge(&fault, attempt) {
        Verdict::Settle(reason) => reason,
        Verdict::LostRace | Verdict::Moved | Verdict::RowOrParent | Verdict::Again => Reason::Unavailable,
    };
    End { fate_unknown: false, ..End::refused(reason, fault) }
}

/// Between half of the pause and all of it, so that rivals do not meet again.
async fn pause(round: u32) {
    let pause = FIRST_PAUSE * 2u32.pow(round.saturating_sub(1).min(5));
    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
}
