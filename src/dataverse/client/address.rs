//! The address of a row. Nothing of a record can break out of it: names are checked at the door, literals are encoded.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/use-alternate-key-reference-record>

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use crate::dataverse::Fault;
use crate::record::RecordKey;

/// All but RFC 3986's unreserved characters, and the quote that delimits OData text.
const LITERAL: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'\'');

/// The row of `table` that the key addresses.
pub(super) fn row(root: &Url, table: &str, key: &RecordKey) -> Result<Url, Fault> {
    if let Some(column) = key.not_addressable() {
        return Err(Fault::NotAddressable { column: column.to_owned() });
    }
    let key = match key {
        RecordKey::Id(id) => id.to_string(),
        RecordKey::Alternate(columns) => {
            let parts: Vec<_> = columns
                .iter()
                .map(|column| format!("{}={}", column.name, utf8_percent_encode(&column.value.to_string(), LITERAL)))
                .collect();
            parts.join(",")
        }
    };
    let mut url = root.clone();
    url.set_path(&format!("{}{table}({key})", root.path()));
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::decode;

    fn address(key: &str) -> Result<String, Fault> {
        let message = format!(r#"{{"table":"contacts","key":{key},"columns":{{}}}}"#);
        let record = decode(message.as_bytes()).expect("a record");
        let root = Url::parse("https://contoso.crm.dynamics.com/api/data/v9.2/").expect("an address");
        row(&root, &record.table, &record.key).map(|url| url.path().trim_start_matches("/api/data/v9.2/").to_owned())
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
