//! What an original message is about: table, key and source, as far as they can be told.
//!
//! A message that is a record says it. One that is not, which is why it was rejected, is looked at leniently, so that a
//! filter finds it by what its sender meant. Nothing is promised about it: a value found this way may be anything. Pure.

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::json::{Members, Number, Value};
use crate::record::{self, RecordKey, guid};

/// No table and no source that is meant as one is longer.
const LONGEST: usize = 256;

/// What could be told of a message.
#[derive(Debug, Default)]
pub struct Subject {
    /// The entity set.
    pub table: Option<String>,
    /// The sending system.
    pub source: Option<String>,
    /// The key as sent, JSON.
    pub key_sent: Option<String>,
    /// The key, when it is one.
    pub key: Option<RecordKey>,
    /// The sender's id of the message.
    pub message_id: Option<String>,
}

impl Subject {
    /// Looks at a message.
    pub fn of(message: &[u8]) -> Self {
        match record::decode(&Bytes::copy_from_slice(message)) {
            Ok(record) => Self {
                table: Some(record.table),
                source: record.source,
                key_sent: Some(record.key_sent.get().to_owned()),
                key: Some(record.key),
                message_id: record.message_id,
            },
            Err((_, partial)) => {
                let told = Self::told_by(message).unwrap_or_default();
                Self { table: partial.table.or(told.table), message_id: partial.message_id.or(told.message_id), ..told }
            }
        }
    }

    fn told_by(message: &[u8]) -> Option<Self> {
        let Members(members): Members<'_> = serde_json::from_slice(message).ok()?;
        let member = |name: &str| members.iter().find(|(found, _)| found == name).map(|(_, raw)| *raw);
        if let (Some(_), Some(data)) = (member("specversion"), member("data")) {
            let inner = Self::told_by(data.get().as_bytes()).unwrap_or_default();
            return Some(Self {
                source: inner.source.or_else(|| text(member("source")?)),
                message_id: inner.message_id.or_else(|| text(member("id")?)),
                ..inner
            });
        }
        Some(Self {
            table: member("table").and_then(text),
            source: member("source").and_then(text),
            key_sent: member("key").map(|raw| raw.get().to_owned()),
            key: member("key").and_then(|raw| RecordKey::read(raw).ok()),
            message_id: member("messageId").and_then(text),
        })
    }
}

fn text(raw: &RawValue) -> Option<String> {
    match Value::of(raw) {
        Value::Text(text) => Some(text.chars().take(LONGEST).collect()),
        _ => None,
    }
}

/// Which keys are meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyFilter {
    /// This alternate key and no other.
    Exactly(RecordKey),
    /// Any key with this value: the primary key, or one of the columns.
    Value(String),
}

impl KeyFilter {
    /// Reads what an operator wrote: a JSON object as in a record, or a value.
    ///
    /// # Errors
    /// Says what is wrong with the object.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let raw = serde_json::from_str::<&RawValue>(text);
        if text.starts_with('{') && guid(text).is_none() {
            let raw = raw.map_err(|_| "it is neither a JSON object nor a GUID in braces".to_owned())?;
            return RecordKey::read(raw).map(Self::Exactly).map_err(|error| error.to_string());
        }
        Ok(Self::Value(match raw.map(Value::of) {
            Ok(Value::Text(inner)) => inner.into_owned(),
            _ => text.to_owned(),
        }))
    }

    /// Whether `key` is meant.
    pub fn matches(&self, key: &RecordKey) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == key,
            Self::Value(wanted) => match key {
                RecordKey::Id(id) => guid(wanted) == Some(*id),
                RecordKey::Alternate(columns) => columns.iter().any(|column| is_value(&column.value, wanted)),
            },
        }
    }
}

fn is_value(value: &record::KeyValue, wanted: &str) -> bool {
    match value {
        record::KeyValue::Text(text) => text == wanted,
        record::KeyValue::Guid(id) => guid(wanted) == Some(*id),
        record::KeyValue::Number(number) => {
            let is_number = serde_json::from_str::<serde_json::Number>(wanted).is_ok();
            is_number && *number == Number::parse(wanted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

    fn key(json: &str) -> RecordKey {
        RecordKey::read(serde_json::from_str(json).expect("JSON")).expect("a key")
    }

    fn filter(text: &str) -> KeyFilter {
        KeyFilter::parse(text).expect("a filter")
    }

    #[test]
    fn a_record_tells_what_it_is_about() {
        let subject = Subject::of(
            br#"{"table":"contacts","key":{"employeeid":"E-1"},"columns":{},"source":"hr","messageId":"m-1"}"#,
        );
        assert_eq!((subject.table.as_deref(), subject.source.as_deref()), (Some("contacts"), Some("hr")));
        assert_eq!(subject.key, Some(key(r#"{"employeeid":"E-1"}"#)));
        assert_eq!(subject.key_sent.as_deref(), Some(r#"{"employeeid":"E-1"}"#));
        assert_eq!(subject.message_id.as_deref(), Some("m-1"));
    }

    #[test]
    fn what_is_no_record_still_tells_what_it_meant() {
        let typo = br#"{"table":"contacts","key":{"employeeid":"E-1"},"colums":{},"source":"hr"}"#;
        let event = br#"{"specversion":"1.0","type":"t","source":"/hr","id":"7","data":{"table":"x y","key":1}}"#;
        let subject = Subject::of(typo);
        assert_eq!((subject.table.as_deref(), subject.source.as_deref()), (Some("contacts"), Some("hr")));
        assert_eq!(subject.key, Some(key(r#"{"employeeid":"E-1"}"#)));
        let subject = Subject::of(event);
        assert_eq!((subject.table.as_deref(), subject.source.as_deref()), (Some("x y"), Some("/hr")));
        assert_eq!((subject.key, subject.key_sent.as_deref()), (None, Some("1")));
        assert_eq!(subject.message_id.as_deref(), Some("7"));
    }

    #[test]
    fn of_what_is_no_object_nothing_is_told() {
        for message in [&b"hello"[..], b"", b"\xff", b"[1]", br#"{"table":1,"table":2}"#] {
            let subject = Subject::of(message);
            assert!(subject.table.is_none() && subject.key.is_none() && subject.key_sent.is_none(), "{message:?}");
        }
    }

    #[test]
    fn a_key_is_found_however_it_is_written() {
        let braces = format!("{{{}}}", ID.to_uppercase());
        for (text, json) in [
            (r#"{"b":"x","a":1.0}"#, r#"{"a":1,"b":"x"}"#),
            (ID, &format!("\"{braces}\"")),
            (&braces, &format!("\"{ID}\"")),
            (&format!("\"{ID}\""), &format!("\"{ID}\"")),
            ("E-1", r#"{"employeeid":"E-1"}"#),
            ("7", r#"{"a":"x","n":7.0}"#),
            ("007", r#"{"a":"007"}"#),
            (ID, &format!(r#"{{"_parent_value":"{braces}"}}"#)),
        ] {
            assert!(filter(text).matches(&key(json)), "{text} and {json}");
        }
        for (text, json) in [
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1}"#, r#"{"a":1,"b":2}"#),
            ("e-1", r#"{"employeeid":"E-1"}"#),
            ("E-1", &format!("\"{ID}\"")),
            ("7", r#"{"n":70}"#),
        ] {
            assert!(!filter(text).matches(&key(json)), "{text} and {json}");
        }
    }

    #[test]
    fn an_object_that_is_no_key_is_refused_with_its_column() {
        let problem = KeyFilter::parse(r#"{"Employee":"E-1"}"#).expect_err("upper case");
        assert!(problem.contains("key.Employee"), "{problem}");
        let problem = KeyFilter::parse(r#"{"employeeid":"E-1""#).expect_err("cut off");
        assert!(problem.contains("JSON"), "{problem}");
    }
}
