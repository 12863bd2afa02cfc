//! The output of the demonstration: acts, checked claims, a table, and the main result.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

use super::round::RoundResult;
use crate::screen::Screen;

/// The race, four runs, HTTP, the queue.
const ACTS: usize = 7;

/// The output so far.
#[derive(Debug)]
pub(super) struct Report<'s> {
    pub(super) screen: &'s mut Screen,
    /// The lines of the closing table.
    pub(super) results: Vec<RoundResult>,
    acts: usize,
    held: usize,
    broken: Vec<String>,
}

impl<'s> Report<'s> {
    pub(super) fn new(screen: &'s mut Screen) -> Self {
        Self { screen, results: Vec::new(), acts: 0, held: 0, broken: Vec::new() }
    }

    /// Begins the next act.
    pub(super) fn act(&mut self, title: &str) {
        self.acts += 1;
        self.screen.heading(&format!("Act {} of {ACTS}: {title}", self.acts));
    }

    /// A claim, and whether it held.
    pub(super) fn claim(&mut self, held: bool, claim: &str) {
        self.screen.claim(held, claim);
        if held {
            self.held += 1;
        } else {
            self.broken.push(claim.to_owned());
        }
    }

    /// Prints the table and the verdict; returns whether every claim held.
    pub(super) fn close(&mut self, took: Duration) -> bool {
        self.screen.heading("The four runs");
        self.table().lines().for_each(|line| self.screen.line(line));
        self.screen.line("");
        let all = self.held + self.broken.len();
        if self.broken.is_empty() {
            self.screen.claim(true, &format!("{all} claims checked in {:.0} s, all of them hold.", took.as_secs_f64()));
        } else {
            self.screen.claim(false, &format!("{} of {all} claims do NOT hold:", self.broken.len()));
            for claim in &self.broken {
                self.screen.data("    ", claim);
            }
        }
        self.screen.text_at(2, "Next: `cargo sandbox up` keeps it running; `cargo stage` lays out an app.");
        self.screen.line("");
        self.screen.strong(&self.result());
        self.broken.is_empty()
    }

    /// The main result.
    fn result(&self) -> String {
        let sum = |leases: bool, count: fn(&RoundResult) -> usize| -> usize {
            self.results.iter().filter(|result| result.leases == leases).map(count).sum()
        };
        let refused = |result: &RoundResult| result.refused;
        format!(
            "{} messages each: without locks {} × 412, with leases {}.",
            sum(true, |result| result.messages),
            sum(false, refused),
            sum(true, refused),
        )
    }

    fn table(&self) -> String {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        table.set_header(["run", "412", "applied", "skipped", "retried", "overlaps", "lock requests"]);
        for result in &self.results {
            let requests = result.lock_requests.map(|counts| counts.blob().to_string());
            table.add_row([
                format!("{}, {}", if result.leases { "leases" } else { "no locks" }, result.sources),
                result.refused.to_string(),
                result.count("applied/").to_string(),
                result.count("skipped/").to_string(),
                result.count("retry/").to_string(),
                result.overlaps.to_string(),
                requests.unwrap_or_else(|| "not counted".to_owned()),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table.to_string()
    }
}
