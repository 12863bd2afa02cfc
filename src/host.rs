//! The custom-handler envelope: [`Invocation`] in, [`Answer`] out.
//!
//! A queue message arrives JSON-encoded once more, as a string, or as an object; all three mean the same record, and its
//! text is kept as it was for the dead letter. The host merges the message's own properties into `Metadata`, where they win
//! over the host's: nothing in there is trusted that the message could have set.
//!
//! A 2xx always carries a JSON object: with an empty body or `null` the host never completes the invocation. Of a failed
//! invocation only the reason phrase survives, so it carries the reason; a settled one carries its lines of the log.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

mod delivered;
mod encoded;
mod runs;

use std::borrow::Cow;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::error::Category;
use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::json::{Members, Value};
use crate::outcome::{Disposition, Outcome, Reason, ServiceAnswer};

/// The function that reads the queue; its folder, and the path that the host calls.
pub const QUEUE_FUNCTION: &str = "SyncQueue";

/// The function that takes HTTP calls.
pub const HTTP_FUNCTION: &str = "SyncHttp";

/// The path of a forwarded HTTP call: the route prefix of host.json and the route of function.json.
pub const HTTP_ROUTE: &str = "/api/records";

/// The binding that holds the queue message, as in `functions/SyncQueue/function.json`.
pub const RECORD_BINDING: &str = "record";

/// The binding that dead letters go to.
pub const DEAD_LETTER_BINDING: &str = "deadLetter";

/// One delivery of a queue message.
#[derive(Debug, PartialEq, Eq)]
pub struct Invocation {
    /// The message as text, unchanged.
    pub message: String,
    /// How often it was delivered, this time included; `None` where the message itself could have said so.
    pub dequeue_count: Option<u32>,
}

/// What the host sent is not an invocation of this function: function.json and the code do not fit each other.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not the JSON that a custom handler gets.
    #[error("the request is no invocation: {problem}")]
    NotAnInvocation {
        /// What is wrong, and where; none of the data.
        problem: String,
    },
    /// The trigger has another name.
    #[error("the invocation has no `{RECORD_BINDING}` in its `Data`; is the binding in function.json named otherwise?")]
    NoRecord,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "Data", borrow)]
    data: Members<'a>,
    #[serde(rename = "Metadata", borrow)]
    metadata: Option<&'a RawValue>,
}

impl Invocation {
    /// Reads the host's request.
    ///
    /// # Errors
    /// When it is no invocation of the queue function.
    pub fn read(body: &[u8]) -> Result<Self, Error> {
        // As text from the begin, or each string's encoding would be checked again.
        let text = str::from_utf8(body).map_err(|error| Error::NotAnInvocation {
            problem: format!("no UTF-8 beyond byte {}", error.valid_up_to()),
        })?;
        match Self::usual(text) {
            Some(invocation) => Ok(invocation),
            None => Self::any(text),
        }
    }

    /// The request in whatever form of JSON.
    fn any(request: &str) -> Result<Self, Error> {
        let envelope: Envelope<'_> =
            serde_json::from_str(request).map_err(|error| Error::NotAnInvocation { problem: place(&error) })?;
        let Members(data) = envelope.data;
        let (_, item) = data.into_iter().find(|(name, _)| name == RECORD_BINDING).ok_or(Error::NoRecord)?;
        let message = message(item);
        let dequeue_count = envelope.metadata.and_then(|metadata| delivered::count(metadata.get(), &message));
        Ok(Self { message, dequeue_count })
    }

    /// The request as the host writes it: the message first, encoded twice, and then the host's properties with the count. What
    /// stands behind that, the message's own once more, is left unread; whatever is unusual before is a matter for a JSON reader.
    fn usual(request: &str) -> Option<Self> {
        let item = request.strip_prefix(r#"{"Data":{""#)?.strip_prefix(RECORD_BINDING)?.strip_prefix(r#"":"#)?;
        let (message, rest) = encoded::twice_encoded(item)?;
        // In JSON's strings they are forbidden. The least of all bytes is found many at a time, the first such one is not.
        if item.bytes().fold(u8::MAX, u8::min) < b' ' {
            return None;
        }
        let metadata = rest.strip_prefix(r#"},"Metadata":"#).filter(|metadata| metadata.ends_with("}}"))?;
        let dequeue_count = delivered::count(metadata, &message)?;
        Some(Self { message, dequeue_count: Some(dequeue_count) })
    }
}

/// The parser's own text quotes what it met, and this one ends up in the log.
fn place(error: &serde_json::Error) -> String {
    let met = match error.classify() {
        Category::Data => "JSON of another shape",
        Category::Syntax | Category::Eof | Category::Io => "no JSON",
    };
    format!("{met}, line {} column {}", error.line(), error.column())
}

/// The message's own text: an object as it stands, a string without one or two layers of encoding.
fn message(item: &RawValue) -> String {
    if let Some((message, "")) = encoded::twice_encoded(item.get()) {
        return message;
    }
    let Value::Text(outer) = Value::of(item) else { return item.get().to_owned() };
    match serde_json::from_str::<String>(&outer) {
        Ok(inner) => inner,
        Err(_) => outer.into_owned(),
    }
}

/// The host's default of `maxDequeueCount`.
const DEFAULT_DELIVERIES: u32 = 5;

/// The deliveries after which the host moves a message to the poison queue by itself: `maxDequeueCount` of a host.json, or
/// the host's own default. `None` when it is no host.json.
/// <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#hostjson-settings>
pub fn most_deliveries(host_json: &str) -> Option<u32> {
    let file: serde_json::Value = serde_json::from_str(host_json).ok()?;
    file.get("version")?;
    let set = file.pointer("/extensions/queues/maxDequeueCount").and_then(serde_json::Value::as_u64);
    set.map_or(Some(DEFAULT_DELIVERIES), |count| u32::try_from(count).ok())
}

/// What the host is told.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// The message is done with; this JSON object says so, and holds the dead letter if there is one.
    Done(String),
    /// The message shall come back; the host logs this reason phrase.
    Failed {
        /// Letters, digits and a few marks: safe in a status line.
        phrase: String,
    },
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(rename = "Outputs")]
    outputs: Outputs<'a>,
    #[serde(rename = "Logs")]
    logs: Vec<String>,
    #[serde(rename = "ReturnValue")]
    return_value: Option<()>,
}

#[derive(Serialize)]
struct Outputs<'a> {
    #[serde(rename = "deadLetter", skip_serializing_if = "Option::is_none")]
    dead_letter: Option<DeadLetter<'a>>,
}

/// A message that trying again cannot help, with what is known about why.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DeadLetter<'a> {
    message: Cow<'a, str>,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataverse: Option<&'a ServiceAnswer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<u32>,
    #[serde(skip_serializing_if = "str::is_empty")]
    invocation_id: &'a str,
    at: String,
}

impl Answer {
    /// The answer to a delivery of `message`, a text, that ended in `outcome`. Only one that the host reads asks for its `lines`.
    pub fn new(
        outcome: &Outcome,
        message: &(impl AsRef<[u8]> + ?Sized),
        invocation_id: &str,
        now: OffsetDateTime,
        lines: impl FnOnce() -> Vec<String>,
    ) -> Self {
        let letter = || DeadLetter {
            message: String::from_utf8_lossy(message.as_ref()),
            reason: outcome.reason.code(),
            detail: outcome.detail.as_deref(),
            dataverse: outcome.dataverse.as_ref(),
            attempts: outcome.attempts,
            invocation_id,
            at: now.format(&Rfc3339).expect("the clock is within years that have four digits"),
        };
        match outcome.disposition {
            // The host would move it to the poison queue as it is. This way the message there says what it lacks.
            Disposition::Retry if outcome.last_attempt && outcome.reason == Reason::ParentMissing => {
                Self::done(Some(letter()), lines())
            }
            Disposition::Retry => Self::Failed { phrase: phrase(outcome) },
            Disposition::Applied | Disposition::Skipped => Self::done(None, lines()),
            Disposition::Rejected => Self::done(Some(letter()), lines()),
        }
    }

    fn done(dead_letter: Option<DeadLetter<'_>>, logs: Vec<String>) -> Self {
        let body = Body { outputs: Outputs { dead_letter }, logs, return_value: None };
        Self::Done(serde_json::to_string(&body).expect("the answer is plain data"))
    }
}

/// `retry/lock_busy key=1f2e3d4c5b6a`, and ` last attempt` where the host will not deliver again.
fn phrase(outcome: &Outcome) -> String {
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
