//! One line of the log, as text for people or as a JSON object.
//!
//! ```text
//! 2026-11-24T10:00:00.123456Z INFO record settled outcome=applied reason=created duration_ms=12 table=contacts
//! {"time":"2026-11-24T10:00:00.123456Z","level":"INFO","message":"record settled","outcome":"applied",…}
//! ```
//!
//! In text the message and every value stand as they are, or between quotation marks where they could be taken for something
//! else: a value with a blank, a message with a word that looks like a field. Between quotation marks or not, a backslash
//! begins a JSON escape. In JSON a field that is named like one of the three first members has `_` after its name. Of fields
//! with one name the first one counts. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use time::OffsetDateTime;
use tracing::Level;

use super::Format;
use super::escape::{Place, is_of_a_name, push};
use crate::sanitize::needs_escape;

/// Most bytes of a line in an answer.
pub(super) const MOST_SHORTENED: usize = 1024;

/// The members of a JSON line that are no fields.
const MEMBERS: [&str; 3] = ["time", "level", "message"];

/// How a value is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, whatever it holds.
    Text,
    /// A number, `true` or `false`: the same in both formats.
    Bare,
}

/// A line that is being written; to begin anew keeps its memory.
#[derive(Debug)]
pub(super) struct Line {
    format: Format,
    hides_warn: bool,
    names: Vec<&'static str>,
    text: String,
    /// Where the last field ends that would stand in a shortened line.
    short: usize,
}

impl Default for Line {
    fn default() -> Self {
        Self { format: Format::Text, hides_warn: false, names: Vec::new(), text: String::new(), short: 0 }
    }
}

impl Line {
    /// Begins anew, with `colours` for a terminal.
    pub(super) fn begin(&mut self, format: Format, level: Level, now: OffsetDateTime, colours: bool) {
        self.format = format;
        self.hides_warn = level == Level::ERROR;
        self.names.clear();
        self.text.clear();
        let time = now.time();
        let (hour, minute, second, micros) = (time.hour(), time.minute(), time.second(), time.microsecond());
        let time = format_args!("{}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z", now.date());
        let told = match (format, colours) {
            (Format::Text, false) => write!(self.text, "{time} {level}"),
            (Format::Text, true) => write!(self.text, "{time} \u{1b}[{}m{level}\u{1b}[0m", colour(level)),
            (Format::Json, _) => write!(self.text, r#"{{"time":"{time}","level":"{level}""#),
        };
        told.expect("writing to a string cannot fail");
        self.mark();
    }

    /// Adds the message; an empty one is left out.
    pub(super) fn message(&mut self, message: &str) {
        if message.is_empty() {
            return;
        }
        match self.format {
            Format::Json => {
                self.text.push_str(r#","message":"#);
                self.quoted(message);
            }
            Format::Text => {
                self.text.push(' ');
                self.plain_or_quoted(message, is_ambiguous);
            }
        }
        self.mark();
    }

    /// Adds a field, unless there is one of that name.
    pub(super) fn field(&mut self, name: &'static str, value: &str, kind: Kind) {
        if self.names.contains(&name) {
            return;
        }
        self.names.push(name);
        let name = name.strip_prefix("r#").unwrap_or(name);
        match self.format {
            Format::Json => {
                self.text.push_str(",\"");
                push(&mut self.text, name, Place::Quoted, self.hides_warn);
                self.text.push_str(if MEMBERS.contains(&name) { "_\":" } else { "\":" });
            }
            Format::Text => {
                self.text.push(' ');
                push(&mut self.text, name, Place::Name, self.hides_warn);
                self.text.push('=');
            }
        }
        match (kind, self.format) {
            (Kind::Bare, _) => self.text.push_str(value),
            (Kind::Text, Format::Json) => self.quoted(value),
            (Kind::Text, Format::Text) => self.plain_or_quoted(value, is_no_word),
        }
        self.mark();
    }

    /// Ends the line with its line break.
    pub(super) fn end(&mut self) {
        self.text.push_str(match self.format {
            Format::Text => "\n",
            Format::Json => "}\n",
        });
    }

    /// The line that has ended, with its line break.
    pub(super) fn whole(&self) -> &str {
        &self.text
    }

    /// The line without its line break; of a long one as many fields as fit, and a mark that says so.
    pub(super) fn shortened(&self) -> Cow<'_, str> {
        let line = self.text.trim_end_matches('\n');
        if line.len() <= MOST_SHORTENED {
            return Cow::Borrowed(line);
        }
        Cow::Owned(format!("{}{}", &line[..self.short], self.cut()))
    }

    fn cut(&self) -> &'static str {
        match self.format {
            Format::Text => " …",
            Format::Json => r#","cut":true}"#,
        }
    }

    fn mark(&mut self) {
        if self.text.len() + self.cut().len() <= MOST_SHORTENED {
            self.short = self.text.len();
        }
    }

    fn plain_or_quoted(&mut self, text: &str, needs_quotes: fn(&str) -> bool) {
        if needs_quotes(text) {
            self.quoted(text);
        } else {
            push(&mut self.text, text, Place::Plain, self.hides_warn);
        }
    }

    fn quoted(&mut self, text: &str) {
        self.text.push('"');
        push(&mut self.text, text, Place::Quoted, self.hides_warn);
        self.text.push('"');
    }
}

/// Whether a message could be taken for a quoted one, or a word of it for a field.
fn is_ambiguous(message: &str) -> bool {
    // An escape consists of what may stand in a name.
    let looks_like_a_name = |c: char| is_of_a_name(c) || c == '\\' || needs_escape(c);
    let is_name = |text: &str| !text.is_empty() && text.chars().all(looks_like_a_name);
    let is_field = |word: &str| word.split_once('=').is_some_and(|(name, _)| is_name(name));
    message.starts_with('"') || message.split(' ').any(is_field)
}

/// Whether a value needs quotation marks.
fn is_no_word(value: &str) -> bool {
    value.is_empty() || value.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '=' | '\\') || needs_escape(c))
}

/// <https://en.wikipedia.org/wiki/ANSI_escape_code#Colors>
fn colour(level: Level) -> u8 {
    match level {
        Level::ERROR => 31,
        Level::WARN => 33,
        Level::INFO => 32,
        Level::DEBUG => 34,
        Level::TRACE => 35,
    }
}
