//! A CSV file: its header, and its records one at a time.
//!
//! <https://www.rfc-editor.org/rfc/rfc4180>

use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{self, BufRead, Chain, Cursor, Read};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use csv::{ByteRecord, Reader, ReaderBuilder};

use super::kind::Kind;
use super::message::{Field, Problem};
use super::source::MAX_LINE_BYTES;

/// The delimiters that are recognised, by how often they are in the header; the first one where none is.
const DELIMITERS: [u8; 3] = [b',', b';', b'\t'];

/// A CSV file whose header has been read.
pub(super) struct CsvFile<R> {
    reader: Reader<Limited<Chain<Cursor<Vec<u8>>, R>>>,
    window: Arc<Window>,
    pub(super) header: Vec<String>,
    record: ByteRecord,
    /// Whether the file ends within quotes of this record.
    is_open: bool,
}

impl<R: BufRead> CsvFile<R> {
    /// Reads the header. Without a `delimiter` it is the most frequent one there.
    ///
    /// # Errors
    /// The file cannot be read, or its header cannot be used.
    pub(super) fn open(mut text: R, delimiter: Option<u8>) -> io::Result<Self> {
        let mut head = Vec::new();
        if delimiter.is_none() {
            text.by_ref().take(MAX_LINE_BYTES as u64).read_until(b'\n', &mut head)?;
        }
        let delimiter = delimiter.unwrap_or_else(|| most_frequent_delimiter(&head));
        let window = Arc::new(Window::default());
        let limited = Limited { input: Cursor::new(head).chain(text), window: window.clone() };
        let reader = ReaderBuilder::new().delimiter(delimiter).flexible(true).has_headers(false).from_reader(limited);
        let mut file = Self { reader, window, header: Vec::new(), record: ByteRecord::new(), is_open: false };
        if file.next()?.is_none() {
            return Err(unusable("the file is empty; its first line must name the columns"));
        }
        let name = |field: &[u8]| {
            String::from_utf8(field.to_vec())
                .map_err(|_| unusable("the header is not UTF-8; name the file's --encoding, such as windows-1252"))
        };
        file.header = file.record.iter().map(name).collect::<io::Result<_>>()?;
        if file.record.as_slice().contains(&0) {
            return Err(unusable("the header has NUL characters; is the file UTF-16? add --encoding utf-16"));
        }
        if file.is_open {
            return Err(unusable("a quote in the header is not closed"));
        }
        let mut names = HashSet::new();
        match file.header.iter().find(|name| name.is_empty() || !names.insert(name.as_str())) {
            Some(name) if name.is_empty() => {
                Err(unusable("the first line must name the columns, and one of its fields is empty"))
            }
            Some(name) => Err(unusable(format!("the header has the column {name} twice"))),
            None => Ok(file),
        }
    }

    /// Reads the next record and returns the number of the line where it begins, from 1; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<u64>> {
        self.window.lock().left = MAX_LINE_BYTES;
        if !self.reader.read_byte_record(&mut self.record)? {
            return Ok(None);
        }
        // The reader's own position of a record is before the line ends that it passes over.
        let (end, lines) = (self.reader.position().byte(), self.reader.position().line());
        self.is_open = self.window.lock().text_end.is_some_and(|text_end| end == text_end + END.len() as u64);
        let within = self.record.as_slice().split(|byte| *byte == b'\n').skip(1).count() as u64;
        let after = u64::from(!self.is_open && self.window.lock().is_line_end(end));
        Ok(Some(lines - within - after))
    }

    /// The fields of the record, each by the kind of its column.
    ///
    /// # Errors
    /// The column whose field is not of its kind.
    pub(super) fn fields(&self, kinds: &[Kind]) -> Result<Vec<Field<'_>>, Problem> {
        if self.is_open {
            return Err(Problem::of_line("a quote of this record is not closed until the end of the file"));
        }
        let (expected, found) = (self.header.len(), self.record.len());
        if expected != found {
            return Err(Problem::of_line(format!("the number of fields is {found}, and {expected} in the header")));
        }
        let columns = self.header.iter().zip(kinds).zip(&self.record);
        let sent = columns.filter(|((_, kind), _)| **kind != Kind::Skip);
        sent.map(|((name, kind), field)| Ok((name.into(), value(name, *kind, field)?))).collect()
    }
}

fn value<'a>(name: &str, kind: Kind, field: &[u8]) -> Result<Option<Cow<'a, serde_json::value::RawValue>>, Problem> {
    let not_utf8 = |_| Problem::of(name, "is not UTF-8; name the file's --encoding, such as windows-1252");
    let field = str::from_utf8(field).map_err(not_utf8)?;
    if field.is_empty() {
        return Ok(None);
    }
    kind.read(field).map(|value| Some(Cow::Owned(value))).map_err(|problem| Problem::of(name, problem))
}

/// Counted outside of quotes.
fn most_frequent_delimiter(header: &[u8]) -> u8 {
    let count = |delimiter: &u8| {
        let mut is_quoted = false;
        let is_delimiter = |byte: &&u8| {
            is_quoted ^= **byte == b'"';
            !is_quoted && *byte == delimiter
        };
        header.iter().filter(is_delimiter).count()
    };
    DELIMITERS.into_iter().rev().max_by_key(count).unwrap_or(DELIMITERS[0])
}

fn unusable(problem: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.into())
}

/// Follows the text. A record ends before the second byte; one that has both is within quotes.
const END: &[u8] = b"\n\n";

/// Ends a record that is too long, such as one whose quote is not closed.
struct Limited<R> {
    input: R,
    window: Arc<Window>,
}

/// What was read last.
#[derive(Default)]
struct Window(Mutex<Piece>);

#[derive(Default)]
struct Piece {
    /// The bytes that may be read until the end of the current record.
    left: usize,
    /// The offset after the last byte.
    end: u64,
    /// Where the text ends, once that is read.
    text_end: Option<u64>,
    bytes: Vec<u8>,
}

impl Window {
    fn lock(&self) -> MutexGuard<'_, Piece> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Piece {
    /// Whether the byte before this offset ends a line.
    fn is_line_end(&self, offset: u64) -> bool {
        let behind = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let position = self.bytes.len().checked_sub(behind).and_then(|length| length.checked_sub(1));
        position.is_some_and(|position| self.bytes[position] == b'\n')
    }
}

impl<R: Read> Read for Limited<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut window = self.window.lock();
        let length = buffer.len().min(window.left);
        if length == 0 {
            let problem = format!("a record has more than {} KiB; is a quote not closed?", MAX_LINE_BYTES / 1024);
            return Err(unusable(problem));
        }
        let mut read = self.input.read(&mut buffer[..length])?;
        if read == 0 && window.text_end.is_none() && length >= END.len() {
            buffer[..END.len()].copy_from_slice(END);
            (read, window.text_end) = (END.len(), Some(window.end));
        }
        if read > 0 {
            window.left -= read;
            window.end += read as u64;
            window.bytes.clear();
            window.bytes.extend_from_slice(&buffer[..read]);
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, delimiter: Option<u8>) -> io::Result<CsvFile<&[u8]>> {
        CsvFile::open(text.as_bytes(), delimiter)
    }

    /// The records' lines, and fields as text.
    fn read(text: &str) -> Vec<(u64, Vec<Option<String>>)> {
        let mut file = open(text, None).expect("a header");
        let kinds = vec![Kind::Text; file.header.len()];
        let mut records = Vec::new();
        while let Some(line) = file.next().expect("readable") {
            let fields = file.fields(&kinds).expect("a record").into_iter();
            let text = |value: Cow<'_, serde_json::value::RawValue>| serde_json::from_str(value.get()).expect("a text");
            records.push((line, fields.map(|(_, value)| value.map(text)).collect()));
        }
        records
    }

    #[test]
    fn records_have_the_line_where_they_begin() {
        let fields = |fields: [&str; 2]| fields.map(|field| (!field.is_empty()).then(|| field.to_owned())).to_vec();
        let text = "a,b\r\n1,\"x\r\ny\"\r\n\r\n\"\",\"say \"\"hi\"\"\"\nä,";
        assert_eq!(read(text), [(2, fields(["1", "x\r\ny"])), (5, fields(["", "say \"hi\""])), (6, fields(["ä", ""]))]);
    }

    #[test]
    fn the_delimiter_is_the_most_frequent_one_outside_of_quotes_in_the_header() {
        for (text, header) in [
            ("a;b,c;d\n", &["a", "b,c", "d"][..]),
            ("a\tb\tc,d\n", &["a", "b", "c,d"]),
            ("\"a;b;c\",d\n", &["a;b;c", "d"]),
            ("a,b;c\n1;2;3\n", &["a", "b;c"]),
            ("a\n1;2\n", &["a"]),
        ] {
            assert_eq!(open(text, None).expect("a header").header, header, "{text}");
        }
        assert_eq!(open("a|b,c\n", Some(b'|')).expect("a header").header, ["a", "b,c"]);
    }

    #[test]
    fn a_header_that_cannot_be_used_is_an_error_that_says_why() {
        for (text, word) in [
            ("", "empty"),
            ("\n\n", "empty"),
            ("a,,b\n", "must name the columns"),
            ("a,b,a\n", "column a twice"),
            ("a,\"b\n1,2\n", "not closed"),
            ("a\0,\0b\n", "--encoding utf-16"),
        ] {
            let error = open(text, None).err().expect(text).to_string();
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn a_record_with_other_fields_than_the_header_is_a_problem_and_the_next_one_is_read() {
        let mut file = open("a,b\n1\n1,2,3\n1,2\n", None).expect("a header");
        let mut problem = || {
            file.next().expect("readable").expect("a record");
            file.fields(&[Kind::Text; 2]).err().map(|problem| problem.to_string())
        };
        assert_eq!(problem().as_deref(), Some("the number of fields is 1, and 2 in the header"));
        assert_eq!(problem().as_deref(), Some("the number of fields is 3, and 2 in the header"));
        assert_eq!(problem(), None);
    }

    #[test]
    fn a_field_of_another_kind_or_encoding_names_its_column() {
        let mut file = CsvFile::open(&b"a,b\n1,x\n1,\xfc\n"[..], None).expect("a header");
        let mut problem = |kind| {
            file.next().expect("readable").expect("a record");
            file.fields(&[Kind::Text, kind]).expect_err("a problem").to_string()
        };
        assert_eq!(problem(Kind::Integer), "column b is not a whole number");
        assert!(problem(Kind::Text).starts_with("column b is not UTF-8; name the file's --encoding"));
    }

    #[test]
    fn a_quote_that_is_not_closed_is_a_problem_of_the_line_where_the_record_begins() {
        for (rest, is_open) in [
            ("1,\"open\n2,b\n", true),
            ("1,\"open", true),
            ("1,\"", true),
            ("1,\"closed\n\n\"", false),
            ("1,\"closed\"\n\n", false),
            ("1,3\" pipe", false),
            ("1,\"closed\"\r\n", false),
        ] {
            let text = format!("a,b\n0,0\n{rest}");
            let mut file = open(&text, None).expect("a header");
            file.next().expect("readable").expect("a record");
            assert_eq!(file.next().expect("readable"), Some(3), "{rest:?}");
            let problem = file.fields(&[Kind::Text; 2]).err().map(|problem| problem.to_string());
            assert_eq!(problem.is_some_and(|problem| problem.contains("not closed")), is_open, "{rest:?}");
            assert_eq!(file.next().expect("readable"), None, "{rest:?}");
        }
    }

    #[test]
    fn a_quote_that_is_not_closed_does_not_read_the_whole_file_into_memory() {
        let text = format!("a,b\n1,\"{}", "x\n".repeat(MAX_LINE_BYTES));
        let error = open(&text, None).expect("a header").next().expect_err("too long").to_string();
        assert!(error.contains("a quote not closed"), "{error}");
    }
}
