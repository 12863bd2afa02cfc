//! Decodes a message: the fields of a record by name, in a CloudEvent or bare.

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use super::error::parser_problem;
use super::{
    Columns, Error, FIELDS, MAX_BYTES, MAX_DEPTH, MAX_LABEL_LENGTH, MAX_NAME_LENGTH, MAX_VERSION, Operation,
    PartialRecord, Record, RecordKey, Version, is_entity_set_name, is_logical_name, parse_word,
};
use crate::json::{self, Members, Value};

/// Decodes one message.
///
/// # Errors
/// The field that is wrong, and what could be read besides.
pub fn decode(message: &Bytes) -> Result<Record, (Error, PartialRecord)> {
    let mut partial = PartialRecord::default();
    read_message(message, &mut partial).map_err(|error| (error, partial))
}

fn read_message(message: &Bytes, partial: &mut PartialRecord) -> Result<Record, Error> {
    if message.len() > MAX_BYTES {
        return Err(Error::TooLarge { bytes: message.len() });
    }
    let message = &message.slice_ref(json::without_bom(message));
    let text = str::from_utf8(message).map_err(|error| Error::NotUtf8 { position: error.valid_up_to() })?;
    if json::is_deeper_than(MAX_DEPTH, text) {
        return Err(Error::TooDeep);
    }
    let members = object(text)?;
    match members.get("specversion") {
        Some(specversion) => read_event(specversion, &members, message, partial),
        None => read_record(&members, message, partial),
    }
}

fn object(text: &str) -> Result<Members<'_>, Error> {
    serde_json::from_str(text).map_err(|error| Error::NotAnObject { problem: parser_problem(&error) })
}

/// Takes the record out of a CloudEvents 1.0 event.
fn read_event(
    specversion: &RawValue,
    event: &Members<'_>,
    message: &Bytes,
    partial: &mut PartialRecord,
) -> Result<Record, Error> {
    if Value::of(specversion) != Value::Text("1.0".into()) {
        return Err(Error::Event { problem: "`specversion` must be \"1.0\"" });
    }
    let (source, id) = (label(event, "source")?, label(event, "id")?);
    partial.message_id.clone_from(&id);
    let data =
        event.get("data").ok_or(Error::Event { problem: "`data` is missing; `data_base64` is not supported" })?;
    if Value::of(data) != Value::Nested {
        return Err(Error::Event { problem: "`data` must be an object, the record" });
    }
    let record = read_record(&object(data.get())?, message, partial)?;
    Ok(Record { source: record.source.or(source), message_id: record.message_id.or(id), ..record })
}

/// The members are parts of `message`.
fn read_record(members: &Members<'_>, message: &Bytes, partial: &mut PartialRecord) -> Result<Record, Error> {
    let required = |field| members.get(field).ok_or(Error::Missing { field });
    let message_id = label(members, "messageId")?;
    if message_id.is_some() {
        partial.message_id.clone_from(&message_id);
    }
    if let Some((field, _)) = members.0.iter().find(|(name, _)| !FIELDS.contains(&name.as_ref())) {
        return Err(Error::UnknownField { field: field.chars().take(MAX_LABEL_LENGTH).collect() });
    }
    let table = table(&Value::of(required("table")?))?;
    partial.table = Some(table.clone());
    let key_sent = required("key")?;
    let key = RecordKey::read(key_sent)?;
    let operations = "must be one of upsert, create, update, delete";
    let operation = choice(members, "operation", operations)?.unwrap_or_default();
    let columns = match required("columns") {
        Ok(sent) => Columns::read(sent, message, &key)?,
        Err(_) if operation == Operation::Delete => Columns::default(),
        Err(missing) => return Err(missing),
    };
    let version = optional(members, "version", version)?;
    let version_column = optional(members, "versionColumn", version_column)?;
    if version.is_none() && version_column.is_some() {
        return Err(Error::invalid("versionColumn", "requires `version`"));
    }
    Ok(Record {
        table,
        key,
        key_sent: key_sent.to_owned(),
        columns,
        operation,
        source: label(members, "source")?,
        version,
        version_column,
        on_conflict: choice(members, "onConflict", "must be one of verify, skip, retry")?,
        message_id,
    })
}

/// An optional field may be absent or null.
fn optional<T>(
    members: &Members<'_>,
    field: &str,
    read: impl FnOnce(Value<'_>) -> Result<T, Error>,
) -> Result<Option<T>, Error> {
    match members.get(field).map(Value::of) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => read(value).map(Some),
    }
}

fn label(members: &Members<'_>, field: &'static str) -> Result<Option<String>, Error> {
    optional(members, field, |value| match value {
        Value::Text(text) if text.chars().count() <= MAX_LABEL_LENGTH && !text.contains(char::is_control) => {
            Ok(text.into_owned())
        }
        Value::Text(_) => Err(Error::invalid(
            field,
            format!("must have at most {MAX_LABEL_LENGTH} characters and no control characters"),
        )),
        other => Err(Error::kind(field, &other, "a string")),
    })
}

fn table(value: &Value<'_>) -> Result<String, Error> {
    match value {
        Value::Text(name) if is_entity_set_name(name) => Ok(name.to_string()),
        _ => Err(Error::invalid(
            "table",
            format!("must be an entity set name such as contacts: letters, digits and `_`, at most {MAX_NAME_LENGTH}"),
        )),
    }
}

/// An optional field that is one of a few words.
fn choice<T: DeserializeOwned>(members: &Members<'_>, field: &str, problem: &str) -> Result<Option<T>, Error> {
    optional(members, field, |value| {
        let Value::Text(name) = value else { return Err(Error::invalid(field, problem)) };
        parse_word(&name).ok_or_else(|| Error::invalid(field, problem))
    })
}

fn version(value: Value<'_>) -> Result<Version, Error> {
    let version = match value {
        Value::Number(number) => {
            let number = number.literal().and_then(|literal| literal.parse().ok());
            number.filter(|number| (-MAX_VERSION..=MAX_VERSION).contains(number)).map(Version::Number)
        }
        Value::Text(text) => OffsetDateTime::parse(&text, &Rfc3339).ok().and_then(in_utc).map(Version::Time),
        _ => None,
    };
    let problem = "must be an integer of at most 2^53, or an RFC 3339 time such as 2026-01-31T08:00:00Z";
    version.ok_or_else(|| Error::invalid("version", problem))
}

/// The same instant in UTC, unless its year there does not have four digits: RFC 3339 could not express it.
fn in_utc(time: OffsetDateTime) -> Option<OffsetDateTime> {
    time.checked_to_offset(UtcOffset::UTC).filter(|utc| (0..=9999).contains(&utc.year()))
}

fn version_column(value: Value<'_>) -> Result<String, Error> {
    match value {
        Value::Text(name) if is_logical_name(&name) => Ok(name.into_owned()),
        Value::Text(_) => Err(Error::column_name("versionColumn")),
        other => Err(Error::kind("versionColumn", &other, "a column's name")),
    }
}
