//! `UpsertMultiple`: many rows of one table in one transaction.
//!
//! It rejects targets of another type, alternate keys repeated in the body of a target that would be created, and two
//! targets for one row; the response never says which target failed. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/bulk-operations>.

use std::collections::HashSet;

use axum::response::Response;
use serde_json::{Map, Value};

use super::World;
use super::body;
use super::call::Call;
use super::errors::Error;
use super::execute;
use super::journal::{Entry, Operation};
use super::key::Address;
use super::path::Resource;
use super::reply;
use super::table::Table;
use super::write::{Command, Condition, Wish};

/// The action's name as it follows the entity set.
pub(super) const ACTION: &str = "Microsoft.Dynamics.CRM.UpsertMultiple";

/// Executes an `UpsertMultiple`; replaces the request's entry in `entries` with one entry per target.
pub(super) async fn upsert(
    world: &World,
    call: &Call,
    user: &str,
    resource: &Resource,
    entries: &mut Vec<Entry>,
) -> Result<Response, Error> {
    let commands = commands(world, call, user, resource)?;
    let request = entries.first().expect("a write begins with one entry").clone();
    *entries = commands.iter().map(|(key, command)| entry(world, &request, key, command)).collect();
    let commands: Vec<Command> = commands.into_iter().map(|(_, command)| command).collect();
    check(world, &commands)?;
    execute::all(world, &commands, entries, false).await?;
    Ok(reply::no_content(None))
}

fn commands(world: &World, call: &Call, user: &str, resource: &Resource) -> Result<Vec<(String, Command)>, Error> {
    let table = world.store().table_rows(&resource.name)?.table.clone();
    let body = body::object(&table.set, &call.body)?;
    let targets = match body.get("Targets") {
        Some(Value::Array(targets)) if !targets.is_empty() => targets,
        _ => return Err(Error::payload(&table.set, "The parameter 'Targets' is missing or empty.")),
    };
    let mut commands = Vec::with_capacity(targets.len());
    for target in targets {
        let target = target.as_object().ok_or_else(|| Error::payload(&table.set, "A target is not an object."))?;
        let (key, address) = address(&table, target)?;
        let (wish, author) = (Wish::Write(target.clone()), call.author(user));
        let command = Command { table: table.clone(), address, wish, condition: Condition::Any, author };
        commands.push((key, command));
    }
    Ok(commands)
}

fn address(table: &Table, target: &Map<String, Value>) -> Result<(String, Option<Address>), Error> {
    let expected = format!("Microsoft.Dynamics.CRM.{}", table.logical_name);
    if target.get("@odata.type").and_then(Value::as_str).map(|name| name.trim_start_matches('#')) != Some(&expected) {
        return Err(Error::payload(&table.set, format!("Every target needs the @odata.type '{expected}'.")));
    }
    if let Some(reference) = target.get("@odata.id").and_then(Value::as_str) {
        let parts = body::reference_parts(reference)?.filter(|(set, _)| *set == table.set);
        let Some((_, predicate)) = parts else {
            return Err(Error::payload(&table.set, format!("Invalid URI '{reference}' in @odata.id.")));
        };
        let address = Address::parse(table, &predicate)?;
        return Ok((predicate, Some(address)));
    }
    match target.get(&table.primary_key).and_then(Value::as_str) {
        Some(id) => Ok((id.to_owned(), Some(Address::parse(table, id)?))),
        None => Ok((String::new(), None)),
    }
}

fn check(world: &World, commands: &[Command]) -> Result<(), Error> {
    let store = world.store();
    let mut seen = HashSet::new();
    for Command { table, address, wish, .. } in commands {
        let (Some(address), Wish::Write(body)) = (address, wish) else { continue };
        let table_rows = store.table_rows(&table.set)?;
        let row = table_rows.find(address).map(|row| row.id.to_string());
        if let (None, Address::Key { values, .. }) = (&row, address)
            && values.keys().any(|column| body.contains_key(column))
        {
            return Err(unexpected("An item with the same key has already been added."));
        }
        if !seen.insert(row.unwrap_or_else(|| table_rows.identity(address))) {
            return Err(unexpected("The Targets hold more than one entry for one row."));
        }
    }
    Ok(())
}

fn unexpected(text: &str) -> Error {
    Error::bad_request("0x80040216", format!("An unexpected error occurred. {text}"))
}

fn entry(world: &World, request: &Entry, key: &str, command: &Command) -> Entry {
    let mut entry = Entry { seq: world.next_seq(), key: key.to_owned(), ..request.clone() };
    entry.operation = Operation::UpsertMultiple;
    if let Wish::Write(body) = &command.wish {
        entry.values.clone_from(body);
    }
    entry
}
