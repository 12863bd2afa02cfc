//! The request body for a queue message, byte for byte as the real host writes it.
//!
//! Every string is JSON-encoded once more before it goes into the envelope. The message's own top-level properties are
//! merged into `Metadata`, ignoring case, and override the host's: arrays and nulls are left out, objects stay objects,
//! and everything else becomes text (dates are also reformatted). Names ending in "trigger" are dropped.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#request-payload>.

use std::fmt;
use std::time::Duration;

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use uuid::Uuid;

use super::INVISIBILITY;
use crate::queue::Message;

/// The default time to live of a message.
const LIFE_OF_A_MESSAGE: Duration = Duration::from_hours(7 * 24);

/// The body of `POST /<function>`; `item` is the message's decoded text, sent under the trigger's binding name.
pub(super) fn envelope(function: &str, binding: &str, message: &Message, item: &str, now: OffsetDateTime) -> String {
    let mut metadata = Members::default();
    metadata.set("DequeueCount", text_value(&message.dequeue_count.to_string()));
    metadata.set("ExpirationTime", text_value(&to_the_second(message.expiration)));
    metadata.set("Id", text_value(&encoded(&message.id)));
    metadata.set("InsertionTime", text_value(&to_the_second(message.insertion)));
    metadata.set("NextVisibleTime", text_value(&to_the_second(message.next_visible)));
    metadata.set("PopReceipt", text_value(&encoded(&message.pop_receipt)));
    metadata.set("sys", system_data(function, now));
    for (name, value) in own_properties(item) {
        if let Some(value) = bound(&value) {
            metadata.set(&name, value);
        }
    }
    metadata.0.retain(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"));
    let mut data = Members::default();
    data.set(binding, text_value(&encoded(item)));
    serde_json::to_string(&Envelope { data, metadata }).expect("strings and checked JSON always serialise")
}

/// The same for a message that was put on the queue `now` and is delivered for the first time.
pub fn first_delivery(function: &str, binding: &str, item: &str, now: OffsetDateTime) -> String {
    let message = Message {
        id: Uuid::new_v4().to_string(),
        pop_receipt: "AgAAAAMAAAAAAAAA".to_owned(),
        text: String::new(),
        dequeue_count: 1,
        insertion: now,
        expiration: now + LIFE_OF_A_MESSAGE,
        next_visible: now + INVISIBILITY,
    };
    envelope(function, binding, &message, item, now)
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope {
    data: Members,
    metadata: Members,
}

/// A JSON object that keeps its order.
#[derive(Default)]
struct Members(Vec<(String, Box<RawValue>)>);

impl Members {
    /// Like a case-insensitive .NET dictionary: a replaced member keeps its position and its original name.
    fn set(&mut self, name: &str, value: Box<RawValue>) {
        match self.0.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, old)) => *old = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(InOrder)
    }
}

struct InOrder;

impl<'de> Visitor<'de> for InOrder {
    type Value = Members;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members(members))
    }
}

/// Empty if the message is not a JSON object, which is not an error.
fn own_properties(item: &str) -> Vec<(String, Box<RawValue>)> {
    serde_json::from_str(item).map(|Members(members)| members).unwrap_or_default()
}

fn bound(value: &RawValue) -> Option<Box<RawValue>> {
    let text = match serde_json::from_str(value.get()).ok()? {
        Value::Null | Value::Array(_) => return None,
        Value::Object(_) => return Some(value.to_owned()),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => reformatted_date(&text).unwrap_or(text),
    };
    Some(text_value(&encoded(&text)))
}

/// The real host's parser converts anything that looks like a date and reformats it (in UTC).
fn reformatted_date(text: &str) -> Option<String> {
    let at = OffsetDateTime::parse(text, &Rfc3339).ok()?.to_offset(UtcOffset::UTC);
    at.format(format_description!("[month]/[day]/[year] [hour]:[minute]:[second]")).ok()
}

/// A JSON string literal; the real host also escapes U+0085, U+2028 and U+2029.
fn encoded(text: &str) -> String {
    let literal = serde_json::to_string(text).expect("a string always serialises");
    literal.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

fn text_value(text: &str) -> Box<RawValue> {
    RawValue::from_string(encoded(text)).expect("a string literal is JSON")
}

fn to_the_second(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    at.to_offset(UtcOffset::UTC).format(format).expect("a UTC time has all these parts")
}

fn system_data(function: &str, now: OffsetDateTime) -> Box<RawValue> {
    #[derive(Serialize)]
    #[serde(rename_all = "PascalCase")]
    struct System<'a> {
        method_name: &'a str,
        utc_now: String,
        rand_guid: String,
    }
    let utc_now = now.to_offset(UtcOffset::UTC).format(&Rfc3339).expect("the year has four digits");
    let system = System { method_name: function, utc_now, rand_guid: Uuid::new_v4().to_string() };
    serde_json::value::to_raw_value(&system).expect("strings always serialise")
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn message() -> Message {
        Message {
            id: "0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10".to_owned(),
            pop_receipt: "AgAAAAMAAAAAAAAA".to_owned(),
            text: String::new(),
            dequeue_count: 1,
            insertion: datetime!(2026-11-23 10:00 UTC),
            expiration: datetime!(2026-11-30 10:00 UTC),
            next_visible: datetime!(2026-11-23 10:10 UTC),
        }
    }

    fn metadata(item: &str) -> Value {
        let body = envelope("SyncQueue", "record", &message(), item, datetime!(2026-11-23 10:00:01 UTC));
        let mut body: Value = serde_json::from_str(&body).expect("it is JSON");
        body["Metadata"].take()
    }

    #[test]
    fn the_envelope_is_the_known_one() {
        let item = r#"{"table":"contacts"}"#;
        let body = envelope("SyncQueue", "record", &message(), item, datetime!(2026-11-23 10:00:01 UTC));
        let guid = body.split("RandGuid\":\"").nth(1).expect("it is there").get(..36).expect("it is a GUID").to_owned();
        let expected = concat!(
            r#"{"Data":{"record":"\"{\\\"table\\\":\\\"contacts\\\"}\""},"Metadata":{"DequeueCount":"1","#,
            r#""ExpirationTime":"2026-11-30T10:00:00+00:00","Id":"\"0a5ad9d6-0a55-4f6c-8d5e-6f4f5b2c9f10\"","#,
            r#""InsertionTime":"2026-11-23T10:00:00+00:00","NextVisibleTime":"2026-11-23T10:10:00+00:00","#,
            r#""PopReceipt":"\"AgAAAAMAAAAAAAAA\"","sys":{"MethodName":"SyncQueue","#,
            r#""UtcNow":"2026-11-23T10:00:01Z","RandGuid":"GUID"},"table":"\"contacts\""}}"#
        );
        assert_eq!(body, expected.replace("GUID\"}", &format!("{guid}\"}}")));
    }

    #[test]
    fn the_messages_own_properties_win_ignoring_case() {
        let metadata = metadata(r#"{"dequeuecount":99,"id":"mine","Table":"a","table":"b"}"#);
        assert_eq!(metadata["DequeueCount"], "\"99\"");
        assert_eq!(metadata["Id"], "\"mine\"");
        assert_eq!(metadata["Table"], "\"b\"");
        assert!(metadata.get("id").is_none() && metadata.get("table").is_none());
    }

    #[test]
    fn objects_stay_objects_and_scalars_become_text() {
        let item = r#"{"key":{"b":1,"a":2},"n":1.5,"yes":true,"no":null,"list":[1],"at":"2026-11-23T12:00:00+02:00"}"#;
        let metadata = metadata(item);
        assert_eq!(metadata["key"]["b"], 1);
        assert_eq!((&metadata["n"], &metadata["yes"]), (&"\"1.5\"".into(), &"\"True\"".into()));
        assert_eq!(metadata["at"], "\"11/23/2026 10:00:00\"");
        assert!(metadata.get("no").is_none() && metadata.get("list").is_none());
    }

    #[test]
    fn a_property_that_ends_in_trigger_is_dropped() {
        assert!(metadata(r#"{"myTrigger":"x"}"#).get("myTrigger").is_none());
    }

    #[test]
    fn a_message_that_is_no_object_adds_nothing() {
        for item in ["plain text", "[1]", "\"text\"", "{\"half\":"] {
            assert_eq!(metadata(item).as_object().expect("it is an object").len(), 7, "{item}");
        }
    }
}
