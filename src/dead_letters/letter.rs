//! A message of the poison queue, read: whose letter it is, why it is there, and what the original was.
//!
//! There are two kinds. Ours wrap the original and say why it was rejected (`host::Answer`). The host moves a message as it
//! was when its deliveries are used up; of those the reason is not known. Whether a message is a letter of ours is decided
//! strictly, because replaying one takes the wrapping off: an object with a `message`, a `reason` that looks like a code and
//! an `at` that is a time. Pure.

use time::OffsetDateTime;

use super::record_summary::Subject;
use crate::host::DeadLetter;
use crate::outcome::ServiceAnswer;

/// A letter's content.
#[derive(Debug)]
pub struct Letter {
    /// Why it is there; `None` for a message that the host moved.
    pub why: Option<Why>,
    /// The message as it was, byte for byte.
    pub original: Vec<u8>,
    /// What the original is about, as far as that can be told.
    pub subject: Subject,
}

/// What a letter of ours says besides the original.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Why {
    /// The reason's code, such as `key_collision`.
    pub reason: String,
    /// What a person should know beyond it.
    pub detail: Option<String>,
    /// What Dataverse said.
    pub dataverse: Option<ServiceAnswer>,
    /// How often it had been delivered.
    pub attempts: Option<u64>,
    /// The host's id of the invocation that rejected it.
    pub invocation_id: Option<String>,
    /// When it was rejected.
    pub at: OffsetDateTime,
}

impl Letter {
    /// Reads the content of a message.
    pub fn read(content: Vec<u8>) -> Self {
        let (original, why) = match DeadLetter::parse(&content) {
            Some(DeadLetter { message, reason, at, detail, dataverse, attempts, invocation_id }) => {
                (message.into_bytes(), Some(Why { reason, detail, dataverse, attempts, invocation_id, at }))
            }
            None => (content, None),
        };
        let subject = Subject::of(&original);
        Self { why, original, subject }
    }

    /// The reason's code; `None` for a message that the host moved.
    pub fn reason(&self) -> Option<&str> {
        self.why.as_ref().map(|why| why.reason.as_str())
    }

    /// Dataverse's own code.
    pub fn code(&self) -> Option<&str> {
        self.why.as_ref()?.dataverse.as_ref()?.code.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::host::Answer;
    use crate::outcome::{Outcome, Reason};

    const RECORD: &str = r#"{"table":"contacts", "key":{"employeeid":"E-1"},"columns":{}}"#;

    /// What the handler itself would make of `message`.
    fn letter(message: &str) -> Vec<u8> {
        let mut outcome = Outcome::new(Reason::KeyCollision).detail("another row has the key");
        outcome.attempts = Some(2);
        outcome.dataverse = Some(ServiceAnswer {
            status: Some(412),
            code: Some("0x80060892".to_owned()),
            message: Some("A record with matching key values already exists.".to_owned()),
            request_id: Some("r-1".to_owned()),
        });
        let Answer::Done(body) = Answer::new(&outcome, message, "id-1", datetime!(2026-11-23 10:00 UTC), Vec::new)
        else {
            panic!("a rejection is settled")
        };
        let body: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        body["Outputs"]["deadLetter"].to_string().into_bytes()
    }

    #[test]
    fn a_letter_of_ours_is_read_back_whole() {
        let read = Letter::read(letter(RECORD));
        assert_eq!(read.original, RECORD.as_bytes());
        assert_eq!((read.reason(), read.code()), (Some("key_collision"), Some("0x80060892")));
        let why = read.why.expect("ours");
        assert_eq!(why.detail.as_deref(), Some("another row has the key"));
        assert_eq!((why.attempts, why.invocation_id.as_deref()), (Some(2), Some("id-1")));
        assert_eq!(why.at, datetime!(2026-11-23 10:00 UTC));
        let service = why.dataverse.expect("it answered");
        assert_eq!((service.status, service.request_id.as_deref()), (Some(412), Some("r-1")));
        assert_eq!(read.subject.table.as_deref(), Some("contacts"));
    }

    #[test]
    fn what_the_host_moved_is_the_original_and_has_no_reason() {
        let in_event = r#"{"specversion":"1.0","type":"t","source":"/hr","id":"1","data":{}}"#;
        for message in [RECORD, in_event, "no JSON", "", "[1]", "\"text\""] {
            let read = Letter::read(message.as_bytes().to_owned());
            assert_eq!((read.reason(), read.code(), read.original.as_slice()), (None, None, message.as_bytes()));
        }
        let bytes = b"\xff\x00\xfe".to_vec();
        assert_eq!(Letter::read(bytes.clone()).original, bytes);
    }

    #[test]
    fn a_message_that_only_resembles_a_letter_keeps_its_wrapping() {
        for message in [
            r#"{"message":"hello","reason":"why not","at":"2026-11-23T10:00:00Z"}"#,
            r#"{"message":"hello","reason":"exists","at":"yesterday"}"#,
            r#"{"message":"hello","reason":"exists"}"#,
            r#"{"message":{"a":1},"reason":"exists","at":"2026-11-23T10:00:00Z"}"#,
            r#"{"message":"hello","message":"twice","reason":"exists","at":"2026-11-23T10:00:00Z"}"#,
        ] {
            let read = Letter::read(message.as_bytes().to_owned());
            assert_eq!((read.reason(), read.original.as_slice()), (None, message.as_bytes()), "{message}");
        }
    }

    #[test]
    fn a_letter_of_a_later_version_is_a_letter() {
        let message = r#"{"message":"{}","reason":"novel_reason","at":"2026-11-23T10:00:00Z","shard":7}"#;
        let read = Letter::read(message.as_bytes().to_owned());
        assert_eq!((read.reason(), read.original.as_slice()), (Some("novel_reason"), &b"{}"[..]));
    }

    #[test]
    fn a_letter_within_a_letter_loses_one_wrapping_at_a_time() {
        let inner = String::from_utf8(letter(RECORD)).expect("JSON is text");
        assert_eq!(Letter::read(letter(&inner)).original, inner.as_bytes());
    }
}
