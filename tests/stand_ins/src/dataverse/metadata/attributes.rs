//! The columns of a table in the metadata: `AttributeMetadata` and the types derived from it.
//!
//! A property of a derived type is shown only when that type is requested. The names are those of
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/attributemetadata> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/attributetypedisplayname>.

use serde_json::{Value, json};

use super::{Item, Type, logical_name, target};
use crate::dataverse::rows::Store;
use crate::dataverse::table::{Kind, OWNER, Table};

/// The properties of every column.
const COMMON: &[&str] =
    &["MetadataId", "LogicalName", "AttributeType", "AttributeTypeName", "IsPrimaryId", "IsSecured"];

/// The type of a collection without a cast.
pub(super) const BASE: Type = derive("AttributeMetadata", &[]);

/// The types of columns, each with its own properties.
const DERIVED: [Type; 14] = [
    derive("StringAttributeMetadata", &["MaxLength"]),
    derive("IntegerAttributeMetadata", &["MinValue", "MaxValue"]),
    derive("BigIntAttributeMetadata", &[]),
    derive("DecimalAttributeMetadata", &["Precision"]),
    derive("MoneyAttributeMetadata", &["Precision", "PrecisionSource"]),
    derive("DoubleAttributeMetadata", &["Precision"]),
    derive("BooleanAttributeMetadata", &[]),
    derive("DateTimeAttributeMetadata", &["Format", "DateTimeBehavior"]),
    derive("PicklistAttributeMetadata", &[]),
    derive("MultiSelectPicklistAttributeMetadata", &[]),
    derive("UniqueIdentifierAttributeMetadata", &[]),
    derive("LookupAttributeMetadata", &["Targets"]),
    derive("StateAttributeMetadata", &[]),
    derive("StatusAttributeMetadata", &[]),
];

const fn derive(name: &'static str, properties: &'static [&'static str]) -> Type {
    Type { name, base: COMMON, properties }
}

/// The derived type of that name.
pub(super) fn derived(name: &str) -> Option<&'static Type> {
    DERIVED.iter().find(|derived| derived.name == name)
}

/// Every column of the table.
pub(super) fn of(store: &Store, table: &Table) -> Vec<Item> {
    table.columns.iter().map(|(column, kind)| attribute(store, table, column, kind)).collect()
}

fn attribute(store: &Store, table: &Table, column: &str, kind: &Kind) -> Item {
    let name = logical_name(column);
    let targets: Vec<_> = table.lookups_of(column).filter_map(|lookup| target(store, lookup)).collect();
    let (type_name, short, display) = match column {
        OWNER => ("LookupAttributeMetadata", "Owner", "OwnerType"),
        _ => names(kind, &targets),
    };
    let mut properties = json!({
        "LogicalName": name,
        "AttributeType": short,
        "AttributeTypeName": { "Value": display },
        "IsPrimaryId": column == table.primary_key,
        "IsSecured": table.secured.contains(column),
    });
    for (property, value) in own(kind, &targets) {
        properties[property] = value;
    }
    Item::new(type_name, &[&table.logical_name, name], properties)
}

/// The type, and its names in `AttributeType` and `AttributeTypeName`.
fn names(kind: &Kind, targets: &[String]) -> (&'static str, &'static str, &'static str) {
    let is_customer = targets.len() > 1 && targets.iter().all(|target| target == "account" || target == "contact");
    match kind {
        Kind::Text { .. } => ("StringAttributeMetadata", "String", "StringType"),
        Kind::Integer { .. } => ("IntegerAttributeMetadata", "Integer", "IntegerType"),
        Kind::BigInteger => ("BigIntAttributeMetadata", "BigInt", "BigIntType"),
        Kind::Decimal { .. } => ("DecimalAttributeMetadata", "Decimal", "DecimalType"),
        Kind::Money { .. } => ("MoneyAttributeMetadata", "Money", "MoneyType"),
        Kind::Double { .. } => ("DoubleAttributeMetadata", "Double", "DoubleType"),
        Kind::Boolean => ("BooleanAttributeMetadata", "Boolean", "BooleanType"),
        Kind::DateTime | Kind::DateOnly => ("DateTimeAttributeMetadata", "DateTime", "DateTimeType"),
        Kind::Choice(_) => ("PicklistAttributeMetadata", "Picklist", "PicklistType"),
        Kind::MultiChoice(_) => ("MultiSelectPicklistAttributeMetadata", "Virtual", "MultiSelectPicklistType"),
        Kind::Guid => ("UniqueIdentifierAttributeMetadata", "Uniqueidentifier", "UniqueidentifierType"),
        Kind::Lookup if is_customer => ("LookupAttributeMetadata", "Customer", "CustomerType"),
        Kind::Lookup => ("LookupAttributeMetadata", "Lookup", "LookupType"),
        Kind::State => ("StateAttributeMetadata", "State", "StateType"),
        Kind::Status => ("StatusAttributeMetadata", "Status", "StatusType"),
    }
}

/// The properties of the derived type.
fn own(kind: &Kind, targets: &[String]) -> Vec<(&'static str, Value)> {
    let date = |format, behavior| vec![("Format", json!(format)), ("DateTimeBehavior", json!({ "Value": behavior }))];
    match kind {
        Kind::Text { max } => vec![("MaxLength", json!(max))],
        Kind::Integer { min, max } => vec![("MinValue", json!(min)), ("MaxValue", json!(max))],
        Kind::Decimal { precision } | Kind::Double { precision } => vec![("Precision", json!(precision))],
        // Amounts are stored with the column's own precision, which is source 0.
        Kind::Money { precision } => vec![("Precision", json!(precision)), ("PrecisionSource", json!(0))],
        Kind::DateTime => date("DateAndTime", "UserLocal"),
        Kind::DateOnly => date("DateOnly", "DateOnly"),
        Kind::Lookup => vec![("Targets", json!(targets))],
        Kind::BigInteger
        | Kind::Boolean
        | Kind::Choice(_)
        | Kind::MultiChoice(_)
        | Kind::Guid
        | Kind::State
        | Kind::Status => Vec::new(),
    }
}
