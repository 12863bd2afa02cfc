//! Parses log lines as documented: the inverse of the formatter.

use serde_json::{Deserializer, Map, Value};

use super::Format;

/// The contents of a line; every value is text.
#[derive(Debug, PartialEq)]
pub(super) struct Parsed {
    pub(super) level: String,
    pub(super) message: String,
    pub(super) fields: Vec<(String, String)>,
}

/// Parses a line, including its line break.
pub(super) fn parsed(format: Format, line: &str) -> Parsed {
    let line = line.strip_suffix('\n').expect("a line ends");
    match format {
        Format::Text => read_text(line),
        Format::Json => read_json(line),
    }
}

fn read_json(line: &str) -> Parsed {
    // `serde_json`'s map is sorted, so the order is read from the line.
    let members: Map<String, Value> = serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let member = |name: &str| members.get(name).map(text).unwrap_or_default();
    let mut fields: Vec<_> =
        members.iter().filter(|(name, _)| !["time", "level", "message"].contains(&name.as_str())).collect();
    fields.sort_by_key(|(name, _)| line.find(&format!("{}:", Value::from(name.as_str()))));
    let fields = fields.into_iter().map(|(name, value)| (name.clone(), text(value))).collect();
    Parsed { level: member("level"), message: member("message"), fields }
}

fn read_text(line: &str) -> Parsed {
    let (_time, rest) = line.split_once(' ').expect("after the time");
    let (level, mut rest) = rest.split_once(' ').unwrap_or((rest, ""));
    let message;
    if rest.starts_with('"') {
        (message, rest) = quoted(rest);
    } else {
        let end = first_field(rest);
        message = plain(rest[..end].strip_suffix(' ').unwrap_or(&rest[..end]));
        rest = &rest[end..];
    }
    let mut fields = Vec::new();
    while let Some((name, value)) = rest.trim_start().split_once('=') {
        let (value, after) = if value.starts_with('"') {
            quoted(value)
        } else {
            let (value, after) = value.split_once(' ').unwrap_or((value, ""));
            (plain(value), after)
        };
        fields.push((plain(name), value));
        rest = after;
    }
    Parsed { level: level.to_owned(), message, fields }
}

/// The position of the first word that is a field.
fn first_field(text: &str) -> usize {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_.-\\".contains(c);
    let mut at = 0;
    for word in text.split(' ') {
        if word.split_once('=').is_some_and(|(name, _)| !name.is_empty() && name.chars().all(is_name)) {
            return at;
        }
        at += word.len() + 1;
    }
    text.len()
}

fn quoted(text: &str) -> (String, &str) {
    let mut values = Deserializer::from_str(text).into_iter::<String>();
    let value = values.next().and_then(Result::ok).unwrap_or_else(|| panic!("not a string: {text}"));
    (value, &text[values.byte_offset()..])
}

fn plain(text: &str) -> String {
    let quoted = format!("\"{}\"", text.replace('"', "\\\""));
    serde_json::from_str(&quoted).unwrap_or_else(|error| panic!("{text}: {error}"))
}
