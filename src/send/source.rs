//! The records of a file, one at a time, each read by the serving handler's decoder.
//!
//! Never more than one record is in memory here.

use std::io::{self, BufRead};
use std::sync::Arc;

use bytes::Bytes;
use time::OffsetDateTime;

use super::csv_file::CsvFile;
use super::kind::Kind;
use super::message::{Mapping, Problem};
use super::ndjson_file::NdjsonFile;
use crate::dead_letters::encode;
use crate::host::MessageEncoding;
use crate::record::{self, Tables};

/// The most bytes of a line or a CSV record, many times a queue message's.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// <https://learn.microsoft.com/rest/api/storageservices/put-message>
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// Where a record is in the file's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Position {
    /// The line where it begins, from 1.
    pub(super) line: u64,
    /// The byte after it, in the text as UTF-8.
    pub(super) end: u64,
}

/// A message for the queue.
#[derive(Debug)]
pub(super) struct Message {
    pub(super) position: Position,
    /// The same for all records of one key.
    pub(super) key: String,
    /// As it is put.
    pub(super) text: String,
}

/// A line that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WrongLine {
    pub(super) line: u64,
    pub(super) problem: Problem,
}

/// The lines of a file.
pub(super) enum Lines<R> {
    Csv(CsvFile<R>),
    Ndjson(NdjsonFile<R>),
}

impl<R> Lines<R> {
    /// The names in the header; an NDJSON file has none.
    pub(super) fn header(&self) -> &[String] {
        match self {
            Self::Csv(file) => &file.header,
            Self::Ndjson(_) => &[],
        }
    }
}

/// How a line becomes a message.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) mapping: Mapping,
    /// The kinds of the columns in the header.
    pub(super) kinds: Vec<Kind>,
    /// The tables that may be written.
    pub(super) tables: Tables,
    pub(super) encoding: MessageEncoding,
}

/// The records of a file.
pub(super) struct Source<R> {
    pub(super) lines: Lines<R>,
    pub(super) plan: Arc<Plan>,
}

impl<R: BufRead> Source<R> {
    /// The next record; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Result<Message, WrongLine>>> {
        let position = match &mut self.lines {
            Lines::Csv(file) => file.next()?,
            Lines::Ndjson(file) => file.next()?,
        };
        let message =
            |position: Position| self.message(position).map_err(|problem| WrongLine { line: position.line, problem });
        Ok(position.map(message))
    }

    fn message(&self, position: Position) -> Result<Message, Problem> {
        let Plan { mapping, kinds, tables, encoding } = &*self.plan;
        let record = match &self.lines {
            Lines::Csv(file) => mapping.of_fields(position.line, file.fields(kinds)?)?,
            Lines::Ndjson(file) => mapping.of_json(position.line, file.line()?)?,
        };
        let wrong = |error: record::Error| Problem::of_line(error.to_string());
        let bytes = Bytes::from(record);
        let decoded = record::decode(&bytes).map_err(|(error, _)| wrong(error))?;
        decoded.check(tables, OffsetDateTime::now_utc()).map_err(wrong)?;
        let text = encode(*encoding, &bytes).expect("a record can be written in base64");
        if text.len() > MAX_MESSAGE_BYTES {
            let max = MAX_MESSAGE_BYTES / 1024;
            let problem = format!("the message has more than the queue's {max} KiB ({} in base64)", max / 4 * 3);
            return Err(Problem::of_line(problem));
        }
        Ok(Message { position, key: decoded.key.lock_name("", &decoded.table), text })
    }
}
