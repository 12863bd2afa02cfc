//! A file of one JSON object a line.
//!
//! <https://github.com/ndjson/ndjson-spec>

use std::io::{self, BufRead, Read as _};

use super::message::Problem;
use super::source::MAX_LINE_BYTES;

/// An NDJSON file that is being read.
pub(super) struct NdjsonFile<R> {
    text: R,
    number: u64,
    line: Vec<u8>,
}

impl<R: BufRead> NdjsonFile<R> {
    pub(super) fn new(text: R) -> Self {
        Self { text, number: 0, line: Vec::new() }
    }

    /// Reads the next line that is not blank, and returns its number, from 1; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<u64>> {
        loop {
            self.line.clear();
            let max = MAX_LINE_BYTES as u64 + 1;
            let read = self.text.by_ref().take(max).read_until(b'\n', &mut self.line)?;
            if read == 0 {
                return Ok(None);
            }
            self.number += 1;
            if read > MAX_LINE_BYTES {
                let problem = format!("line {} has more than {} KiB", self.number, MAX_LINE_BYTES / 1024);
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            if !self.line.trim_ascii().is_empty() {
                return Ok(Some(self.number));
            }
        }
    }

    /// The line.
    ///
    /// # Errors
    /// It is not UTF-8.
    pub(super) fn line(&self) -> Result<&str, Problem> {
        let problem = "the line is not UTF-8; name the file's --encoding, such as windows-1252";
        str::from_utf8(self.line.trim_ascii()).map_err(|_| Problem::of_line(problem))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blank_lines_are_passed_over_and_counted() {
        let text = "{\"a\":1}\r\n\n  \n {\"ä\":2}";
        let mut file = NdjsonFile::new(text.as_bytes());
        assert_eq!(file.next().expect("readable"), Some(1));
        assert_eq!(file.line().expect("text"), r#"{"a":1}"#);
        assert_eq!(file.next().expect("readable"), Some(4));
        assert_eq!(file.line().expect("text"), r#"{"ä":2}"#);
        assert_eq!(file.next().expect("readable"), None);
    }

    #[test]
    fn a_line_that_is_not_text_is_a_problem_and_one_without_an_end_is_an_error() {
        let mut file = NdjsonFile::new(&b"\xff\n{}\n"[..]);
        file.next().expect("readable");
        assert!(file.line().expect_err("not text").to_string().contains("--encoding"));
        file.next().expect("readable");
        assert_eq!(file.line().expect("text"), "{}");
        let endless = "x".repeat(MAX_LINE_BYTES + 1);
        let error = NdjsonFile::new(endless.as_bytes()).next().expect_err("too long");
        assert_eq!(error.to_string(), "line 1 has more than 1024 KiB");
    }
}
