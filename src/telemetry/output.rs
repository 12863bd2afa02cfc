//! Where log lines go: the stream whose lines the Functions host files under the right level.
//!
//! The host files a line of stdout as information, and a line of stderr as a warning if it contains "warn" in any letter case, else as
//! an error. So an error line never contains that word: its second letter is written as a JSON escape (`w\u0061rn`).

use std::borrow::Cow;
use std::io::{Write as _, stderr, stdout};
use std::sync::Arc;

use tracing::Level;

/// A stream of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

type WriteLine = dyn Fn(Stream, &str) + Send + Sync;

/// Takes whole lines, line breaks included, and the stream that suits their level.
#[derive(Clone)]
pub(super) struct Sink(Arc<WriteLine>);

impl Sink {
    pub(super) fn new(write: impl Fn(Stream, &str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes a line of this level by one call; a line break is added.
    pub(super) fn write(&self, level: Level, line: &str) {
        let stream = if level <= Level::WARN { Stream::Stderr } else { Stream::Stdout };
        self.0(stream, &format!("{}\n", as_printed(level, line)));
    }
}

/// The text of a line of this level on its stream, and in an answer, so that the two can be recognised as one.
pub(super) fn as_printed(level: Level, line: &str) -> Cow<'_, str> {
    if level == Level::ERROR { Cow::Owned(escape_warn(line)) } else { Cow::Borrowed(line) }
}

/// Writes to the process's own streams.
pub(super) fn print(stream: Stream, line: &str) {
    // A closed stream must not stop the handler, so the result is ignored.
    let _ = match stream {
        Stream::Stdout => stdout().write_all(line.as_bytes()),
        Stream::Stderr => stderr().write_all(line.as_bytes()),
    };
}

/// A backslash in a line always begins a JSON escape, so the escapes that this adds can be undone.
fn escape_warn(line: &str) -> String {
    let is_word = |start: usize| line.get(start..start + 4).is_some_and(|word| word.eq_ignore_ascii_case("warn"));
    let mut escaped = String::with_capacity(line.len());
    for (at, letter) in line.char_indices() {
        if at.checked_sub(1).is_some_and(is_word) {
            escaped.push_str(if letter == 'A' { r"\u0041" } else { r"\u0061" });
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_word_is_escaped_anywhere_and_in_any_letter_case() {
        for (text, escaped) in [
            ("warn", r"w\u0061rn"),
            ("forewarned", r"forew\u0061rned"),
            ("WARNING wArn", r"W\u0041RNING w\u0041rn"),
            ("warwarn", r"warw\u0061rn"),
            ("wa rn war", "wa rn war"),
        ] {
            assert_eq!(escape_warn(text), escaped);
        }
    }
}
