//! The address in an `@odata.bind`: which row a lookup is set to. Pure.
//!
//! It reads what senders write: `/accounts(<guid>)`, `/accounts(accountnumber='7')`, with or without the service's root,
//! percent-encoded or not. It refuses to guess: what is not wholly understood is `None`, and then nobody claims to know the row.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>

use percent_encoding::percent_decode_str;

use crate::json::Number;
use crate::record::{KeyColumn, KeyValue, MOST_KEY_COLUMNS, RecordKey, guid, is_logical_name, is_set_name};

/// The row that a lookup is set to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// The entity set name.
    pub table: String,
    /// What identifies the row in it.
    pub key: RecordKey,
}

impl Reference {
    /// Reads the address, or gives `None` when any of it is not understood.
    pub fn parse(address: &str) -> Option<Self> {
        // The service decodes before it takes the address apart.
        let decoded = percent_decode_str(address).decode_utf8().ok()?;
        let (table, rest) = below_root(&decoded)?.split_once('(')?;
        let predicate = rest.strip_suffix(')')?;
        let key = match guid(predicate) {
            Some(id) => RecordKey::Id(id),
            None => RecordKey::Alternate(columns(predicate)?),
        };
        is_set_name(table).then(|| Self { table: table.to_owned(), key })
    }
}

/// What follows the service's root in a whole address; `/accounts(…)` is relative to it, whatever its slash says.
fn below_root(address: &str) -> Option<&str> {
    let path = match address.strip_prefix("https://").or_else(|| address.strip_prefix("http://")) {
        Some(rest) => rest.split_once('/')?.1,
        None => address.strip_prefix('/').unwrap_or(address),
    };
    let Some(versioned) = path.strip_prefix("api/data/v") else {
        // A host without the root is not this service.
        return (!address.starts_with("http")).then_some(path);
    };
    let (version, rest) = versioned.split_once('/')?;
    version.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.').then_some(rest)
}

/// `a='x',b=2`, sorted by name, each name once.
fn columns(predicate: &str) -> Option<Vec<KeyColumn>> {
    let mut columns: Vec<KeyColumn> = Vec::new();
    let mut rest = predicate;
    loop {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = literal(after)?;
        if !is_logical_name(name) || columns.iter().any(|column| column.name == name) {
            return None;
        }
        columns.push(KeyColumn { name: name.to_owned(), value });
        if after.is_empty() {
            break;
        }
        rest = after.strip_prefix(',')?.trim_start_matches(' ');
    }
    columns.sort_by(|a, b| a.name.cmp(&b.name));
    (columns.len() <= MOST_KEY_COLUMNS).then_some(columns)
}

/// One literal off the front of `text`, and the rest.
fn literal(text: &str) -> Option<(KeyValue, &str)> {
    if let Some(quoted) = text.strip_prefix('\'') {
        return take_quoted(quoted);
    }
    let (bare, rest) = text.split_at(text.find(',').unwrap_or(text.len()));
    Some((take_bare(bare)?, rest))
}

/// Text up to its closing quote; a doubled quote stands for one.
fn take_quoted(text: &str) -> Option<(KeyValue, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        let Some(more) = after.strip_prefix('\'') else {
            return (!value.is_empty()).then_some((KeyValue::Text(value), after));
        };
        value.push('\'');
        rest = more;
    }
}

/// A GUID, or a plain decimal number. Dates, booleans and numbers with suffixes have no form that is sure.
fn take_bare(text: &str) -> Option<KeyValue> {
    if let Some(id) = guid(text).filter(|_| !text.starts_with('{')) {
        return Some(KeyValue::Guid(id));
    }
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let plain = match unsigned.split_once('.') {
        Some((whole, fraction)) => digits(whole) && digits(fraction),
        None => digits(unsigned),
    };
    let number = plain.then(|| Number::of(text))?;
    number.literal().is_some().then_some(KeyValue::Number(number))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

    fn shown(address: &str) -> Option<String> {
        let Reference { table, key } = Reference::parse(address)?;
        Some(match key {
            RecordKey::Id(id) => format!("{table} {id}"),
            RecordKey::Alternate(columns) => {
                let parts: Vec<_> = columns.iter().map(|column| format!("{}={}", column.name, column.value)).collect();
                format!("{table} {}", parts.join(","))
            }
        })
    }

    #[test]
    fn a_row_is_known_by_its_guid_in_every_notation() {
        let (capitals, braces) = (ID.to_uppercase(), format!("{{{ID}}}"));
        for address in [
            format!("/accounts({ID})"),
            format!("accounts({ID})"),
            format!("/accounts({capitals})"),
            format!("/accounts({braces})"),
            format!("/accounts(%7B{ID}%7D)"),
            format!("/api/data/v9.2/accounts({ID})"),
            format!("https://contoso.crm4.dynamics.com/api/data/v9.2/accounts({ID})"),
        ] {
            assert_eq!(shown(&address), Some(format!("accounts {ID}")), "{address}");
        }
    }

    #[test]
    fn a_row_is_known_by_its_alternate_key() {
        for (address, expected) in [
            ("/accounts(accountnumber='7')", "accounts accountnumber='7'"),
            ("/accounts(accountnumber='O''Neil')", "accounts accountnumber='O''Neil'"),
            ("/accounts(accountnumber='O%27%27Neil%20%28s%C3%B6hne%29')", "accounts accountnumber='O''Neil (söhne)'"),
            ("/accounts(accountnumber='a,b=''c''')", "accounts accountnumber='a,b=''c'''"),
            ("new_orders(new_region='x', new_number=-2.50)", "new_orders new_number=-2.5,new_region='x'"),
            (
                "/new_orders(_new_accountid_value=9b2e0c3a-1111-4222-8333-444455556666)",
                "new_orders _new_accountid_value=9b2e0c3a-1111-4222-8333-444455556666",
            ),
        ] {
            assert_eq!(shown(address).as_deref(), Some(expected), "{address}");
        }
    }

    #[test]
    fn what_is_not_wholly_understood_is_not_understood() {
        for address in [
            "",
            "$1",
            "/accounts",
            "/accounts()",
            "/accounts(7)",
            "/accounts(accountnumber='7'",
            "/accounts(accountnumber='7')/x",
            "/accounts(accountnumber='7)",
            "/accounts(accountnumber='7'')",
            "/accounts(accountnumber='7'x)",
            "/accounts(accountnumber='7',)",
            "/accounts(accountnumber='7',accountnumber='7')",
            "/accounts(accountnumber='')",
            "/accounts(AccountNumber='7')",
            "/accounts(a=true)",
            "/accounts(a=7L)",
            "/accounts(a=1e3)",
            "/accounts(a=.5)",
            "/accounts(a={9b2e0c3a-1111-4222-8333-444455556666})",
            "/accounts(a=2026-01-31T07:00:00Z)",
            "/accounts(a='%FF')",
            "/a b(a='7')",
            "/x/accounts(a='7')",
            "//accounts(a='7')",
            "https://contoso.crm4.dynamics.com/accounts(a='7')",
            "https://accounts(a='7')",
            "/api/data/vx/accounts(a='7')",
        ] {
            assert_eq!(shown(address), None, "{address}");
        }
    }

    fn key_column() -> impl Strategy<Value = KeyColumn> {
        let value = prop_oneof![
            "[^%]{1,12}".prop_map(KeyValue::Text),
            any::<u128>().prop_map(|bits| KeyValue::Guid(Uuid::from_u128(bits))),
            (any::<i64>(), 0_usize..6)
                .prop_map(|(n, places)| { KeyValue::Number(Number::of(&format!("{n}.{}", "5".repeat(places + 1)))) }),
        ];
        ("[a-z_][a-z0-9_]{0,8}", value).prop_map(|(name, value)| KeyColumn { name, value })
    }

    proptest! {
        #[test]
        fn an_address_that_was_written_from_a_key_is_read_back_as_that_key(
            columns in prop::collection::btree_map("[a-z_][a-z0-9_]{0,8}", key_column(), 1..5),
            encode in any::<bool>(),
        ) {
            let columns: Vec<_> =
                columns.into_iter().map(|(name, column)| KeyColumn { name, ..column }).collect();
            let parts: Vec<_> = columns.iter().map(|column| format!("{}={}", column.name, column.value)).collect();
            let predicate = parts.join(",");
            let encoded =
                percent_encoding::utf8_percent_encode(&predicate, percent_encoding::NON_ALPHANUMERIC).to_string();
            let address = format!("/accounts({})", if encode { &encoded } else { &predicate });
            let read = Reference::parse(&address).expect("an address");
            prop_assert_eq!(read.key, RecordKey::Alternate(columns));
        }

        #[test]
        fn no_text_makes_the_reader_panic(address in ".*") {
            let _ = Reference::parse(&address);
        }
    }
}
