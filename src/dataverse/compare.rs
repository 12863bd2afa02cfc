//! What was sent against what is stored: pure, and never "the same" without proof.
//!
//! Text compares exactly, `null` being the same as empty; numbers by value; booleans; a lookup bound by GUID by that GUID.
//! Whatever else was sent (a bind by alternate key, a nested body) cannot be compared here, and then the change is sent again:
//! a false "same" would lose it.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::Row;
use crate::record::{Column, Members, Value, guid};

/// How OData names a lookup that is set by address.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>
const BIND: &str = "@odata.bind";

/// What a comparison found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// The row holds every value that was sent.
    Same,
    /// At least one value differs.
    Differs,
    /// At least one value cannot be compared.
    Unknown,
}

/// The stored properties that tell whether `columns` were written, or `None` when no set of them could.
pub fn select(columns: &[Column]) -> Option<Vec<String>> {
    columns.iter().map(stored_name).collect()
}

fn stored_name(column: &Column) -> Option<String> {
    if let Some(navigation) = column.name.strip_suffix(BIND) {
        return bound(&column.value).map(|_| format!("_{}_value", navigation.to_ascii_lowercase()));
    }
    let comparable = !column.name.contains('@') && Value::of(&column.value) != Value::Nested;
    comparable.then(|| column.name.clone())
}

/// The GUID in `"/accounts(<guid>)"`; `Some(None)` for null, which clears the lookup.
#[expect(
    clippy::option_option,
    reason = "not bound by GUID, bound to nothing, bound to a row: three different answers"
)]
fn bound(value: &RawValue) -> Option<Option<Uuid>> {
    match Value::of(value) {
        Value::Null => Some(None),
        Value::Text(address) => {
            let (_, key) = address.strip_suffix(')')?.rsplit_once('(')?;
            guid(key).map(Some)
        }
        _ => None,
    }
}

/// Compares what was sent with a row that was read with [`select`].
pub fn compare(columns: &[Column], row: &Row) -> Comparison {
    let Members(stored) = row.members();
    let mut result = Comparison::Same;
    for column in columns {
        let value = stored_name(column).and_then(|name| stored.iter().find(|(found, _)| *found == name));
        match value.map(|(_, value)| is_same(column, value)) {
            Some(true) => {}
            Some(false) => return Comparison::Differs,
            None => result = Comparison::Unknown,
        }
    }
    result
}

fn is_same(column: &Column, stored: &RawValue) -> bool {
    if column.name.ends_with(BIND) {
        return match (bound(&column.value), Value::of(stored)) {
            (Some(None), Value::Null) => true,
            (Some(Some(sent)), Value::Text(stored)) => guid(&stored) == Some(sent),
            _ => false,
        };
    }
    match (Value::of(&column.value), Value::of(stored)) {
        (Value::Null, Value::Text(text)) | (Value::Text(text), Value::Null) => text.is_empty(),
        (Value::Nested, _) | (_, Value::Nested) => false,
        (sent, stored) => sent == stored,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

    fn check(sent: &str, stored: &str) -> Comparison {
        let Members(members) = serde_json::from_str(sent).expect("an object");
        let columns: Vec<_> = members
            .into_iter()
            .map(|(name, value)| Column { name: name.into_owned(), value: value.to_owned() })
            .collect();
        compare(&columns, &Row::from_json(stored.to_owned()).expect("an object"))
    }

    #[test]
    fn equal_values_are_the_same_in_whatever_notation() {
        let bind = format!(r#"{{"parent@odata.bind":"/accounts({})"}}"#, ID.to_uppercase());
        let braces = format!(r#"{{"parent@odata.bind":"/accounts({{{ID}}})"}}"#);
        let lookup = format!(r#"{{"_parent_value":"{ID}"}}"#);
        for (sent, stored) in [
            (r#"{"a":"x","b":1.50,"c":true,"d":null}"#, r#"{"a":"x","b":1.5,"c":true,"d":null,"@odata.etag":"W/1"}"#),
            (r#"{"a":""}"#, r#"{"a":null}"#),
            (r#"{"a":null}"#, r#"{"a":""}"#),
            (bind.as_str(), lookup.as_str()),
            (braces.as_str(), lookup.as_str()),
            (r#"{"parent@odata.bind":null}"#, r#"{"_parent_value":null}"#),
            ("{}", "{}"),
        ] {
            assert_eq!(check(sent, stored), Comparison::Same, "{sent} {stored}");
        }
    }

    #[test]
    fn different_values_differ() {
        let lookup = format!(r#"{{"_parent_value":"{ID}"}}"#);
        for (sent, stored) in [
            (r#"{"a":"x"}"#, r#"{"a":"X"}"#),
            (r#"{"a":"x "}"#, r#"{"a":"x"}"#),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":9007199254740993}"#, r#"{"a":9007199254740992}"#),
            (r#"{"a":true}"#, r#"{"a":false}"#),
            (r#"{"a":null}"#, r#"{"a":0}"#),
            (r#"{"a":"x","b":1}"#, r#"{"a":"x","b":2}"#),
            (r#"{"parent@odata.bind":null}"#, lookup.as_str()),
            (r#"{"parent@odata.bind":"/accounts(00000000-0000-0000-0000-000000000001)"}"#, lookup.as_str()),
        ] {
            assert_eq!(check(sent, stored), Comparison::Differs, "{sent} {stored}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_never_the_same() {
        for (sent, stored) in [
            (r#"{"parent@odata.bind":"/accounts(accountnumber='7')"}"#, "{}"),
            (r#"{"a":{"b":1}}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"{"a":"x"}"#, r#"{"b":"x"}"#),
        ] {
            assert_eq!(check(sent, stored), Comparison::Unknown, "{sent} {stored}");
        }
    }

    #[test]
    fn a_difference_outweighs_what_is_unknown() {
        assert_eq!(check(r#"{"a":[1],"b":1}"#, r#"{"b":2}"#), Comparison::Differs);
    }
}
