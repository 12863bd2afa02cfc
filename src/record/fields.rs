//! The fields of a record by name.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::columns::Named;

/// What stands in the `columns` field.
#[derive(Debug)]
pub(super) enum Sent<'a> {
    /// An object whose names are read.
    Named(Named<'a>),
    /// Nobody has looked at it.
    Any(&'a RawValue),
}

/// Each field's value, where it was sent.
#[derive(Debug, Default)]
pub(super) struct Fields<'a> {
    pub(super) table: Option<&'a RawValue>,
    pub(super) key: Option<&'a RawValue>,
    pub(super) columns: Option<Sent<'a>>,
    pub(super) operation: Option<&'a RawValue>,
    pub(super) source: Option<&'a RawValue>,
    pub(super) version: Option<&'a RawValue>,
    pub(super) version_column: Option<&'a RawValue>,
    pub(super) on_conflict: Option<&'a RawValue>,
    pub(super) message_id: Option<&'a RawValue>,
}

impl<'a> Fields<'a> {
    /// The fields among an object's members, and the first that is none.
    pub(super) fn among(members: Vec<(Cow<'a, str>, &'a RawValue)>) -> (Self, Option<String>) {
        let (mut fields, mut unknown) = (Self::default(), None);
        for (name, raw) in members {
            if name == "columns" {
                fields.columns = Some(Sent::Any(raw));
            } else if let Some(slot) = fields.slot(&name) {
                *slot = Some(raw);
            } else {
                unknown = unknown.or(Some(name.into_owned()));
            }
        }
        (fields, unknown)
    }

    /// The place of any field but `columns`.
    pub(super) fn slot(&mut self, name: &str) -> Option<&mut Option<&'a RawValue>> {
        Some(match name {
            "table" => &mut self.table,
            "key" => &mut self.key,
            "operation" => &mut self.operation,
            "source" => &mut self.source,
            "version" => &mut self.version,
            "versionColumn" => &mut self.version_column,
            "onConflict" => &mut self.on_conflict,
            "messageId" => &mut self.message_id,
            _ => return None,
        })
    }
}
