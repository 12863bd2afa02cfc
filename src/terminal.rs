//! What a command prints: its result on stdout, everything else on stderr, and tables that fit the terminal.
//!
//! A stderr that is closed is ignored: that is not a reason to stop halfway. A closed stdout is an error of its own kind, so that a
//! command can end silently where a reader such as `head` has enough.

use std::io::{self, Write as _, stderr, stdout};

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, TableStyle};
use console::Term;

/// Prints to stdout, at once.
///
/// # Errors
/// When stdout cannot be written.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// Prints to stderr.
pub fn say(text: &str) {
    let mut out = stderr().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Whether the reader of an output has closed it.
pub fn is_closed(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::BrokenPipe
}

/// The columns of the terminal that stdout is; `None` if it is none.
pub(crate) fn width() -> Option<u16> {
    Term::stdout().size_checked().map(|(_, width)| width)
}

/// A table without lines, two blanks between its columns, whose cells wrap at `width`, but for those of the first column.
pub(crate) fn table<R: Into<Row>>(rows: impl IntoIterator<Item = R>, width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(TableStyle::new()).add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    if let Some(first) = table.column_mut(0) {
        first.set_constraint(ColumnConstraint::ContentWidth);
    }
    if let Some(width) = width {
        // The last column's padding is trimmed.
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width.saturating_add(2));
    }
    table
}

/// Reads the words of a command line that follow the name of the command.
#[cfg(test)]
pub(crate) fn parse_arguments<'a, A: clap::Args>(words: impl IntoIterator<Item = &'a str>) -> Result<A, String> {
    let mut command = A::augment_args(clap::Command::new("handler"));
    command.clone().debug_assert();
    let matches = command.try_get_matches_from_mut(std::iter::once("handler").chain(words));
    matches.and_then(|matches| A::from_arg_matches(&matches)).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_wrap_at_the_width_and_without_one_they_do_not() {
        let rows = || [["name", "one two three four five six"], ["n", "x"]];
        assert_eq!(table(rows(), None).trim_fmt(), "name  one two three four five six\nn     x");
        let narrow = table(rows(), Some(20)).trim_fmt();
        assert_eq!(narrow, "name  one two three\n      four five six\nn     x");
    }
}
