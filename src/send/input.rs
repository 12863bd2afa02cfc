//! The file that is sent: its format, and how it is opened.

use std::fs::File;
use std::io::{self, BufReader, Read, stdin};
use std::path::{Path, PathBuf};

use super::arguments::{Format, InputOptions};
use super::csv_file::CsvFile;
use super::ndjson_file::NdjsonFile;
use super::source::Lines;
use super::text::Text;

/// A file's text as UTF-8.
pub(super) type Input = BufReader<Text<Box<dyn Read + Send>>>;

/// The most characters of a file's name in a message's id.
const MAX_NAME: usize = 200;

/// A file, or standard input.
#[derive(Debug, Clone)]
pub(super) struct InputFile {
    pub(super) path: PathBuf,
    pub(super) format: Format,
    options: InputOptions,
}

impl InputFile {
    /// # Errors
    /// The format is not known.
    pub(super) fn new(path: PathBuf, options: InputOptions) -> Result<Self, String> {
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_ascii_lowercase());
        let format = options.format.or(match ending.as_deref() {
            Some("csv" | "tsv" | "txt") => Some(Format::Csv),
            Some("ndjson" | "jsonl") => Some(Format::Ndjson),
            _ => None,
        });
        let format = format.ok_or_else(|| {
            let path = path.display();
            format!("{path}: add --format csv or --format ndjson; a workbook has to be saved as CSV first")
        })?;
        Ok(Self { path, format, options })
    }

    /// Whether it can be read only once: standard input, or a pipe.
    pub(super) fn is_stream(&self) -> bool {
        self.is_stdin() || !self.path.is_file()
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    /// Its name without the folders, with no character that an id may not have.
    pub(super) fn name(&self) -> String {
        let name =
            if self.is_stdin() { "stdin".into() } else { self.path.file_name().unwrap_or_default().to_string_lossy() };
        name.chars().filter(|c| !c.is_control()).take(MAX_NAME).collect()
    }

    /// Opens it, and reads the header of a CSV file.
    ///
    /// # Errors
    /// It cannot be read, or the header cannot be used.
    pub(super) fn open(&self) -> io::Result<Lines<Input>> {
        let bytes: Box<dyn Read + Send> =
            if self.is_stdin() { Box::new(stdin()) } else { Box::new(BufReader::new(File::open(&self.path)?)) };
        let text = BufReader::new(Text::new(bytes, self.options.encoding)?);
        Ok(match self.format {
            Format::Csv => Lines::Csv(CsvFile::open(text, self.options.delimiter)?),
            Format::Ndjson => Lines::Ndjson(NdjsonFile::new(text)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str) -> Result<InputFile, String> {
        InputFile::new(path.into(), InputOptions { format: None, delimiter: None, encoding: None })
    }

    #[test]
    fn the_format_is_that_of_the_ending_or_has_to_be_named() {
        for (path, format) in [
            ("a.csv", Format::Csv),
            ("b/a.TSV", Format::Csv),
            ("a.ndjson", Format::Ndjson),
            ("a.jsonl", Format::Ndjson),
        ] {
            assert_eq!(file(path).map(|file| file.format), Ok(format), "{path}");
        }
        for path in ["-", "a", "a.json", "a.xlsx"] {
            assert!(file(path).is_err_and(|problem| problem.contains("--format")), "{path}");
        }
    }

    #[test]
    fn a_name_in_an_id_has_no_folder_and_no_control_character() {
        let name = |path: &str| InputFile { path: path.into(), ..file("a.csv").expect("a format") }.name();
        assert_eq!(["/tmp/a b.csv", "-", "x\n\u{1b}y"].map(name), ["a b.csv", "stdin", "xy"]);
        assert_eq!(name(&"ä".repeat(300)).chars().count(), MAX_NAME);
    }
}
