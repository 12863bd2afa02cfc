//! Where results go: stdout, or a file of the operator's own.
//!
//! A reader that leaves early, such as `head`, ends a command like any other fault of the output: what is held is given back.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write, stdout};
use std::path::Path;

use serde::Serialize;

use crate::dead_letters::scan::End;
use crate::sanitize::sanitize;

/// Lines, written one by one.
pub(super) struct Lines {
    out: BufWriter<Box<dyn Write + Send>>,
}

impl Lines {
    pub(super) fn stdout() -> Self {
        Self { out: BufWriter::new(Box::new(stdout())) }
    }

    /// A file that must not exist, for its owner's eyes only where the system knows owners.
    pub(super) fn new_file(path: &Path) -> io::Result<Self> {
        Ok(Self { out: BufWriter::new(Box::new(new_file(path)?)) })
    }

    pub(super) fn write(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes what is left; the end that it gives tells when that failed.
    pub(super) fn finish(&mut self, end: End) -> End {
        match self.out.flush() {
            Err(error) if !matches!(end, End::Output(_)) => End::Output(error),
            _ => end,
        }
    }
}

#[cfg(unix)]
fn new_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(windows)]
fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(path)
}

/// A result as one JSON object on one line, or in words whose lines are ended.
pub(super) fn print_either(json: bool, value: &impl Serialize, words: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    if json {
        let json = serde_json::to_string(value).expect("a report is plain data");
        writeln!(out, "{}", sanitize(&json))?;
    } else {
        out.write_all(words.as_bytes())?;
    }
    out.flush()
}
