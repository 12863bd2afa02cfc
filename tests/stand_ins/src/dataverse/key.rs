//! Parses a key predicate: `(guid)`, `(accountnumber='A')`, `(new_number=2,new_region='x')`,
//! `(_new_accountid_value=<guid>)`.
//!
//! It rejects columns that do not form a whole declared key. Key columns may be in any order. Invariant: the values of
//! an [`Address`] are in stored form. Pure. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/use-alternate-key-reference-record>.

use std::collections::BTreeMap;

use serde_json::Value;
use uuid::Uuid;

use super::errors::Error;
use super::literal::{self, Literal};
use super::table::Table;

/// How a request addresses a row.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Address {
    /// By primary key.
    Id(Uuid),
    /// By an alternate key: `values` has the columns `table.uniques[unique].columns`, by name.
    Key { unique: usize, values: BTreeMap<String, Value> },
}

impl Address {
    /// Parses a predicate, already percent-decoded, without its parentheses.
    pub(super) fn parse(table: &Table, predicate: &str) -> Result<Self, Error> {
        if let Some(id) = literal::guid(predicate) {
            return Ok(Self::Id(id));
        }
        let parts = pairs(predicate).ok_or_else(Error::query_syntax)?;
        let mut values = BTreeMap::new();
        for (column, literal) in parts {
            let kind = table.columns.get(&column).ok_or_else(|| Error::no_key(&table.logical_name))?;
            let value =
                literal.value(kind).filter(|value| value != "").ok_or_else(|| Error::no_key(&table.logical_name))?;
            if values.insert(column, value).is_some() {
                return Err(Error::no_key(&table.logical_name));
            }
        }
        if let Some(Value::String(id)) = values.get(&table.primary_key).filter(|_| values.len() == 1) {
            return Ok(Self::Id(literal::guid(id).expect("a GUID column's literal is a GUID")));
        }
        let covers =
            |columns: &[String]| columns.len() == values.len() && columns.iter().all(|c| values.contains_key(c));
        let unique = table.uniques.iter().position(|unique| unique.is_key && covers(&unique.columns));
        Ok(Self::Key { unique: unique.ok_or_else(|| Error::no_key(&table.logical_name))?, values })
    }

    /// The 404 for a row that does not exist.
    pub(super) fn not_found(&self, table: &Table) -> Error {
        match self {
            Self::Id(id) => Error::no_row(&table.logical_name, id),
            Self::Key { .. } => Error::no_row_with_key(&table.logical_name),
        }
    }
}

fn pairs(predicate: &str) -> Option<Vec<(String, Literal)>> {
    let mut pairs = Vec::new();
    let mut rest = predicate;
    loop {
        let (column, after) = rest.split_once('=')?;
        let (literal, after) = Literal::take(after.trim_start())?;
        pairs.push((column.trim().to_owned(), literal));
        rest = after.trim_start();
        if rest.is_empty() {
            return Some(pairs);
        }
        rest = rest.strip_prefix(',')?;
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::samples;
    use super::*;

    fn address(set: usize, predicate: &str) -> Result<Address, String> {
        Address::parse(&samples::tables()[set], predicate).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn a_composite_key_may_come_in_any_order() {
        let forwards = address(2, "new_number=2,new_region='x'");
        assert_eq!(forwards, address(2, "new_region='x', new_number=2"));
        let values = BTreeMap::from([("new_number".to_owned(), json!(2)), ("new_region".to_owned(), json!("x"))]);
        assert_eq!(forwards, Ok(Address::Key { unique: 0, values }));
    }

    #[test]
    fn a_lookup_column_is_a_bare_guid() {
        let id = "aaaaaaaa-0000-4000-8000-000000000001";
        assert!(address(2, &format!("_new_accountid_value={id},new_reference='r'")).is_ok());
        assert_eq!(address(2, &format!("_new_accountid_value='{id}',new_reference='r'")), Err("0x80060888".to_owned()));
    }

    #[test]
    fn the_primary_key_may_be_named() {
        let id = Uuid::new_v4();
        assert_eq!(address(0, &id.to_string().to_uppercase()), Ok(Address::Id(id)));
        assert_eq!(address(0, &format!("contactid={id}")), Ok(Address::Id(id)));
    }

    #[test]
    fn columns_that_are_no_key_are_refused() {
        for predicate in ["lastname='x'", "employeeid='1',lastname='x'", "nosuch=1", "employeeid=1", "employeeid=''"] {
            assert_eq!(address(0, predicate), Err("0x80060888".to_owned()), "{predicate}");
        }
        assert_eq!(address(2, "new_number=2"), Err("0x80060888".to_owned()));
        let syntax = Address::parse(&samples::tables()[0], "what").expect_err("it has no value");
        assert_eq!(syntax.message, "Bad Request - Error in query syntax.");
    }
}
