//! The columns that were sent against one row. Pure, and without metadata.
//!
//! A value is proven when it is equal as written, numbers by value; or when the stored text is a date-time or a GUID as the
//! service writes it and the sent text is another notation of the same. A lookup is proven by the GUID in `_…_value`. Text columns
//! cannot be distinguished here: one that holds such a notation is compared in the same way. Everything else is unproven: rounding,
//! seconds cut off, sets of choices, binds by alternate key, nested bodies.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-types-operations>

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::dataverse::Row;
use crate::json::{Members, Value};
use crate::record::{BIND, Column, guid, is_entity_set_name};

/// The annotation that names the table of the row that a lookup points at.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview#lookup-property-data>
const LOOKUP_TABLE: &str = "@Microsoft.Dynamics.CRM.lookuplogicalname";

/// Why a value counts as stored.
enum Proof<'a> {
    /// The stored value is equal.
    Equal,
    /// Null was sent and null was read, which proves it only if this column is readable.
    NullIn(&'a str),
}

/// Whether a value can be proven at all: not a nested body, a bind by alternate key, a bare annotation.
pub(super) fn is_comparable(column: &Column<'_>) -> bool {
    match (column.name.ends_with(BIND), Value::of(column.value)) {
        (true, Value::Text(address)) => bound_id(&address).is_some(),
        (true, value) => value == Value::Null,
        // Only such a name can be selected.
        (false, value) => is_entity_set_name(&column.name) && value != Value::Nested,
    }
}

/// The columns in which null was sent and null was read, where every other value is proven; else `None`.
pub(super) fn unproven_nulls(sent: &[Column<'_>], row: &Row) -> Option<Vec<String>> {
    let members = row.members();
    let stored = Stored(&members);
    let mut nulls = Vec::new();
    for column in sent {
        if let Proof::NullIn(name) = proof(column, &stored)? {
            nulls.push(name.to_owned());
        }
    }
    Some(nulls)
}

fn proof<'a>(column: &'a Column<'_>, row: &Stored<'a>) -> Option<Proof<'a>> {
    let sent = Value::of(column.value);
    let navigation = column.name.strip_suffix(BIND);
    let (name, stored) = match navigation {
        Some(navigation) => row.lookup(navigation)?,
        // `"nav": null` clears a lookup.
        None if sent == Value::Null => row.column(&column.name).or_else(|| row.lookup(&column.name))?,
        None => row.column(&column.name)?,
    };
    let is_proven = match (&sent, &stored) {
        (Value::Null, Value::Null) => return Some(Proof::NullIn(name)),
        (Value::Text(address), Value::Text(id)) if navigation.is_some() => bound_id(address)? == guid(id)?,
        _ => navigation.is_none() && is_same(&sent, &stored),
    };
    is_proven.then_some(Proof::Equal)
}

/// The properties of a row.
struct Stored<'a>(&'a Members<'a>);

impl<'a> Stored<'a> {
    fn column(&self, name: &str) -> Option<(&'a str, Value<'a>)> {
        let (name, value) = self.0.0.iter().find(|(found, _)| found == name)?;
        Some((name, Value::of(value)))
    }

    /// The lookup column that a navigation property writes, and the GUID in it. The property is named like its column or, where
    /// the column can point at several tables, `<column>_<table>`.
    fn lookup(&self, navigation: &str) -> Option<(&'a str, Value<'a>)> {
        let navigation = navigation.to_ascii_lowercase();
        self.0.0.iter().find_map(|(name, value)| {
            let column = name.strip_prefix('_')?.strip_suffix("_value")?;
            let is_written = match navigation.strip_prefix(column)? {
                "" => true,
                rest => self.table_of(name)? == rest.strip_prefix('_')?,
            };
            is_written.then(|| (column, Value::of(value)))
        })
    }

    fn table_of(&self, lookup: &str) -> Option<String> {
        match self.column(&format!("{lookup}{LOOKUP_TABLE}"))? {
            (_, Value::Text(table)) => Some(table.into_owned()),
            _ => None,
        }
    }
}

/// The GUID in `/accounts(9b2e0c3a-…)`, with or without the service's root; `None` for an alternate key.
fn bound_id(address: &str) -> Option<Uuid> {
    let (_, predicate) = address.strip_suffix(')')?.split_once('(')?;
    guid(predicate)
}

fn is_same(sent: &Value<'_>, stored: &Value<'_>) -> bool {
    match (sent, stored) {
        (Value::Nested, _) => false,
        (Value::Text(sent), Value::Text(stored)) => {
            sent == stored || is_same_instant(sent, stored) || is_same_guid(sent, stored)
        }
        _ => sent == stored,
    }
}

/// The service writes date-times in UTC.
fn is_same_instant(sent: &str, stored: &str) -> bool {
    let instant = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    stored.ends_with('Z') && instant(stored).is_some_and(|stored| instant(sent) == Some(stored))
}

/// The service writes GUIDs in lower case and without braces.
fn is_same_guid(sent: &str, stored: &str) -> bool {
    guid(stored).is_some_and(|id| id.to_string() == stored && guid(sent) == Some(id))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
