//! The custom-handler protocol: [`Invocation`] in, [`Answer`] out.
//!
//! A queue message arrives as a string that is JSON-encoded twice or once, or as an object; the record in it may be in base64. Its
//! text is kept unchanged for the dead letter. The host merges the message's own properties into `Metadata`, so nothing there is
//! trusted that the message could have set.
//!
//! A 2xx always carries a JSON object: with an empty body or `null` the host never completes the invocation. Of a failed
//! invocation the host logs only the reason phrase, so that carries the reason; the answer to any other carries its log lines.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

mod dead_letter;
mod host_json;
mod message_text;
mod trigger_metadata;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use time::OffsetDateTime;

use crate::json::{Members, Value};
use crate::outcome::{Disposition, Outcome};
pub(crate) use dead_letter::DeadLetter;
pub(crate) use host_json::{HostJson, HostJsonError, host_json_values, read_object};
pub use host_json::{MessageEncoding, max_dequeue_count, message_encoding, messages_in_flight};
pub(crate) use message_text::{begins_as_object, from_base64, object_in_base64};
use trigger_metadata::TriggerMetadata;

/// The queue-triggered function: its folder, and the path that the host calls.
pub const QUEUE_FUNCTION: &str = "SyncQueue";

/// The HTTP-triggered function.
pub const HTTP_FUNCTION: &str = "SyncHttp";

/// The path of a forwarded HTTP call: the route prefix from host.json and the route from function.json.
pub const HTTP_ROUTE: &str = "/api/records";

/// The binding that holds the queue message, as in `functions/SyncQueue/function.json`.
pub const RECORD_BINDING: &str = "record";

/// The binding that dead letters go to.
pub const DEAD_LETTER_BINDING: &str = "deadLetter";

/// One delivery of a queue message.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The record as text, unchanged; the whole message where it is not one.
    pub message: String,
    /// Why the message cannot be a record, as far as its encoding tells.
    pub problem: Option<String>,
    /// How often the message was delivered, this delivery included; `None` where the message itself could have set it.
    pub dequeue_count: Option<u32>,
    /// When the message was put on the queue, to the second; `None` where the message itself could have set it.
    pub insertion_time: Option<OffsetDateTime>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Envelope<'a> {
    #[serde(borrow)]
    data: Members<'a>,
    #[serde(borrow)]
    metadata: Option<&'a RawValue>,
}

impl Invocation {
    /// Parses the host's request. A host that is known to use base64 has decoded the message; otherwise it may be in base64.
    ///
    /// # Errors
    /// What is wrong and where, if function.json does not match this version; quotes no data.
    pub fn parse(body: &[u8], encoding: Option<MessageEncoding>) -> Result<Self, String> {
        let envelope: Envelope<'_> = serde_json::from_slice(body)
            .map_err(|error| format!("the request is not an invocation: {}", place(&error)))?;
        let no_record = || {
            format!(
                "the invocation has no `{RECORD_BINDING}` in `Data`; check the name of the binding in function.json"
            )
        };
        let item = item(envelope.data.get(RECORD_BINDING).ok_or_else(no_record)?);
        let metadata = envelope.metadata.map(|metadata| TriggerMetadata::read(metadata, &item));
        let TriggerMetadata { dequeue_count, insertion_time } = metadata.unwrap_or_default();
        let (message, problem) = if encoding == Some(MessageEncoding::Base64) {
            (item, None)
        } else if let Some(message) = object_in_base64(&item) {
            (message, None)
        } else {
            let problem = message_text::problem(&item);
            (item, problem)
        };
        Ok(Self { message, problem, dequeue_count, insertion_time })
    }
}

/// The kind of error and its place. The parser's own text may quote data, and this text is logged.
fn place(error: &serde_json::Error) -> String {
    let kind = match error.classify() {
        Category::Data => "unexpected JSON",
        Category::Syntax | Category::Eof | Category::Io => "invalid JSON",
    };
    format!("{kind}, line {} column {}", error.line(), error.column())
}

/// The message's own text: an object as sent, or a string without its one or two layers of JSON encoding.
fn item(item: &RawValue) -> String {
    match Value::of(item) {
        Value::Text(outer) => serde_json::from_str(&outer).unwrap_or_else(|_| outer.into_owned()),
        _ => item.get().to_owned(),
    }
}

/// The answer to the host.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message is finished. The JSON object to answer with, which contains the dead letter if there is one.
    Done(String),
    /// The host should deliver the message again.
    Failed {
        /// What the host logs: printable ASCII, safe in a status line.
        reason_phrase: String,
    },
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body {
    /// By the name of the binding.
    outputs: BTreeMap<&'static str, Box<RawValue>>,
    logs: Vec<String>,
    return_value: Option<()>,
}

impl Answer {
    /// The answer to a delivery of `message` that ended in `outcome`, to a host that writes in `encoding`. `lines` is called only
    /// where the host reads `Logs`.
    pub fn new(
        outcome: &Outcome,
        message: &(impl AsRef<[u8]> + ?Sized),
        invocation_id: &str,
        now: OffsetDateTime,
        encoding: Option<MessageEncoding>,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Self {
        if !outcome.is_dead_letter() {
            return match outcome.disposition {
                Disposition::Retry => Self::failed(outcome),
                Disposition::Applied | Disposition::Skipped | Disposition::Rejected => Self::done(None, lines()),
            };
        }
        let letter = DeadLetter::new(outcome, message.as_ref(), invocation_id, now);
        // Where the encoding is not known: base64 leaves less room, so the letter fits in any case.
        match letter.for_host(encoding.unwrap_or(MessageEncoding::Base64)) {
            Some(letter) => Self::done(Some(letter), lines()),
            None => Self::Failed { reason_phrase: reason_phrase(outcome) + " dead letter too large" },
        }
    }

    /// The answer to a delivery that ended in `outcome` and whose message is not known.
    pub(crate) fn failed(outcome: &Outcome) -> Self {
        Self::Failed { reason_phrase: reason_phrase(outcome) }
    }

    fn done(dead_letter: Option<Box<RawValue>>, logs: Vec<String>) -> Self {
        let outputs = dead_letter.map(|letter| (DEAD_LETTER_BINDING, letter)).into_iter().collect();
        let body = Body { outputs, logs, return_value: None };
        Self::Done(serde_json::to_string(&body).expect("the answer is plain data"))
    }
}

/// `retry/lock_busy key=1f2e3d4c5b6a`, with ` last attempt` where the host will not deliver the message again.
fn reason_phrase(outcome: &Outcome) -> String {
    let mut phrase = format!("{}/{}", outcome.disposition.code(), outcome.reason.code());
    if let Some(hash) = &outcome.key_hash {
        write!(phrase, " key={hash}").expect("writing to a string cannot fail");
    }
    if outcome.last_attempt {
        phrase.push_str(" last attempt");
    }
    phrase
}

#[cfg(test)]
mod tests;
