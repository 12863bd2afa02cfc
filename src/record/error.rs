//! What can be wrong with a message. Every text names the field and quotes no value.

use super::{FIELDS, MAX_BYTES, MAX_DEPTH, MAX_LABEL_LENGTH, MAX_NAME_LENGTH};

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
    /// A value has the wrong kind.
    #[error("`{field}` is {found}; it must be {expected}")]
    Kind {
        /// Its path.
        field: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A value is not one that this field can have.
    #[error("`{field}` {problem}")]
    Invalid {
        /// Its path.
        field: String,
        /// What is wrong, as a clause that follows the path.
        problem: &'static str,
    },
    /// `key` or `columns` is not an object that can be used.
    #[error("`{field}` is not a valid object: {problem}")]
    Object {
        /// Its name.
        field: &'static str,
        /// The parser's error.
        problem: String,
    },
    /// `table` is not an entity set name.
    #[error("`table` must be an entity set name such as contacts: letters, digits and `_`, at most {MAX_NAME_LENGTH}")]
    Table,
    /// A label, such as `source`, is too long or contains control characters.
    #[error("`{field}` must have at most {MAX_LABEL_LENGTH} characters and no control characters")]
    Label {
        /// Its name.
        field: &'static str,
    },
    /// `key` has no columns, or too many.
    #[error("`key` has {found} columns; an alternate key has 1 to 16")]
    KeyColumns {
        /// How many.
        found: usize,
    },
    /// A key column occurs in `columns` with another value.
    #[error("`columns.{column}` contradicts `key.{column}`")]
    Contradiction {
        /// The column.
        column: String,
    },
}

impl Error {
    pub(super) fn invalid(field: impl Into<String>, problem: &'static str) -> Self {
        Self::Invalid { field: field.into(), problem }
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
