//! `EntityDefinitions`: a table's names, columns, keys and lookups.
//!
//! Labels, managed properties, other properties and `$expand` are left out. The rest behaves like the service: a
//! property of a derived type can be selected only with a cast to it, `MetadataId` is always included, and a collection
//! gives the derived type of each item. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query-metadata-web-api>.

mod attributes;
mod privileges;

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::World;
use super::call::Call;
use super::errors::Error;
use super::path::Resource;
use super::reply;
use super::rows::Store;
use super::table::{Lookup, OWNER, Table};
pub(super) use privileges::get as privileges;

/// The resource's name.
pub(super) const NAME: &str = "EntityDefinitions";

/// The set to whose rows the function about column privileges is bound.
pub(super) const USERS: &str = "systemusers";

/// The namespace of all types.
const NAMESPACE: &str = "Microsoft.Dynamics.CRM.";

/// A type and its supported properties.
struct Type {
    name: &'static str,
    base: &'static [&'static str],
    properties: &'static [&'static str],
}

impl Type {
    const fn new(name: &'static str, properties: &'static [&'static str]) -> Self {
        Self { name, base: &["MetadataId"], properties }
    }
}

const ENTITY: Type = Type::new(
    "EntityMetadata",
    &["LogicalName", "EntitySetName", "PrimaryIdAttribute", "IsOptimisticConcurrencyEnabled", "TableType"],
);

const KEY: Type = Type::new("EntityKeyMetadata", &["EntityLogicalName", "KeyAttributes", "EntityKeyIndexStatus"]);

const RELATIONSHIP: Type = Type::new(
    "OneToManyRelationshipMetadata",
    &["ReferencingAttribute", "ReferencingEntity", "ReferencingEntityNavigationPropertyName", "ReferencedEntity"],
);

/// One metadata object with all its properties.
struct Item {
    /// The actual type, which may be derived from that of its collection.
    type_name: String,
    id: Uuid,
    properties: Map<String, Value>,
}

impl Item {
    /// The id is derived from `type_name` and `names`.
    fn new(type_name: &str, names: &[&str], properties: Value) -> Self {
        let Value::Object(properties) = properties else { unreachable!("callers give objects") };
        let hash = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, type_name, names).hash(&mut hasher);
            hasher.finish()
        };
        Self { type_name: type_name.to_owned(), id: Uuid::from_u64_pair(hash(0), hash(1)), properties }
    }

    /// The JSON of this item in a collection of type `declared`.
    fn shown(mut self, declared: &str, selection: Option<&[&str]>) -> Value {
        if let Some(names) = selection {
            self.properties.retain(|name, _| names.contains(&name.as_str()));
        }
        if self.type_name != declared {
            self.properties.insert("@odata.type".to_owned(), format!("#{NAMESPACE}{}", self.type_name).into());
        }
        self.properties.insert("MetadataId".to_owned(), self.id.to_string().into());
        Value::Object(self.properties)
    }
}

/// Handles `EntityDefinitions(LogicalName='…')`, its `/Attributes` with and without a cast, `/Keys` and
/// `/ManyToOneRelationships`, and `EntityDefinitions[?$filter=EntitySetName eq '…']`, each with `$select`.
pub(super) fn get(world: &World, call: &Call, resource: &Resource) -> Result<Response, Error> {
    if call.option("$expand").is_some() {
        return Err(Error::new(StatusCode::NOT_IMPLEMENTED, "", "This stand-in does not do $expand."));
    }
    let store = world.store();
    let context = |what: &str| format!("{}{}$metadata#{NAME}{what}", world.origin(), call.root());
    let Some(predicate) = &resource.predicate else {
        let tables: Vec<_> = filtered(call, &store)?.map(|table| definition(table)).collect();
        return list(call, &context(""), &ENTITY, tables);
    };
    let named = |table: &&Arc<Table>| *predicate == format!("LogicalName='{}'", table.logical_name);
    let Some(table) = store.tables().find(named) else {
        let text = format!("Could not find an entity with {predicate}.");
        return Err(Error::new(StatusCode::NOT_FOUND, "0x80060888", text));
    };
    let Some(tail) = resource.tail.as_deref() else {
        let selection = selection(call, &ENTITY)?;
        let mut body = definition(table).shown(ENTITY.name, selection.as_deref());
        body["@odata.context"] = context("/$entity").into();
        return Ok(reply::json(StatusCode::OK, &body));
    };
    let context = context(&format!("('{}')/{tail}", table.logical_name));
    match tail.split_once('/').unwrap_or((tail, "")) {
        ("Attributes", "") => list(call, &context, &attributes::BASE, attributes::of(&store, table)),
        ("Attributes", cast) => {
            let name = cast.strip_prefix(NAMESPACE).unwrap_or_default();
            let wanted = attributes::derived(name).ok_or_else(|| Error::no_segment(cast))?;
            let mut items = attributes::of(&store, table);
            items.retain(|item| item.type_name == wanted.name);
            list(call, &context, wanted, items)
        }
        ("Keys", "") => list(call, &context, &KEY, keys(table)),
        ("ManyToOneRelationships", "") => list(call, &context, &RELATIONSHIP, relationships(&store, table)),
        _ => Err(Error::no_segment(tail)),
    }
}

fn list(call: &Call, context: &str, declared: &Type, items: Vec<Item>) -> Result<Response, Error> {
    let selection = selection(call, declared)?;
    let shown: Vec<_> = items.into_iter().map(|item| item.shown(declared.name, selection.as_deref())).collect();
    Ok(reply::json(StatusCode::OK, &json!({ "@odata.context": context, "value": shown })))
}

fn selection<'a>(call: &'a Call, declared: &Type) -> Result<Option<Vec<&'a str>>, Error> {
    let Some(list) = call.option("$select") else { return Ok(None) };
    let names: Vec<_> = list.split(',').map(str::trim).collect();
    match names.iter().find(|name| !declared.base.contains(name) && !declared.properties.contains(name)) {
        Some(name) => Err(Error::no_property(declared.name, name)),
        None => Ok(Some(names)),
    }
}

fn filtered<'a>(call: &Call, store: &'a Store) -> Result<impl Iterator<Item = &'a Arc<Table>>, Error> {
    let equality = |filter: &str| {
        let (property, literal) = filter.split_once(" eq ")?;
        let name = literal.strip_prefix('\'')?.strip_suffix('\'')?;
        ["EntitySetName", "LogicalName"].contains(&property).then(|| (property.to_owned(), name.to_owned()))
    };
    let wanted = match call.option("$filter").map(|filter| equality(filter.trim())) {
        None => None,
        Some(Some(wanted)) => Some(wanted),
        Some(None) => {
            let text = "This stand-in filters definitions by EntitySetName or LogicalName only.";
            return Err(Error::new(StatusCode::NOT_IMPLEMENTED, "", text));
        }
    };
    Ok(store.tables().filter(move |table| match &wanted {
        None => true,
        Some((property, name)) if property == "LogicalName" => *name == table.logical_name,
        Some((_, name)) => *name == table.set,
    }))
}

fn definition(table: &Table) -> Item {
    let properties = json!({
        "LogicalName": table.logical_name,
        "EntitySetName": table.set,
        "PrimaryIdAttribute": table.primary_key,
        "IsOptimisticConcurrencyEnabled": table.optimistic,
        "TableType": table.type_name,
    });
    Item::new(ENTITY.name, &[&table.logical_name], properties)
}

/// Only `Active` and `InProgress` occur here. The service also has `Pending` (before `InProgress`) and `Failed` (after
/// it, if two rows have the same values):
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/entitykeyindexstatus>
fn keys(table: &Table) -> Vec<Item> {
    let finished = table.uniques.iter().filter(|unique| unique.is_key).map(|unique| (&unique.columns, "Active"));
    let unfinished = table.unfinished.iter().map(|columns| (columns, "InProgress"));
    let item = |(columns, status): (&Vec<String>, &str)| {
        let columns: Vec<_> = columns.iter().map(|name| logical_name(name)).collect();
        let properties = json!({
            "EntityLogicalName": table.logical_name,
            "KeyAttributes": columns,
            "EntityKeyIndexStatus": status,
        });
        Item::new(KEY.name, &[&table.logical_name, &columns.join(",")], properties)
    };
    finished.chain(unfinished).map(item).collect()
}

fn relationships(store: &Store, table: &Table) -> Vec<Item> {
    let item = |lookup: &Lookup| {
        let properties = json!({
            "ReferencingAttribute": logical_name(&lookup.column),
            "ReferencingEntity": table.logical_name,
            "ReferencingEntityNavigationPropertyName": lookup.navigation,
            "ReferencedEntity": if lookup.column == OWNER { Some("owner".to_owned()) } else { target(store, lookup) },
        });
        Item::new(RELATIONSHIP.name, &[&table.logical_name, &lookup.navigation], properties)
    };
    // Users and teams are both owners: their tables share one relationship.
    let mut items: Vec<Item> = table.lookups.iter().filter(|lookup| lookup.column != OWNER).map(item).collect();
    items.extend(table.lookups_of(OWNER).take(1).map(item));
    items
}

fn target(store: &Store, lookup: &Lookup) -> Option<String> {
    store.table_rows(&lookup.target_set).ok().map(|table_rows| table_rows.table.logical_name.clone())
}

/// A lookup's logical name: the Web API shows `primarycontactid` as `_primarycontactid_value`.
fn logical_name(column: &str) -> &str {
    column.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(column)
}
