//! The address of a row. Nothing of a record can break out of it: names are checked at the door, literals are encoded.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/use-alternate-key-reference-record>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;
use uuid::Uuid;

use crate::record::RecordKey;

/// All but RFC 3986's unreserved characters, and the quote that delimits OData text.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'\'');

/// The row of `table` that the key addresses, or that `id` does. `None` when the key cannot stand in an address.
pub(super) fn row(root: &Url, table: &str, key: &RecordKey, id: Option<Uuid>) -> Option<String> {
    if id.is_none() && key.not_addressable().is_some() {
        return None;
    }
    let mut row = set(root, table);
    row.push('(');
    match (id, key) {
        (Some(id), _) | (None, &RecordKey::Id(id)) => {
            row.push_str(id.hyphenated().encode_lower(&mut Uuid::encode_buffer()));
        }
        (None, RecordKey::Alternate(columns)) => {
            for (place, column) in columns.iter().enumerate() {
                if place > 0 {
                    row.push(',');
                }
                row.push_str(&column.name);
                row.push('=');
                row.extend(utf8_percent_encode(&column.value.to_string(), LITERAL));
            }
        }
    }
    row.push(')');
    Some(row)
}

/// The rows of a table.
pub(super) fn set(root: &Url, table: &str) -> String {
    // Room for a key, too.
    let mut set = String::with_capacity(root.as_str().len() + table.len() + 80);
    set.push_str(root.as_str());
    set.push_str(table);
    set
}

/// A row or a set, asked so.
pub(super) fn asked(address: &str, query: Option<&str>) -> Url {
    let mut url =
        Url::parse(address).expect("it begins with the root, and what follows has letters, digits and literals");
    url.set_query(query);
    url
}

/// A `$filter` for the rows with this key: here every character can be said.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/filter-rows>
pub(super) fn filter(key: &RecordKey) -> String {
    let conditions: Vec<_> =
        key.columns().iter().map(|column| format!("{} eq {}", column.name, column.value)).collect();
    format!("$filter={}", utf8_percent_encode(&conditions.join(" and "), LITERAL))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use axum::http::Uri;

    use super::*;
    use crate::record::{Record, decode};

    fn record(key: &str) -> Record {
        let message = format!(r#"{{"table":"contacts","key":{key},"columns":{{}}}}"#);
        decode(&message.into()).expect("a record")
    }

    fn address_of(key: &str, id: Option<Uuid>) -> Option<String> {
        let root = Url::parse("https://contoso.crm.dynamics.com/api/data/v9.2/").expect("an address");
        let record = record(key);
        let row = row(&root, &record.table, &record.key, id)?;
        let after = row.strip_prefix(root.as_str()).expect("below the root");
        let url = asked(&row, None);
        assert_eq!((url.as_str(), row.parse::<Uri>().is_ok()), (row.as_str(), true), "any reader has it so");
        Some(after.to_owned())
    }

    fn address(key: &str) -> Option<String> {
        address_of(key, None)
    }

    #[test]
    fn rows_are_addressed_as_the_service_documents_it() {
        for (key, expected) in [
            (r#""{9B2E0C3A-1111-4222-8333-444455556666}""#, "contacts(9b2e0c3a-1111-4222-8333-444455556666)"),
            (r#"{"employeeid":"E1"}"#, "contacts(employeeid='E1')"),
            (r#"{"b":"x","a":2}"#, "contacts(a=2,b='x')"),
            (r#"{"a":"O'Neil & Söhne"}"#, ""),
            (r#"{"a":"O'Neil, (Söhne)"}"#, "contacts(a='O''Neil%2C%20%28S%C3%B6hne%29')"),
            (
                r#"{"_p_value":"9b2e0c3a-1111-4222-8333-444455556666"}"#,
                "contacts(_p_value=9b2e0c3a-1111-4222-8333-444455556666)",
            ),
        ] {
            assert_eq!(address(key).unwrap_or_default(), expected, "{key}");
        }
    }

    #[test]
    fn a_row_whose_primary_key_is_known_is_addressed_by_it() {
        let id = Uuid::from_u128(7);
        for key in [r#"{"a":"x/y"}"#, r#"{"a":"x"}"#] {
            assert_eq!(address_of(key, Some(id)), Some(format!("contacts({id})")));
        }
    }

    #[test]
    fn what_no_address_can_hold_stands_in_a_filter() {
        let key = r#"{"b":"50% & O'Neil?","a":-2.50,"_p_value":"{9B2E0C3A-1111-4222-8333-444455556666}"}"#;
        assert_eq!(address(key), None);
        let filter = filter(&record(key).key);
        assert_eq!(
            percent_encoding::percent_decode_str(&filter).decode_utf8().expect("text"),
            "$filter=_p_value eq 9b2e0c3a-1111-4222-8333-444455556666 and a eq -2.5 and b eq '50% & O''Neil?'"
        );
        assert!(!filter["$filter=".len()..].contains(['&', '#', '+', ' ', '?', '/']), "{filter}");
    }

    #[test]
    fn hostile_keys_stay_inside_their_quotes() {
        for key in ["x') or (a eq 'y", "..", "a;b=c", "a\u{0}b", "a\nb", "a|b^c`d\"e", "(((", "$filter=x", "@odata"] {
            let json = serde_json::json!({ "a": key }).to_string();
            let path = address(&json).expect("addressable");
            let inner = path.strip_prefix("contacts(a='").and_then(|rest| rest.strip_suffix("')")).expect("quoted");
            assert!(!inner.replace("''", "").contains('\''), "{path}");
            assert!(!inner.contains(['/', '?', '#', '(', ')', ' ', ';']), "{path}");
        }
    }
}
