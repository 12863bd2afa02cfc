//! A hint for a record with a property that Dataverse does not know: the names in its table that resemble it.
//!
//! It takes a look at the table's metadata, at most one per table and hour, and none for any other refusal.

use tokio::time::{Instant, timeout_at};

use super::Settlement;
use crate::dataverse::Store;
use crate::dataverse::suggestion::{suggestions, unknown_property};
use crate::json::Value;
use crate::outcome::Reason;
use crate::record::{BIND, Record};

/// The settlement, with a hint in its detail where the metadata gives one.
pub(super) async fn with_hint(
    settlement: Settlement,
    store: &dyn Store,
    record: &Record,
    ends_at: Instant,
) -> Settlement {
    match timeout_at(ends_at, hint(&settlement, store, record)).await.ok().flatten() {
        Some(hint) => {
            let said = settlement.detail.clone().unwrap_or_default();
            settlement.detail(format!("{hint} {said}"))
        }
        None => settlement,
    }
}

async fn hint(settlement: &Settlement, store: &dyn Store, record: &Record) -> Option<String> {
    if settlement.reason != Reason::InvalidData {
        return None;
    }
    let name = unknown_property(settlement.fault.as_deref()?)?;
    let bind = format!("{name}{BIND}");
    let bound = record.columns.value(&bind).map(Value::of);
    let bound_to = match &bound {
        Some(Value::Text(address)) => Some(entity_set(address)),
        Some(_) => Some(""),
        None => None,
    };
    let is_key = record.key.columns().iter().any(|column| column.name == name);
    let is_version = record.version_column.as_deref() == Some(name);
    // A plug-in may name a property of another table.
    if bound_to.is_none() && !is_key && !is_version && record.columns.value(name).is_none() {
        return None;
    }
    let names = suggestions(&*store.metadata(&record.table).await?, name, bound_to);
    let quoted: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    (!quoted.is_empty()).then(|| format!("`{name}`: did you mean {}?", quoted.join(" or ")))
}

/// The entity set in the address of a row.
fn entity_set(address: &str) -> &str {
    let (path, _) = address.split_once('(').unwrap_or((address, ""));
    path.rsplit('/').next().unwrap_or_default()
}
