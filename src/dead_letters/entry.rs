//! A message of the poison queue, and how it is shown: in full for people, as one JSON line for programs.
//!
//! Its content is either a [`DeadLetter`], which wraps the original message and has the reason, or an original that the host moved
//! when its deliveries were used up; then the reason is unknown. Control characters in it are escaped. Pure.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::encoding::decode;
use super::queue::Received;
use super::record_summary::RecordSummary;
use crate::host::{DeadLetter, MessageEncoding, from_base64};
use crate::sanitize::sanitize;

/// Shown as the reason of a message that the host moved.
pub(super) const MOVED_BY_HOST: &str = "(by the host, no reason)";

/// The reason in a list of a message that the host moved at once, because it was sent without the base64 that host.json asks for.
pub(super) const WITHOUT_BASE64: &str = "without_base64";

/// A message as it was found in the poison queue.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) received: Received,
    /// `None` for a message that the host moved.
    pub(super) dead_letter: Option<DeadLetter>,
    /// The original message, byte for byte.
    pub(super) original: Vec<u8>,
    /// Whether it is a message that the host moved and not in base64, although the host decodes base64.
    pub(super) lacks_base64: bool,
    pub(super) record: RecordSummary,
}

impl Entry {
    pub(crate) fn read(received: Received, encoding: MessageEncoding) -> Self {
        let content = decode(encoding, &received.text);
        let dead_letter = DeadLetter::parse(&content);
        let original = dead_letter.as_ref().map_or(content, |letter| letter.message.clone().into_bytes());
        Self { received, record: RecordSummary::of(&original), dead_letter, lacks_base64: false, original }
    }

    /// The same, with what it means that the host uses this encoding.
    pub(super) fn under(mut self, encoding: MessageEncoding) -> Self {
        let is_plain = || self.dead_letter.is_none() && from_base64(&self.received.text).is_none();
        self.lacks_base64 = encoding == MessageEncoding::Base64 && is_plain();
        self
    }

    /// When the message was rejected or, by the host, moved.
    pub(super) fn time(&self) -> OffsetDateTime {
        self.dead_letter.as_ref().map_or(self.received.inserted, |letter| letter.at)
    }

    /// The reason's code; `None` for a message that the host moved.
    pub(super) fn reason(&self) -> Option<&str> {
        self.dead_letter.as_ref().map(|letter| letter.reason.as_str())
    }

    /// The same, or [`WITHOUT_BASE64`].
    pub(super) fn listed_reason(&self) -> Option<&str> {
        self.reason().or(self.lacks_base64.then_some(WITHOUT_BASE64))
    }

    /// Dataverse's own code.
    pub(super) fn code(&self) -> Option<&str> {
        self.dead_letter.as_ref()?.dataverse.as_ref()?.code.as_deref()
    }

    /// One line of JSON, without its line break. It has the members of a dead letter; without one the reason is null.
    pub(super) fn to_json(&self) -> String {
        let mut line = match (&self.dead_letter, str::from_utf8(&self.original)) {
            (Some(letter), _) => json!(letter),
            (None, Ok(message)) => json!({ "reason": null, "message": message }),
            (None, Err(_)) => json!({ "reason": null, "messageBase64": STANDARD.encode(&self.original) }),
        };
        if let Some(letter) = &self.dead_letter {
            line["at"] = timestamp(letter.at).into();
        }
        let Received { receipt, inserted, expires, dequeued, .. } = &self.received;
        line["id"] = json!(*receipt.message_id);
        line["inserted"] = timestamp(*inserted).into();
        line["expires"] = timestamp(*expires).into();
        line["dequeueCount"] = json!(dequeued);
        let RecordSummary { table, source, message_id, .. } = &self.record;
        for (name, value) in [("table", table), ("source", source), ("messageId", message_id)] {
            if let Some(value) = value {
                line[name] = value.as_str().into();
            }
        }
        sanitize(&line.to_string()).into_owned()
    }

    /// The lines that show it to people, besides the message itself.
    fn fields(&self) -> Vec<(&'static str, Option<String>)> {
        let (letter, record) = (self.dead_letter.as_ref(), &self.record);
        let dataverse = letter.and_then(|letter| letter.dataverse.as_ref());
        let detail = letter.and_then(|letter| letter.detail.clone());
        let answer = dataverse.map(|answer| {
            // The detail often is Dataverse's message.
            let message = answer.message.as_deref().filter(|message| detail.as_deref() != Some(*message));
            let status = answer.status.map(|status| status.to_string());
            let parts = [status.as_deref(), answer.code.as_deref(), message];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        });
        let Received { inserted, expires, dequeued, .. } = &self.received;
        let (inserted, expires) = (timestamp(*inserted), timestamp(*expires));
        vec![
            ("reason", Some(self.listed_reason().unwrap_or(MOVED_BY_HOST).to_owned())),
            ("detail", detail),
            ("dataverse", answer),
            ("request id", dataverse.and_then(|answer| answer.request_id.clone())),
            ("attempts", letter.and_then(|letter| letter.attempts).map(|attempts| attempts.to_string())),
            ("invocation", letter.and_then(|letter| letter.invocation_id.clone())),
            ("rejected", letter.map(|letter| timestamp(letter.at))),
            ("table", record.table.clone()),
            ("key", record.key_sent.clone()),
            ("source", record.source.clone()),
            ("message id", record.message_id.clone()),
            ("queued", Some(format!("since {inserted}, until {expires}; received {dequeued} times"))),
        ]
    }
}

/// RFC 3339 in UTC, in whole seconds. A time that another program wrote may not exist in UTC.
pub(crate) fn timestamp(time: OffsetDateTime) -> String {
    let time = time.checked_to_offset(UtcOffset::UTC).unwrap_or(time).replace_nanosecond(0).unwrap_or(time);
    time.format(&Rfc3339).unwrap_or_else(|_| "?".to_owned())
}

impl fmt::Display for Entry {
    /// A block of lines, the last one without its line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "dead letter {}", sanitize(&self.received.receipt.message_id))?;
        for (name, value) in self.fields() {
            if let Some(value) = value {
                writeln!(f, "  {name:<10}  {}", sanitize(&value))?;
            }
        }
        let Ok(text) = str::from_utf8(&self.original) else {
            let (bytes, encoded) = (self.original.len(), STANDARD.encode(&self.original));
            return write!(f, "  {:<10}  (not text: {bytes} bytes, in base64) {encoded}", "message");
        };
        // Line breaks of the message stay, so that people can read it.
        let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
        write!(f, "  {:<10}  {}", "message", sanitize(lines.next().unwrap_or_default()))?;
        lines.try_for_each(|line| write!(f, "\n  {:<10}  {}", "", sanitize(line)))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests {
    use serde_json::Value;
    use time::macros::datetime;

    use super::*;
    use crate::dead_letters::queue::Receipt;

    impl Entry {
        /// A message with this content, queued on 24 November at ten and received three times.
        pub(crate) fn example(content: &[u8]) -> Self {
            Self::example_stored_as(STANDARD.encode(content), MessageEncoding::Base64)
        }

        /// The same with the text that the queue holds.
        pub(in crate::dead_letters) fn example_stored_as(text: String, encoding: MessageEncoding) -> Self {
            let received = Received {
                receipt: Receipt { message_id: "5f0c".into(), pop_receipt: "r".into() },
                text,
                inserted: datetime!(2026-11-24 10:00 UTC),
                expires: datetime!(2026-12-01 10:00 UTC),
                dequeued: 3,
            };
            Self::read(received, encoding)
        }
    }

    fn hostile() -> Entry {
        let letter = json!({
            "message": "{\"table\":\"contacts\",\n\"key\":{\"a\":\"\u{9b}2J\"}}", "reason": "invalid_data",
            "detail": "\u{1b}]0;owned\u{7}\nrejected    no", "at": "2026-11-24T09:00:00+02:00", "invocationId": "\u{202e}id",
            "dataverse": { "status": 400, "code": "0x1\u{1b}[2J", "message": "\u{1b}c", "requestId": "r\u{8}" },
        });
        Entry::example(letter.to_string().as_bytes())
    }

    #[test]
    fn an_entry_is_shown_with_all_its_fields() {
        let shown = hostile().to_string();
        for part in [
            "dead letter 5f0c",
            "  reason      invalid_data",
            r"  detail      \u001b]0;owned\u0007\nrejected    no",
            r"  dataverse   400 0x1\u001b[2J \u001bc",
            "  rejected    2026-11-24T07:00:00Z",
            "  queued      since 2026-11-24T10:00:00Z, until 2026-12-01T10:00:00Z; received 3 times",
            "  message     {\"table\":\"contacts\",\n              \"key\":{\"a\":\"\\u009b2J\"}}",
        ] {
            assert!(shown.contains(part), "{part} in:\n{shown}");
        }
    }

    #[test]
    fn a_detail_that_is_the_message_of_dataverse_is_shown_once() {
        let dataverse = json!({ "status": 404, "code": "0x1", "message": "no such table" });
        let letter = json!({ "message": "{}", "reason": "not_found", "detail": "no such table", "dataverse": dataverse,
            "at": "2026-11-24T08:00:00Z" });
        let shown = Entry::example(letter.to_string().as_bytes()).to_string();
        assert!(shown.contains("  detail      no such table\n  dataverse   404 0x1\n"), "{shown}");
    }

    #[test]
    fn no_control_character_is_shown_or_exported() {
        let (shown, line) = (hostile().to_string(), hostile().to_json());
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }

    #[test]
    fn a_line_of_json_has_everything_and_the_original_unchanged() {
        let line: Value = serde_json::from_str(&hostile().to_json()).expect("JSON");
        assert_eq!(line["message"], "{\"table\":\"contacts\",\n\"key\":{\"a\":\"\u{9b}2J\"}}");
        assert_eq!((&line["reason"], &line["at"]), (&json!("invalid_data"), &json!("2026-11-24T07:00:00Z")));
        assert_eq!(line["dataverse"]["code"], "0x1\u{1b}[2J");
        assert_eq!((&line["table"], &line["dequeueCount"]), (&json!("contacts"), &json!(3)));
        let raw: Value = serde_json::from_str(&Entry::example(b"\xff\x00").to_json()).expect("JSON");
        assert_eq!((&raw["reason"], &raw["messageBase64"]), (&Value::Null, &json!("/wA=")));
        assert!(raw.get("message").is_none());
    }

    #[test]
    fn a_message_that_the_host_moved_or_that_is_not_text_is_shown_as_such() {
        let shown = Entry::example(b"\xff\x00").to_string();
        assert!(shown.contains(MOVED_BY_HOST) && shown.contains("(not text: 2 bytes, in base64) /wA="), "{shown}");
        assert_eq!(Entry::example(b"x").time(), datetime!(2026-11-24 10:00 UTC));
    }

    #[test]
    fn only_a_message_of_the_host_that_is_not_base64_lacks_it_and_only_under_base64() {
        let letter = json!({ "message": "{}", "reason": "exists", "at": "2026-11-23T10:00:00.123456789Z" }).to_string();
        for (text, encoding, reason) in [
            (r#"{"table":"contacts"}"#, MessageEncoding::Base64, Some(WITHOUT_BASE64)),
            (r#"{"table":"contacts"}"#, MessageEncoding::None, None),
            ("e30=", MessageEncoding::Base64, None),
            ("", MessageEncoding::Base64, None),
            (&letter, MessageEncoding::Base64, Some("exists")),
        ] {
            let entry = Entry::example_stored_as(text.to_owned(), encoding).under(encoding);
            assert_eq!(entry.listed_reason(), reason, "{text}");
            assert!(!entry.to_json().contains(".123456789"), "times are in seconds");
        }
    }

    #[test]
    fn a_message_that_only_resembles_a_dead_letter_keeps_its_wrapping() {
        for message in [
            r#"{"message":"hello","reason":"why not","at":"2026-11-23T10:00:00Z"}"#,
            r#"{"message":"hello","reason":"exists","at":"yesterday"}"#,
            r#"{"message":"hello","reason":"exists"}"#,
            r#"{"message":{"a":1},"reason":"exists","at":"2026-11-23T10:00:00Z"}"#,
            r#"{"message":"hello","message":"twice","reason":"exists","at":"2026-11-23T10:00:00Z"}"#,
            r#"{"table":"contacts", "key":{"employeeid":"E-1"},"columns":{}}"#,
            "not JSON",
            "",
        ] {
            let entry = Entry::example(message.as_bytes());
            assert_eq!((entry.reason(), entry.code(), entry.original.as_slice()), (None, None, message.as_bytes()));
        }
        assert_eq!(Entry::example(b"\xff\x00\xfe").original, b"\xff\x00\xfe");
    }

    #[test]
    fn a_dead_letter_within_a_dead_letter_loses_one_wrapping_at_a_time() {
        let wrap =
            |message: &str| json!({ "message": message, "reason": "exists", "at": "2026-11-23T10:00:00Z" }).to_string();
        let entry = Entry::example(wrap(&wrap("{}")).as_bytes());
        assert_eq!((entry.reason(), entry.original.as_slice()), (Some("exists"), wrap("{}").as_bytes()));
    }
}
