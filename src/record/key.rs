//! The key of a record: it addresses the row and names its lock.
//!
//! Two keys are equal when they are written alike: GUIDs ignoring case and braces, numbers by value, columns in any order. A lock is
//! coarser: keys that a collation of Dataverse may equate share it, see `fold.rs`.

mod fold;

use std::fmt::{self, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::{Error, is_logical_name};
use crate::json::{Members, Number, Value};

/// Dataverse allows 16 columns in an alternate key.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity>
const MAX_KEY_COLUMNS: usize = 16;

/// The most bytes of a key as it is sent. Dataverse allows 900 bytes in an alternate key; names and escapes come on top.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/define-alternate-keys-entity>
const MAX_KEY_BYTES: usize = 16 * 1024;

/// Characters that an alternate key must not contain to be addressed in a URL, encoded or not.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/use-alternate-key-reference-record>
pub(crate) const NOT_ADDRESSABLE: [char; 11] = ['/', '<', '>', '*', '%', '&', ':', '\\', '?', '+', '#'];

/// The system's column in the key of an elastic table; columns of others have a prefix.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/use-elastic-tables>
const PARTITION: &str = "partitionid";

/// What identifies a row of a table.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum RecordKey {
    /// The primary key.
    Id(Uuid),
    /// Alternate-key columns, sorted by name.
    Alternate(Vec<KeyColumn>),
}

/// One column of an alternate key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct KeyColumn {
    /// The column's logical name, or `_x_value` for a lookup.
    pub name: String,
    /// Its value.
    pub value: KeyValue,
}

/// The value of a key column.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum KeyValue {
    /// Text, as written.
    Text(String),
    /// A whole or decimal number, by value.
    Number(Number),
    /// The id of the row that a lookup points at.
    Guid(Uuid),
}

impl RecordKey {
    /// Reads the `key` field.
    ///
    /// # Errors
    /// It is neither a GUID nor an object of 1 to 16 valid key columns, or too long.
    pub fn read(raw: &RawValue) -> Result<Self, Error> {
        if raw.get().len() > MAX_KEY_BYTES {
            return Err(Error::invalid("key", format!("has more than {MAX_KEY_BYTES} bytes")));
        }
        match Value::of(raw) {
            Value::Text(text) => guid(&text).map(Self::Id).ok_or_else(|| {
                Error::invalid("key", "is a string but not a GUID; write an alternate key as an object")
            }),
            Value::Nested if raw.get().starts_with('{') => Self::read_columns(raw),
            other => Err(Error::kind("key", &other, "a GUID string or an object")),
        }
    }

    fn read_columns(raw: &RawValue) -> Result<Self, Error> {
        let Members(members) = serde_json::from_str(raw.get()).map_err(|error| Error::object("key", &error))?;
        if members.is_empty() || members.len() > MAX_KEY_COLUMNS {
            let problem = format!("has {} columns; an alternate key has 1 to {MAX_KEY_COLUMNS}", members.len());
            return Err(Error::invalid("key", problem));
        }
        let mut columns = members
            .into_iter()
            .map(|(name, value)| KeyColumn::read(&name, value))
            .collect::<Result<Vec<_>, Error>>()?;
        columns.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self::Alternate(columns))
    }

    /// The columns of an alternate key; none for a primary key.
    pub fn columns(&self) -> &[KeyColumn] {
        match self {
            Self::Id(_) => &[],
            Self::Alternate(columns) => columns,
        }
    }

    /// The first key column whose value is not allowed in a Dataverse key URL.
    pub(crate) fn not_addressable(&self) -> Option<&str> {
        let has_forbidden_character = |column: &&KeyColumn| match &column.value {
            KeyValue::Text(text) => text.contains(NOT_ADDRESSABLE),
            KeyValue::Number(_) | KeyValue::Guid(_) => false,
        };
        self.columns().iter().find(has_forbidden_character).map(|column| column.name.as_str())
    }

    /// The name of the lock on this row of the environment: `<table>-<SHA-256>`. Keys that may address the same row have the same
    /// name, and it does not reveal the key.
    pub fn lock_name(&self, environment: &str, table: &str) -> String {
        let hash = digest(&SHA256, &self.canonical(environment, table, fold::coarse));
        let mut name = format!("{table}-");
        for byte in hash.as_ref() {
            write!(name, "{byte:02x}").expect("writing to a string cannot fail");
        }
        name
    }

    /// What tells this row's tombstones from those of other rows with the same lock, in 43 characters without a `/`.
    pub(crate) fn tombstone_name(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.canonical("", "", fold::fine)))
    }

    /// Tagged and length-prefixed, so that different keys have different bytes.
    fn canonical(&self, environment: &str, table: &str, fold: fn(&str) -> String) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(96);
        let mut put = |tag: u8, part: &[u8]| {
            bytes.push(tag);
            bytes.extend_from_slice(&u64::try_from(part.len()).expect("usize fits u64").to_be_bytes());
            bytes.extend_from_slice(part);
        };
        put(b'E', environment.as_bytes());
        put(b'T', table.as_bytes());
        match self {
            Self::Id(id) => put(b'I', id.as_bytes()),
            Self::Alternate(columns) => {
                for column in columns {
                    put(b'C', column.name.as_bytes());
                    match &column.value {
                        KeyValue::Text(text) => put(b's', fold(text).as_bytes()),
                        KeyValue::Number(_) => put(b'n', column.value.to_string().as_bytes()),
                        KeyValue::Guid(id) => put(b'g', id.as_bytes()),
                    }
                }
            }
        }
        bytes
    }
}

impl KeyColumn {
    fn read(name: &str, raw: &RawValue) -> Result<Self, Error> {
        let field = format!("key.{name}");
        if !is_logical_name(name) {
            return Err(Error::column_name(field));
        }
        if name == PARTITION {
            return Err(Error::invalid(
                field,
                "addresses a row of an elastic table, in which an upsert replaces the whole row",
            ));
        }
        let lookup = name.starts_with('_') && name.ends_with("_value");
        let value = match Value::of(raw) {
            Value::Text(text) if lookup => KeyValue::Guid(
                guid(&text).ok_or_else(|| Error::invalid(field, "addresses a lookup and must be a GUID"))?,
            ),
            Value::Text(text) if text.is_empty() => {
                return Err(Error::invalid(field, "is empty; an empty key cannot address a row"));
            }
            Value::Text(text) => KeyValue::Text(text.into_owned()),
            Value::Number(number) if !lookup && number.literal().is_some() => KeyValue::Number(number),
            Value::Number(_) if !lookup => return Err(Error::invalid(field, "is out of the range of every column")),
            other => {
                let expected = if lookup { "a GUID string" } else { "a string or a number" };
                return Err(Error::kind(field, &other, expected));
            }
        };
        Ok(Self { name: name.to_owned(), value })
    }

    /// Whether a value in `columns` equals the key's.
    pub(super) fn agrees_with(&self, raw: &RawValue) -> bool {
        match (&self.value, Value::of(raw)) {
            (KeyValue::Text(key), Value::Text(sent)) => *key == sent,
            (KeyValue::Number(key), Value::Number(sent)) => *key == sent,
            (KeyValue::Guid(key), Value::Text(sent)) => guid(&sent) == Some(*key),
            _ => false,
        }
    }
}

impl fmt::Display for KeyValue {
    /// The value as an OData literal, before percent-encoding.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{}'", text.replace('\'', "''")),
            Self::Number(number) => f.write_str(&number.literal().expect("checked when the key was read")),
            Self::Guid(id) => write!(f, "{id}"),
        }
    }
}

/// Parses a GUID as Dataverse writes it, with or without braces.
pub(crate) fn guid(text: &str) -> Option<Uuid> {
    let bare = text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text);
    if bare.len() != 36 {
        return None;
    }
    Uuid::try_parse(bare).ok()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn key(json: &str) -> RecordKey {
        RecordKey::read(serde_json::from_str(json).expect("JSON")).expect("a key")
    }

    fn problem(json: &str) -> String {
        RecordKey::read(serde_json::from_str(json).expect("JSON")).expect_err("not a key").to_string()
    }

    #[test]
    fn equal_keys_share_a_lock() {
        for (a, b) in [
            (r#""9b2e0c3a-1111-4222-8333-444455556666""#, r#""{9B2E0C3A-1111-4222-8333-444455556666}""#),
            (r#"{"a":1,"b":"x"}"#, r#"{"b":"x","a":1.0}"#),
            (r#"{"a":12e2}"#, r#"{"a":1200}"#),
            (r#"{"a":"Müller-1"}"#, r#"{"a":"MULLER-1  "}"#),
            (
                r#"{"_p_value":"9b2e0c3a-1111-4222-8333-444455556666"}"#,
                r#"{"_p_value":"{9B2E0C3A-1111-4222-8333-444455556666}"}"#,
            ),
        ] {
            assert_eq!(key(a).lock_name("", "contacts"), key(b).lock_name("", "contacts"), "{a} and {b}");
        }
    }

    #[test]
    fn different_keys_have_different_locks() {
        let keys = [
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":-1}"#,
            r#"{"a":10}"#,
            r#"{"b":1}"#,
            r#"{"a":"x","b":"y"}"#,
            r#"{"a":"y","b":"x"}"#,
            r#"{"ab":"xy"}"#,
            r#"{"a":"X"}"#,
            r#""9b2e0c3a-1111-4222-8333-444455556666""#,
            r#"{"a":"9b2e0c3a-1111-4222-8333-444455556666"}"#,
        ];
        let names: std::collections::HashSet<_> = keys.iter().map(|json| key(json).lock_name("", "contacts")).collect();
        assert_eq!(names.len(), keys.len());
        assert_ne!(key(keys[0]).lock_name("", "contacts"), key(keys[0]).lock_name("", "accounts"));
        assert_ne!(key(keys[0]).lock_name("a.crm.dynamics.com", "contacts"), key(keys[0]).lock_name("", "contacts"));
    }

    #[test]
    fn problems_name_the_column() {
        assert_eq!(problem(r#""abc""#), "`key` is a string but not a GUID; write an alternate key as an object");
        assert!(problem("{}").contains("1 to 16"));
        assert!(problem(r#"{"Name":"x"}"#).contains("key.Name"));
        assert!(problem(r#"{"name":null}"#).contains("key.name"));
        assert!(problem(r#"{"name":""}"#).contains("key.name"));
        assert!(problem(r#"{"_p_value":"x"}"#).contains("key._p_value"));
        assert!(problem(r#"{"n":1e99}"#).contains("key.n"));
        assert!(problem(r#"{"n":1,"n":2}"#).contains("`n`"));
        assert!(problem("7").contains("a number"));
    }

    #[test]
    fn literals_double_quotes_and_leave_numbers_bare() {
        let literals: Vec<_> = key(r#"{"a":"O'Neil","b":1.50,"_c_value":"{9B2E0C3A-1111-4222-8333-444455556666}"}"#)
            .columns()
            .iter()
            .map(|column| format!("{}={}", column.name, column.value))
            .collect();
        assert_eq!(literals, ["_c_value=9b2e0c3a-1111-4222-8333-444455556666", "a='O''Neil'", "b=1.5"]);
    }

    #[test]
    fn finds_a_key_column_that_a_url_cannot_address() {
        for forbidden in NOT_ADDRESSABLE {
            let key = RecordKey::Alternate(vec![KeyColumn {
                name: "a".into(),
                value: KeyValue::Text(format!("x{forbidden}y")),
            }]);
            assert_eq!(key.not_addressable(), Some("a"));
        }
        assert_eq!(key(r#"{"a":"it's - fine @ last"}"#).not_addressable(), None);
    }
}
