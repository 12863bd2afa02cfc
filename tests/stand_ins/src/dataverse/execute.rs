//! Executes writes: lookup, race window, commit; and the handlers of PATCH, POST and DELETE.
//!
//! The store is not locked during the window, so other writers may intervene, as in the service. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/use-upsert-insert-update-record>.

use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;

use super::World;
use super::body;
use super::call::Call;
use super::errors::Error;
use super::journal::{Change, Entry, Operation};
use super::key::Address;
use super::path::Resource;
use super::read;
use super::reply;
use super::rows::Store;
use super::table::Table;
use super::write::{self, Codes, Command, Condition, Done, Plan, Wish};

/// PATCH, POST or DELETE of one row; `entry` is its journal entry. With `is_deleted`, another client deletes the row after
/// the lookup.
pub(super) async fn one(
    world: &World,
    call: &Call,
    user: &str,
    resource: &Resource,
    entry: &mut Entry,
    is_deleted: bool,
) -> Result<Response, Error> {
    let command = command(world, call, user, resource, entry)?;
    let selection = call.selection(&command.table)?;
    let table = command.table.clone();
    let done = all(world, std::slice::from_ref(&command), std::slice::from_mut(entry), is_deleted).await?;
    let done = done.first().expect("one command gives one result");
    if call.wants_representation() && matches!(command.wish, Wish::Write(_)) {
        return Ok(represented(world, call, &table, done, selection.as_deref()));
    }
    let url = match (&resource.predicate, &command.wish) {
        (_, Wish::Delete) => return Ok(reply::no_content(None)),
        // As addressed: after a write by alternate key, the URL repeats the key and contains no GUID.
        (Some(_), Wish::Write(_)) => format!("{}{}", world.origin(), call.path),
        (None, Wish::Write(_)) => format!("{}{}{}({})", world.origin(), call.root(), table.set, done.id),
    };
    Ok(reply::no_content(Some(&url)))
}

/// Looks up all rows, waits for the race window, and commits all or none; `entries[i]` belongs to `commands[i]`.
pub(super) async fn all(
    world: &World,
    commands: &[Command],
    entries: &mut [Entry],
    is_deleted: bool,
) -> Result<Vec<Done>, Error> {
    let plans = look_up(world, commands, entries)?;
    tokio::time::sleep(world.race_window()).await;
    let table = &commands.first().expect("callers have at least one command").table;
    if is_deleted {
        for plan in &plans {
            world.store().restore(&table.set, plan.id(), None);
        }
    }
    let codes = Codes { live: world.options.duplicate_code, bin: world.options.bin_code };
    let done = write::commit(&mut world.store(), table, plans, codes)?;
    for (entry, done) in entries.iter_mut().zip(&done) {
        entry.commit = Some(world.now());
        entry.change = Some(done.change);
        entry.row = Some(done.id.to_string());
    }
    Ok(done)
}

fn look_up(world: &World, commands: &[Command], entries: &mut [Entry]) -> Result<Vec<Plan>, Error> {
    let store = world.store();
    let mut plans = Vec::with_capacity(commands.len());
    for (command, entry) in commands.iter().zip(entries) {
        note(world, &store, command, entry);
        plans.push(write::plan(&store, command, world.options.state_on_create)?);
    }
    Ok(plans)
}

fn note(world: &World, store: &Store, command: &Command, entry: &mut Entry) {
    entry.looked_up = Some(world.now());
    let (Some(address), Ok(table_rows)) = (&command.address, store.table_rows(&command.table.set)) else { return };
    entry.identity = table_rows.identity(address);
    entry.row = table_rows.find(address).map(|row| row.id.to_string());
}

fn command(world: &World, call: &Call, user: &str, resource: &Resource, entry: &mut Entry) -> Result<Command, Error> {
    let table = world.store().table_rows(&resource.name)?.table.clone();
    if let Some(tail) = &resource.tail {
        return Err(Error::no_segment(tail));
    }
    let (address, condition) = match (&resource.predicate, &call.method) {
        (None, &Method::POST) => (None, Condition::Any),
        (Some(predicate), &Method::PATCH | &Method::DELETE) => {
            (Some(Address::parse(&table, predicate)?), call.condition()?)
        }
        _ => return Err(Error::method_not_allowed(call.method.as_str())),
    };
    entry.operation = operation(&call.method, &condition);
    let wish = if call.method == Method::DELETE {
        Wish::Delete
    } else {
        let body = body::object(&table.set, &call.body)?;
        entry.values.clone_from(&body);
        Wish::Write(body)
    };
    Ok(Command { table, address, wish, condition, author: call.author(user) })
}

fn operation(method: &Method, condition: &Condition) -> Operation {
    match (method, condition) {
        (&Method::DELETE, _) => Operation::Delete,
        (&Method::POST, _) | (_, Condition::Absent) => Operation::Create,
        (_, Condition::Present | Condition::Version(_)) => Operation::Update,
        (_, Condition::Any) => Operation::Upsert,
    }
}

fn represented(world: &World, call: &Call, table: &Table, done: &Done, selection: Option<&[String]>) -> Response {
    let status = match done.change {
        Change::Created => StatusCode::CREATED,
        Change::Updated | Change::Deleted => StatusCode::OK,
    };
    let store = world.store();
    let Some(row) = store.table_rows(&table.set).ok().and_then(|table_rows| table_rows.get(done.id)) else {
        // Another request deleted the row between the commit and this read.
        return reply::no_content(None);
    };
    let context = format!("{}{}$metadata#{}/$entity", world.origin(), call.root(), table.set);
    let shown = read::Shown { selection, lookup_tables: false };
    let mut response = reply::json(status, &read::represent(table, row, shown, Some(&context)));
    let headers = response.headers_mut();
    headers.insert("preference-applied", HeaderValue::from_static("return=representation"));
    if table.has_etags() {
        headers.insert("etag", reply::header_value(&row.etag()));
    }
    response
}
