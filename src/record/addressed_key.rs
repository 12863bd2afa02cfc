//! The alternate keys that a record uses: its own, and those in the addresses that its lookups are bound to.

use std::cmp::Reverse;
use std::fmt;
use std::mem::take;

use super::{BIND, Record};
use crate::json::Value;

/// The columns of a table by which a row is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressedKey {
    /// The entity set name.
    table: String,
    columns: Vec<String>,
}

impl Record {
    /// The alternate keys that this record uses, its own first.
    pub(crate) fn addressed_keys(&self) -> Vec<AddressedKey> {
        let columns: Vec<_> = self.key.columns().iter().map(|column| column.name.clone()).collect();
        let own = (!columns.is_empty()).then(|| AddressedKey { table: self.table.clone(), columns });
        let mut keys: Vec<_> = own.into_iter().collect();
        if self.columns.binds() {
            let bound = self.columns.list().into_iter().filter(|column| column.name.ends_with(BIND));
            keys.extend(bound.filter_map(|column| match Value::of(column.value) {
                Value::Text(address) => AddressedKey::read(&address),
                _ => None,
            }));
        }
        keys
    }
}

impl AddressedKey {
    /// The key in `/accounts(accountnumber='7')`, with or without the service's root; `None` for a primary key.
    fn read(address: &str) -> Option<Self> {
        let (set, predicate) = address.strip_suffix(')')?.split_once('(')?;
        let mut columns = Vec::new();
        let (mut name, mut is_name, mut quoted) = (String::new(), true, false);
        for c in predicate.chars() {
            match c {
                '\'' => quoted = !quoted,
                '=' if !quoted && is_name => {
                    columns.push(take(&mut name).trim().to_owned());
                    is_name = false;
                }
                ',' if !quoted => is_name = true,
                c if is_name => name.push(c),
                _ => {}
            }
        }
        columns.sort_unstable();
        let table = set.rsplit('/').next()?.to_owned();
        (!columns.is_empty()).then_some(Self { table, columns })
    }

    /// How much the entity set's name looks like that of the table with this logical name: entity sets are mostly its plural.
    pub(crate) fn likeness(&self, logical_name: &str) -> (usize, Reverse<usize>) {
        (common_prefix(&self.table, logical_name), Reverse(self.table.len()))
    }
}

/// The length of what both names begin with, in bytes.
pub(crate) fn common_prefix(one: &str, other: &str) -> usize {
    one.bytes().zip(other.bytes()).take_while(|(a, b)| a == b).count()
}

impl fmt::Display for AddressedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({})", self.table, self.columns.join(","))
    }
}

#[cfg(test)]
mod tests {
    use crate::record::decode;

    #[test]
    fn a_records_own_key_comes_before_those_of_its_binds() {
        let id = "9b2e0c3a-1111-4222-8333-444455556666";
        let other_id = format!("/accounts({id})");
        for (key, binds, expected) in [
            (r#"{"b":"x","a":1}"#.to_owned(), vec![], vec!["contacts(a,b)"]),
            (format!("\"{id}\""), vec![other_id.as_str()], vec![]),
            (
                r#"{"a":1}"#.to_owned(),
                vec!["/accounts(n='it''s, m=(1)/2',k=2)", "https://x.example/api/data/v9.2/as(code='a/b')", "(", "x)"],
                vec!["contacts(a)", "accounts(k,n)", "as(code)"],
            ),
        ] {
            let columns: serde_json::Map<_, _> =
                binds.iter().enumerate().map(|(n, bind)| (format!("n{n}@odata.bind"), (*bind).into())).collect();
            let columns = serde_json::Value::from(columns);
            let message = format!(r#"{{"table":"contacts","key":{key},"columns":{columns}}}"#);
            let record = decode(&message.into()).expect("a record");
            let keys: Vec<_> = record.addressed_keys().iter().map(ToString::to_string).collect();
            assert_eq!(keys, expected);
        }
    }
}
