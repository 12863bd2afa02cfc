//! The names of a table that resemble a property that Dataverse does not know. Pure.
//!
//! A navigation property is not always named like its column, entity columns have their publisher's prefix, and all names are
//! case-sensitive: <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-navigation-properties>

use super::Error;
use super::error_body::WRAPPERS;
use super::table_metadata::{NavigationProperty, TableMetadata};
use crate::names::{self, MAX_SUGGESTIONS};
use crate::record::{BIND, common_prefix};

/// `0x80048d19`: the payload cannot be read.
/// <https://learn.microsoft.com/troubleshoot/power-platform/dataverse/dataverse-web-api-and-sdk/web-api-client-errors>
const PAYLOAD: u32 = 0x8004_8D19;

/// What stands before the name of an unknown property, in lower case.
const BEFORE_NAME: [&str; 3] = ["property named '", "invalid property '", "undeclared property '"];

/// The same, if the text also says that there is no such property.
const BEFORE_MISSING: (&str, &str) = ("the property '", "does not exist on type");

/// The property that a refusal says is unknown.
pub(crate) fn unknown_property(fault: &Error) -> Option<&str> {
    let Error::Answered { status: 400, code, message: Some(text), .. } = fault else { return None };
    if !code.is_none_or(|code| code == PAYLOAD || WRAPPERS.contains(&code)) {
        return None;
    }
    let lower = text.to_ascii_lowercase();
    let missing = BEFORE_MISSING.0;
    let markers = BEFORE_NAME.into_iter().chain(lower.contains(BEFORE_MISSING.1).then_some(missing));
    let start = markers.filter_map(|marker| Some(lower.find(marker)? + marker.len())).min()?;
    text[start..].split('\'').next().filter(|name| !name.is_empty())
}

/// The names, as they would stand in a record, that resemble `name`; `bound_to` is the entity set that it was bound to.
pub(crate) fn suggestions(table: &TableMetadata, name: &str, bound_to: Option<&str>) -> Vec<String> {
    let lookups = || table.lookups().iter();
    let found = match bound_to {
        Some(set) => {
            let of_column: Vec<_> = lookups().filter(|lookup| is_column(lookup, name)).collect();
            let named = if of_column.is_empty() {
                nearest(name, lookups().map(|lookup| lookup.name.as_str()))
            } else {
                pointing_at(set, &of_column)
            };
            named.into_iter().map(str::to_owned).collect::<Vec<_>>()
        }
        None => nearest(name, table.columns()).into_iter().flat_map(|column| as_written(table, column)).collect(),
    };
    if found.len() > MAX_SUGGESTIONS { Vec::new() } else { found }
}

fn is_column(lookup: &NavigationProperty, name: &str) -> bool {
    let bare = name.strip_prefix('_').and_then(|name| name.strip_suffix("_value")).unwrap_or(name);
    lookup.column.eq_ignore_ascii_case(bare)
}

/// A lookup is written by its navigation properties.
fn as_written(table: &TableMetadata, column: &str) -> Vec<String> {
    let navigations: Vec<_> = table
        .lookups()
        .iter()
        .filter(|lookup| lookup.column == column)
        .map(|lookup| format!("{}{BIND}", lookup.name))
        .collect();
    if navigations.is_empty() { vec![column.to_owned()] } else { navigations }
}

/// The navigation properties whose table looks most like this entity set: its name is mostly the table's plural.
fn pointing_at<'a>(set: &str, lookups: &[&'a NavigationProperty]) -> Vec<&'a str> {
    let common = |lookup: &NavigationProperty| common_prefix(&lookup.table, set);
    let most = lookups.iter().map(|lookup| common(lookup)).max().unwrap_or_default();
    lookups.iter().filter(|lookup| common(lookup) == most).map(|lookup| lookup.name.as_str()).collect()
}

/// The candidates that are most like `name`: but for case, underscores, a prefix or a few letters.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    names::nearest(candidates, |candidate| {
        let has_prefix = |prefix: &str| prefix.ends_with('_');
        let (candidate, name) = (candidate.to_ascii_lowercase(), name.to_ascii_lowercase());
        let but_for_prefix = candidate.strip_suffix(&name).is_some_and(has_prefix).then_some(2);
        names::difference(&name, &candidate).into_iter().chain(but_for_prefix).min()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contact() -> TableMetadata {
        let columns = ["firstname", "lastname", "new_shoesize", "parentcustomerid", "new_ownerteam", "emailaddress1"];
        let lookup = |name: &str, column: &str, table: &str| NavigationProperty {
            name: name.to_owned(),
            column: column.to_owned(),
            table: table.to_owned(),
        };
        TableMetadata::new(None, columns.map(|name| (name.to_owned(), None))).with_lookups(vec![
            lookup("parentcustomerid_account", "parentcustomerid", "account"),
            lookup("parentcustomerid_contact", "parentcustomerid", "contact"),
            lookup("new_OwnerTeam", "new_ownerteam", "team"),
        ])
    }

    #[test]
    fn names_that_differ_little_and_the_navigation_properties_of_a_column_are_suggested() {
        for (name, bound_to, expected) in [
            ("parentcustomerid", Some("accounts"), &["parentcustomerid_account"][..]),
            ("parentcustomerid", Some("contacts"), &["parentcustomerid_contact"]),
            ("ParentCustomerId", Some("accounts"), &["parentcustomerid_account"]),
            ("_parentcustomerid_value", Some("accounts"), &["parentcustomerid_account"]),
            ("parentcustomerid", Some("leads"), &["parentcustomerid_account", "parentcustomerid_contact"]),
            ("parentcustomerid_acount", Some("accounts"), &["parentcustomerid_account"]),
            ("new_ownerteam", Some("teams"), &["new_OwnerTeam"]),
            ("ownerteam", Some("teams"), &["new_OwnerTeam"]),
            ("firstname", Some("teams"), &[]),
            ("Firstname", None, &["firstname"]),
            ("first_name", None, &["firstname"]),
            ("fristname", None, &["firstname"]),
            ("shoesize", None, &["new_shoesize"]),
            ("emailaddress", None, &["emailaddress1"]),
            ("New_OwnerTeam", None, &["new_OwnerTeam@odata.bind"]),
            ("ParentCustomerId", None, &["parentcustomerid_account@odata.bind", "parentcustomerid_contact@odata.bind"]),
            ("birthdate", None, &[]),
            ("", None, &[]),
        ] {
            assert_eq!(suggestions(&contact(), name, bound_to), expected, "{name} {bound_to:?}");
        }
    }

    #[test]
    fn only_a_refusal_of_an_unknown_property_names_one() {
        let refused =
            |status, code, text: &str| unknown_property(&Error::answered(status, code, Some(text))).map(str::to_owned);
        for (code, text, name) in [
            (None, "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.account'.", "Name"),
            (
                Some(0x8006_0888),
                "Could not find a property named 'Name' on type 'Microsoft.Dynamics.CRM.account'.",
                "Name",
            ),
            (None, "An error occurred: CrmException: Invalid property 'Name' was found in entity 'x'.", "Name"),
            (
                Some(PAYLOAD),
                "An undeclared property 'parentcustomerid' which only has property annotations",
                "parentcustomerid",
            ),
            (None, "The property 'Name' does not exist on type 'Microsoft.Dynamics.CRM.account'. Make sure", "Name"),
        ] {
            assert_eq!(refused(400, code, text).as_deref(), Some(name), "{text}");
            assert_eq!(refused(500, code, text), None);
            assert_eq!(refused(400, Some(0x8004_0265), text), None, "a plug-in quotes it");
        }
        for text in ["Cannot convert the literal 'x'", "The property 'x' is too long", "Invalid property '", ""] {
            assert_eq!(refused(400, None, text), None, "{text}");
        }
    }
}
