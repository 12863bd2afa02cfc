//! Decodes a message into a validated [`Record`], or an [`Error`] that names the field.
//!
//! Decoding is strict: an unknown field, a wrong kind or a contradiction is an error. Column values are not interpreted, they
//! pass through as the text that was sent. Pure.
//!
//! The format is described in `docs/message.md`; CloudEvents 1.0 events in JSON are unwrapped first
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

mod addressed_key;
mod columns;
mod decode;
mod error;
mod key;
mod lookup;
mod order;
mod tables;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde_json::value::RawValue;
use time::{Duration, OffsetDateTime};

pub(crate) use addressed_key::{AddressedKey, common_prefix};
pub(crate) use columns::{BIND, STATE};
pub use columns::{Column, Columns};
pub use decode::decode;
pub use error::Error;
pub use key::{KeyColumn, KeyValue, RecordKey};
pub(crate) use key::{NOT_ADDRESSABLE, guid};
pub(crate) use lookup::{Lookup, RowAddress};
pub(crate) use order::{Links, Order};
pub use tables::Tables;

/// The largest record that is accepted, in bytes. A queue message has at most 64 KiB; this limits HTTP callers.
pub(crate) const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Entity set names are logical names with a suffix; Dataverse limits those to 128 characters.
const MAX_NAME_LENGTH: usize = 128;

/// The most characters of `source` and `messageId`, which are written to logs.
const MAX_LABEL_LENGTH: usize = 256;

/// Other parsers of a record, such as the Functions host's and this program's own comparison, fail a little beyond this depth.
/// <https://docs.rs/serde_json/latest/serde_json/struct.Deserializer.html#method.disable_recursion_limit>
const MAX_DEPTH: usize = 100;

/// The largest number of a version: every parser of JSON keeps integers up to here exactly, and what counts milliseconds or
/// microseconds stays below it. <https://www.rfc-editor.org/rfc/rfc8259#section-6>
const MAX_VERSION: i64 = 1 << 53;

/// How far ahead of our clock the time of a version may be: clocks differ, and some senders write local time as UTC.
const MAX_VERSION_AHEAD: Duration = Duration::DAY;

const FIELDS: [&str; 9] =
    ["table", "key", "columns", "operation", "source", "version", "versionColumn", "onConflict", "messageId"];

/// One change to one row, as a source sent it.
#[derive(Debug)]
pub struct Record {
    /// The entity set name.
    pub table: String,
    /// What identifies the row.
    pub key: RecordKey,
    /// The key as the sender wrote it, for answers.
    pub key_sent: Box<RawValue>,
    /// Column values without the key's columns, in the order sent. Empty when deleting.
    pub columns: Columns,
    /// What to do.
    pub operation: Operation,
    /// The sending system.
    pub source: Option<String>,
    /// The position of this change among the changes of its record.
    pub version: Option<Version>,
    /// The column that holds `version`, where it overrides the setting. Only with a version.
    pub version_column: Option<String>,
    /// What a lost create race leads to, where it overrides the setting.
    pub on_conflict: Option<OnConflict>,
    /// The sender's id of this message.
    pub message_id: Option<String>,
}

impl Record {
    /// Whether it is taken at the time `now`, where these tables may be written.
    ///
    /// # Errors
    /// The field that is wrong.
    pub(crate) fn check(&self, tables: &Tables, now: OffsetDateTime) -> Result<(), Error> {
        if let Some(problem) = tables.refusal(&self.table) {
            return Err(Error::invalid("table", problem));
        }
        if self.version.is_some_and(|version| !version.is_plausible(now)) {
            return Err(Error::invalid("version", "is more than 24 hours ahead of this machine's clock"));
        }
        Ok(())
    }
}

/// What to do with a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Create or update.
    #[default]
    Upsert,
    /// Create; the row must not exist.
    Create,
    /// Update; the row must exist.
    Update,
    /// Delete the row.
    Delete,
}

/// What a lost create race leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Read the row; skip when it holds our values, else send again.
    #[default]
    Verify,
    /// Skip, because the row exists.
    Skip,
    /// Send again.
    Retry,
}

/// The [`Operation`] or [`OnConflict`] with this name.
pub(crate) fn parse_word<T: DeserializeOwned>(name: &str) -> Option<T> {
    T::deserialize(StrDeserializer::<ValueError>::new(name)).ok()
}

/// The source's own order of the changes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A counter.
    Number(i64),
    /// A time, in UTC.
    Time(OffsetDateTime),
}

impl Version {
    /// Whether a record can have it at the time `now`. One that is too high would supersede all that follow.
    pub(crate) fn is_plausible(self, now: OffsetDateTime) -> bool {
        match self {
            Self::Number(number) => number.unsigned_abs() <= MAX_VERSION.unsigned_abs(),
            Self::Time(time) => time - now <= MAX_VERSION_AHEAD,
        }
    }
}

/// What could be read of a message that is not a record, so that its sender can identify it.
#[derive(Debug, Default)]
pub struct PartialRecord {
    /// The entity set, when it is valid.
    pub table: Option<String>,
    /// The sender's id.
    pub message_id: Option<String>,
}

/// Entity sets and properties are ASCII words.
pub(crate) fn is_entity_set_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.len() <= MAX_NAME_LENGTH && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Logical column names are lower case.
pub(crate) fn is_logical_name(name: &str) -> bool {
    is_entity_set_name(name) && !name.contains(|c: char| c.is_ascii_uppercase())
}

#[cfg(test)]
mod tests;
