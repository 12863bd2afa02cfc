//! Converts a request's body to column values and resolves lookups.
//!
//! It rejects unknown properties, undeclared navigation properties, direct writes of lookup columns, deep insert (which
//! is not supported), and binds to missing rows. Annotations are ignored, as in the service. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::errors::Error;
use super::key::Address;
use super::path;
use super::rows::Store;
use super::table::{Kind, Lookup, Table};
use super::values;

/// Parses the JSON body of a request for `set`.
pub(super) fn object(set: &str, bytes: &[u8]) -> Result<Map<String, Value>, Error> {
    match serde_json::from_slice(bytes) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(_) => Err(Error::payload(set, "An unexpected node type was found when reading the entity.")),
        Err(error) => Err(Error::payload(set, format!("Invalid JSON. {error}"))),
    }
}

/// The column values that `body` sets in `table`, in stored form.
pub(super) fn changes(store: &Store, table: &Table, body: &Map<String, Value>) -> Result<Map<String, Value>, Error> {
    let mut changes = Map::new();
    for (name, value) in body {
        let Some((column, value)) = change(store, table, name, value)? else { continue };
        if let Some(Kind::Lookup) = table.columns.get(&column) {
            changes.insert(Table::lookup_table(&column), super::target_of(store, table, &column, &value));
        }
        changes.insert(column, value);
    }
    Ok(changes)
}

fn change(store: &Store, table: &Table, name: &str, value: &Value) -> Result<Option<(String, Value)>, Error> {
    if let Some(navigation) = name.strip_suffix("@odata.bind") {
        let lookup = table.navigation(navigation).ok_or_else(|| undeclared(table, navigation))?;
        return Ok(Some((lookup.column.clone(), bound(store, table, lookup, value)?)));
    }
    if name.contains('@') {
        return Ok(None);
    }
    if let Some(lookup) = table.navigation(name) {
        if value.is_null() {
            return Ok(Some((lookup.column.clone(), Value::Null)));
        }
        let text = "Deep insert is a part of the service that this stand-in does not have.";
        return Err(Error::new(StatusCode::NOT_IMPLEMENTED, "", text));
    }
    match table.columns.get(name) {
        Some(Kind::Lookup) => {
            let text =
                "CRM do not support direct update of Entity Reference properties, Use Navigation properties instead.";
            Err(Error::payload(&table.set, text))
        }
        Some(_) if table.read_only.contains(name) => Ok(None),
        Some(_) if name == table.primary_key && value.is_null() => {
            Err(Error::payload(&table.set, format!("Cannot convert null to the type of '{name}'.")))
        }
        Some(kind) => Ok(Some((name.to_owned(), values::accept(table, name, kind, value)?))),
        None => Err(Error::no_property_to_write(&table.logical_name, name)),
    }
}

fn bound(store: &Store, table: &Table, lookup: &Lookup, value: &Value) -> Result<Value, Error> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let malformed = || Error::payload(&table.set, format!("Invalid URI in '{}@odata.bind'.", lookup.navigation));
    let reference = value.as_str().ok_or_else(malformed)?;
    let (set, predicate) = reference_parts(reference)?.ok_or_else(malformed)?;
    let table_rows = store.table_rows(&set)?;
    if !table.lookups.iter().any(|other| other.navigation == lookup.navigation && other.target_set == set) {
        return Err(malformed());
    }
    let address = Address::parse(&table_rows.table, &predicate)?;
    let row = table_rows.find(&address).ok_or_else(|| address.not_found(&table_rows.table))?;
    Ok(row.id.to_string().into())
}

/// Set and predicate of `/accounts(…)`, `accounts(…)` or the whole URL.
pub(super) fn reference_parts(reference: &str) -> Result<Option<(String, String)>, Error> {
    let relative = match reference.split_once("/api/data/") {
        Some((_, below)) => below.split_once('/').map_or("", |(_, rest)| rest),
        None => reference.strip_prefix('/').unwrap_or(reference),
    };
    if relative.split_once('(').is_some_and(|(_, predicate)| predicate.contains('/')) {
        return Err(Error::query_syntax());
    }
    let resource = path::parse(relative)?;
    Ok(resource.predicate.filter(|_| resource.tail.is_none()).map(|predicate| (resource.name, predicate)))
}

fn undeclared(table: &Table, navigation: &str) -> Error {
    let text = format!(
        "An undeclared property '{navigation}' which only has property annotations in the payload but no property value \
         was found in the payload. In OData, only declared navigation properties and declared named streams can be \
         represented as properties without values."
    );
    Error::payload(&table.set, text)
}
