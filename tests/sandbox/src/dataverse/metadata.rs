//! `EntityDefinitions`: as much of the metadata as tells a client what a table's names, columns and keys are.
//!
//! It refuses to be complete: labels, managed properties and the rest are left out, and `$select` and `$expand` change
//! nothing. See <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::World;
use super::call::Call;
use super::errors::Error;
use super::path::Resource;
use super::reply;
use super::table::{Kind, Table};

/// The resource's name.
pub(super) const NAME: &str = "EntityDefinitions";

/// Answers `EntityDefinitions(LogicalName='…')`, its `/Attributes`, `/Keys` and `/ManyToOneRelationships`, and
/// `EntityDefinitions[?$filter=EntitySetName eq '…']`.
pub(super) fn get(world: &World, call: &Call, resource: &Resource) -> Result<Response, Error> {
    let store = world.store();
    let Some(predicate) = &resource.predicate else {
        let is_wanted = |table: &&std::sync::Arc<Table>| match call.option("$filter") {
            None => true,
            Some(filter) => {
                filter == format!("EntitySetName eq '{}'", table.set)
                    || filter == format!("LogicalName eq '{}'", table.logical_name)
            }
        };
        let definitions: Vec<Value> = store.tables().filter(is_wanted).map(|table| definition(table)).collect();
        return Ok(reply::json(StatusCode::OK, &json!({ "value": definitions })));
    };
    let named = |table: &&std::sync::Arc<Table>| *predicate == format!("LogicalName='{}'", table.logical_name);
    let Some(table) = store.tables().find(named) else {
        let text = format!("Could not find an entity with {predicate}.");
        return Err(Error::new(StatusCode::NOT_FOUND, "0x80060888", text));
    };
    let body = match resource.tail.as_deref() {
        None => definition(table),
        Some("Attributes") => json!({ "value": attributes(table) }),
        Some("Keys") => json!({ "value": keys(table) }),
        Some("ManyToOneRelationships") => json!({ "value": relationships(&store, table) }),
        Some(other) => return Err(Error::no_segment(other)),
    };
    Ok(reply::json(StatusCode::OK, &body))
}

fn definition(table: &Table) -> Value {
    json!({
        "LogicalName": table.logical_name,
        "EntitySetName": table.set,
        "PrimaryIdAttribute": table.primary_key,
        "IsOptimisticConcurrencyEnabled": table.optimistic,
        "Attributes": attributes(table),
        "Keys": keys(table),
    })
}

fn attributes(table: &Table) -> Vec<Value> {
    let attribute = |(name, kind): (&String, &Kind)| {
        let type_name = if *name == table.primary_key { "Uniqueidentifier" } else { attribute_type(kind) };
        let mut attribute = json!({ "LogicalName": logical_name(name), "AttributeType": type_name });
        if let Kind::Decimal { precision } | Kind::Money { precision } = kind {
            attribute["Precision"] = (*precision).into();
        }
        if let Kind::Text { max } = kind {
            attribute["MaxLength"] = (*max).into();
        }
        attribute
    };
    table.columns.iter().map(attribute).collect()
}

fn keys(table: &Table) -> Vec<Value> {
    let keys = table.uniques.iter().filter(|unique| unique.is_key);
    let names = |columns: &[String]| columns.iter().map(|name| logical_name(name).to_owned()).collect::<Vec<_>>();
    keys.map(|key| json!({ "KeyAttributes": names(&key.columns), "EntityKeyIndexStatus": "Active" })).collect()
}

fn relationships(store: &super::rows::Store, table: &Table) -> Vec<Value> {
    let relationship = |lookup: &super::table::Lookup| {
        let target = store.shelf(&lookup.target_set).ok().map(|shelf| shelf.table.logical_name.clone());
        json!({
            "ReferencingAttribute": logical_name(&lookup.column),
            "ReferencingEntityNavigationPropertyName": lookup.navigation,
            "ReferencedEntity": target,
        })
    };
    table.lookups.iter().map(relationship).collect()
}

/// A lookup's own name: `_primarycontactid_value` is how the Web API shows `primarycontactid`.
fn logical_name(column: &str) -> &str {
    column.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(column)
}

fn attribute_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } => "String",
        Kind::Integer { .. } => "Integer",
        Kind::BigInteger => "BigInt",
        Kind::Decimal { .. } => "Decimal",
        Kind::Money { .. } => "Money",
        Kind::Boolean => "Boolean",
        Kind::DateTime | Kind::DateOnly => "DateTime",
        Kind::Choice(_) => "Picklist",
        Kind::MultiChoice(_) => "Virtual",
        Kind::Guid => "Uniqueidentifier",
        Kind::Lookup => "Lookup",
    }
}
