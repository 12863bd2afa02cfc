//! The state of a new row. Dataverse creates every row in its table's first state: a `statecode` is ignored, and a status of
//! another state is refused. So where a row that may be new does not have the state that its record sets, a second request sets it.
//!
//! With a version, the first request leaves it out and the second one writes it together with the state, on the condition that the
//! row has not changed. If the process ends in between, the next delivery finds a row that is older than its record, and completes it.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/define-custom-state-model-transitions>

use super::Settlement;
use super::order::{self, RecordVersion, Stored};
use super::versioned::is_newer;
use super::write::{Past, Writer, pause, unidentified};
use crate::classify::{Verdict, is_state_refused, judge};
use crate::dataverse::{Change, Error, Row, Write, WriteKind};
use crate::json::Value;
use crate::outcome::Reason;
use crate::record::{Columns, Operation, Record, STATE};

/// The state that a record sets on a row that it may create.
pub(super) struct State {
    /// The state columns alone.
    columns: Columns,
    names: Vec<String>,
    /// The record's columns without the state and the version.
    rest: Columns,
}

impl State {
    /// The state that `record` sets, if it may create a row; `version_column` holds its version.
    pub(super) fn of(record: &Record, version_column: Option<&str>) -> Option<Self> {
        let may_create = matches!(record.operation, Operation::Upsert | Operation::Create);
        if !may_create || !record.columns.has_state() {
            return None;
        }
        let version_column = version_column.filter(|_| record.version.is_some());
        let columns = record.columns.filtered(|name| STATE.contains(&name));
        let names = columns.list().into_iter().map(|column| column.name.into_owned()).collect();
        let rest = record.columns.filtered(|name| !STATE.contains(&name) && Some(name) != version_column);
        Some(Self { columns, names, rest })
    }

    fn is_in(&self, row: &Row) -> bool {
        let members = row.members();
        let is_stored = |name: &str, sent| members.get(name).is_some_and(|stored| Value::of(stored) == Value::of(sent));
        self.columns.list().iter().all(|column| is_stored(&column.name, column.value))
    }
}

impl Writer<'_> {
    /// Sends an upsert or a create, and then sets the missing part of the state.
    ///
    /// An error is the end of the attempt; otherwise it is the result of the request that was to create the row.
    pub(super) async fn send_with_state(
        &self,
        state: &State,
        write: Write<'_>,
        past: &mut Past,
    ) -> Result<Result<Reason, Error>, Settlement> {
        if self.version.is_none() && !past.state_refused {
            let change = Change { record: self.record, columns: &self.record.columns, id: None, write, version: None };
            match self.send_change(&change, &state.names).await {
                Ok((reason, row)) => return self.complete(state, reason, row).await.map(Ok),
                Err(fault) if !is_state_refused(&fault) => return Ok(Err(fault)),
                Err(_) => past.state_refused = true,
            }
        }
        let columns = &state.rest;
        let change = Change { record: self.record, columns, id: None, write: Write::Create, version: None };
        match self.send_change(&change, &state.names).await {
            Ok((reason, row)) => self.complete(state, reason, row).await.map(Ok),
            // There is a row: either it refused the state, or it is newer than the refusal.
            Err(fault) if write == Write::Upsert && self.is_taken(&fault) && self.is_present().await? => {
                Ok(self.send(write, None).await)
            }
            Err(fault) => Ok(Err(fault)),
        }
    }

    /// The row was written, and `row` is what came back: sets its state unless it has it, and its version.
    async fn complete(&self, state: &State, reason: Reason, row: Option<Row>) -> Result<Reason, Settlement> {
        if self.version.is_none() && row.as_ref().is_some_and(|row| state.is_in(row)) {
            return Ok(reason);
        }
        self.set_state(state, row.as_ref(), &state.names).await?;
        Ok(reason)
    }

    /// An earlier delivery may have created this row, which holds what was compared: completes its state and its version, if that
    /// delivery did not come to it.
    pub(super) async fn complete_earlier(&self, fault: Option<Error>) -> Settlement {
        let done = || match fault {
            Some(fault) => Settlement { detail: None, ..Settlement::refused(Reason::AlreadyWritten, fault) },
            None => Settlement::new(Reason::AlreadyWritten),
        };
        let completed = match (&self.state, &self.version) {
            (None, None) => Ok(false),
            (state, version) => self.set_missing(state.as_ref(), version.as_ref()).await,
        };
        match completed {
            Ok(true) => Settlement::new(Reason::Created),
            Ok(false) => done(),
            Err(settlement) => settlement,
        }
    }

    /// Whether something was missing.
    async fn set_missing(
        &self,
        state: Option<&State>,
        version: Option<&RecordVersion<'_>>,
    ) -> Result<bool, Settlement> {
        let exists = |detail| Err(Settlement::new(Reason::Exists).detail(detail));
        let names = state.iter().flat_map(|state| state.names.iter().cloned());
        let columns: Vec<_> = names.chain(version.map(|version| version.column.to_owned())).collect();
        let Some(row) = self.read(&columns).await? else {
            return Err(Settlement::new(Reason::Conflict).detail("the row disappeared after it was compared"));
        };
        if let Some(version) = version {
            match (order::stored(&row, version.column), state) {
                (Stored::Nothing, Some(_)) => self.check_visible(version.column).await?,
                // It would have been created with the version, which may be hidden.
                (Stored::Nothing, None) => {
                    let is_empty = self.check_visible(version.column).await.is_ok();
                    let is_ours = !is_empty && self.is_created_by_us().await?;
                    return if is_ours { Ok(false) } else { exists("the row is there, without this version") };
                }
                // State and version are written together, so this row was changed since.
                (stored, _) if is_newer(version, &stored).is_ok_and(|is_newer| !is_newer) => return Ok(false),
                (Stored::Version(_) | Stored::Unreadable, _) => {
                    return exists("the row is there, with an older version");
                }
            }
        }
        let Some(state) = state else { return Ok(false) };
        if version.is_none() && state.is_in(&row) {
            return Ok(false);
        }
        if !self.is_created_by_us().await? {
            return exists("the row is there, in another state");
        }
        self.set_state(state, Some(&row), &columns).await?;
        Ok(true)
    }

    /// Sets the state of a present row and, if there is one, the version; `row` shows the `selected` columns.
    async fn set_state(&self, state: &State, row: Option<&Row>, selected: &[String]) -> Result<(), Settlement> {
        let etag = row.and_then(Row::etag);
        let write = match (&self.version, &etag) {
            (None, _) => Write::UpdateFound,
            (Some(_), Some(etag)) => Write::UpdateUnchanged(etag),
            (Some(_), None) => {
                return Err(unfinished(
                    Settlement::new(Reason::Unavailable).detail("the new row came without its ETag"),
                ));
            }
        };
        let id = match row.and_then(|row| row.id(selected)) {
            id if self.is_unaddressable() => Some(id.ok_or_else(|| unfinished(unidentified()))?),
            _ => None,
        };
        let version = self.version.as_ref().map(|version| (version.column, version.json.as_str()));
        let change = Change { record: self.record, columns: &state.columns, id, write, version };
        let mut again = 0;
        loop {
            let Err(fault) = self.send_change(&change, &[]).await else { return Ok(()) };
            if let Some(version) = self.version.as_ref().filter(|_| fault.is_ambiguous()) {
                return Err(self.resolve_conditional_write(version, fault).await);
            }
            match judge(&fault, self.attempt(write.kind(), again)) {
                Verdict::Again => again += 1,
                Verdict::Settle(reason) => return Err(unfinished(Settlement::refused(reason, fault))),
                // The row was changed or deleted meanwhile; the next delivery sees what it lacks.
                Verdict::LostRace | Verdict::Moved | Verdict::RowOrParent => {
                    return Err(unfinished(Settlement::refused(Reason::Conflict, fault)));
                }
            }
            pause(again).await;
        }
    }

    /// The columns that a row is compared with: the row of a create may lack its state and still be the record's.
    pub(super) fn compared(&self) -> &Columns {
        match &self.state {
            Some(state) if self.record.operation == Operation::Create => &state.rest,
            _ => &self.record.columns,
        }
    }

    /// Whether another row has a key of ours.
    fn is_taken(&self, fault: &Error) -> bool {
        judge(fault, self.attempt(WriteKind::Create, 0)) == Verdict::LostRace
    }
}

/// The row was written, but it does not have its state.
fn unfinished(settlement: Settlement) -> Settlement {
    let detail = settlement.detail.as_deref().unwrap_or_default();
    let detail = Some(format!("the row was written, but its state was not set: {detail}"));
    Settlement { detail, has_created: true, ..settlement }
}
