//! Any key can be read back from its URL by a parser that knows OData alone.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use proptest::collection::btree_map;
use proptest::prelude::*;

use super::*;
use crate::record::decode;

/// The names and unquoted texts in a key predicate or a filter.
fn literals(text: &str, equals: &str, between: &str) -> Option<BTreeMap<String, String>> {
    let (mut found, mut rest) = (BTreeMap::new(), text);
    loop {
        let (name, quoted) = rest.split_once(equals)?;
        let (value, after) = unquoted(quoted)?;
        found.insert(name.to_owned(), value);
        if after.is_empty() {
            return Some(found);
        }
        rest = after.strip_prefix(between)?;
    }
}

/// A quoted text, in which a doubled quote is one quote, and the rest of the input.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut rest) = (String::new(), text.strip_prefix('\'')?);
    loop {
        let (part, after) = rest.split_once('\'')?;
        value.push_str(part);
        let Some(more) = after.strip_prefix('\'') else { return Some((value, after)) };
        value.push('\'');
        rest = more;
    }
}

fn key() -> impl Strategy<Value = BTreeMap<String, String>> {
    let text =
        prop_oneof![any::<String>(), "['%/?#&=,;()$.\\\\\r\n\0 ]{1,12}", "(%27|''|\\.\\.|%2e|%00|' or |\\)){1,4}"];
    btree_map("[a-z_][a-z0-9_]{0,9}", text.prop_filter("no key is empty", |text| !text.is_empty()), 1..4)
        .prop_filter("lookups are GUIDs", |columns| !columns.keys().any(|name| name.ends_with("_value")))
}

proptest! {
    #[test]
    fn a_parser_reads_back_the_table_and_the_key_and_nothing_else(
        table in "[A-Za-z_][A-Za-z0-9_]{0,20}",
        columns in key(),
    ) {
        let message = serde_json::json!({ "table": table, "key": columns, "columns": {} }).to_string();
        let record = decode(&message.into()).expect("a record");
        let root = Url::parse("https://contoso.crm.dynamics.com/api/data/v9.2/").expect("an address");
        let filter = filter(&record.key);
        let bare = filter.strip_prefix("$filter=").expect("a filter");
        prop_assert!(bare.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~'%".contains(&byte)), "{}", bare);
        let read = percent_decode_str(bare).decode_utf8().expect("text");
        prop_assert_eq!(literals(&read, " eq ", " and "), Some(columns.clone()));

        let Some(row) = row(&root, &record.table, &record.key, None) else {
            prop_assert!(record.key.not_addressable().is_some());
            return Ok(());
        };
        prop_assert!(row.as_str().parse::<http::Uri>().is_ok(), "{}", row);
        prop_assert_eq!((row.host_str(), row.query(), row.fragment()), (Some("contoso.crm.dynamics.com"), None, None));
        let segment = row.path().strip_prefix("/api/data/v9.2/").expect("below the root");
        prop_assert!(!segment.contains('/'), "{}", segment);
        let (set, predicate) = segment.split_once('(').expect("a key");
        prop_assert_eq!(set, &table);
        let predicate = percent_decode_str(predicate.strip_suffix(')').expect("closed")).decode_utf8().expect("text");
        prop_assert_eq!(literals(&predicate, "=", ","), Some(columns));
    }
}
