//! The lookups of a record whose row is missing: for callers and dead letters with their keys, for logs with the hash of each.
//!
//! The service does not always say which row is missing: then every lookup that may miss its row is named.

use std::fmt;

use super::{Settlement, shown_hash};
use crate::classify;
use crate::outcome::Reason;
use crate::record::{Lookup, Record};

/// The most lookups that are named.
const MAX_NAMED: usize = 5;

/// The characters of an address that are shown: a key may have 900 bytes.
const MAX_ADDRESS_CHARS: usize = 200;

/// The lookups whose rows may be missing; never empty.
pub(super) struct MissingParent(Vec<Lookup>);

impl MissingParent {
    /// `None` unless Dataverse has refused a record for a missing parent, and it has a lookup whose address can be read.
    pub(super) fn of(settlement: &Settlement, record: &Record) -> Option<Self> {
        let fault = settlement.fault.as_deref().filter(|_| settlement.reason == Reason::ParentMissing)?;
        let lookups = classify::missing_rows(fault, record.lookups());
        (!lookups.is_empty()).then_some(Self(lookups))
    }

    /// Without the keys: the columns of each, and the hash that the log shows for a record of that row.
    pub(super) fn loggable(&self, environment: &str) -> String {
        let rows = self.0.iter().take(MAX_NAMED).map(|Lookup { name, target }| {
            let table = target.table.as_deref().unwrap_or_default();
            let lock_name = target.key().map(|key| key.lock_name(environment, table));
            let hash = lock_name.as_deref().and_then(shown_hash).filter(|_| !table.is_empty()).unwrap_or("unknown");
            let columns =
                if target.id().is_some() { "primary key".to_owned() } else { target.column_names().join(",") };
            format!("{table}({columns}) of the lookup {name}, key_hash {hash}")
        });
        self.sentence(rows)
    }

    fn sentence(&self, rows: impl Iterator<Item = String>) -> String {
        let rows = rows.collect::<Vec<_>>().join("; ");
        match self.0.len() {
            1 => format!("the row {rows} is missing"),
            count if count > MAX_NAMED => format!("one of {count} rows is missing: {rows}; …"),
            _ => format!("one of these rows is missing: {rows}"),
        }
    }
}

impl fmt::Display for MissingParent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.0.iter().take(MAX_NAMED).map(|Lookup { name, target }| {
            let address: String = target.to_string().chars().take(MAX_ADDRESS_CHARS).collect();
            format!("{address} of the lookup {name}")
        });
        f.write_str(&self.sentence(rows))
    }
}
