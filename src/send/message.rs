//! A line's fields as the text of a record. Pure.
//!
//! A line of an NDJSON file that has `columns` or `operation` is a record already, because every record has one of them: what it
//! lacks is filled in. Any other line is an object of columns.

use std::borrow::Cow;
use std::fmt;

use serde::Serialize;
use serde::ser::Serializer;
use serde_json::value::RawValue;

use super::arguments::{Empty, RecordOptions};
use super::kind::{Kind, json};
use super::lookup::Lookup;
use crate::json::{Members, Value};

/// Why a line cannot be sent. No text quotes a value, so problems of one kind are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    column: Option<String>,
    text: String,
}

impl Problem {
    /// A problem of a column of the file.
    pub(super) fn of(column: &str, text: impl Into<String>) -> Self {
        Self { column: Some(column.to_owned()), text: text.into() }
    }

    /// A problem of the line.
    pub(super) fn of_line(text: impl Into<String>) -> Self {
        Self { column: None, text: text.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            Some(column) => write!(f, "column {column} {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// A column of a line; `None` is an empty field.
pub(super) type Field<'a> = (Cow<'a, str>, Option<Cow<'a, RawValue>>);

/// Members of a JSON object, in order.
type Object<'a> = Vec<(Cow<'a, str>, Cow<'a, RawValue>)>;

/// How the fields of a line become a record.
#[derive(Debug)]
pub(super) struct Mapping {
    options: RecordOptions,
    /// The columns of `--set`.
    constants: Vec<(String, Box<RawValue>)>,
    /// Whether the key is the row's GUID.
    is_primary_key: bool,
    /// What `messageId` is where a record has none, before the number of its line.
    name: String,
}

impl Mapping {
    /// With columns of these kinds, for lines of the file `name`.
    ///
    /// # Errors
    /// The constant whose value is not of its kind.
    pub(super) fn new(options: RecordOptions, kind: impl Fn(&str) -> Kind, name: String) -> Result<Self, Problem> {
        let constant = |(column, text): &(String, String)| {
            let value =
                kind(column).read(text).map_err(|problem| Problem::of(column, format!("of --set {problem}")))?;
            Ok((column.clone(), value))
        };
        let constants = options.set.iter().map(constant).collect::<Result<_, _>>()?;
        // A column of an alternate key is never a GUID, but for a lookup's.
        let is_primary_key =
            matches!(&options.key[..], [column] if !column.ends_with("_value") && kind(column) == Kind::Guid);
        Ok(Self { options, constants, is_primary_key, name })
    }

    /// The text of the record in a line of NDJSON.
    ///
    /// # Errors
    /// The column or the line that is wrong.
    pub(super) fn of_json(&self, number: u64, line: &str) -> Result<String, Problem> {
        let not_an_object = |error: serde_json::Error| Problem::of_line(json_problem(&error));
        let Members(members) = serde_json::from_str(line).map_err(not_an_object)?;
        let has = |name: &str| members.iter().any(|(found, _)| found == name);
        if has("specversion") {
            return Ok(line.to_owned());
        }
        if !has("columns") && !has("operation") {
            return self.message(number, Vec::new(), Some(members.into_iter().map(field).collect()));
        }
        let (columns, others): (Vec<_>, Vec<_>) = members.into_iter().partition(|(name, _)| name == "columns");
        let Some((_, columns)) = columns.first() else { return self.message(number, owned(others), None) };
        let Members(columns) = serde_json::from_str(columns.get())
            .map_err(|error| Problem::of_line(format!("`columns`: {}", json_problem(&error))))?;
        self.message(number, owned(others), Some(columns.into_iter().map(field).collect()))
    }

    /// The text of the record with these columns.
    ///
    /// # Errors
    /// The column that is wrong.
    pub(super) fn of_fields(&self, number: u64, fields: Vec<Field<'_>>) -> Result<String, Problem> {
        self.message(number, Vec::new(), Some(fields))
    }

    /// Fills in what the members of a record lack; a deletion may have no columns.
    fn message(&self, number: u64, members: Object<'_>, columns: Option<Vec<Field<'_>>>) -> Result<String, Problem> {
        let options = &self.options;
        let (has_columns, mut fields) = (columns.is_some(), columns.unwrap_or_default());
        for (name, value) in &self.constants {
            if fields.iter().any(|(found, _)| found == name) {
                return Err(Problem::of(name, "is in the line and in --set"));
            }
            fields.push((Cow::Borrowed(name), Some(Cow::Borrowed(value))));
        }
        let has = |name: &str| members.iter().any(|(found, _)| found == name);
        let (mut added, mut used) = (Object::new(), Vec::new());
        let mut add = |name: &'static str, value: Box<RawValue>| added.push((name.into(), Cow::Owned(value)));
        if let Some(table) = options.table.as_ref().filter(|_| !has("table")) {
            add("table", json(table));
        }
        if !options.key.is_empty() && !has("key") {
            add("key", self.key(&fields)?);
            used.extend(options.key.iter().map(String::as_str));
        }
        if let Some(column) = options.version.as_deref().filter(|_| !has("version")) {
            add("version", version(column, &fields)?);
            used.push(column);
        }
        if let Some(column) = options.version_column.as_ref().filter(|_| !has("versionColumn")) {
            add("versionColumn", json(column));
        }
        if let Some(source) = options.source.as_ref().filter(|_| !has("source")) {
            add("source", json(source));
        }
        if !has("messageId") {
            add("messageId", json(&format!("{}:{number}", self.name)));
        }
        let lookups = self.lookups(&fields)?;
        used.extend(options.lookup.iter().flat_map(Lookup::columns));
        let columns = fields.into_iter().filter(|(name, _)| !used.contains(&name.as_ref())).chain(lookups);
        let columns: Object<'_> = columns.filter_map(|(name, value)| Some((name, self.given(value)?))).collect();
        let has_columns = has_columns || !columns.is_empty();
        let columns = has_columns.then(|| ("columns".into(), Cow::Owned(object(columns))));
        Ok(object(members.into_iter().chain(added).chain(columns).collect()).get().to_owned())
    }

    /// A column's value; an empty one is left out or null.
    fn given<'a>(&self, value: Option<Cow<'a, RawValue>>) -> Option<Cow<'a, RawValue>> {
        value.or(match self.options.empty {
            Empty::Omit => None,
            Empty::Null => Some(Cow::Borrowed(RawValue::NULL)),
        })
    }

    /// A GUID alone is the primary key, as a text; all else is an alternate key.
    fn key(&self, fields: &[Field<'_>]) -> Result<Box<RawValue>, Problem> {
        let mut columns = Object::new();
        for name in &self.options.key {
            let value = find(name, fields)?.ok_or_else(|| Problem::of(name, "is empty; the key needs a value"))?;
            columns.push((name.into(), Cow::Borrowed(value)));
        }
        match &columns[..] {
            [(_, value)] if self.is_primary_key => Ok(value.clone().into_owned()),
            _ => Ok(object(columns)),
        }
    }

    fn lookups<'a>(&self, fields: &[Field<'_>]) -> Result<Vec<Field<'a>>, Problem> {
        let lookup = |lookup: &Lookup| {
            let address = lookup.address(|name| find(name, fields))?;
            Ok((lookup.property.clone().into(), address.map(|address| Cow::Owned(json(&address)))))
        };
        self.options.lookup.iter().map(lookup).collect()
    }
}

/// The value of a column; `None` where it is empty or null.
fn find<'a>(name: &str, fields: &'a [Field<'_>]) -> Result<Option<&'a RawValue>, Problem> {
    let field = fields.iter().find(|(found, _)| found == name);
    let (_, value) = field.ok_or_else(|| Problem::of(name, "is missing"))?;
    Ok(value.as_deref().filter(|value| Value::of(value) != Value::Null))
}

/// A version is a whole number or a time, and no time is all digits: so its kind need not be named.
fn version(column: &str, fields: &[Field<'_>]) -> Result<Box<RawValue>, Problem> {
    let value = find(column, fields)?.ok_or_else(|| Problem::of(column, "is empty; the version needs a value"))?;
    let number = match Value::of(value) {
        Value::Text(text) => text.parse::<i64>().ok().map(|number| json(&number)),
        _ => None,
    };
    Ok(number.unwrap_or_else(|| value.to_owned()))
}

fn field<'a>((name, value): (Cow<'a, str>, &'a RawValue)) -> Field<'a> {
    (name, Some(Cow::Borrowed(value)))
}

fn owned<'a>(members: Vec<(Cow<'a, str>, &'a RawValue)>) -> Object<'a> {
    members.into_iter().map(|(name, value)| (name, Cow::Borrowed(value))).collect()
}

fn object(members: Object<'_>) -> Box<RawValue> {
    struct Members<'a>(Object<'a>);
    impl Serialize for Members<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
        }
    }
    json(&Members(members))
}

/// The parser's text without the position, which is in the file's only line by line, and without a value that it may quote.
fn json_problem(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let text = text.split(" at line ").next().unwrap_or_default();
    if text.starts_with("invalid type") {
        "is not a JSON object".to_owned()
    } else {
        format!("is not a JSON object: {text}")
    }
}

#[cfg(test)]
mod tests;
