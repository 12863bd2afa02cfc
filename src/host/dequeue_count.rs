//! How often the host says it delivered a message, unless the message itself could have set that number.
//!
//! The host merges the properties of a message that is a JSON object into `Metadata`, over its own and in any case. So its
//! `DequeueCount` counts only where the message cannot have replaced it.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Members, Value};

const DEQUEUE_COUNT: &str = "DequeueCount";

#[derive(Deserialize)]
struct Metadata<'a> {
    #[serde(rename = "DequeueCount", borrow)]
    dequeue_count: &'a RawValue,
}

/// The count in `metadata`, which came with `message`.
pub(super) fn dequeue_count(metadata: &RawValue, message: &str) -> Option<u32> {
    if may_set_count(message) {
        return None;
    }
    let Metadata { dequeue_count: raw } = serde_json::from_str(metadata.get()).ok()?;
    // A string, in some versions of the host JSON-encoded once more, or a number.
    let text = match Value::of(raw) {
        Value::Text(text) => text,
        _ => Cow::Borrowed(raw.get()),
    };
    text.trim_matches('"').parse().ok()
}

/// Whether the message may have a property that replaces the host's count. The host reads more as an object than we do, so
/// where our parser fails it is enough that the name occurs, or an escape that could hide it.
fn may_set_count(message: &str) -> bool {
    match serde_json::from_str::<Members<'_>>(message) {
        Ok(Members(members)) => members.iter().any(|(name, _)| name.eq_ignore_ascii_case(DEQUEUE_COUNT)),
        Err(_) => message.contains("\\u") || message.to_ascii_lowercase().contains("dequeuecount"),
    }
}
