//! Sent against stored: whether the row by a record's key provably holds every value that was sent.
//!
//! It costs one read of the row. Only where null was sent and null came back, the store is asked whether we may read the column,
//! because a column that we may not read comes back as null too. [`RowMatch::Same`] needs proof for every value. Without it the
//! record is sent again: that costs one more write and never loses one.

mod compare;

use super::{Error, ReadAccess, Row, Store};
use crate::record::{BIND, Column, Record, RecordKey};
use compare::{is_comparable, unproven_nulls};

/// The longest `$select` in bytes; beyond it all columns are read. URLs end at 32 KiB.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors#maximum-url-length>
const MAX_SELECT: usize = 16 * 1024;

/// How the row by a record's key compares with the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RowMatch {
    /// There is no row.
    Missing,
    /// The row holds every value that was sent.
    Same,
    /// The row differs, or nothing proves that it does not.
    NotProven,
}

impl RowMatch {
    /// For traces.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "nothing",
            Self::Same => "same",
            Self::NotProven => "other",
        }
    }
}

/// Reads the row by the record's key and compares it with what was sent.
///
/// # Errors
/// Why the row could not be read. A failed look at the metadata is not an error, it leaves a null unproven.
pub(crate) async fn verify(store: &dyn Store, record: &Record) -> Result<RowMatch, Error> {
    let sent = record.columns.list();
    let Some(row) = read(store, record, &sent).await? else { return Ok(RowMatch::Missing) };
    let Some(nulls) = unproven_nulls(&sent, &row) else { return Ok(RowMatch::NotProven) };
    let is_proven = nulls.is_empty() || store.read_access(&record.table, &nulls).await == ReadAccess::Granted;
    Ok(if is_proven { RowMatch::Same } else { RowMatch::NotProven })
}

async fn read(store: &dyn Store, record: &Record, sent: &[Column<'_>]) -> Result<Option<Row>, Error> {
    let names = select(&record.key, sent);
    match store.read(&record.table, &record.key, &names).await {
        // `"nav": null` clears a lookup, but a navigation property cannot be selected.
        Err(Error::Answered { status: 400, .. }) if !names.is_empty() => {
            store.read(&record.table, &record.key, &[]).await
        }
        found => found,
    }
}

/// The columns to read; none means all of them. Where the comparison is bound to fail, only the row's presence matters.
fn select(key: &RecordKey, sent: &[Column<'_>]) -> Vec<String> {
    if sent.is_empty() || !sent.iter().all(is_comparable) {
        return key.columns().iter().map(|column| column.name.clone()).collect();
    }
    let length: usize = sent.iter().map(|column| column.name.len() + 1).sum();
    // The column of a lookup is not always named after its navigation property.
    let binds = sent.iter().any(|column| column.name.ends_with(BIND));
    if binds || length > MAX_SELECT {
        return Vec::new();
    }
    sent.iter().map(|column| column.name.to_string()).collect()
}

#[cfg(test)]
mod tests;
