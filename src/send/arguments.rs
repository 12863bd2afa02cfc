//! The command line of `handler send`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::Serialize;

use super::kind::Kind;
use super::lookup::Lookup;
use super::text::Encoding;
use crate::dead_letters::filter::span;
use crate::dead_letters::{parse_rate, queue_name};
use crate::host::MessageEncoding;
use crate::record::{BIND, is_entity_set_name, is_logical_name};
use crate::settings::checked;

/// Puts the records of a CSV or NDJSON file on the queue.
///
/// In a CSV file the header names the columns of the table, and every further line is a record. In an NDJSON file every line is
/// a JSON object: a record as the handler reads it, if it has `columns` or `operation` (what it lacks is filled in), else an
/// object of columns.
///
/// The whole file is checked before anything is put. Where lookups name rows of the file, parents are put first; records of one
/// key are put in the order of the file. After Ctrl-C, or when the queue fails, run the same command again: it goes on where it
/// was, by the file FILE.send-state beside the input.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Arguments {
    /// The file; - is standard input.
    pub(super) file: PathBuf,
    #[command(flatten)]
    pub(super) record: RecordOptions,
    #[command(flatten)]
    pub(super) input: InputOptions,
    #[command(flatten)]
    pub(super) output: OutputOptions,
}

const EXAMPLES: &str = "\
Examples:
  Check a file of employees; nothing is sent:
    handler send employees.csv --table contacts --key employeeid --dry-run
  Send it. Each row's manager is found by employeeid, changed is the version,
  and 50 messages are put per second:
    handler send employees.csv --table contacts --key employeeid \\
      --types birthdate=date,creditlimit=decimal,note=skip \\
      --lookup 'parentcustomerid_contact=/contacts(employeeid={manager})' \\
      --version changed --version-column new_sourceversion \\
      --source hr --rate 50
  Send objects of columns, one a line: {\"employeeid\":\"E-1\",\"jobtitle\":\"CTO\"}
    handler send changes.ndjson --table contacts --key employeeid
  Send records of several tables as another program writes them:
    export-records | handler send - --format ndjson

Without --types and without DATAVERSE_URL every column of a CSV file is sent as
text; a number in quotes is refused by a column of numbers. A text never becomes
a number because it looks like one.

Each record is put at least once. What may be there twice is counted: a message
whose answer was lost, or, after a kill -9, up to 116 of the last messages.

Settings (environment), for the connection AzureWebJobsStorage or another one by
--connection: as in `handler dead-letters --help`. For the types of columns:
DATAVERSE_URL and the Entra variables of the handler.

Exit codes: 0 everything is put, or the check found nothing; 1 a line cannot be
sent, the queue failed, or the command was interrupted; 2 wrong arguments or
settings.";

/// What a line is as a record.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "Records")]
pub(super) struct RecordOptions {
    /// The entity set, such as contacts; in NDJSON for lines without `table`.
    #[arg(long, value_name = "SET", value_parser = set)]
    pub(super) table: Option<String>,
    /// The columns of the key, such as employeeid or new_number,new_region; in NDJSON for lines without `key`. One column of
    /// kind guid is the primary key.
    #[arg(long, value_name = "COLUMNS", value_delimiter = ',', value_parser = column)]
    pub(super) key: Vec<String>,
    /// The kinds of columns, such as birthdate=date,revenue=decimal: text, integer, decimal, boolean, date, date-time, guid, or
    /// skip for one that is not sent [default: by the table's definition where DATAVERSE_URL is set, else text].
    #[arg(long, value_name = "COLUMN=KIND", value_delimiter = ',', value_parser = kind)]
    pub(super) types: Vec<(String, Kind)>,
    /// What an empty CSV field, and a lookup made of one, is.
    #[arg(long, value_enum, default_value_t)]
    pub(super) empty: Empty,
    /// A column with the same value in every record. Can be repeated.
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = constant)]
    pub(super) set: Vec<(String, String)>,
    /// A lookup, such as 'nav=/set(key={column})'; {column} is a column of the file, which is then not sent itself. A text is
    /// quoted by itself. Can be repeated.
    #[arg(long, value_name = "LOOKUP", value_parser = str::parse::<Lookup>)]
    pub(super) lookup: Vec<Lookup>,
    /// The column of the file that holds the record's version: a whole number, or a time such as 2026-01-31T08:00:00Z.
    #[arg(long, value_name = "COLUMN")]
    pub(super) version: Option<String>,
    /// The column in Dataverse that holds the version [default: the handler's SYNC_VERSION_COLUMN].
    #[arg(long, value_name = "COLUMN", value_parser = column)]
    pub(super) version_column: Option<String>,
    /// The name of the sending system, such as hr.
    #[arg(long, value_name = "NAME")]
    pub(super) source: Option<String>,
}

/// How the file is read.
#[derive(Debug, Clone, Args, Serialize)]
#[command(next_help_heading = "File")]
pub(super) struct InputOptions {
    /// The format [default: by the file's ending: .csv, .tsv, .txt; .ndjson, .jsonl].
    #[arg(long, value_enum)]
    pub(super) format: Option<Format>,
    /// What separates the fields of a CSV file: one character, or tab [default: the one of , ; and tab that is most frequent in
    /// the header].
    #[arg(long, value_name = "CHARACTER", value_parser = delimiter)]
    pub(super) delimiter: Option<u8>,
    /// The encoding of the file [default: by its byte order mark, else utf-8].
    #[arg(long, value_enum)]
    pub(super) encoding: Option<Encoding>,
}

/// How and where messages are put.
#[derive(Debug, Args)]
#[command(next_help_heading = "Queue")]
pub(super) struct OutputOptions {
    /// Checks every line and prints the first problem of each kind; nothing is put.
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Puts at most this many messages per second; 30/m is per minute.
    #[arg(long, value_name = "N", value_parser = parse_rate)]
    pub(super) rate: Option<Duration>,
    /// Tries a put again for this long before the command ends.
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = span)]
    pub(super) retry_for: Duration,
    /// The queue, created if it is missing.
    #[arg(long, default_value = "sync-records", value_parser = queue_name)]
    pub(super) queue: String,
    /// The Functions connection of the queue: the name of a variable, or the prefix of several.
    #[arg(long, value_name = "NAME", default_value = "AzureWebJobsStorage")]
    pub(super) connection: String,
    /// How messages are written [default: messageEncoding of ./host.json, else base64].
    #[arg(long, value_enum)]
    pub(super) message_encoding: Option<MessageEncoding>,
}

/// What an empty field is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Empty {
    /// Left out: the row's value stays as it is.
    #[default]
    Omit,
    /// Null: the row's value is cleared.
    Null,
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// A header and records, as RFC 4180 describes them.
    Csv,
    /// One JSON object a line.
    Ndjson,
}

fn set(text: &str) -> Result<String, &'static str> {
    checked(text, is_entity_set_name, "an entity set is a word such as contacts or new_orders")
}

fn column(text: &str) -> Result<String, &'static str> {
    checked(text, is_logical_name, "a column's logical name has lower-case letters, digits and _")
}

const KINDS: &str = "text, integer, decimal, boolean, date, date-time, guid and skip";

fn kind(text: &str) -> Result<(String, Kind), String> {
    let (column, kind) = text.rsplit_once('=').filter(|(column, _)| !column.is_empty()).ok_or("write column=kind")?;
    let kind = Kind::from_str(kind, true).map_err(|_| format!("{kind} is none of the kinds {KINDS}"))?;
    Ok((column.to_owned(), kind))
}

fn constant(text: &str) -> Result<(String, String), &'static str> {
    let (column, value) = text.split_once('=').ok_or("write column=value")?;
    if !is_logical_name(column.strip_suffix(BIND).unwrap_or(column)) {
        return Err("a column's logical name has lower-case letters, digits and _");
    }
    if value.is_empty() { Err("the value is empty") } else { Ok((column.to_owned(), value.to_owned())) }
}

fn delimiter(text: &str) -> Result<u8, &'static str> {
    match text.as_bytes() {
        _ if text == "tab" || text == "\\t" => Ok(b'\t'),
        [byte] if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !b"\"\r\n".contains(byte) => Ok(*byte),
        _ => Err("a delimiter is one character such as , or ; or the word tab"),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use clap::{CommandFactory as _, Parser};

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn read(words: &[&str]) -> Result<Arguments, String> {
        let words = ["send"].iter().chain(words);
        Line::try_parse_from(words).map(|line| line.arguments).map_err(|error| error.to_string())
    }

    /// The options of a record as they are written.
    pub(in crate::send) fn options(words: &[&str]) -> RecordOptions {
        read(&[&["a.csv"], words].concat()).unwrap_or_else(|problem| panic!("{problem}")).record
    }

    #[test]
    fn the_command_line_is_consistent() {
        Line::command().debug_assert();
    }

    #[test]
    fn options_are_lists_or_repeated() {
        let words = [
            "a.csv",
            "--table",
            "contacts",
            "--key",
            "a,b",
            "--types",
            "a=integer,Last Name=skip",
            "--types",
            "b=date-time",
            "--set",
            "c=x=y",
            "--set",
            "ownerid@odata.bind=/teams(1)",
            "--delimiter",
            "tab",
            "--rate",
            "50",
        ];
        let Arguments { record, input, output, .. } = read(&words).expect("fine");
        assert_eq!(record.key, ["a", "b"]);
        let kinds = [("a", Kind::Integer), ("Last Name", Kind::Skip), ("b", Kind::DateTime)];
        assert_eq!(record.types, kinds.map(|(name, kind)| (name.to_owned(), kind)));
        let constants = [("c", "x=y"), ("ownerid@odata.bind", "/teams(1)")];
        assert_eq!(record.set, constants.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!((input.delimiter, output.rate), (Some(b'\t'), Some(Duration::from_millis(20))));
        assert_eq!((output.queue.as_str(), output.connection.as_str()), ("sync-records", "AzureWebJobsStorage"));
    }

    #[test]
    fn an_unknown_kind_is_an_error_that_lists_the_kinds() {
        let problem = read(&["a.csv", "--types", "birthdate=datum"]).expect_err("no kind");
        let names =
            Kind::value_variants().iter().filter_map(|kind| Some(kind.to_possible_value()?.get_name().to_owned()));
        assert!(names.into_iter().all(|name| problem.contains(&name)), "{problem}");
    }

    #[test]
    fn an_error_names_the_wrong_argument() {
        for words in [
            ["--table", "contacts('x')"],
            ["--key", "EmployeeId"],
            ["--types", "a"],
            ["--types", "a=number"],
            ["--empty", "x"],
            ["--set", "a"],
            ["--set", "a="],
            ["--set", "A=1"],
            ["--lookup", "a=/b"],
            ["--version-column", "A"],
            ["--delimiter", "ab"],
            ["--delimiter", "\""],
            ["--delimiter", "x"],
            ["--encoding", "latin-9"],
            ["--rate", "0"],
            ["--retry-for", "soon"],
            ["--queue", "Q"],
            ["--message-encoding", "utf8"],
            ["--format", "xml"],
        ] {
            let problem = read(&[&["a.csv"], &words[..]].concat()).expect_err(words[1]);
            assert!(problem.contains(words[0]), "{words:?}: {problem}");
        }
    }
}
