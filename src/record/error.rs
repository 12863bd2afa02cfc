//! What can be wrong with a message. Every text names the field and quotes no value.

use super::{FIELDS, MAX_BYTES, MAX_DEPTH};
use crate::json::Value;

/// Why a message is not a record.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The message is larger than [`MAX_BYTES`].
    #[error("the message has {bytes} bytes; a record has at most {MAX_BYTES}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// The message is not UTF-8.
    #[error("the message is not text: byte {position} is not UTF-8")]
    NotUtf8 {
        /// Offset of the first invalid byte.
        position: usize,
    },
    /// The message is not JSON, or not an object.
    #[error("the message is not a JSON object: {problem}")]
    NotAnObject {
        /// The parser's error.
        problem: String,
    },
    /// Objects and arrays are nested too deep.
    #[error("objects and arrays are nested more than {MAX_DEPTH} deep")]
    TooDeep,
    /// The CloudEvent around the record is invalid.
    #[error("invalid CloudEvent: {problem}")]
    Event {
        /// What is wrong.
        problem: &'static str,
    },
    /// The format has no such field.
    #[error("unknown field `{field}`; a record has {}", FIELDS.join(", "))]
    UnknownField {
        /// Its name.
        field: String,
    },
    /// A required field is missing.
    #[error("the field `{field}` is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A value is not one that this field can have.
    #[error("`{field}` {problem}")]
    Invalid {
        /// Its path.
        field: String,
        /// What is wrong, as a clause that follows the path.
        problem: String,
    },
}

impl Error {
    pub(super) fn invalid(field: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), problem: problem.into() }
    }

    /// The value is of another kind than `expected`.
    pub(super) fn kind(field: impl Into<String>, found: &Value<'_>, expected: &str) -> Self {
        Self::invalid(field, format!("is {}; it must be {expected}", found.kind()))
    }

    /// The value is not an object that can be used.
    pub(super) fn object(field: &str, error: &serde_json::Error) -> Self {
        Self::invalid(field, format!("is not a valid object: {}", parser_problem(error)))
    }

    pub(super) fn column_name(field: impl Into<String>) -> Self {
        Self::invalid(field, "is not a column name: logical names are lower-case letters, digits and `_`")
    }
}

/// The parser's text, which may name a member but must not quote a value.
pub(super) fn parser_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // For a value of the wrong type serde quotes the string, which may be data.
    if text.starts_with("invalid type: string") {
        return format!("a string at line {} column {}", error.line(), error.column());
    }
    text
}
