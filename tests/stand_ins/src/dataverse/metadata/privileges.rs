//! `RetrievePrincipalAttributePrivileges`: what a user may do with secured columns.
//!
//! Here there is one user, the caller, with a profile that may write every secured column and read those that are not
//! hidden. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/retrieveprincipalattributeprivileges>,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/attributeprivilege> and, for the
//! numbers,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/reference/entities/fieldpermission#BKMK_CanRead>.

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::{NAMESPACE, USERS, attributes, logical_name};
use crate::dataverse::World;
use crate::dataverse::call::Call;
use crate::dataverse::errors::Error;
use crate::dataverse::path::Resource;
use crate::dataverse::reply;

const NAME: &str = "RetrievePrincipalAttributePrivileges";

/// A privilege that is granted.
const ALLOWED: u8 = 4;

/// Handles `systemusers(<id>)/Microsoft.Dynamics.CRM.RetrievePrincipalAttributePrivileges()` for the caller.
pub(in crate::dataverse) fn get(
    world: &World,
    call: &Call,
    resource: &Resource,
    caller: &str,
) -> Result<Response, Error> {
    let tail = resource.tail.as_deref().unwrap_or_default();
    let function = tail.strip_prefix(NAMESPACE).map(|name| name.strip_suffix("()").unwrap_or(name));
    let (Some(user), Some(NAME)) = (&resource.predicate, function) else { return Err(Error::no_segment(USERS)) };
    if user != caller {
        return Err(Error::no_row("systemuser", user));
    }
    let store = world.store();
    let mut privileges = Vec::new();
    for table in store.tables() {
        for item in attributes::of(&store, table).into_iter().filter(|item| item.properties["IsSecured"] == true) {
            let is_hidden = table.hidden.iter().any(|column| item.properties["LogicalName"] == logical_name(column));
            privileges.push(json!({
                "AttributeId": item.id.to_string(), "CanCreate": ALLOWED, "CanUpdate": ALLOWED,
                "CanRead": if is_hidden { 0 } else { ALLOWED }, "CanReadUnMasked": 0,
            }));
        }
    }
    let context = format!("{}{}$metadata#{NAMESPACE}{NAME}Response", world.origin(), call.root());
    Ok(reply::json(StatusCode::OK, &json!({ "@odata.context": context, "AttributePrivileges": privileges })))
}
