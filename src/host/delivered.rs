//! How often the host says that it delivered a message, where the message cannot have said so itself.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr2_iter, memmem};
use serde::Deserializer as _;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::json::{Members, Name, Value};

const DEQUEUE_COUNT: &str = "DequeueCount";

/// The count in the text that `metadata` begins with, a JSON object, unless `message` has replaced it.
///
/// What stands behind the count is not read: there the host puts the message's own properties, which may be long.
pub(super) fn count(metadata: &str, message: &str) -> Option<u32> {
    if is_set_by(message) {
        return None;
    }
    let mut found = None;
    // The error is that the object was left before its end, or that there is none to find it in.
    let _ = serde_json::Deserializer::from_str(metadata).deserialize_map(UpToCount(&mut found));
    let raw = found?;
    // A string, in some versions encoded once more, or a number.
    let text = match Value::of(raw) {
        Value::Text(text) => text,
        _ => Cow::Borrowed(raw.get()),
    };
    text.trim_matches('"').parse().ok()
}

struct UpToCount<'f, 'de>(&'f mut Option<&'de RawValue>);

impl<'de> Visitor<'de> for UpToCount<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            if name == DEQUEUE_COUNT {
                *self.0 = Some(map.next_value()?);
                break;
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}

/// Whether the message has a property that would replace the host's count. A message whose properties cannot be told is
/// not trusted either, unless it is no object at all: then the host has nothing to merge.
fn is_set_by(message: &str) -> bool {
    if !message.trim_start().starts_with('{') || !may_name_it(message.as_bytes()) {
        return false;
    }
    match serde_json::from_str::<Members<'_>>(message) {
        Ok(Members(members)) => members.iter().any(|(name, _)| name.eq_ignore_ascii_case(DEQUEUE_COUNT)),
        Err(_) => true,
    }
}

/// Whether the name stands anywhere in the message, or an escape that can hide it. Next to no message has either, and reading
/// one takes longer than looking for its rarest letter.
fn may_name_it(message: &[u8]) -> bool {
    let named = |at: usize| {
        let name = at.checked_sub(2).and_then(|begin| message.get(begin..begin + DEQUEUE_COUNT.len()));
        name.is_some_and(|name| name.eq_ignore_ascii_case(DEQUEUE_COUNT.as_bytes()))
    };
    memchr2_iter(b'q', b'Q', message).any(named) || memmem::find(message, b"\\u").is_some()
}
