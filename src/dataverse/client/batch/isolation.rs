//! Which rows are sent alone, and whether batches are the cause of what goes wrong.
//!
//! A row whose request is slow or gets no answer is sent alone until a write of it is executed in time: others would wait with it, or
//! fail with it. Where batches get no answer again and again and a row of each gets one alone, the service takes no batches. A batch
//! that is answered, and a single request that fails or is slow, speak against that.
//!
//! Pure, no clock.

use std::collections::HashSet;

use super::exchange::{is_executed, is_unanswered};
use crate::dataverse::Error;

/// Rows come from messages, so the number of those that are remembered is bounded.
const MAX_ROWS: usize = 1_000;

/// So many batches without an answer, each followed by a row of theirs that had one alone, switch batches off.
const MAX_FAILURES: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Isolation {
    rows: HashSet<String>,
    /// Those of the last batch that got no answer, until one of them gets one alone.
    lost_rows: HashSet<String>,
    /// How often one of them did.
    failures: u32,
}

impl Isolation {
    /// Whether this row is sent alone.
    pub(super) fn contains(&self, row: &str) -> bool {
        self.rows.contains(row)
    }

    /// A request for these rows is slow.
    pub(super) fn slow(&mut self, rows: &[String]) {
        self.add_all(rows);
        if rows.len() == 1 {
            self.forget_failures();
        }
    }

    /// A batch has ended: its rows, each with its fault.
    pub(super) fn batch_ended(&mut self, ended: &[(&str, Option<&Error>)]) {
        let is_lost = |fault: Option<&Error>| fault.is_some_and(is_unanswered);
        for (row, _) in ended.iter().filter(|(_, fault)| is_lost(*fault)) {
            self.add(row);
        }
        if ended.iter().all(|(_, fault)| is_lost(*fault)) {
            self.lost_rows = ended.iter().map(|(row, _)| (*row).to_owned()).collect();
        } else if ended.iter().any(|(_, fault)| fault.is_none_or(is_executed)) {
            self.forget_failures();
        }
    }

    /// A single request has ended. `is_no_proof` if it was slow, or a read: the write that follows may be the cause. Returns whether
    /// batches are to be switched off.
    pub(super) fn single_ended(&mut self, rows: &[String], is_no_proof: bool, fault: Option<&Error>) -> bool {
        if !fault.is_none_or(is_executed) {
            if fault.is_some_and(is_unanswered) {
                self.add_all(rows);
            }
            self.forget_failures();
        } else if !is_no_proof {
            for row in rows {
                self.rows.remove(row);
                if self.lost_rows.contains(row) {
                    self.lost_rows.clear();
                    self.failures += 1;
                }
            }
        }
        self.failures >= MAX_FAILURES
    }

    pub(super) fn forget_failures(&mut self) {
        self.lost_rows.clear();
        self.failures = 0;
    }

    fn add_all(&mut self, rows: &[String]) {
        for row in rows {
            self.add(row);
        }
    }

    fn add(&mut self, row: &str) {
        if self.rows.len() >= MAX_ROWS {
            self.rows.clear();
        }
        self.rows.insert(row.to_owned());
    }
}
