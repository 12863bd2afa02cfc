//! A message becomes a [`Record`], or an [`Error`] that names the field.
//!
//! Strict at the door: an unknown field, a wrong kind, a contradiction are errors; past it only validated values exist.
//! Pure: bytes in, values out. Column values are never interpreted, they pass through as the text that was sent.
//!
//! The format is the table "A record" in the README; CloudEvents 1.0 events in JSON are unwrapped first
//! (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md>).

mod columns;
mod error;
mod fields;

mod key;
mod usual;

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::json::{self, Members, Value};
pub(crate) use columns::BIND;
use columns::Named;
pub use columns::{Column, Columns};
pub use error::Error;
use fields::{Fields, Sent};

pub use key::{KeyColumn, KeyValue, RecordKey, guid};

/// The largest record that is accepted, in bytes. A queue message is at most 64 KiB; this bounds HTTP callers.
pub const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Entity set names are logical names with a suffix; Dataverse caps those at 128.
const LONGEST_NAME: usize = 128;

/// `source` and `messageId` end up in logs, so they are kept short.
const LONGEST_LABEL: usize = 256;

/// What reads a record after us, such as the Functions host and this program's own comparison, gives up a little beyond.
/// <https://docs.rs/serde_json/latest/serde_json/struct.Deserializer.html#method.disable_recursion_limit>
const DEEPEST: usize = 100;

/// Sets of the Web API whose rows are no data but the environment's own schema: a deletion there drops a table.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/use-web-api-metadata>
const SCHEMA: [&str; 4] =
    ["EntityDefinitions", "RelationshipDefinitions", "GlobalOptionSetDefinitions", "ManagedPropertyDefinitions"];

const FIELDS: &str = "table, key, columns, operation, source, version, versionColumn, onConflict, messageId";

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
    /// Where this change stands among the changes of its record.
    pub version: Option<Version>,
    /// The column of the row that holds `version`, when the sender knows better than the setting. Only with a version.
    pub version_column: Option<String>,
    /// What a lost create race leads to, when the sender has a say.
    pub on_conflict: Option<OnConflict>,
    /// The sender's id of this message.
    pub message_id: Option<String>,
}

/// What a record asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Operation {
    /// Create or update.
    #[default]
    Upsert,
    /// Only if missing.
    Create,
    /// Only if present.
    Update,
    /// Remove the row.
    Delete,
}

/// What a lost create race leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnConflict {
    /// Read the row; skip when it holds our values, else send again.
    #[default]
    Verify,
    /// The row exists: skip.
    Skip,
    /// Send again.
    Retry,
}

impl OnConflict {
    /// The policy of that name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "verify" => Some(Self::Verify),
            "skip" => Some(Self::Skip),
            "retry" => Some(Self::Retry),
            _ => None,
        }
    }
}

/// The source's own order of the changes of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// A counter.
    Number(i64),
    /// A moment, in UTC.
    Time(OffsetDateTime),
}

/// What could be read of a message that is no record, so that its sender can find it.
#[derive(Debug, Default)]
pub struct Trace {
    /// The entity set, when it is one.
    pub table: Option<String>,
    /// The sender's id.
    pub message_id: Option<String>,
}

/// Reads one message.
///
/// # Errors
/// Says which field is wrong, and what could be read besides.
pub fn decode(message: &Bytes) -> Result<Record, (Error, Trace)> {
    let mut trace = Trace::default();
    read(message, &mut trace).map_err(|error| (error, trace))
}

fn read(message: &Bytes, trace: &mut Trace) -> Result<Record, Error> {
    if message.len() > MOST_BYTES {
        return Err(Error::TooLarge { bytes: message.len() });
    }
    let text = std::str::from_utf8(message).map_err(|error| Error::NotText { position: error.valid_up_to() })?;
    if text.starts_with('\u{feff}') {
        return Err(Error::NotAnObject { problem: "it begins with a byte-order mark".to_owned() });
    }
    if json::is_deeper_than(DEEPEST, text) {
        return Err(Error::TooDeep);
    }
    if let Some(fields) = usual::fields(text) {
        return read_record(fields, None, message, trace);
    }
    let Members(members) = object(text)?;
    if members.iter().any(|(name, _)| name == "specversion") {
        return read_event(&members, message, trace);
    }
    let (fields, unknown) = Fields::among(members);
    read_record(fields, unknown, message, trace)
}

fn object(text: &str) -> Result<Members<'_>, Error> {
    serde_json::from_str(text).map_err(|error| Error::NotAnObject { problem: clause(&error) })
}

/// The parser's text without what it quotes of the data beyond a name.
fn clause(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // serde quotes the offending string itself when a whole value has the wrong type; that may be somebody's data.
    if text.starts_with("invalid type: string") {
        return format!("a string at line {} column {}", error.line(), error.column());
    }
    text
}

/// Takes a record out of a CloudEvents 1.0 event.
fn read_event(members: &[(Cow<'_, str>, &RawValue)], message: &Bytes, trace: &mut Trace) -> Result<Record, Error> {
    let member = |name: &str| members.iter().find(|(found, _)| found == name).map(|(_, raw)| *raw);
    let text = |name: &'static str| member(name).map(|raw| label(name, raw)).transpose().map(Option::flatten);
    if member("specversion").map(Value::of) != Some(Value::Text("1.0".into())) {
        return Err(Error::Event { problem: "`specversion` must be \"1.0\"" });
    }
    let (source, id) = (text("source")?, text("id")?);
    trace.message_id.clone_from(&id);
    let Some(data) = member("data") else {
        return Err(Error::Event { problem: "it has no `data`; `data_base64` is not supported" });
    };
    if Value::of(data) != Value::Nested {
        return Err(Error::Event { problem: "its `data` must be an object, the record" });
    }
    let (fields, unknown) = match usual::fields(data.get()) {
        Some(fields) => (fields, None),
        None => Fields::among(object(data.get())?.0),
    };
    let mut record = read_record(fields, unknown, message, trace)?;
    record.source = record.source.or(source);
    record.message_id = record.message_id.or(id);
    Ok(record)
}

/// The fields are parts of `message`.
fn read_record(
    fields: Fields<'_>,
    unknown: Option<String>,
    message: &Bytes,
    trace: &mut Trace,
) -> Result<Record, Error> {
    let message_id = optional(fields.message_id, |raw| label("messageId", raw))?;
    if message_id.is_some() {
        trace.message_id.clone_from(&message_id);
    }
    if let Some(field) = unknown {
        return Err(Error::UnknownField { field });
    }
    let table = table(fields.table.ok_or(Error::Missing { field: "table" })?)?;
    trace.table = Some(table.clone());
    let key_sent = fields.key.ok_or(Error::Missing { field: "key" })?;
    let key = RecordKey::read(key_sent)?;
    let operation = optional(fields.operation, operation)?.unwrap_or_default();
    let columns = match fields.columns {
        Some(Sent::Named(named)) => Columns::of(&named, message, &key)?,
        Some(Sent::Any(raw)) => Columns::of(&Named::read(raw)?, message, &key)?,
        None if operation == Operation::Delete => Columns::default(),
        None => return Err(Error::Missing { field: "columns" }),
    };
    let version = optional(fields.version, version)?;
    let version_column = optional(fields.version_column, version_column)?;
    if version.is_none() && version_column.is_some() {
        return Err(Error::ColumnWithoutVersion);
    }
    Ok(Record {
        table,
        key,
        key_sent: key_sent.to_owned(),
        columns,
        operation,
        source: optional(fields.source, |raw| label("source", raw))?,
        version,
        version_column,
        on_conflict: optional(fields.on_conflict, on_conflict)?,
        message_id,
    })
}

/// An optional field may be absent or null.
fn optional<'a, T>(
    raw: Option<&'a RawValue>,
    read: impl FnOnce(&'a RawValue) -> Result<Option<T>, Error>,
) -> Result<Option<T>, Error> {
    match raw {
        None => Ok(None),
        Some(raw) => read(raw),
    }
}

fn table(raw: &RawValue) -> Result<String, Error> {
    let Value::Text(name) = Value::of(raw) else { return Err(Error::Table) };
    if SCHEMA.contains(&name.as_ref()) {
        return Err(Error::Schema);
    }
    if is_set_name(&name) { Ok(name.into_owned()) } else { Err(Error::Table) }
}

/// Entity sets and properties are ASCII words.
pub(crate) fn is_set_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    first && name.len() <= LONGEST_NAME && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Logical column names are lower case.
pub(crate) fn is_logical_name(name: &str) -> bool {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    first
        && name.len() <= LONGEST_NAME
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

fn label(field: &'static str, raw: &RawValue) -> Result<Option<String>, Error> {
    match Value::of(raw) {
        Value::Null => Ok(None),
        Value::Text(text) if text.chars().count() <= LONGEST_LABEL && !text.contains(char::is_control) => {
            Ok(Some(text.into_owned()))
        }
        Value::Text(_) => Err(Error::Label { field }),
        other => Err(Error::Kind { field: field.into(), wanted: "a string", found: other.kind() }),
    }
}

fn operation(raw: &RawValue) -> Result<Option<Operation>, Error> {
    let wrong = Error::Choice { field: "operation", allowed: "upsert, create, update, delete" };
    match Value::of(raw) {
        Value::Null => Ok(None),
        Value::Text(word) => Ok(Some(match word.as_ref() {
            "upsert" => Operation::Upsert,
            "create" => Operation::Create,
            "update" => Operation::Update,
            "delete" => Operation::Delete,
            _ => return Err(wrong),
        })),
        _ => Err(wrong),
    }
}

fn on_conflict(raw: &RawValue) -> Result<Option<OnConflict>, Error> {
    let wrong = Error::Choice { field: "onConflict", allowed: "verify, skip, retry" };
    match Value::of(raw) {
        Value::Null => Ok(None),
        Value::Text(word) => OnConflict::parse(&word).map(Some).ok_or(wrong),
        _ => Err(wrong),
    }
}

fn version(raw: &RawValue) -> Result<Option<Version>, Error> {
    match Value::of(raw) {
        Value::Null => Ok(None),
        Value::Number(number) => {
            let whole = number.literal().and_then(|literal| literal.parse().ok());
            whole.map(Version::Number).map(Some).ok_or(Error::Version)
        }
        Value::Text(text) => {
            let time = OffsetDateTime::parse(&text, &Rfc3339).ok().and_then(in_utc).ok_or(Error::Version)?;
            Ok(Some(Version::Time(time)))
        }
        Value::Bool(_) | Value::NoText(_) | Value::Nested => Err(Error::Version),
    }
}

fn version_column(raw: &RawValue) -> Result<Option<String>, Error> {
    match Value::of(raw) {
        Value::Null => Ok(None),
        Value::Text(name) if is_logical_name(&name) => Ok(Some(name.into_owned())),
        Value::Text(_) => Err(Error::ColumnName { field: "versionColumn".into() }),
        other => Err(Error::Kind { field: "versionColumn".into(), wanted: "a column's name", found: other.kind() }),
    }
}

/// The same moment in UTC, unless its year there has no four digits: it could not be written down again.
fn in_utc(time: OffsetDateTime) -> Option<OffsetDateTime> {
    time.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()))
}

#[cfg(test)]
mod tests;
