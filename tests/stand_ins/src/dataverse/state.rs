//! `statecode` and `statuscode` in creates and updates.
//!
//! A new row is in the first state, whatever `statecode` was sent, and a status of another state is refused:
//! <https://learn.microsoft.com/power-apps/developer/data-platform/define-custom-state-model-transitions>. An update
//! refuses a status of another state than the row's, or than the one that comes with it; a state without a status
//! sets the state's default status.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::errors::Error;
use super::table::{STATE, STATUS, State, Table};

/// What a create does with the status of another state than that of a new row. Sources differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum StateOnCreate {
    /// 0x80048408.
    #[default]
    Refused,
    /// The row is created in the first state, if the state that was sent has the status.
    Ignored,
}

/// The state and status of a new row with the values that were sent for it.
pub(super) fn create(table: &Table, mode: StateOnCreate, values: &mut Map<String, Value>) -> Result<(), Error> {
    let Some(first) = table.states.first() else { return Ok(()) };
    let sent = values.remove(STATE);
    if let Some(status) = values.get(STATUS).and_then(Value::as_i64).filter(|status| !first.statuses.contains(status)) {
        let is_of_sent = table.state_of(status).is_some_and(|state| sent == Some(state.value.into()));
        if mode == StateOnCreate::Refused || !is_of_sent {
            return Err(invalid(table, status, first));
        }
        values.remove(STATUS);
    }
    complete(table, values);
    Ok(())
}

/// Adds the default status of a changed state to `changes`, and checks the status against the state of `row`.
pub(super) fn update(table: &Table, row: &Map<String, Value>, changes: &mut Map<String, Value>) -> Result<(), Error> {
    let value = changes.get(STATE).or_else(|| row.get(STATE)).and_then(Value::as_i64);
    let Some(state) = table.states.iter().find(|state| Some(state.value) == value) else { return Ok(()) };
    match changes.get(STATUS).and_then(Value::as_i64) {
        Some(status) if !state.statuses.contains(&status) => return Err(invalid(table, status, state)),
        None if changes.contains_key(STATE) => {
            changes.insert(STATUS.to_owned(), state.statuses[0].into());
        }
        Some(_) | None => {}
    }
    Ok(())
}

/// Adds the first state, and the default status of the row's state, where they are missing.
pub(super) fn complete(table: &Table, values: &mut Map<String, Value>) {
    let Some(first) = table.states.first() else { return };
    let value = values.entry(STATE).or_insert_with(|| first.value.into()).as_i64();
    let state = table.states.iter().find(|state| Some(state.value) == value).unwrap_or(first);
    if values.get(STATUS).is_none_or(Value::is_null) {
        values.insert(STATUS.to_owned(), state.statuses[0].into());
    }
}

/// `InvalidStateCodeStatusCode`, with the text of a captured answer. Its status is that of other errors in the data.
fn invalid(table: &Table, status: i64, state: &State) -> Error {
    let (head, tail) = table.logical_name.split_at(1);
    let text = format!(
        "{status} is not a valid status code for state code {}{tail}State.{} on {}.",
        head.to_uppercase(),
        state.name,
        table.logical_name
    );
    Error::new(StatusCode::BAD_REQUEST, "0x80048408", text)
}
