//! The alternate keys that a record uses: its own, and those in the addresses that its lookups are bound to.

use std::cmp::Reverse;
use std::fmt;

use super::Record;

/// The columns of a table by which a row is addressed.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct AddressedKey {
    table: String,
    columns: Vec<String>,
}

impl Record {
    /// The alternate keys that this record uses, its own first.
    pub(crate) fn addressed_keys(&self) -> Vec<AddressedKey> {
        let names: Vec<_> = self.key.columns().iter().map(|column| column.name.as_str()).collect();
        let own = AddressedKey::new(&self.table, &names);
        let bound = self.lookups().into_iter().filter_map(|lookup| {
            let names = lookup.target.column_names();
            AddressedKey::new(lookup.target.table.as_deref()?, &names)
        });
        own.into_iter().chain(bound).collect()
    }
}

impl AddressedKey {
    /// `None` without columns: a primary key.
    fn new(table: &str, columns: &[&str]) -> Option<Self> {
        let columns: Vec<_> = columns.iter().map(|&name| name.to_owned()).collect();
        (!columns.is_empty()).then(|| Self { table: table.to_owned(), columns })
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
