//! GET: one row by its key, rows by `$filter`, and `WhoAmI`.
//!
//! It rejects filters other than `column eq literal` joined by `and`, and unsupported options. It returns committed
//! rows only, and none from the recycle bin. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/retrieve-entity-using-web-api> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/filter-rows>.

use axum::http::StatusCode;
use axum::http::header::IF_NONE_MATCH;
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use super::World;
use super::call::Call;
use super::errors::Error;
use super::key::Address;
use super::literal::Literal;
use super::path::Resource;
use super::reply;
use super::rows::{Row, TableRows};
use super::table::{LOOKUP_TABLE, Table};

/// Handles a GET of a row or of a set's rows.
pub(super) fn get(world: &World, call: &Call, resource: &Resource) -> Result<Response, Error> {
    let store = world.store();
    let table_rows = store.table_rows(&resource.name)?;
    if let Some(tail) = &resource.tail {
        return Err(Error::no_segment(tail));
    }
    if call.option("$expand").is_some() {
        return Err(Error::new(StatusCode::NOT_IMPLEMENTED, "", "This stand-in does not do $expand."));
    }
    let selection = call.selection(&table_rows.table)?;
    let shown = Shown { selection: selection.as_deref(), lookup_tables: call.wants_annotation(LOOKUP_TABLE) };
    let context = format!("{}{}$metadata#{}", world.origin(), call.root(), resource.name);
    match &resource.predicate {
        Some(predicate) => one(call, table_rows, predicate, shown, &context),
        None => many(call, table_rows, shown, &context),
    }
}

/// Handles `WhoAmI()` for the user with this object id, or for the one that is impersonated.
pub(super) fn who_am_i(world: &World, call: &Call, user: &str) -> Response {
    let organization = "00000000-0000-4000-8000-0000000000aa";
    let body = json!({
        "@odata.context": format!("{}{}$metadata#Microsoft.Dynamics.CRM.WhoAmIResponse", world.origin(), call.root()),
        "BusinessUnitId": "00000000-0000-4000-8000-0000000000bb",
        "UserId": call.author(user).by,
        "OrganizationId": organization,
    });
    reply::json(StatusCode::OK, &body)
}

/// What to include of a row besides its etag and primary key.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown<'a> {
    /// These columns; `None`: all.
    pub(super) selection: Option<&'a [String]>,
    /// Whether to include which tables the lookups point to.
    pub(super) lookup_tables: bool,
}

/// The row as JSON: its etag, its primary key and the selected columns, lookups as `_…_value`.
pub(super) fn represent(table: &Table, row: &Row, shown: Shown<'_>, context: Option<&str>) -> Value {
    let mut object = Map::new();
    if let Some(context) = context {
        object.insert("@odata.context".to_owned(), context.into());
    }
    if table.has_etags() {
        object.insert("@odata.etag".to_owned(), row.etag().into());
    }
    let is_wanted =
        |column: &String| shown.selection.is_none_or(|names| names.contains(column) || *column == table.primary_key);
    for column in table.columns.keys().filter(|column| is_wanted(column)) {
        object.insert(column.clone(), shown_value(table, row, column).clone());
        let annotation = Table::lookup_table(column);
        if let Some(target) = row.values.get(&annotation).filter(|target| shown.lookup_tables && !target.is_null()) {
            object.insert(annotation, target.clone());
        }
    }
    Value::Object(object)
}

/// The column's value for the caller: null where column security hides it.
fn shown_value<'a>(table: &Table, row: &'a Row, column: &str) -> &'a Value {
    row.values.get(column).filter(|_| !table.hidden.contains(column)).unwrap_or(&Value::Null)
}

fn one(
    call: &Call,
    table_rows: &TableRows,
    predicate: &str,
    shown: Shown<'_>,
    context: &str,
) -> Result<Response, Error> {
    let address = Address::parse(&table_rows.table, predicate)?;
    let row = table_rows.find(&address).ok_or_else(|| address.not_found(&table_rows.table))?;
    if call.header(&IF_NONE_MATCH) == Some(row.etag().as_str()) {
        return Ok(StatusCode::NOT_MODIFIED.into_response());
    }
    let body = represent(&table_rows.table, row, shown, Some(&format!("{context}/$entity")));
    let mut response = reply::json(StatusCode::OK, &body);
    if table_rows.table.has_etags() {
        response.headers_mut().insert("etag", reply::header_value(&row.etag()));
    }
    if shown.lookup_tables {
        let applied = format!("odata.include-annotations=\"{LOOKUP_TABLE}\"");
        response.headers_mut().insert("preference-applied", reply::header_value(&applied));
    }
    Ok(response)
}

fn many(call: &Call, table_rows: &TableRows, shown: Shown<'_>, context: &str) -> Result<Response, Error> {
    let wanted =
        call.option("$filter").map_or_else(|| Ok(Vec::new()), |filter| conditions(&table_rows.table, filter))?;
    let top = match call.option("$top").map(str::parse::<usize>) {
        None => usize::MAX,
        Some(Ok(top)) if top > 0 => top,
        Some(_) => return Err(Error::query("Invalid value for $top query option found.")),
    };
    let is_wanted = |row: &&Row| {
        wanted.iter().all(|(column, value)| table_rows.same(shown_value(&table_rows.table, row, column), value))
    };
    let mut rows: Vec<&Row> = table_rows.live().filter(is_wanted).collect();
    rows.sort_by_key(|row| row.version);
    let rows: Vec<Value> = rows.iter().take(top).map(|row| represent(&table_rows.table, row, shown, None)).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "@odata.context": context, "value": rows })))
}

/// Parses `a eq 'x' and b eq 2`.
fn conditions(table: &Table, filter: &str) -> Result<Vec<(String, Value)>, Error> {
    let syntax = Error::query_syntax;
    let mut conditions = Vec::new();
    let mut rest = filter.trim();
    loop {
        let (column, after) = rest.split_once(" eq ").ok_or_else(syntax)?;
        let column = column.trim();
        let kind = table.columns.get(column).ok_or_else(|| Error::no_property(&table.logical_name, column))?;
        let (literal, after) = Literal::take(after.trim_start()).ok_or_else(syntax)?;
        let value = match literal {
            Literal::Bare(word) if word == "null" => Value::Null,
            literal => literal.value(kind).ok_or_else(syntax)?,
        };
        conditions.push((column.to_owned(), value));
        rest = after.trim_start();
        if rest.is_empty() {
            return Ok(conditions);
        }
        rest = rest.strip_prefix("and ").ok_or_else(syntax)?;
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    #[test]
    fn filters_are_equalities_joined_by_and() {
        let [contacts, ..] = samples::tables();
        let read = |filter| conditions(&contacts, filter).map_err(|error| error.code.into_owned());
        let expected = vec![
            ("employeeid".to_owned(), json!("a & 'b' and c")),
            ("numberofchildren".to_owned(), json!(2)),
            ("lastname".to_owned(), Value::Null),
        ];
        let filter = "employeeid eq 'a & ''b'' and c' and numberofchildren eq 2 and lastname eq null";
        assert_eq!(read(filter), Ok(expected));
        assert_eq!(read("nosuch eq 1"), Err("0x80060888".to_owned()));
        assert_eq!(read("employeeid eq 1"), Err("0x80060888".to_owned()));
        assert_eq!(read("contains(employeeid,'1')"), Err("0x80060888".to_owned()));
    }
}
