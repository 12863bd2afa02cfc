//! The URL of a row. Nothing in a record can break out of it: names are validated when the record is decoded, literals are
//! percent-encoded.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/use-alternate-key-reference-record>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;
use uuid::Uuid;

use crate::record::{KeyColumn, RecordKey};

/// Encodes all but RFC 3986's unreserved characters, and the quote that delimits OData text.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'\'');

/// The row of `table` with this key, or with primary key `id`. `None` when the key has a character that no URL may hold.
pub(super) fn row(root: &Url, table: &str, key: &RecordKey, id: Option<Uuid>) -> Option<Url> {
    if id.is_none() && key.not_addressable().is_some() {
        return None;
    }
    let predicate = match (id, key) {
        (Some(id), _) | (None, &RecordKey::Id(id)) => id.to_string(),
        (None, RecordKey::Alternate(columns)) => {
            let literal = |column: &KeyColumn| percent_encoded(&column.value.to_string());
            let columns = columns.iter().map(|column| format!("{}={}", column.name, literal(column)));
            columns.collect::<Vec<_>>().join(",")
        }
    };
    Some(below(root, &format!("{table}({predicate})")))
}

/// An OData literal as it stands in a URL.
pub(crate) fn percent_encoded(literal: &str) -> String {
    utf8_percent_encode(literal, LITERAL).to_string()
}

/// The rows of a table.
pub(super) fn set(root: &Url, table: &str) -> Url {
    below(root, table)
}

fn below(root: &Url, path: &str) -> Url {
    Url::parse(&format!("{root}{path}"))
        .expect("it begins with the root, and what follows has letters, digits and literals")
}

/// A `$filter` for the rows with this key, in which every character can be written.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/query/filter-rows>
pub(super) fn filter(key: &RecordKey) -> String {
    let conditions: Vec<_> =
        key.columns().iter().map(|column| format!("{} eq {}", column.name, column.value)).collect();
    format!("$filter={}", percent_encoded(&conditions.join(" and ")))
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
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
        Some(row.as_str().strip_prefix(root.as_str()).expect("below the root").to_owned())
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
    fn a_key_that_no_url_can_hold_becomes_a_filter() {
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
