//! What was sent against what is stored: pure, and never "the same" without proof.
//!
//! Values that are equal as written are the same (`null` being the same as empty text). Where they are unequal as written but
//! equal under some reading (the same moment, set, GUID, or number at a precision), the column's kind decides, which the table's
//! [`Definition`] knows; without it the answer is [`Comparison::Unknown`], and then the change is sent again: a false "same"
//! would lose it. Unknown too is what no source settles: ties at half a unit, later halves of a second, offsets where no zone
//! is kept, null where column security may hide a value.
//!
//! A lookup comes back under its column's name, which only the definition knows. Which row an alternate key means is to be seen
//! in neither; [`super::look`] asks, and gives what it learnt as [`Target`]s. A nested body is never compared.

mod values;

use serde_json::value::RawValue;
use uuid::Uuid;

use super::Row;
use super::bind::Reference;
use super::definition::{Definition, Lookup};
use crate::json::{Members, Value};
use crate::record::{BIND, Column, RecordKey, guid, is_set_name};

/// The annotation that says which table a lookup points at, by logical name.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/overview#lookup-property-data>
pub const LOOKUP_TABLE: &str = "Microsoft.Dynamics.CRM.lookuplogicalname";

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The row holds every value that was sent.
    Same,
    /// At least one value differs.
    Differs,
    /// At least one value cannot be compared, and none is known to differ.
    Unknown,
}

/// The row that a bind by alternate key means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The property that was sent, e.g. `parentcustomerid_account@odata.bind`.
    pub property: String,
    /// The row's primary key.
    pub id: Uuid,
}

/// How a value that was sent comes back.
enum Stored<'a> {
    /// Under the same name.
    Column,
    /// As the GUID of the row that this lookup points at.
    Lookup(&'a Lookup),
}

/// The stored properties that tell whether `columns` were written, or `None` when no set of them could, as far as is known.
pub fn select(columns: &[Column<'_>], definition: Option<&Definition>) -> Option<Vec<String>> {
    let mut names = Vec::with_capacity(columns.len());
    for column in columns {
        let name = match stored(column, definition)? {
            Stored::Column => column.name.to_string(),
            Stored::Lookup(lookup) => lookup.property(),
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    Some(names)
}

/// Whether something was sent that cannot be compared, whatever is known of the table: a nested body, a bare annotation.
pub fn is_beyond_comparison(columns: &[Column<'_>]) -> bool {
    let is_named = |name: &str| is_set_name(name.strip_suffix(BIND).unwrap_or(name));
    columns.iter().any(|column| !is_named(&column.name) || Value::of(column.value) == Value::Nested)
}

/// Whether a value was sent that looks the same when it is stored and when it is hidden.
pub fn sends_nothing(columns: &[Column<'_>]) -> bool {
    columns.iter().any(|column| values::is_nothing(&Value::of(column.value)))
}

/// Compares what was sent with a row that was read with [`select`].
pub fn compare(columns: &[Column<'_>], row: &Row, definition: Option<&Definition>, targets: &[Target]) -> Comparison {
    let Members(members) = row.members();
    let member = |name: &str| members.iter().find(|(found, _)| found == name).map(|(_, value)| *value);
    let mut result = Comparison::Same;
    for column in columns {
        let found = match stored(column, definition) {
            Some(Stored::Column) => member(&column.name)
                .map(|stored| values::compare(column.value, stored, definition.and_then(|d| d.column(&column.name)))),
            Some(Stored::Lookup(lookup)) => {
                let property = lookup.property();
                let table = member(&format!("{property}@{LOOKUP_TABLE}"));
                let hidden = definition.is_none_or(|definition| definition.hides(lookup));
                member(&property).map(|stored| match (Value::of(stored), hidden) {
                    (Value::Null, true) => Comparison::Unknown,
                    (stored, _) => compare_lookup(column, lookup, &stored, table, targets),
                })
            }
            None => None,
        };
        match found {
            Some(Comparison::Same) => {}
            Some(Comparison::Differs) => return Comparison::Differs,
            Some(Comparison::Unknown) | None => result = Comparison::Unknown,
        }
    }
    result
}

/// The binds by alternate key whose lookups point at something: [`compare`] asks for their targets.
pub fn unresolved(columns: &[Column<'_>], row: &Row, definition: &Definition) -> Vec<(String, Reference)> {
    let Members(members) = row.members();
    let is_set = |property: &str| {
        members.iter().any(|(name, value)| name == property && matches!(Value::of(value), Value::Text(_)))
    };
    let by_key = |column: &Column<'_>| {
        let Some(Stored::Lookup(lookup)) = stored(column, Some(definition)) else { return None };
        let reference = reference(column.value).filter(|to| matches!(to.key, RecordKey::Alternate(_)))?;
        is_set(&lookup.property()).then(|| (column.name.to_string(), reference))
    };
    columns.iter().filter_map(by_key).collect()
}

fn stored<'a>(column: &Column<'_>, definition: Option<&'a Definition>) -> Option<Stored<'a>> {
    let value = Value::of(column.value);
    if let Some(navigation) = column.name.strip_suffix(BIND) {
        return definition?.lookup(navigation).map(Stored::Lookup);
    }
    // Annotations hold no values, and nothing else may stand in an address.
    if value == Value::Nested || !is_set_name(&column.name) {
        return None;
    }
    match definition.and_then(|definition| definition.lookup(&column.name)) {
        Some(lookup) if value == Value::Null => Some(Stored::Lookup(lookup)),
        Some(_) | None => Some(Stored::Column),
    }
}

fn reference(value: &RawValue) -> Option<Reference> {
    match Value::of(value) {
        Value::Text(address) => Reference::parse(&address),
        _ => None,
    }
}

fn compare_lookup(
    column: &Column<'_>,
    lookup: &Lookup,
    stored: &Value<'_>,
    table: Option<&RawValue>,
    targets: &[Target],
) -> Comparison {
    let stored = match (Value::of(column.value), stored) {
        (Value::Null, Value::Null) => return Comparison::Same,
        (Value::Text(_), Value::Text(stored)) => guid(stored),
        (Value::Null, Value::Text(_)) | (Value::Text(_), Value::Null) => return Comparison::Differs,
        _ => None,
    };
    let sent = match reference(column.value).map(|reference| reference.key) {
        Some(RecordKey::Id(id)) => Some(id),
        Some(RecordKey::Alternate(_)) => {
            targets.iter().find(|target| column.name == target.property).map(|target| target.id)
        }
        None => None,
    };
    let (Some(sent), Some(stored)) = (sent, stored) else { return Comparison::Unknown };
    match table.map(Value::of) {
        _ if sent != stored => Comparison::Differs,
        _ if !lookup.is_shared() => Comparison::Same,
        Some(Value::Text(table)) if table == lookup.target() => Comparison::Same,
        Some(Value::Text(_)) => Comparison::Differs,
        _ => Comparison::Unknown,
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
