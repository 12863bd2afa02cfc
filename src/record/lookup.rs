//! The lookups that a record sets, and the rows that they name.
//!
//! The address of a row has several spellings: with or without a slash or the service's root before it, with percent-encoding, by a
//! primary key with or without its column's name, by an alternate key in any order of its columns. All are read into one
//! [`RowAddress`], and from it into the [`RecordKey`] that a record of that row has. Pure.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>

use std::fmt;

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::columns::{PARTIES, for_each_element};
use super::{BIND, KeyColumn, KeyValue, Record, RecordKey, guid, is_entity_set_name, is_logical_name};
use crate::json::{Members, Number, Value};

/// The most lookups of one record that are read: a lookup that holds a list may name any number of rows.
const MAX_LOOKUPS: usize = 1_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lookup {
    /// The navigation property, or the column of the record's own key.
    pub(crate) name: String,
    pub(crate) target: RowAddress,
}

/// How a lookup names a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowAddress {
    /// The entity set name; `None` where a key holds the row's primary key alone.
    pub(crate) table: Option<String>,
    key: Key,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id(Uuid),
    /// Sorted by name. A value of another type than a record's key can have is `None`.
    Columns(Vec<(String, Option<KeyValue>)>),
}

impl Record {
    /// The lookups that this record sets: those of its key first.
    pub(crate) fn lookups(&self) -> Vec<Lookup> {
        let of_key = self.key.columns().iter().filter_map(|column| match column.value {
            KeyValue::Guid(id) => {
                Some(Lookup { name: column.name.clone(), target: RowAddress { table: None, key: Key::Id(id) } })
            }
            KeyValue::Text(_) | KeyValue::Number(_) => None,
        });
        let mut lookups: Vec<_> = of_key.collect();
        if self.columns.binds() {
            for column in self.columns.list() {
                read_property(&column.name, column.value, &mut lookups);
            }
        }
        lookups
    }
}

/// Adds the lookups that a property sets: one, those of a list, or those of the parties of an activity.
fn read_property(name: &str, value: &RawValue, lookups: &mut Vec<Lookup>) {
    if let Some(navigation) = name.strip_suffix(BIND) {
        read_address(navigation, value, lookups);
        for_each_element(value, |address| read_address(navigation, address, lookups));
    } else if name.ends_with(PARTIES) {
        for_each_element(value, |party| {
            let Members(members) = serde_json::from_str(party.get()).unwrap_or(Members(Vec::new()));
            for (name, value) in members {
                if let Some(navigation) = name.strip_suffix(BIND) {
                    read_address(navigation, value, lookups);
                }
            }
        });
    }
}

fn read_address(name: &str, value: &RawValue, lookups: &mut Vec<Lookup>) {
    if lookups.len() == MAX_LOOKUPS || !is_entity_set_name(name) {
        return;
    }
    let Value::Text(address) = Value::of(value) else { return };
    lookups.extend(RowAddress::parse(&address).map(|target| Lookup { name: name.to_owned(), target }));
}

impl RowAddress {
    /// Reads `/accounts(accountnumber='7')`; `None` where it has no key, or names that Dataverse cannot have.
    pub(crate) fn parse(address: &str) -> Option<Self> {
        // The service decodes an address before it splits it.
        let address = percent_decode_str(address).decode_utf8().ok()?;
        let (set, predicate) = address.trim().strip_suffix(')')?.split_once('(')?;
        let table = set.rsplit('/').next().filter(|name| is_entity_set_name(name))?.to_owned();
        let table = Some(table);
        if let Some(id) = guid(predicate.trim()) {
            return Some(Self { table, key: Key::Id(id) });
        }
        let mut quoted = false;
        let parts = predicate.split(|c: char| {
            quoted ^= c == '\'';
            c == ',' && !quoted
        });
        let parts = parts.filter_map(|part| part.split_once('='));
        let mut columns: Vec<_> = parts.map(|(name, text)| (name.trim().to_owned(), literal(text.trim()))).collect();
        columns.sort_by(|one, other| one.0.cmp(&other.0));
        if columns.is_empty() || !columns.iter().all(|(name, _)| is_logical_name(name)) {
            return None;
        }
        let key = match &*columns {
            // Only a lookup of an alternate key has a GUID as well.
            [(name, Some(KeyValue::Guid(id)))] if !is_lookup(name) => Key::Id(*id),
            _ => Key::Columns(columns),
        };
        Some(Self { table, key })
    }

    /// The primary key, if it is addressed by that.
    pub(crate) fn id(&self) -> Option<Uuid> {
        match self.key {
            Key::Id(id) => Some(id),
            Key::Columns(_) => None,
        }
    }

    /// The names of the columns of an alternate key, sorted; none for a primary key.
    pub(crate) fn column_names(&self) -> Vec<&str> {
        match &self.key {
            Key::Id(_) => Vec::new(),
            Key::Columns(columns) => columns.iter().map(|(name, _)| name.as_str()).collect(),
        }
    }

    /// The key of a record of this row, if a record can have it.
    pub(crate) fn key(&self) -> Option<RecordKey> {
        match &self.key {
            Key::Id(id) => Some(RecordKey::Id(*id)),
            Key::Columns(columns) => {
                let column = |(name, value): &(String, Option<KeyValue>)| {
                    Some(KeyColumn { name: name.clone(), value: value.clone()? })
                };
                columns.iter().map(column).collect::<Option<_>>().map(RecordKey::Alternate)
            }
        }
    }
}

fn is_lookup(column: &str) -> bool {
    column.starts_with('_') && column.ends_with("_value")
}

/// A value of an alternate key's column.
/// <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_PrimitiveLiterals>
fn literal(text: &str) -> Option<KeyValue> {
    if let Some(quoted) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(KeyValue::Text(quoted.replace("''", "'")));
    }
    let number = |text: &str| {
        let is_number = text.starts_with(|c: char| c.is_ascii_digit() || c == '-') && text.parse::<f64>().is_ok();
        Some(Number::parse(text)).filter(|number| is_number && number.literal().is_some())
    };
    guid(text).map(KeyValue::Guid).or_else(|| number(text).map(KeyValue::Number))
}

impl fmt::Display for RowAddress {
    /// In one spelling, without the service's root; a value of an unknown type is left out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.key {
            Key::Id(id) => id.to_string(),
            Key::Columns(columns) => {
                let column = |(name, value): &(String, Option<KeyValue>)| match value {
                    Some(value) => format!("{name}={value}"),
                    None => name.clone(),
                };
                columns.iter().map(column).collect::<Vec<_>>().join(",")
            }
        };
        match &self.table {
            Some(table) => write!(f, "{table}({key})"),
            None => f.write_str(&key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::decode;

    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

    fn lookups(key: &str, columns: &str) -> Vec<Lookup> {
        let message = format!(r#"{{"table":"contacts","key":{key},"columns":{columns}}}"#);
        decode(&message.into()).unwrap_or_else(|(error, _)| panic!("{columns}: {error}")).lookups()
    }

    fn printed(key: &str, columns: &str) -> Vec<String> {
        lookups(key, columns).iter().map(|lookup| format!("{} {}", lookup.name, lookup.target)).collect()
    }

    #[test]
    fn an_address_is_the_key_of_the_records_of_its_row_in_every_spelling() {
        let capitals = ID.to_uppercase();
        for (address, key) in [
            ("/accounts(accountnumber='7')".to_owned(), r#"{"accountnumber":"7"}"#.to_owned()),
            ("accounts(accountnumber='7')".to_owned(), r#"{"accountnumber":"7"}"#.to_owned()),
            (" /accounts( accountnumber = '7' ) ".to_owned(), r#"{"accountnumber":"7"}"#.to_owned()),
            (
                "https://x.example/api/data/v9.2/accounts(accountnumber='a%20b')".to_owned(),
                r#"{"accountnumber":"A b "}"#.to_owned(),
            ),
            ("/accounts(name='O''Neil, (x)=1')".to_owned(), r#"{"name":"O'Neil, (x)=1"}"#.to_owned()),
            ("/accounts(name=%27M%C3%BCller%27)".to_owned(), r#"{"name":"MULLER"}"#.to_owned()),
            ("/accounts(b='x',a=1)".to_owned(), r#"{"a":1.0,"b":"x"}"#.to_owned()),
            ("/accounts(a=-1.50)".to_owned(), r#"{"a":-1.5}"#.to_owned()),
            (format!("/accounts(_p_value={ID},a='x')"), format!(r#"{{"a":"x","_p_value":"{{{capitals}}}"}}"#)),
            (format!("/accounts(_p_value={ID})"), format!(r#"{{"_p_value":"{ID}"}}"#)),
            (format!("/accounts({capitals})"), format!("\"{ID}\"")),
            (format!("/accounts(accountid={ID})"), format!("\"{{{capitals}}}\"")),
        ] {
            let bound = lookups("{\"a\":1}", &format!(r#"{{"nav@odata.bind":"{address}"}}"#)).swap_remove(0);
            let key = RecordKey::read(serde_json::from_str(&key).expect("JSON")).expect("a key");
            assert_eq!(bound.target.table.as_deref(), Some("accounts"), "{address}");
            let found = bound.target.key().expect(&address);
            assert_eq!(found.lock_name("", "accounts"), key.lock_name("", "accounts"), "{address}");
        }
    }

    #[test]
    fn what_names_no_row_is_not_a_lookup_and_a_value_of_another_type_has_no_key() {
        for address in [
            "",
            "(",
            ")",
            "x)",
            "/accounts",
            "/accounts()",
            "/accounts(7)",
            "/accounts('x')",
            "%ff(a=1)",
            "Ada (a=1)",
            "as(Ada Lovelace=1)",
        ] {
            assert!(lookups("{\"a\":1}", &format!(r#"{{"nav@odata.bind":"{address}"}}"#)).is_empty(), "{address}");
        }
        for value in ["null", "7", "true", "[]", "[null]"] {
            assert!(lookups("{\"a\":1}", &format!(r#"{{"nav@odata.bind":{value}}}"#)).is_empty(), "{value}");
        }
        for value in ["2026-01-31", "true", "", "'", "+1", "1e999", "inf", "-"] {
            let bound = lookups("{\"a\":1}", &format!(r#"{{"nav@odata.bind":"/as(d={value})"}}"#)).swap_remove(0);
            assert_eq!((bound.target.key(), bound.target.to_string().as_str()), (None, "as(d)"), "{value}");
        }
    }

    #[test]
    fn every_kind_of_property_that_sets_a_lookup_is_found_however_it_is_escaped() {
        let columns = r#"{"a\u0040odata.bind":"\/as(k='x')","b@odata.bind":["/bs(k=1)",null,"bs(k=2)"],"c":"/cs(k=1)",
            "email_activity_parties":[{"partyid_contact@odata.bind":"/contacts(k='y')","participationtypemask":1},7]}"#;
        let expected = ["a as(k='x')", "b bs(k=1)", "b bs(k=2)", "partyid_contact contacts(k='y')"];
        assert_eq!(printed("{\"a\":1}", &columns.replace(",7]", "]")), expected);
        let key = format!(r#"{{"_p_value":"{ID}","n":1}}"#);
        assert_eq!(printed(&key, "{}"), [format!("_p_value {ID}")]);
        let parties = r#"{"email_activity_parties":[{"partyid_contact@odata.bind":"/contacts(k='y')"}]}"#;
        assert_eq!(printed("{\"a\":1}", parties), ["partyid_contact contacts(k='y')"]);
    }

    #[test]
    fn a_list_without_end_is_read_up_to_a_limit() {
        let addresses = vec!["\"/as(k=1)\""; MAX_LOOKUPS + 1].join(",");
        assert_eq!(lookups("{\"a\":1}", &format!(r#"{{"nav@odata.bind":[{addresses}]}}"#)).len(), MAX_LOOKUPS);
    }
}
