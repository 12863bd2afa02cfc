//! The request body for a queue message, byte for byte as the real host writes it.
//!
//! Every string is JSON-encoded once more before it goes into the envelope. The message's own top-level properties are merged into
//! `Metadata`, ignoring case, and override the host's: arrays and nulls are left out, objects stay objects, and everything else
//! becomes .NET's text. Names ending in "trigger" are dropped. A message that Newtonsoft.Json does not read adds nothing.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#request-payload>;
//! `Utility.ApplyBindingData` and `ScriptInvocationContextExtensions` in <https://github.com/Azure/azure-functions-host>.

use std::time::Duration;

use time::OffsetDateTime;
use time::UtcOffset;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use uuid::Uuid;

use super::INVISIBILITY;
use super::newtonsoft::{self, Value, literal};
use crate::queue::Message;

/// The default time to live of a message.
const LIFE_OF_A_MESSAGE: Duration = Duration::from_hours(7 * 24);

/// The body of `POST /<function>`; `item` is the message's decoded text, sent under the trigger's binding name.
pub(super) fn envelope(function: &str, binding: &str, message: &Message, item: &str, now: OffsetDateTime) -> String {
    let mut metadata = Members::default();
    metadata.set("DequeueCount", literal(&message.dequeue_count.to_string()));
    metadata.set("ExpirationTime", literal(&to_the_second(message.expiration)));
    metadata.set("Id", literal(&literal(&message.id)));
    metadata.set("InsertionTime", literal(&to_the_second(message.insertion)));
    metadata.set("NextVisibleTime", literal(&to_the_second(message.next_visible)));
    metadata.set("PopReceipt", literal(&literal(&message.pop_receipt)));
    metadata.set("sys", system_data(function, now));
    for (name, value) in own_properties(item) {
        match value {
            Value::Null | Value::Array(_) => {}
            Value::Object(_) => metadata.set(&name, value.to_json()),
            scalar => metadata.set(&name, literal(&literal(&scalar.to_text()))),
        }
    }
    metadata.0.retain(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"));
    format!("{{\"Data\":{{{}:{}}},\"Metadata\":{{{}}}}}", literal(binding), literal(&literal(item)), metadata.json())
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

/// The members of a JSON object in their order, each with its JSON.
#[derive(Default)]
struct Members(Vec<(String, String)>);

impl Members {
    /// Like a case-insensitive .NET dictionary: a replaced member keeps its position and its original name.
    fn set(&mut self, name: &str, json: String) {
        let upper = name.to_uppercase();
        match self.0.iter_mut().find(|(known, _)| known.to_uppercase() == upper) {
            Some((_, old)) => *old = json,
            None => self.0.push((name.to_owned(), json)),
        }
    }

    fn json(&self) -> String {
        let members: Vec<_> = self.0.iter().map(|(name, json)| format!("{}:{json}", literal(name))).collect();
        members.join(",")
    }
}

/// Empty if the message is not a JSON object, which is not an error.
fn own_properties(item: &str) -> Vec<(String, Value)> {
    match newtonsoft::parse(item).filter(|_| newtonsoft::looks_like_json(item)) {
        Some(Value::Object(members)) => members,
        _ => Vec::new(),
    }
}

fn to_the_second(at: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]+00:00");
    at.to_offset(UtcOffset::UTC).format(format).expect("a UTC time has all these parts")
}

fn system_data(function: &str, now: OffsetDateTime) -> String {
    let now = now.replace_nanosecond(now.nanosecond() / 100 * 100).expect("it is less than before");
    let now = now.to_offset(UtcOffset::UTC).format(&Rfc3339).expect("the year has four digits");
    let function = literal(function);
    format!("{{\"MethodName\":{function},\"UtcNow\":\"{now}\",\"RandGuid\":\"{}\"}}", Uuid::new_v4())
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
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
    fn a_message_that_is_not_an_object_adds_nothing() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(70), "]".repeat(70));
        for item in ["plain text", "[1]", "\"text\"", "{\"half\":", "{\"a\":1}//b", "\u{feff}{\"a\":1}", &deep] {
            assert_eq!(metadata(item).as_object().expect("it is an object").len(), 7, "{item}");
        }
    }
}
