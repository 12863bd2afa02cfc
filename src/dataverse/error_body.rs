//! Code and message in the body of an error answer. Pure, and total over any bytes.
//!
//! Two shapes are known, `{"error":{"code","message"}}` and `{"Message","ExceptionMessage","ErrorCode"}`. A code is a hex string
//! or a signed number, and absent if it is empty or zero. Any other body, such as a gateway's page, has no message either.
//!
//! A truncated body still gives its complete members. The code precedes the text, so it is usually complete, and it keeps a
//! transient error (a deadlock, a throttled query) from being taken for the final one that its status suggests. An incomplete
//! member is not used: half of a number is another number, and half of a text may lack the words that matter.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/compose-http-requests-handle-errors>

use std::collections::HashMap;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::json::without_bom;

/// The characters of the service's text that are kept.
pub const MESSAGE_CAP: usize = 1_000;

/// What introduces an SQL error in the text of a plug-in that passes it on, in lower case. It can stand far back, behind a stack
/// trace, and the verdict depends on it.
const SQL_ERROR: [&str; 4] = ["sql number:", "error number:", "deadlock victim", "execution timeout expired"];

/// The characters that are kept of it.
const MAX_SQL_ERROR_CHARS: usize = 40;

/// The codes for a missing row: by primary key, by alternate key, and from the provider of a virtual table.
pub(crate) const MISSING_ROW: [u32; 3] = [0x8004_0217, 0x8006_0891, 0x8004_8D02];

/// The codes that only wrap another error: the text says which.
pub(crate) const WRAPPERS: [u32; 2] = [0x8006_0888, 0x8006_088A];

/// What a 404 without a code says about a missing row, in lower case.
pub(crate) const MISSING_ROW_TEXT: &str = "does not exist";

/// What http.sys says of a URL that is too long, under a 400 without a code.
pub(crate) const INVALID_URL: &str = "Bad Request - Invalid URL";

/// `SqlTimeout`.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/reference/web-service-error-codes>
const SQL_TIMEOUT: u32 = 0x8004_4151;

/// What a text says of a deadlock, or of a query that took too long, in lower case.
const SQL_STRAIN: [&str; 4] = ["sql number: 1205", "deadlock victim", "sql number: -2", "execution timeout expired"];

/// Whether an error says that the database met a deadlock, or that a query took too long.
pub(crate) fn is_sql_strain(code: Option<u32>, text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    code == Some(SQL_TIMEOUT) || SQL_STRAIN.iter().any(|said| text.contains(said))
}

/// The facts in an error body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ServiceError {
    /// The service's code, unless it is empty or zero.
    pub code: Option<u32>,
    /// The service's text, at most [`MESSAGE_CAP`] characters; `None` if the body is not an error of Dataverse. It may contain data
    /// of the row.
    pub message: Option<String>,
}

/// Reads an error body, which may be truncated.
pub fn read(body: &[u8]) -> ServiceError {
    let mut found = HashMap::new();
    let mut json = serde_json::Deserializer::from_slice(without_half_number(without_bom(body)));
    // What was complete before an error has been found.
    let is_whole = Object { found: &mut found, is_inner: false }.deserialize(&mut json).is_ok();
    let text = |kept| match found.get(kept) {
        Some(Value::String(text)) if !text.is_empty() => Some(cut(text)),
        _ => None,
    };
    // An error of Dataverse without a text.
    let without_text = || (is_whole && !found.is_empty()).then(String::new);
    ServiceError {
        code: found.get("code").and_then(parse_code),
        message: ["message", "exception", "outer message"].into_iter().find_map(text).or_else(without_text),
    }
}

/// At most [`MESSAGE_CAP`] characters of a text. Where the rest quotes an SQL error, that place is kept as well.
fn cut(text: &str) -> String {
    let Some((end, _)) = text.char_indices().nth(MESSAGE_CAP) else { return text.to_owned() };
    let lower = text.to_ascii_lowercase();
    let found =
        SQL_ERROR.iter().flat_map(|words| lower.match_indices(words)).filter(|(at, words)| at + words.len() > end);
    let Some(at) = found.map(|(at, _)| at).min() else { return text[..end].to_owned() };
    let quoted: String = text[at..].chars().take(MAX_SQL_ERROR_CHARS).collect();
    let head: String = text.chars().take(MESSAGE_CAP - MAX_SQL_ERROR_CHARS - 3).collect();
    format!("{head} … {quoted}")
}

/// Cuts off a number at the end, which may have lost its last digits: a complete body ends in a brace.
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

/// Reads the complete members of one object that matter.
struct Object<'a> {
    found: &'a mut HashMap<&'static str, Value>,
    /// Whether it is the object in the body's member `error`.
    is_inner: bool,
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
            let kept = match (self.is_inner, name.as_str()) {
                (true, "code") | (false, "ErrorCode") => "code",
                (true, "message") => "message",
                (false, "ExceptionMessage") => "exception",
                (false, "Message") => "outer message",
                (false, "error") => {
                    map.next_value_seed(Object { found: self.found, is_inner: true })?;
                    continue;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            if self.found.insert(kept, map.next_value()?).is_some() {
                // Ambiguous: other parsers may pick the other one.
                self.found.remove(kept);
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
