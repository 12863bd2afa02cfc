//! Where log lines go: the stream whose lines the Functions host files under the right level.
//!
//! The host files a line of stdout as information, and a line of stderr as a warning if it contains "warn" in any letter case, else as
//! an error. So an error line never contains that word: its second letter is written as a JSON escape (`w\u0061rn`).

use std::sync::Arc;

use tracing::Level;

use crate::sanitize::push_escape;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    Stdout,
    Stderr,
}

type WriteLine = dyn Fn(Stream, &[u8]) + Send + Sync;

/// Takes whole lines, line breaks included, and the stream that suits their level.
#[derive(Clone)]
pub(super) struct Sink(Arc<WriteLine>);

impl Sink {
    pub(super) fn new(write: impl Fn(Stream, &[u8]) + Send + Sync + 'static) -> Self {
        Self(Arc::new(write))
    }

    /// Writes a line of this level, and its line break.
    pub(super) fn write(&self, level: Level, line: &str) {
        let line = format!("{line}\n");
        match level {
            Level::ERROR => self.0(Stream::Stderr, escape_warn(&line).as_bytes()),
            Level::WARN => self.0(Stream::Stderr, line.as_bytes()),
            _ => self.0(Stream::Stdout, line.as_bytes()),
        }
    }
}

/// A backslash in a line always begins a JSON escape, so the escapes that this adds can be undone.
pub(super) fn escape_warn(line: &str) -> String {
    let word = |at: usize| line.as_bytes().get(at.checked_sub(1)?..at + 3);
    let mut escaped = String::with_capacity(line.len());
    for (at, letter) in line.char_indices() {
        if word(at).is_some_and(|word| word.eq_ignore_ascii_case(b"warn")) {
            push_escape(&mut escaped, letter);
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
