//! The output of the demonstration: paragraphs, checked claims, and a final table.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

use super::round::RoundResult;

/// The output so far.
#[derive(Debug, Default)]
pub(super) struct Report {
    /// The lines of the closing table.
    pub(super) results: Vec<RoundResult>,
    held: usize,
    broken: Vec<String>,
}

impl Report {
    /// Begins a chapter.
    pub(super) fn chapter(label: &str, title: &str) {
        println!("\n({label}) {title}");
    }

    /// A claim, and whether it held.
    pub(super) fn claim(&mut self, held: bool, claim: &str) {
        println!("    {} {claim}", if held { '✓' } else { '✗' });
        if held {
            self.held += 1;
        } else {
            self.broken.push(claim.to_owned());
        }
    }

    /// Prints the table and the verdict; returns whether every claim held.
    pub(super) fn close(&self, took: Duration) -> bool {
        println!("\n{}\n", self.table());
        if self.broken.is_empty() {
            println!("{} claims checked, all of them hold ({:.0} s).", self.held, took.as_secs_f64());
            println!(
                "Next: `cargo sandbox up` keeps it running for your own calls; `cargo stage` prepares a deployment."
            );
            return true;
        }
        println!("{} of {} claims do NOT hold:", self.broken.len(), self.held + self.broken.len());
        for claim in &self.broken {
            println!("  ✗ {claim}");
        }
        false
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
        let head = ["run", "messages", "412s", "applied", "skipped", "retried", "lock requests", "overlaps", "seconds"];
        table.set_header(head);
        for result in &self.results {
            let requests = result.lock_requests.map(|counts| counts.blob().to_string());
            table.add_row([
                result.title.clone(),
                result.messages.to_string(),
                result.refused.to_string(),
                result.count("applied/").to_string(),
                result.count("skipped/").to_string(),
                result.count("retry/").to_string(),
                requests.unwrap_or_else(|| "not counted".to_owned()),
                result.overlaps.to_string(),
                format!("{:.1}", result.took.as_secs_f64()),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}
