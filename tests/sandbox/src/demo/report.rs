//! The output of the demonstration: paragraphs, checked claims, and a final table.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// One line of the closing table.
#[derive(Debug)]
pub(super) struct Row {
    /// The name of the run.
    pub(super) run: String,
    /// Messages put on the queue.
    pub(super) messages: usize,
    /// Dataverse's 412 responses.
    pub(super) refused: usize,
    /// Messages that were applied.
    pub(super) applied: usize,
    /// Messages that were skipped with a reason.
    pub(super) skipped: usize,
    /// Deliveries that failed and were retried by the host.
    pub(super) retried: usize,
    /// Requests to the lock storage, if counted.
    pub(super) lease_calls: Option<u64>,
    /// Writes of one row that overlapped in time.
    pub(super) overlaps: usize,
    /// How long it took.
    pub(super) took: Duration,
}

/// The output so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    rows: Vec<Row>,
    held: usize,
    broken: Vec<String>,
}

impl Report {
    /// A line of prose.
    #[expect(clippy::unused_self, reason = "telling goes through the report, wherever it may write one day")]
    pub(super) fn line(&self, text: &str) {
        println!("{text}");
    }

    /// A new chapter.
    pub(super) fn chapter(&self, label: &str, title: &str) {
        self.line("");
        self.line(&format!("({label}) {title}"));
    }

    /// A claim, and whether it held.
    pub(super) fn claim(&mut self, held: bool, claim: &str) {
        self.line(&format!("    {} {claim}", if held { '✓' } else { '✗' }));
        if held {
            self.held += 1;
        } else {
            self.broken.push(claim.to_owned());
        }
    }

    /// A line for the closing table.
    pub(super) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Prints the table and the verdict; returns whether every claim held.
    pub(super) fn close(&self, took: Duration) -> bool {
        self.line("");
        println!("{}", self.table());
        self.line("");
        if self.broken.is_empty() {
            self.line(&format!("{} claims checked, all of them hold ({:.0} s).", self.held, took.as_secs_f64()));
            self.line("Play with it: `cargo sandbox up`. Deploy it: `cargo stage`.");
            return true;
        }
        self.line(&format!("{} of {} claims do NOT hold:", self.broken.len(), self.held + self.broken.len()));
        for claim in &self.broken {
            self.line(&format!("  ✗ {claim}"));
        }
        false
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        let head = ["run", "messages", "412s", "applied", "skipped", "retried", "lock requests", "overlaps", "seconds"];
        table.set_header(head);
        for row in &self.rows {
            table.add_row([
                row.run.clone(),
                row.messages.to_string(),
                row.refused.to_string(),
                row.applied.to_string(),
                row.skipped.to_string(),
                row.retried.to_string(),
                row.lease_calls.map_or_else(|| "not counted".to_owned(), |calls| calls.to_string()),
                row.overlaps.to_string(),
                format!("{:.1}", row.took.as_secs_f64()),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}
