//! What the body of a refusal says: the service's code and its text. Pure, and total over any bytes.
//!
//! Two shapes are known, `{"error":{"code","message"}}` and `{"Message","ExceptionMessage","ErrorCode"}`. A code is a hex string
//! or a signed number; an empty one and zero are none. A gateway's page, or nothing at all, says nothing: the status speaks.
//!
//! A body that breaks off still gives each member that it held to its end. The code stands in front of the text, so it is
//! mostly there, and it is what keeps a refusal that passes (a deadlock, a throttled query) from being taken for a final one
//! by its status. Half a member is not used: half of a number is another number, and half of a text can lack the words that count.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors>

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// What is kept of the service's text, in characters.
pub const MESSAGE_CAP: usize = 1_000;

/// The codes of a missing row, by id and by alternate key.
pub const MISSING_ROW: [u32; 2] = [0x8004_0217, 0x8006_0891];

/// What the text of a 404 without a code says of a missing row, in lower case.
pub const MISSING_ROW_TEXT: &str = "does not exist";

/// What a refusal says for itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// The service's own code, unless it is empty or zero.
    pub code: Option<u32>,
    /// The service's text, unless it is empty; at most [`MESSAGE_CAP`] characters. It can hold data of the row.
    pub message: Option<String>,
}

/// Reads the body of a refusal, or as much of it as came.
pub fn read(body: &[u8]) -> ServiceError {
    let mut found = Found::default();
    let mut json = serde_json::Deserializer::from_slice(without_half_number(body));
    // What was complete before the body went wrong has been found.
    let _ = Object { found: &mut found, level: Level::Body }.deserialize(&mut json);
    let text = |value: Option<Value>| match value {
        Some(Value::String(text)) if !text.is_empty() => Some(text.chars().take(MESSAGE_CAP).collect()),
        _ => None,
    };
    ServiceError {
        code: found.code.as_ref().and_then(parse_code),
        message: text(found.message).or_else(|| text(found.exception)).or_else(|| text(found.outer_message)),
    }
}

/// A number that a body ends in may have lost its last digits; an object ends in a brace.
fn without_half_number(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|byte| !byte.is_ascii_digit()).map_or(0, |last| last + 1);
    &body[..end]
}

/// `"0x80040237"`, or the same as a signed number.
fn parse_code(value: &Value) -> Option<u32> {
    let number = match value {
        Value::String(text) => match text.trim().strip_prefix("0x").or_else(|| text.trim().strip_prefix("0X")) {
            Some(hex) => i64::from_str_radix(hex, 16).ok()?,
            None => text.trim().parse().ok()?,
        },
        Value::Number(number) => number.as_i64()?,
        _ => return None,
    };
    let code = u32::try_from(number).or_else(|_| i32::try_from(number).map(i32::cast_unsigned)).ok()?;
    (code != 0).then_some(code)
}

/// The members that were read to their end.
#[derive(Default)]
struct Found {
    code: Option<Value>,
    message: Option<Value>,
    exception: Option<Value>,
    outer_message: Option<Value>,
}

impl Found {
    fn slot(&mut self, level: Level, name: &str) -> Option<&mut Option<Value>> {
        match (level, name) {
            (Level::Error, "code") | (Level::Body, "ErrorCode") => Some(&mut self.code),
            (Level::Error, "message") => Some(&mut self.message),
            (Level::Body, "ExceptionMessage") => Some(&mut self.exception),
            (Level::Body, "Message") => Some(&mut self.outer_message),
            _ => None,
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    /// The whole body.
    Body,
    /// The object in its member `error`.
    Error,
}

/// Reads one object into what was found.
struct Object<'a> {
    found: &'a mut Found,
    level: Level,
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key::<String>()? {
            if self.level == Level::Body && name == "error" {
                map.next_value_seed(Object { found: &mut *self.found, level: Level::Error })?;
                continue;
            }
            let Some(slot) = self.found.slot(self.level, &name) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            let value = map.next_value()?;
            if slot.replace(value).is_some() {
                // Two readers could pick different ones.
                *slot = None;
                return Err(A::Error::custom("a member stands there twice"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
