//! What can be wrong with a message, each with the field's name and none of its data.

use super::{DEEPEST, FIELDS, LONGEST_LABEL, LONGEST_NAME, MOST_BYTES};

/// Why a message is no record. Every text names the field.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not UTF-8.
    #[error("the message is not text: byte {position} is not UTF-8")]
    NotText {
        /// Offset of the first bad byte.
        position: usize,
    },
    /// Not JSON, or not an object.
    #[error("the message is not a JSON object: {problem}")]
    NotAnObject {
        /// What the parser met.
        problem: String,
    },
    /// Objects and arrays in one another beyond the limit.
    #[error("objects and arrays stand in one another more than {DEEPEST} deep")]
    TooDeep,
    /// Larger than [`MOST_BYTES`].
    #[error("the message has {bytes} bytes; a record has at most {MOST_BYTES}")]
    TooLarge {
        /// The size found.
        bytes: usize,
    },
    /// A field that the format does not have.
    #[error("unknown field `{field}`; a record has {FIELDS}")]
    UnknownField {
        /// Its name.
        field: String,
    },
    /// A required field is absent.
    #[error("the field `{field}` is missing")]
    Missing {
        /// Its name.
        field: &'static str,
    },
    /// A value of the wrong kind.
    #[error("`{field}` is {found}; it must be {wanted}")]
    Kind {
        /// Its name.
        field: String,
        /// What it should be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// `table` is a set of definitions.
    #[error("`table` names definitions of tables and columns, which are no records")]
    Schema,
    /// `table` is no entity set name.
    #[error("`table` must be an entity set name such as contacts: letters, digits and `_`, at most {LONGEST_NAME}")]
    Table,
    /// `source` or `messageId` is too long or holds control characters.
    #[error("`{field}` must have at most {LONGEST_LABEL} characters and no control characters")]
    Label {
        /// Its name.
        field: &'static str,
    },
    /// A word that is not in the list.
    #[error("`{field}` must be one of {allowed}")]
    Choice {
        /// Its name.
        field: &'static str,
        /// The words that are.
        allowed: &'static str,
    },
    /// `version` is neither form.
    #[error("`version` must be a whole number (64 bits) or an RFC 3339 time such as 2026-01-31T08:00:00Z")]
    Version,
    /// `versionColumn` without a version to hold.
    #[error("`versionColumn` stands there without a `version`")]
    ColumnWithoutVersion,
    /// `key` is a string but no GUID.
    #[error("`key` is a string but no GUID; alternate keys are written as an object")]
    KeyText,
    /// `key` is a broken object.
    #[error("`key` is not usable: {problem}")]
    KeyObject {
        /// What the parser met.
        problem: String,
    },
    /// `key` has no columns, or too many.
    #[error("`key` has {found} columns; an alternate key has 1 to 16")]
    KeyColumns {
        /// How many.
        found: usize,
    },
    /// A key column's value is empty.
    #[error("`{field}` is empty; a row cannot be addressed by an empty key")]
    EmptyKey {
        /// Its path.
        field: String,
    },
    /// `_x_value` without a GUID.
    #[error("`{field}` addresses a lookup and must be a GUID")]
    LookupKey {
        /// Its path.
        field: String,
    },
    /// A number that no column holds.
    #[error("`{field}` is out of every column's range")]
    NumberRange {
        /// Its path.
        field: String,
    },
    /// A name that is no column name.
    #[error("`{field}` is no column name: logical names are lower-case letters, digits and `_`")]
    ColumnName {
        /// Its path.
        field: String,
    },
    /// `columns` is a broken object.
    #[error("`columns` is not usable: {problem}")]
    Columns {
        /// What the parser met.
        problem: String,
    },
    /// A key column stands in `columns` with another value.
    #[error("`columns.{column}` contradicts `key.{column}`")]
    Contradiction {
        /// The column.
        column: String,
    },
    /// An event that is not understood.
    #[error("the CloudEvent is not usable: {problem}")]
    Event {
        /// What is wrong.
        problem: &'static str,
    },
}
