//! Where results are written: stdout, or a file of the operator's own.
//!
//! A reader that closes its end early, such as `head`, ends a command like any other output error: held messages are given back.

use std::fs::{File, OpenOptions};
use std::io::{self, Write, stdout};
use std::path::Path;

use crate::dead_letters::report::Report;
use crate::dead_letters::scan::StopReason;
use crate::sanitize::sanitize;

/// Creates a file that must not exist; on Unix only its owner can read it.
pub(super) fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Writes what is buffered; returns `reason`, or the error.
pub(super) fn flush(mut out: impl Write, reason: StopReason) -> StopReason {
    match out.flush() {
        Err(error) if !matches!(reason, StopReason::Output(_)) => StopReason::Output(error),
        _ => reason,
    }
}

/// Prints the report as one JSON object on one line, or as sentences.
pub(super) fn print(json: bool, report: &Report) -> io::Result<()> {
    let mut out = stdout().lock();
    if json {
        let json = serde_json::to_string(report).expect("a report is plain data");
        writeln!(out, "{}", sanitize(&json))?;
    } else {
        write!(out, "{report}")?;
    }
    out.flush()
}
