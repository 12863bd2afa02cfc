//! A letter with what its queue knows of it, and how it is shown: in full for people, as one JSON line for programs.
//!
//! What strangers wrote goes through `visible` on either way. Pure.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::letter::{Letter, Why};
use crate::sanitize::sanitize;

/// What stands for the reason of a message that the host moved.
pub const BY_THE_HOST: &str = "(by the host, no reason)";

/// A letter as it was found in its queue.
#[derive(Debug)]
pub struct Found {
    /// The queue's id of the message.
    pub id: Arc<str>,
    /// When it was put there.
    pub inserted: OffsetDateTime,
    /// When the queue forgets it.
    pub expires: OffsetDateTime,
    /// How often it has been received, this time included.
    pub dequeued: i64,
    /// What it says.
    pub letter: Letter,
}

impl Found {
    /// When the message was rejected; for one that the host moved, when it was moved.
    pub fn time(&self) -> OffsetDateTime {
        self.letter.why.as_ref().map_or(self.inserted, |why| why.at)
    }

    /// One line of JSON, without its line break.
    pub fn to_json(&self) -> String {
        let text = std::str::from_utf8(&self.letter.original);
        let why = self.letter.why.as_ref();
        let service = why.and_then(|why| why.dataverse.as_ref());
        let subject = &self.letter.subject;
        let line = Line {
            id: &self.id,
            reason: why.map(|why| why.reason.as_str()),
            detail: why.and_then(|why| why.detail.as_deref()),
            dataverse: service.map(|service| ServiceLine {
                status: service.status,
                code: service.code.as_deref(),
                message: service.message.as_deref(),
                request_id: service.request_id.as_deref(),
            }),
            attempts: why.and_then(|why| why.attempts),
            invocation_id: why.and_then(|why| why.invocation_id.as_deref()),
            at: why.map(|why| moment(why.at)),
            inserted: moment(self.inserted),
            expires: moment(self.expires),
            dequeue_count: self.dequeued,
            table: subject.table.as_deref(),
            source: subject.source.as_deref(),
            message_id: subject.message_id.as_deref(),
            message: text.ok(),
            message_base64: text.is_err().then(|| STANDARD.encode(&self.letter.original)),
        };
        let json = serde_json::to_string(&line).expect("a line is plain data");
        sanitize(&json).into_owned()
    }
}

/// A moment as RFC 3339 in UTC.
pub fn moment(time: OffsetDateTime) -> String {
    time.to_utc().format(&Rfc3339).unwrap_or_else(|_| "?".to_owned())
}

/// The members of a letter of ours keep their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Line<'a> {
    id: &'a str,
    reason: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataverse: Option<ServiceLine<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    invocation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    inserted: String,
    expires: String,
    dequeue_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    table: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_id: Option<&'a str>,
    /// The original; one that is no text is in base64 below.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_base64: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ServiceLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

impl fmt::Display for Found {
    /// A block of lines, the last one without its line break.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.letter.subject;
        writeln!(f, "letter {}", sanitize(&self.id))?;
        match &self.letter.why {
            Some(why) => reasons(f, why)?,
            None => field(f, "reason", Some(BY_THE_HOST))?,
        }
        field(f, "table", subject.table.as_deref())?;
        field(f, "key", subject.key_sent.as_deref())?;
        field(f, "source", subject.source.as_deref())?;
        field(f, "message id", subject.message_id.as_deref())?;
        let (inserted, expires) = (moment(self.inserted), moment(self.expires));
        let held = format!("in the queue since {inserted}, until {expires}; received {} times", self.dequeued);
        field(f, "kept", Some(&held))?;
        original(f, &self.letter.original)
    }
}

fn reasons(f: &mut fmt::Formatter<'_>, why: &Why) -> fmt::Result {
    field(f, "reason", Some(&why.reason))?;
    field(f, "detail", why.detail.as_deref())?;
    if let Some(service) = &why.dataverse {
        let status = service.status.map(|status| status.to_string());
        let parts = [status.as_deref(), service.code.as_deref(), service.message.as_deref()];
        let said: Vec<&str> = parts.into_iter().flatten().collect();
        field(f, "dataverse", Some(&said.join(" ")))?;
        field(f, "request id", service.request_id.as_deref())?;
    }
    field(f, "attempts", why.attempts.map(|attempts| attempts.to_string()).as_deref())?;
    field(f, "invocation", why.invocation_id.as_deref())?;
    field(f, "rejected", Some(&moment(why.at)))
}

fn field(f: &mut fmt::Formatter<'_>, name: &str, value: Option<&str>) -> fmt::Result {
    match value {
        Some(value) => writeln!(f, "  {name:<10}  {}", sanitize(value)),
        None => Ok(()),
    }
}

/// Line breaks of the message stay, so that one that was written for people can be read.
fn original(f: &mut fmt::Formatter<'_>, message: &[u8]) -> fmt::Result {
    let Ok(text) = std::str::from_utf8(message) else {
        let bytes = message.len();
        return write!(f, "  {:<10}  (no text: {bytes} bytes, in base64) {}", "message", STANDARD.encode(message));
    };
    let mut lines = text.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    write!(f, "  {:<10}  {}", "message", sanitize(lines.next().unwrap_or_default()))?;
    lines.try_for_each(|line| write!(f, "\n  {:<10}  {}", "", sanitize(line)))
}

#[cfg(test)]
impl Found {
    /// For tests: a letter with this content, put there on 24 November at ten and received three times.
    pub(super) fn example(content: &[u8]) -> Self {
        use time::macros::datetime;
        Self {
            id: "5f0c".into(),
            inserted: datetime!(2026-11-24 10:00 UTC),
            expires: datetime!(2026-12-01 10:00 UTC),
            dequeued: 3,
            letter: Letter::read(content.to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    fn hostile() -> Found {
        let letter = json!({
            "message": "{\"table\":\"contacts\",\n\"key\":{\"a\":\"\u{9b}2J\"}}", "reason": "invalid_data",
            "detail": "\u{1b}]0;owned\u{7}\nrejected    no", "at": "2026-11-24T09:00:00+02:00", "invocationId": "\u{202e}id",
            "dataverse": { "status": 400, "code": "0x1\u{1b}[2J", "message": "\u{1b}c", "requestId": "r\u{8}" },
        });
        Found::example(letter.to_string().as_bytes())
    }

    #[test]
    fn a_letter_is_shown_whole() {
        let shown = hostile().to_string();
        for part in [
            "letter 5f0c",
            "  reason      invalid_data",
            r"  detail      \u001b]0;owned\u0007\nrejected    no",
            r"  dataverse   400 0x1\u001b[2J \u001bc",
            "  rejected    2026-11-24T07:00:00Z",
            "  kept        in the queue since 2026-11-24T10:00:00Z, until 2026-12-01T10:00:00Z; received 3 times",
            "  message     {\"table\":\"contacts\",\n              \"key\":{\"a\":\"\\u009b2J\"}}",
        ] {
            assert!(shown.contains(part), "{part} in:\n{shown}");
        }
    }

    #[test]
    fn nothing_that_a_terminal_could_obey_is_shown_or_exported() {
        let (shown, line) = (hostile().to_string(), hostile().to_json());
        assert!(!shown.contains(|c: char| c.is_control() && c != '\n'), "{shown:?}");
        assert!(!line.contains(char::is_control) && !line.contains('\u{202e}'), "{line:?}");
    }

    #[test]
    fn a_line_of_json_holds_all_and_the_original_as_it_was() {
        let line: Value = serde_json::from_str(&hostile().to_json()).expect("JSON");
        assert_eq!(line["message"], "{\"table\":\"contacts\",\n\"key\":{\"a\":\"\u{9b}2J\"}}");
        assert_eq!((&line["reason"], &line["at"]), (&json!("invalid_data"), &json!("2026-11-24T07:00:00Z")));
        assert_eq!(line["dataverse"]["code"], "0x1\u{1b}[2J");
        assert_eq!((&line["table"], &line["dequeueCount"]), (&json!("contacts"), &json!(3)));
        let raw: Value = serde_json::from_str(&Found::example(b"\xff\x00").to_json()).expect("JSON");
        assert_eq!((&raw["reason"], &raw["messageBase64"]), (&Value::Null, &json!("/wA=")));
        assert!(raw.get("message").is_none());
    }

    #[test]
    fn what_the_host_moved_and_what_is_no_text_is_shown_as_such() {
        let shown = Found::example(b"\xff\x00").to_string();
        assert!(shown.contains(BY_THE_HOST) && shown.contains("(no text: 2 bytes, in base64) /wA="), "{shown}");
        assert_eq!(Found::example(b"x").time(), datetime!(2026-11-24 10:00 UTC));
    }
}
