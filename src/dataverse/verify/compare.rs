//! The columns that were sent against one row. Pure, and without metadata.
//!
//! A value is proven when it is equal as written, numbers by value; or when the stored text is a date-time or a GUID as the
//! service writes it and the sent text is another notation of the same. A lookup is proven by the GUID in `_…_value`. Text columns
//! cannot be distinguished here: one that holds such a notation is compared in the same way. Everything else is unproven; of it,
//! what the service may have made of the sent value (rounded, without fractions of a second, another order of choices, trimmed), a
//! bind by alternate key and a nested body do not count as different either.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-types-operations>

use std::collections::BTreeSet;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use crate::dataverse::Row;
use crate::json::{Members, Value};
use crate::record::{BIND, Column, guid, is_entity_set_name};

/// The annotation that names the table of the row that a lookup points at.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview#lookup-property-data>
const LOOKUP_TABLE: &str = "@Microsoft.Dynamics.CRM.lookuplogicalname";

/// How the columns that were sent compare with a row.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    /// A stored value is another one than was sent.
    pub(super) differs: bool,
    /// A value can be neither proven nor refuted.
    pub(super) unproven: bool,
    /// Where null was sent and null was read, which proves it only if the column is readable.
    pub(super) nulls_sent: Vec<String>,
    /// Where null was read for a value, which refutes it only if the column is readable.
    pub(super) nulls_read: Vec<String>,
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

/// Compares every column that was sent with the row.
pub(super) fn compare(sent: &[Column<'_>], row: &Row) -> Comparison {
    let members = row.members();
    let stored = Stored(&members);
    let mut comparison = Comparison::default();
    for column in sent {
        comparison.add(column, &stored);
    }
    comparison
}

impl Comparison {
    fn add(&mut self, column: &Column<'_>, row: &Stored<'_>) {
        let sent = Value::of(column.value);
        let navigation = column.name.strip_suffix(BIND);
        let found = match navigation {
            _ if !is_comparable(column) => None,
            Some(navigation) => row.lookup(navigation),
            // `"nav": null` clears a lookup.
            None if sent == Value::Null => row.column(&column.name).or_else(|| row.lookup(&column.name)),
            None => row.column(&column.name),
        };
        match (found, &sent) {
            (None, _) => self.unproven = true,
            (Some((name, Value::Null)), Value::Null) => self.nulls_sent.push(name.to_owned()),
            // Dataverse stores an empty text as null.
            (Some((_, Value::Null)), Value::Text(text)) if text.trim().is_empty() => self.unproven = true,
            (Some((name, Value::Null)), _) => self.nulls_read.push(name.to_owned()),
            (Some((_, Value::Text(id))), Value::Text(address)) if navigation.is_some() => {
                self.differs |= bound_id(address) != guid(&id);
            }
            (Some((_, stored)), sent) if is_same(sent, &stored) => {}
            (Some((_, stored)), sent) if is_alike(sent, &stored) => self.unproven = true,
            (Some(_), _) => self.differs = true,
        }
    }
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

/// Whether the service may have stored the sent value like this.
fn is_alike(sent: &Value<'_>, stored: &Value<'_>) -> bool {
    match (sent, stored) {
        (Value::Number(sent), Value::Number(stored)) => {
            is_rounded(sent.literal().as_deref(), stored.literal().as_deref())
        }
        (Value::Text(sent), Value::Text(stored)) => {
            is_cut_off(sent, stored) || choices(sent).is_some_and(|sent| Some(sent) == choices(stored)) || {
                let lines = |text: &str| text.trim().replace("\r\n", "\n");
                lines(sent) == lines(stored)
            }
        }
        _ => false,
    }
}

/// Decimals are rounded to the precision of their column.
fn is_rounded(sent: Option<&str>, stored: Option<&str>) -> bool {
    let decimals = stored.and_then(|stored| Some(stored.split_once('.')?.1.len())).unwrap_or_default();
    let number = |literal: Option<&str>| literal?.parse::<f64>().ok();
    let unit = 10f64.powi(i32::try_from(decimals).unwrap_or(i32::MAX).saturating_neg());
    number(sent).zip(number(stored)).is_some_and(|(sent, stored)| (sent - stored).abs() <= unit * 0.51)
}

/// A date-time without its fraction of a second, or a date without its time. Without an offset it is in UTC.
fn is_cut_off(sent: &str, stored: &str) -> bool {
    let instant = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let sent_at = instant(sent).or_else(|| instant(&format!("{sent}Z")));
    let is_second = sent_at.zip(instant(stored)).is_some_and(|(sent, stored)| (sent - stored).whole_seconds() == 0);
    is_second || sent.strip_prefix(stored).is_some_and(|rest| rest.starts_with('T'))
}

/// The choices in a text such as `1, 9`.
fn choices(text: &str) -> Option<BTreeSet<i64>> {
    text.split(',').map(|choice| choice.trim().parse().ok()).collect()
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
