//! The dead letter: a rejected message and why it was rejected. Written by [`super::Answer`], read by `handler dead-letters`.
//!
//! The format is the contract's `Outputs.deadLetter`. A field without a value is left out. Reading accepts letters of other
//! versions: unknown members are ignored and only `message`, `reason` and `at` are required. It is strict about these three,
//! because replaying a dead letter removes the wrapping: a message that only resembles one must stay as it is.

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::outcome::{Outcome, ServiceAnswer};

/// A reason code is not longer than this, in bytes.
const MAX_CODE_LENGTH: usize = 64;

/// A message that another attempt cannot help, and what is known about why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeadLetter {
    /// The message's text, unchanged.
    pub(crate) message: String,
    /// The reason's code, such as `key_collision`. Another version may know other codes.
    pub(crate) reason: String,
    /// What a person should know beyond the reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) detail: Option<String>,
    /// What Dataverse answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) dataverse: Option<ServiceAnswer>,
    /// How often the message had been delivered.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) attempts: Option<u64>,
    /// The host's id of the invocation that rejected the message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) invocation_id: Option<String>,
    /// When the message was rejected.
    #[serde(with = "time::serde::rfc3339")]
    pub(crate) at: OffsetDateTime,
}

impl DeadLetter {
    /// The dead letter for a delivery of `message` that ended in `outcome`.
    pub(crate) fn new(outcome: &Outcome, message: &[u8], invocation_id: &str, at: OffsetDateTime) -> Self {
        Self {
            message: String::from_utf8_lossy(message).into_owned(),
            reason: outcome.reason.code().to_owned(),
            detail: outcome.detail.clone(),
            dataverse: outcome.dataverse.clone(),
            attempts: outcome.attempts.map(u64::from),
            invocation_id: Some(invocation_id.to_owned()).filter(|id| !id.is_empty()),
            at,
        }
    }

    /// Reads the content of a queue message; `None` when it is not a dead letter.
    pub(crate) fn parse(content: &[u8]) -> Option<Self> {
        serde_json::from_slice(content).ok().filter(|letter: &Self| is_code(&letter.reason))
    }
}

fn is_code(text: &str) -> bool {
    text.len() <= MAX_CODE_LENGTH
        && text.starts_with(|first: char| first.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::outcome::Reason;

    #[test]
    fn a_dead_letter_is_read_back_as_it_was_written() {
        for reason in Reason::ALL {
            let full = Outcome {
                attempts: Some(2),
                dataverse: Some(ServiceAnswer { status: Some(412), ..ServiceAnswer::default() }),
                ..Outcome::new(reason).detail("because")
            };
            for outcome in [full, Outcome::new(reason)] {
                let letter = DeadLetter::new(&outcome, b"{the \"original\"\n", "id-1", datetime!(2026-11-23 10:00 UTC));
                let json = serde_json::to_vec(&letter).expect("plain data");
                assert_eq!(DeadLetter::parse(&json), Some(letter));
            }
        }
    }

    #[test]
    fn only_message_reason_and_time_are_required_and_unknown_members_are_ignored() {
        for more in ["", r#","detail":null,"dataverse":null"#, r#","dataverse":{},"attempts":3,"shard":7"#] {
            let json = format!(r#"{{"message":"{{}}","reason":"new_reason","at":"2026-11-23T10:00:00Z"{more}}}"#);
            let letter = DeadLetter::parse(json.as_bytes()).expect("a dead letter");
            assert_eq!((letter.message.as_str(), letter.reason.as_str(), letter.detail), ("{}", "new_reason", None));
        }
    }
}
