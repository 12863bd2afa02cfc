//! Create, update and delete: the lookup, the race window, and the commit.
//!
//! The steps are not atomic, as in the service: the lookup decides between update and create, and a create may collide
//! with whatever was committed since. Invariant: a commit is all or nothing, also for many rows. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/update-delete-entities-using-web-api> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/optimistic-concurrency>.

use std::sync::Arc;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

use super::body;
use super::errors::Error;
use super::journal::Change;
use super::key::Address;
use super::rows::{Collision, Row, Store};
use super::state::{self, StateOnCreate};
use super::table::{CREATED_BY, CREATED_ON, CREATED_ON_BEHALF_BY, Kind, Table};

/// The error code of a create that collides with a row of the same key. Sources differ, so clients must accept each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum DuplicateCode {
    /// 0x80040237 `DuplicateRecord`.
    #[default]
    Record,
    /// 0x80060892 `DuplicateRecordEntityKey`.
    EntityKey,
    /// An empty code; only the text identifies the error.
    Empty,
    /// 0x80043239, which some sources name for a row in the recycle bin.
    RecycleBin,
}

/// The annotation with the values of a taken key.
pub(super) const DUPLICATE_ATTRIBUTES: &str = "Microsoft.PowerApps.CDS.ErrorDetails.DuplicateAttributes";

/// The codes for collisions with live rows and with rows in the recycle bin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Codes {
    pub(super) live: DuplicateCode,
    pub(super) bin: DuplicateCode,
}

/// What the request's conditions require of the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Condition {
    /// Nothing.
    Any,
    /// `If-Match: *`.
    Present,
    /// `If-None-Match: *`.
    Absent,
    /// `If-Match: <etag>`.
    Version(String),
}

/// The requested change of a row.
#[derive(Debug)]
pub(super) enum Wish {
    /// Set these values, as sent.
    Write(Map<String, Value>),
    /// Delete the row.
    Delete,
}

/// One row to write.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) table: Arc<Table>,
    /// `None`: create with a new id or the one in the body.
    pub(super) address: Option<Address>,
    pub(super) wish: Wish,
    pub(super) condition: Condition,
    pub(super) author: Author,
}

/// Whose request it is.
#[derive(Debug, Clone)]
pub(super) struct Author {
    pub(super) by: String,
    /// The user who impersonates the other.
    pub(super) on_behalf_by: Option<String>,
}

/// What the lookup decided.
#[derive(Debug)]
pub(super) enum Plan {
    Create(Row),
    Update { id: Uuid, changes: Map<String, Value>, condition: Condition },
    Delete { id: Uuid, condition: Condition },
}

/// What was committed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Done {
    pub(super) change: Change,
    pub(super) id: Uuid,
}

/// The first step: looks up the row, parses the body and decides.
pub(super) fn plan(store: &Store, command: &Command, mode: StateOnCreate) -> Result<Plan, Error> {
    let Command { table, address, wish, condition, author } = command;
    let found = match address {
        Some(address) => store.table_rows(&table.set)?.find(address),
        None => None,
    };
    let missing = || {
        let by_key = || Error::no_row_with_key(&table.logical_name);
        address.as_ref().map_or_else(by_key, |address| address.not_found(table))
    };
    let changes = match wish {
        Wish::Write(body) => Some(body::changes(store, table, body)?),
        Wish::Delete => None,
    };
    if let Some(row) = found {
        check_version(table, row, condition)?;
    }
    match (found, changes, condition) {
        (Some(_), Some(_), Condition::Absent) => Err(Error::duplicate()),
        (Some(row), Some(changes), _) => Ok(Plan::Update { id: row.id, changes, condition: condition.clone() }),
        (Some(row), None, _) => Ok(Plan::Delete { id: row.id, condition: condition.clone() }),
        (None, None, _) | (None, Some(_), Condition::Present | Condition::Version(_)) => Err(missing()),
        (None, Some(changes), Condition::Any | Condition::Absent) => {
            new_row(store, table, address.as_ref(), changes, author, mode).map(Plan::Create)
        }
    }
}

/// The second step: executes all plans or none.
pub(super) fn commit(store: &mut Store, table: &Table, plans: Vec<Plan>, codes: Codes) -> Result<Vec<Done>, Error> {
    let mut done = Vec::with_capacity(plans.len());
    let mut undo = Vec::with_capacity(plans.len());
    for plan in plans {
        let id = plan.id();
        let before = store.table_rows(&table.set)?.get(id).cloned();
        match execute(store, table, plan, before.as_ref(), codes) {
            Ok(change) => done.push(Done { change, id }),
            Err(error) => {
                undo.into_iter().rev().for_each(|(id, row)| store.restore(&table.set, id, row));
                return Err(error);
            }
        }
        undo.push((id, before));
    }
    Ok(done)
}

impl Plan {
    /// The row that will be written.
    pub(super) fn id(&self) -> Uuid {
        match self {
            Self::Create(row) => row.id,
            Self::Update { id, .. } | Self::Delete { id, .. } => *id,
        }
    }
}

fn execute(store: &mut Store, table: &Table, plan: Plan, before: Option<&Row>, codes: Codes) -> Result<Change, Error> {
    let refuse = |collision: Collision| collision_error(&collision, codes);
    match (plan, before) {
        (Plan::Create(mut row), _) => {
            let now = OffsetDateTime::now_utc().truncate_to_second();
            row.values.insert(CREATED_ON.to_owned(), now.format(&Rfc3339).unwrap_or_default().into());
            if let Some(collision) = store.table_rows(&table.set)?.taken(row.id) {
                return Err(refuse(collision));
            }
            store.put(&table.set, row).map_err(refuse)?;
            Ok(Change::Created)
        }
        // Deleted since the lookup.
        (Plan::Update { id, .. }, None) => Err(Error::no_row(&table.logical_name, id)),
        (Plan::Delete { id, .. }, None) => Err(Error::concurrent_delete(id)),
        (Plan::Update { mut changes, condition, .. }, Some(row)) => {
            check_version(table, row, &condition)?;
            state::update(table, &row.values, &mut changes)?;
            let mut row = row.clone();
            if changes.get(&table.primary_key).is_some_and(|id| *id != row.id.to_string()) {
                return Err(Error::bad_request("0x80040203", "The primary key of a row cannot be changed."));
            }
            row.values.extend(changes);
            store.put(&table.set, row).map_err(refuse)?;
            Ok(Change::Updated)
        }
        (Plan::Delete { id, condition }, Some(row)) => {
            check_version(table, row, &condition)?;
            store.restore(&table.set, id, None);
            Ok(Change::Deleted)
        }
    }
}

fn new_row(
    store: &Store,
    table: &Table,
    address: Option<&Address>,
    mut changes: Map<String, Value>,
    author: &Author,
    mode: StateOnCreate,
) -> Result<Row, Error> {
    let mut values = Map::new();
    values.insert(CREATED_BY.to_owned(), author.by.as_str().into());
    values.insert(CREATED_ON_BEHALF_BY.to_owned(), author.on_behalf_by.as_deref().into());
    let mut id = Uuid::new_v4();
    match address {
        Some(Address::Id(given)) => id = *given,
        Some(Address::Key { values: key, .. }) => {
            for (column, value) in key {
                values.insert(column.clone(), key_value(store, table, column, value)?);
                if table.columns.get(column) == Some(&Kind::Lookup) {
                    values.insert(Table::lookup_table(column), super::target_of(store, table, column, value));
                }
            }
        }
        None => {}
    }
    // Key columns in the body override those in the URL, including the primary key.
    if let Some(Value::String(given)) = changes.remove(&table.primary_key) {
        id = given.parse().expect("a GUID column's value is a GUID");
    }
    values.extend(changes);
    state::create(table, mode, &mut values)?;
    values.insert(table.primary_key.clone(), id.to_string().into());
    Ok(Row { id, values, version: 0, recycled: false })
}

/// A key column's value from the URL, validated like a column in the body.
fn key_value(store: &Store, table: &Table, column: &str, value: &Value) -> Result<Value, Error> {
    let Some(kind) = table.columns.get(column) else { return Ok(value.clone()) };
    let value = super::values::accept(table, column, kind, value)?;
    if *kind != Kind::Lookup {
        return Ok(value);
    }
    let mut targets = table.lookups.iter().filter(|lookup| lookup.column == column);
    let id = value.as_str().and_then(|id| id.parse().ok()).unwrap_or_default();
    let exists =
        targets.any(|lookup| store.table_rows(&lookup.target_set).is_ok_and(|table_rows| table_rows.get(id).is_some()));
    if exists { Ok(value) } else { Err(Error::no_row(column, id)) }
}

fn check_version(table: &Table, row: &Row, condition: &Condition) -> Result<(), Error> {
    let Condition::Version(etag) = condition else { return Ok(()) };
    if !table.optimistic {
        let text = format!("Optimistic concurrency isn't enabled for entity type {}.", table.logical_name);
        return Err(Error::new(StatusCode::PRECONDITION_FAILED, "0x8006088D", text));
    }
    if *etag == row.etag() { Ok(()) } else { Err(Error::stale()) }
}

/// The annotations of a taken key: its columns, and the value of each.
fn annotations(collision: &Collision) -> Map<String, Value> {
    let columns = collision.columns.join(", ");
    let taken = collision.columns.iter().zip(&collision.values).map(|(column, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("<{column}>{}</{column}>", quick_xml::escape::escape(value))
    });
    let attributes = format!("<DuplicateAttributes>{}</DuplicateAttributes>", taken.collect::<String>());
    [("0", columns.clone()), ("1", columns), ("DuplicateAttributes", attributes)]
        .map(|(name, value)| (format!("@Microsoft.PowerApps.CDS.ErrorDetails.{name}"), value.into()))
        .into_iter()
        .collect()
}

fn collision_error(collision: &Collision, codes: Codes) -> Error {
    let columns = collision.columns.join(", ");
    if !collision.is_key {
        let text = format!("A record that has the attribute values {columns} already exists.");
        return Error::new(StatusCode::PRECONDITION_FAILED, "0x80073002", text);
    }
    let entity_key = format!(
        "Entity Key {columns} violated. A record with the same value for {columns} already exists. A duplicate record \
         cannot be created. Select one or more unique values and try again."
    );
    match if collision.recycled { codes.bin } else { codes.live } {
        DuplicateCode::Record => Error::duplicate(),
        DuplicateCode::EntityKey => {
            let annotations = Box::new(annotations(collision));
            Error { annotations, ..Error::new(StatusCode::PRECONDITION_FAILED, "0x80060892", entity_key) }
        }
        DuplicateCode::Empty => Error { code: "".into(), ..Error::duplicate() },
        DuplicateCode::RecycleBin => Error { code: "0x80043239".into(), ..Error::duplicate() },
    }
}
