//! One line of the log, as text for people or as a JSON object.
//!
//! ```text
//! 2026-11-24T10:00:00.123456Z INFO record settled outcome=applied reason=created duration_ms=12 table=contacts
//! {"time":"2026-11-24T10:00:00.123456Z","level":"INFO","message":"record settled","outcome":"applied",…}
//! ```
//!
//! In text, a message or value that could be mistaken for something else (a value with a blank, a message with a word that looks like
//! a field) is a JSON string. In a JSON string `=` is an escape, so a pattern such as ` outcome=(\w+)` finds fields only. In JSON, a
//! field named like one of the first three members has `_` after its name. Of several fields with one name the first counts. Pure.

use serde_json::Value;
use time::OffsetDateTime;
use tracing::Level;

use super::Format;
use crate::sanitize::{needs_escape, push_escape, sanitize};

/// A line, in parts after which it may be cut.
pub(super) struct Line {
    format: Format,
    names: Vec<&'static str>,
    parts: Vec<String>,
}

impl Line {
    /// A line with time and level, the level coloured for a terminal if `ansi`.
    pub(super) fn new(format: Format, level: Level, now: OffsetDateTime, ansi: bool) -> Self {
        let (date, (hour, minute, second, micros)) = (now.date(), now.time().as_hms_micro());
        let time = format!("{date}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z");
        let head = match (format, ansi) {
            (Format::Text, false) => format!("{time} {level}"),
            (Format::Text, true) => format!("{time} \u{1b}[{}m{level}\u{1b}[0m", colour(level)),
            (Format::Json, _) => format!(r#"{{"time":"{time}","level":"{level}""#),
        };
        Self { format, names: Vec::new(), parts: vec![head] }
    }

    /// Adds the message, unless it is empty.
    pub(super) fn message(&mut self, message: &str) {
        let backslashes_doubled = message.replace('\\', "\\\\");
        let plain = sanitize(&backslashes_doubled);
        self.parts.push(match self.format {
            _ if message.is_empty() => String::new(),
            Format::Json => format!(r#","message":{}"#, json(&message.into())),
            Format::Text if is_ambiguous(&plain) => format!(" {}", json(&message.into())),
            Format::Text => format!(" {plain}"),
        });
    }

    /// Adds a field, unless the line has one of that name.
    pub(super) fn field(&mut self, name: &'static str, value: &Value) {
        if self.names.contains(&name) {
            return;
        }
        self.names.push(name);
        let name = name.strip_prefix("r#").unwrap_or(name);
        self.parts.push(match (self.format, value.as_str()) {
            (Format::Json, _) if matches!(name, "time" | "level" | "message") => {
                format!(",\"{name}_\":{}", json(value))
            }
            (Format::Json, _) => format!(",{}:{}", json(&name.into()), json(value)),
            (Format::Text, Some(text)) if !needs_quotes(text) => format!(" {}={text}", escaped(name)),
            (Format::Text, _) => format!(" {}={}", escaped(name), json(value)),
        });
    }

    /// The same line with one more field, before all others.
    pub(super) fn marked(&self, name: &'static str, value: &str) -> Self {
        let mut mark = Self { format: self.format, names: Vec::new(), parts: Vec::new() };
        mark.field(name, &value.into());
        // Time and level are the first part, the message is the second.
        let mut parts = self.parts.clone();
        let at = parts.len().min(2);
        parts.splice(at..at, mark.parts);
        Self { format: self.format, names: self.names.clone(), parts }
    }

    pub(super) fn whole(&self) -> String {
        self.parts.concat() + self.end()
    }

    fn end(&self) -> &'static str {
        if self.format == Format::Json { "}" } else { "" }
    }

    /// As many parts as fit into `most` bytes, and a mark that says so; `None` if all of them fit.
    pub(super) fn shortened(&self, most: usize) -> Option<String> {
        if self.parts.iter().map(String::len).sum::<usize>() + self.end().len() <= most {
            return None;
        }
        let mark = if self.format == Format::Json { r#","cut":true}"# } else { " …" };
        let fits = |end: &usize| self.parts[..*end].iter().map(String::len).sum::<usize>() + mark.len() <= most;
        let end = (1..self.parts.len()).take_while(fits).last().unwrap_or(1);
        Some(self.parts[..end].concat() + mark)
    }
}

/// A value as JSON, without any character that a terminal could obey, and without `=`.
fn json(value: &Value) -> String {
    sanitize(&value.to_string()).replace('=', "\\u003d")
}

/// A name in a text line.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for c in name.chars() {
        if is_of_a_name(c) {
            escaped.push(c);
        } else {
            push_escape(&mut escaped, c);
        }
    }
    escaped
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// Whether a message, its characters escaped, could be mistaken for a quoted one, or one of its words for a field.
fn is_ambiguous(message: &str) -> bool {
    let is_name = |text: &str| !text.is_empty() && text.chars().all(|c| is_of_a_name(c) || c == '\\');
    let is_field = |word: &str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    message.starts_with('"') || message.split(' ').any(is_field)
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | '\\') || needs_escape(c))
}

/// <https://en.wikipedia.org/wiki/ANSI_escape_code#Colors>
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        _ => 34,
    }
}
