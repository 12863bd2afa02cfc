//! The order of a record's versions.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/optimistic-concurrency> covers only the server's own order; the
//! sender's is kept in a column of the row, and after the row's deletion with its lock.

use std::cmp::Ordering;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::dataverse::Row;
use crate::json::Value;
use crate::record::Version;

/// A version and the column that holds it.
#[derive(Clone)]
pub(super) struct RecordVersion<'a> {
    pub(super) column: &'a str,
    pub(super) value: Version,
    /// The version as a JSON value for its column.
    pub(super) json: String,
}

impl<'a> RecordVersion<'a> {
    pub(super) fn new(column: &'a str, version: Version) -> Self {
        let json = match version {
            Version::Number(number) => number.to_string(),
            Version::Time(_) => format!("\"{}\"", text(version)),
        };
        Self { column, value: version, json }
    }
}

/// The content of a row's version column.
pub(super) enum Stored {
    /// Empty: older than every version, unless a deletion is known.
    Nothing,
    /// A version.
    Version(Version),
    /// Not a version.
    Unreadable,
}

/// Reads the version column of a row.
pub(super) fn stored(row: &Row, column: &str) -> Stored {
    let Some(raw) = row.members().get(column) else { return Stored::Nothing };
    match Value::of(raw) {
        Value::Null => Stored::Nothing,
        _ => read(raw).map_or(Stored::Unreadable, Stored::Version),
    }
}

fn read(raw: &RawValue) -> Option<Version> {
    match Value::of(raw) {
        Value::Number(number) => number.literal()?.parse().ok().map(Version::Number),
        Value::Text(text) => parse(&text),
        _ => None,
    }
}

/// Reads a version from plain text.
pub(super) fn parse(text: &str) -> Option<Version> {
    match OffsetDateTime::parse(text, &Rfc3339) {
        Ok(time) => Some(Version::Time(time)),
        Err(_) => text.parse().ok().map(Version::Number),
    }
}

/// The version as plain text.
pub(super) fn text(version: Version) -> String {
    match version {
        Version::Number(number) => number.to_string(),
        Version::Time(time) => time.format(&Rfc3339).expect("a record's version is in UTC, in a year of four digits"),
    }
}

/// The order of two versions; `None` if one is a number and the other a time.
pub(super) fn compare(a: Version, b: Version) -> Option<Ordering> {
    match (a, b) {
        (Version::Number(a), Version::Number(b)) => Some(a.cmp(&b)),
        (Version::Time(a), Version::Time(b)) => Some(a.cmp(&b)),
        (Version::Number(_), Version::Time(_)) | (Version::Time(_), Version::Number(_)) => None,
    }
}

/// Whether a value that the sender put into the version column equals the version.
pub(super) fn agrees(raw: &RawValue, version: Version) -> bool {
    read(raw).and_then(|sent| compare(sent, version)) == Some(Ordering::Equal)
}
