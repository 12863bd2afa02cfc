//! What is read of a file before anything is put: the lines that cannot be sent, keys that come twice, and who is whose parent.
//!
//! Memory: about 100 bytes a record, and some hundred more while the order is made of a file with lookups.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, BufRead};

use tokio_util::sync::CancellationToken;

use super::problems::Problems;
use super::source::{Lines, Message, Plan};
use crate::record::{Links, Order};

/// What a check of a file found.
#[derive(Debug, Default)]
pub(super) struct Checked {
    pub(super) records: u64,
    pub(super) problems: Problems,
    /// The first line of each key.
    keys: HashMap<u64, u64>,
    /// The lines of the first two records with one key, and how many have the key of an earlier one.
    repeated: Option<((u64, u64), u64)>,
    /// Records without a version.
    unversioned: u64,
    lines: Vec<u64>,
    links: Vec<Option<Links>>,
}

/// Reads all records. Ends early where `stop` is cancelled.
///
/// # Errors
/// The file cannot be read.
pub(super) fn check<R: BufRead>(mut lines: Lines<R>, plan: &Plan, stop: &CancellationToken) -> io::Result<Checked> {
    let mut checked = Checked::default();
    while !stop.is_cancelled() {
        let Some(line) = lines.next()? else { break };
        checked.records += 1;
        match plan.message(&lines, line) {
            Ok(message) => checked.add(message),
            Err(wrong) => checked.problems.add(wrong),
        }
    }
    Ok(checked)
}

impl Checked {
    fn add(&mut self, Message { line, links, has_version, .. }: Message) {
        let first = *self.keys.entry(links.key()).or_insert(line);
        if first != line {
            self.repeated.get_or_insert(((first, line), 0)).1 += 1;
        }
        self.unversioned += u64::from(!has_version);
        self.lines.push(line);
        self.links.push(Some(links));
    }

    /// What to say about keys that come twice.
    pub(super) fn repetitions(&self) -> String {
        let Some(((first, second), count)) = self.repeated else { return String::new() };
        let records = if count == 1 { "1 record has" } else { &format!("{count} records have") };
        let end = if self.unversioned == 0 {
            "the highest version wins"
        } else {
            "only with a --version the highest one wins"
        };
        format!(
            "warning: {records} the same key as an earlier one (first: lines {first} and {second}). They are put in the file's \
             order, but a queue does not promise order: {end}.\n"
        )
    }

    /// The level of each record, and what to say about them: parents are put before the records whose lookups name them. No levels
    /// are the order of the file.
    pub(super) fn levels(&self) -> (Vec<u32>, String) {
        if !self.links.iter().flatten().any(Links::has_lookups) {
            return (Vec::new(), String::new());
        }
        let order = Order::new(&self.links);
        let (mut levels, in_cycles, mut text) = (order.levels(), order.in_cycles(), String::new());
        let last = levels.iter().copied().max().unwrap_or_default();
        if last == 0 {
            levels.clear();
        } else {
            let _ = writeln!(
                text,
                "Parents are put first, because lookups name rows of this file: {} levels. A queue does not promise that \
                 order; a message that comes before its parent waits, or is delivered again.",
                last + 1
            );
        }
        if let Some(first) = in_cycles.first() {
            let (count, line) = (in_cycles.len(), self.lines[*first]);
            let _ = writeln!(
                text,
                "warning: the lookups of {count} records form a circle or name the record itself (first: line {line}). A row \
                 that does not exist yet cannot be created so: send the file once without that lookup (--types COLUMN=skip \
                 for its columns), then with it and without --version."
            );
        }
        (levels, text)
    }
}
