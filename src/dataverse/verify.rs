//! Sent against stored: whether the row by a record's key provably holds every value that was sent.
//!
//! It costs one read of the row. Only where null was sent and null came back, the store is asked whether we may read the column,
//! because a column that we may not read comes back as null too. [`RowMatch::Same`] needs proof for every value. Without it the
//! record is sent again: that costs one more write and never loses one.

mod compare;

use std::slice;

use super::{Error, ReadAccess, Row, Store};
use crate::record::{BIND, Column, Columns, Record, RecordKey};
use compare::{Comparison, compare, is_comparable};

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
    /// No value that can be read differs, but not every value is proven.
    NotProven,
    /// A value differs.
    Differs,
}

impl RowMatch {
    /// For traces.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "nothing",
            Self::Same => "same",
            Self::NotProven | Self::Differs => "other",
        }
    }
}

/// Reads the row by the record's key and compares it with `columns` of the record.
///
/// # Errors
/// Why the row could not be read. A failed look at the metadata is not an error: a null then shows nothing.
pub(crate) async fn verify(store: &dyn Store, record: &Record, columns: &Columns) -> Result<RowMatch, Error> {
    let sent = columns.list();
    let Some(row) = read(store, record, &sent).await? else { return Ok(RowMatch::Missing) };
    let Comparison { differs, unproven, nulls_sent, nulls_read } = compare(&sent, &row);
    if differs {
        return Ok(RowMatch::Differs);
    }
    let granted = async |columns: &[String]| store.read_access(&record.table, columns).await == ReadAccess::Granted;
    for column in &nulls_read {
        if granted(slice::from_ref(column)).await {
            return Ok(RowMatch::Differs);
        }
    }
    let is_proven = !unproven && nulls_read.is_empty() && (nulls_sent.is_empty() || granted(&nulls_sent).await);
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

/// The columns to read; none means all of them. Where nothing can be compared, only the row's presence matters.
fn select(key: &RecordKey, sent: &[Column<'_>]) -> Vec<String> {
    let sent: Vec<_> = sent.iter().filter(|column| is_comparable(column)).collect();
    if sent.is_empty() {
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
