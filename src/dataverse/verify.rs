//! Looks at the row by a record's key, and says with facts only how it stands to what was sent.
//!
//! It asks for as little as tells: one read of the row; the table's definition where a value came back in another form or comes
//! back under another name; one read of each row that is bound by alternate key. It judges nothing, and it answers [`Look::Same`]
//! only with the proof that [`super::compare`] demands. What it may not see (a definition, a bound row) leaves it at
//! [`Look::Unknown`].

use std::sync::Arc;

use super::compare::{Comparison, Target, compare, is_beyond_comparison, select, sends_nothing, unresolved};
use super::definition::Definition;
use super::{Error, Row, Store};
use crate::record::{Column, Record, RecordKey};

/// The longest list of columns that is asked for by name, in bytes. Beyond it the whole row is read: addresses end at 32 KiB.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors#maximum-url-length>
const LONGEST_SELECT: usize = 16 * 1024;

/// How the row by our key stands to what was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// There is none.
    Nothing,
    /// It holds every value that was sent.
    Same,
    /// It holds another value.
    Differs,
    /// It is there; whether it holds what was sent cannot be told.
    Unknown,
}

impl From<Comparison> for Look {
    fn from(found: Comparison) -> Self {
        match found {
            Comparison::Same => Self::Same,
            Comparison::Differs => Self::Differs,
            Comparison::Unknown => Self::Unknown,
        }
    }
}

/// What one read of the row gave.
enum Read {
    Row(Row),
    Nothing,
    /// The service does not know a column by that name.
    Refused,
}

/// Looks at the row that `record` is about.
///
/// # Errors
/// What was answered instead, or that nothing was, when the row or a row that is bound by alternate key was read.
pub async fn look(store: &dyn Store, record: &Record) -> Result<Look, Error> {
    let sent = record.columns.list();
    if sent.is_empty() || is_beyond_comparison(&sent) {
        return presence(store, record).await;
    }
    let row = match select(&sent, None) {
        Some(names) => match read(store, record, &names).await? {
            Read::Row(row) => Some(row),
            Read::Nothing => return Ok(Look::Nothing),
            Read::Refused => None,
        },
        None => None,
    };
    let found = row.as_ref().map(|row| compare(&sent, row, None, &[]));
    match found {
        Some(Comparison::Differs) => return Ok(Look::Differs),
        // Null is what a column that may not be read looks like: then the definition has a say.
        Some(Comparison::Same) if !sends_nothing(&sent) => return Ok(Look::Same),
        Some(Comparison::Same | Comparison::Unknown) | None => {}
    }
    match (store.definition(&record.table).await, found) {
        (Some(definition), _) => look_with(store, record, &definition, row).await,
        (None, Some(found)) => Ok(found.into()),
        (None, None) => presence(store, record).await,
    }
}

/// Looks again, now that the table's definition is known. `row` is what was read without it.
async fn look_with(
    store: &dyn Store,
    record: &Record,
    definition: &Arc<Definition>,
    row: Option<Row>,
) -> Result<Look, Error> {
    let sent = record.columns.list();
    let Some(names) = select(&sent, Some(definition)) else { return presence(store, record).await };
    let row = match row.filter(|_| select(&sent, None).as_ref() == Some(&names)) {
        Some(row) => row,
        None => match read(store, record, &names).await? {
            Read::Row(row) => row,
            Read::Nothing => return Ok(Look::Nothing),
            Read::Refused => return presence(store, record).await,
        },
    };
    let found = compare(&sent, &row, Some(definition), &[]);
    if found != Comparison::Unknown {
        return Ok(found.into());
    }
    let targets = targets(store, &sent, &row, definition).await?;
    Ok(compare(&sent, &row, Some(definition), &targets).into())
}

/// Whether there is a row by our key. Where nothing was sent beyond the key, a row that is there holds all of it.
async fn presence(store: &dyn Store, record: &Record) -> Result<Look, Error> {
    let row = store.read(&record.table, &record.key, &key_columns(&record.key)).await?;
    let present = if record.columns.is_empty() { Look::Same } else { Look::Unknown };
    Ok(if row.is_some() { present } else { Look::Nothing })
}

async fn read(store: &dyn Store, record: &Record, names: &[String]) -> Result<Read, Error> {
    let length: usize = names.iter().map(|name| name.len() + 1).sum();
    let names = if length > LONGEST_SELECT { &[] } else { names };
    match store.read(&record.table, &record.key, names).await {
        Ok(Some(row)) => Ok(Read::Row(row)),
        Ok(None) => Ok(Read::Nothing),
        Err(Error::Answered { status: 400, .. }) => Ok(Read::Refused),
        Err(error) => Err(error),
    }
}

/// The rows that are bound by alternate key, as far as they are to be seen.
async fn targets(
    store: &dyn Store,
    columns: &[Column<'_>],
    row: &Row,
    definition: &Definition,
) -> Result<Vec<Target>, Error> {
    let mut targets = Vec::new();
    for (property, to) in unresolved(columns, row, definition) {
        let names = key_columns(&to.key);
        let row = match store.read(&to.table, &to.key, &names).await {
            Ok(Some(row)) => row,
            Err(error) if meets_us_too(&error) => return Err(error),
            Ok(None) | Err(_) => continue,
        };
        let id = match row.id(&names) {
            Some(id) => Some(id),
            None => store.definition(&to.table).await.and_then(|target| row.guid(target.primary_key())),
        };
        targets.extend(id.map(|id| Target { property, id }));
    }
    Ok(targets)
}

/// Whether a read of another row failed in a way that would meet our own request too. A row that we may not see, or not ask for
/// like this, is no reason to hold the record back.
fn meets_us_too(fault: &Error) -> bool {
    match fault {
        Error::Answered { status, .. } => matches!(status, 401 | 408 | 429 | 500..),
        Error::NoAnswer { .. } | Error::NoToken { .. } => true,
        Error::NotAddressable { .. } | Error::Ambiguous => false,
    }
}

fn key_columns(key: &RecordKey) -> Vec<String> {
    key.columns().iter().map(|column| column.name.clone()).collect()
}

#[cfg(test)]
mod tests;
