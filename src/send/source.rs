//! The records of a file, one at a time, each read by the serving handler's decoder.
//!
//! Never more than one record is in memory here.

use std::collections::hash_map::RandomState;
use std::io::{self, BufRead};

use bytes::Bytes;
use time::OffsetDateTime;

use super::csv_file::CsvFile;
use super::kind::Kind;
use super::message::{Mapping, Problem};
use super::ndjson_file::NdjsonFile;
use crate::dead_letters::encode;
use crate::host::MessageEncoding;
use crate::record::{self, Links, Tables};

/// The most bytes of a line or a CSV record, many times a queue message's.
pub(super) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// <https://learn.microsoft.com/rest/api/storageservices/put-message>
const MAX_MESSAGE_BYTES: usize = 64 * 1024;

/// A message for the queue.
#[derive(Debug)]
pub(super) struct Message {
    /// The line where its record begins, from 1.
    pub(super) line: u64,
    pub(super) links: Links,
    pub(super) has_version: bool,
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

impl<R: BufRead> Lines<R> {
    /// Reads the next record, and returns the number of its line; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<u64>> {
        match self {
            Self::Csv(file) => file.next(),
            Self::Ndjson(file) => file.next(),
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
    /// Of the records' keys.
    pub(super) hasher: RandomState,
}

impl Plan {
    /// The message of the record that was read last, in this line.
    pub(super) fn message<R: BufRead>(&self, lines: &Lines<R>, line: u64) -> Result<Message, WrongLine> {
        self.read(lines, line).map_err(|problem| WrongLine { line, problem })
    }

    fn read<R: BufRead>(&self, lines: &Lines<R>, line: u64) -> Result<Message, Problem> {
        let record = match lines {
            Lines::Csv(file) => self.mapping.of_fields(line, file.fields(&self.kinds)?)?,
            Lines::Ndjson(file) => self.mapping.of_json(line, file.line()?)?,
        };
        let wrong = |error: record::Error| Problem::of_line(error.to_string());
        let bytes = Bytes::from(record);
        let decoded = record::decode(&bytes).map_err(|(error, _)| wrong(error))?;
        decoded.check(&self.tables, OffsetDateTime::now_utc()).map_err(wrong)?;
        let text = encode(self.encoding, &bytes).expect("a record can be written in base64");
        if text.len() > MAX_MESSAGE_BYTES {
            let max = MAX_MESSAGE_BYTES / 1024;
            let problem = format!("the message has more than the queue's {max} KiB ({} in base64)", max / 4 * 3);
            return Err(Problem::of_line(problem));
        }
        Ok(Message { line, links: Links::of(&decoded, &self.hasher), has_version: decoded.version.is_some(), text })
    }
}
