//! The table, key and source of an original message, as far as they can be read.
//!
//! The message may be invalid, which is why it was rejected, so it is read leniently: a filter finds it all the same, but a value
//! may be anything. Pure.

use serde_json::value::RawValue;

use crate::json::{Members, Number, Value, without_bom};
use crate::record::{KeyValue, RecordKey, guid};

/// A longer table or source is cut.
const MAX_LENGTH: usize = 256;

/// What could be read from a message.
#[derive(Debug, Default)]
pub(super) struct RecordSummary {
    pub(super) table: Option<String>,
    pub(super) source: Option<String>,
    pub(super) message_id: Option<String>,
    /// The key as sent, JSON.
    pub(super) key_sent: Option<String>,
    /// The key, if it is valid.
    pub(super) key: Option<RecordKey>,
}

impl RecordSummary {
    pub(super) fn of(message: &[u8]) -> Self {
        let Ok(members) = serde_json::from_slice::<Members<'_>>(without_bom(message)) else { return Self::default() };
        let member = |name: &str| members.get(name);
        let (Some(_), Some(data)) = (member("specversion"), member("data")) else { return Self::of_record(&members) };
        // As in a record, an event within the event is not one.
        let inner = serde_json::from_str(data.get()).map(|data| Self::of_record(&data)).unwrap_or_default();
        Self {
            source: inner.source.or_else(|| text(member("source")?)),
            message_id: inner.message_id.or_else(|| text(member("id")?)),
            ..inner
        }
    }

    fn of_record(members: &Members<'_>) -> Self {
        let member = |name: &str| members.get(name);
        Self {
            table: member("table").and_then(text),
            source: member("source").and_then(text),
            key_sent: member("key").map(|raw| raw.get().to_owned()),
            key: member("key").and_then(|raw| RecordKey::read(raw).ok()),
            message_id: member("messageId").and_then(text),
        }
    }
}

fn text(raw: &RawValue) -> Option<String> {
    match Value::of(raw) {
        Value::Text(text) => Some(text.chars().take(MAX_LENGTH).collect()),
        _ => None,
    }
}

/// The keys that `--key` selects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum KeyFilter {
    /// This alternate key and no other.
    Exactly(RecordKey),
    /// Any key with this value: the primary key, or one of the columns.
    Value(String),
}

impl KeyFilter {
    /// Parses a JSON object as in a record, or a value.
    ///
    /// # Errors
    /// What is wrong with the object.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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

    pub(super) fn matches(&self, key: &RecordKey) -> bool {
        match self {
            Self::Exactly(wanted) => wanted == key,
            Self::Value(wanted) => match key {
                RecordKey::Id(id) => guid(wanted) == Some(*id),
                RecordKey::Alternate(columns) => columns.iter().any(|column| is_value(&column.value, wanted)),
            },
        }
    }
}

fn is_value(value: &KeyValue, wanted: &str) -> bool {
    match value {
        KeyValue::Text(text) => text == wanted,
        KeyValue::Guid(id) => guid(wanted) == Some(*id),
        KeyValue::Number(number) => {
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
    fn reads_a_record() {
        let summary = RecordSummary::of(
            br#"{"table":"contacts","key":{"employeeid":"E-1"},"columns":{},"source":"hr","messageId":"m-1"}"#,
        );
        assert_eq!((summary.table.as_deref(), summary.source.as_deref()), (Some("contacts"), Some("hr")));
        assert_eq!(summary.key, Some(key(r#"{"employeeid":"E-1"}"#)));
        assert_eq!(summary.key_sent.as_deref(), Some(r#"{"employeeid":"E-1"}"#));
        assert_eq!(summary.message_id.as_deref(), Some("m-1"));
    }

    #[test]
    fn reads_what_it_can_of_an_invalid_record() {
        let typo = br#"{"table":"contacts","key":{"employeeid":"E-1"},"colums":{},"source":"hr"}"#;
        let event = br#"{"specversion":"1.0","type":"t","source":"/hr","id":"7","data":{"table":"x y","key":1}}"#;
        let summary = RecordSummary::of(typo);
        assert_eq!((summary.table.as_deref(), summary.source.as_deref()), (Some("contacts"), Some("hr")));
        assert_eq!(summary.key, Some(key(r#"{"employeeid":"E-1"}"#)));
        let summary = RecordSummary::of(event);
        assert_eq!((summary.table.as_deref(), summary.source.as_deref()), (Some("x y"), Some("/hr")));
        assert_eq!((summary.key, summary.key_sent.as_deref()), (None, Some("1")));
        assert_eq!(summary.message_id.as_deref(), Some("7"));
    }

    #[test]
    fn reads_nothing_of_what_is_not_an_object() {
        for message in [&b"hello"[..], b"", b"\xff", b"[1]", br#"{"table":1,"table":2}"#] {
            let summary = RecordSummary::of(message);
            assert!(summary.table.is_none() && summary.key.is_none() && summary.key_sent.is_none(), "{message:?}");
        }
    }

    #[test]
    fn finds_a_key_in_any_notation() {
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
    fn rejects_an_object_that_is_not_a_key_and_names_its_column() {
        let problem = KeyFilter::parse(r#"{"Employee":"E-1"}"#).expect_err("upper case");
        assert!(problem.contains("key.Employee"), "{problem}");
        let problem = KeyFilter::parse(r#"{"employeeid":"E-1""#).expect_err("cut off");
        assert!(problem.contains("JSON"), "{problem}");
    }
}
