//! Where log lines go: the stream whose lines the Functions host files under the right level.
//!
//! The host files a line of stdout as information, and a line of stderr as a warning if it contains "warn" in any letter case, else as
//! an error. So an error line never contains that word: its second letter is written as a JSON escape (`w\u0061rn`).

use std::io::{self, Write, stderr};
use std::sync::Arc;

use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// A stream of the process.
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

    /// Writes an INFO line.
    pub(super) fn info(&self, line: &str) {
        self.0(Stream::Stdout, format!("{line}\n").as_bytes());
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter { sink: self, level: Level::INFO }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> LineWriter<'a> {
        LineWriter { sink: self, level: *metadata.level() }
    }
}

/// Writes a line of one level by one call.
pub(super) struct LineWriter<'a> {
    sink: &'a Sink,
    level: Level,
}

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.level {
            Level::ERROR => self.sink.0(Stream::Stderr, &escape_warn(line)),
            Level::WARN => self.sink.0(Stream::Stderr, line),
            _ => self.sink.0(Stream::Stdout, line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes to the process's own stderr, before it returns.
pub(super) fn print_to_stderr(line: &[u8]) {
    // A closed stream must not stop a command, so the result is ignored.
    let _ = stderr().write_all(line);
}

/// A backslash in a line always begins a JSON escape, so the escapes that this adds can be undone.
pub(super) fn escape_warn(line: &[u8]) -> Vec<u8> {
    let is_second_letter = |at: usize| line.get(at - 1..at + 3).is_some_and(|word| word.eq_ignore_ascii_case(b"warn"));
    let mut escaped = Vec::with_capacity(line.len());
    for (at, byte) in line.iter().enumerate() {
        if at > 0 && is_second_letter(at) {
            escaped.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
        } else {
            escaped.push(*byte);
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
            assert_eq!(String::from_utf8(escape_warn(text.as_bytes())).expect("UTF-8"), escaped);
        }
    }
}
