//! The report of a run: messages by final state, counts, and the history of each message with a difference.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};

use super::evidence::{End, Evidence, Write};
use super::run::RunOutcome;
use super::verifier::{FinalState, Verification};
use super::workload::{Family, Operation, Workload};
use stand_ins::dataverse::Change;

/// Maximum number of differences printed in full.
const MAX_SHOWN: usize = 20;

/// What is counted besides the messages' final states.
const COUNTS: [&str; 11] = [
    "puts into the queue",
    "deliveries that ended",
    "deliveries that went back to the queue",
    "writes that reached Dataverse",
    "writes answered 412",
    "writes that got no answer",
    "leases granted",
    "held leases ended by a fault",
    "hosts started",
    "overlaps after a lost lease",
    "rows restored after a lost lease",
];

/// Counts of one seed or of several.
#[derive(Debug, Clone, Default)]
pub(super) struct Totals {
    pub(super) seeds: usize,
    /// Messages by family and final state.
    final_states: BTreeMap<(&'static str, String), usize>,
    /// In the order of [`COUNTS`].
    took: [usize; COUNTS.len()],
    /// The largest number of deliveries of one message.
    most_deliveries: u32,
    pub(super) messages: usize,
    pub(super) differences: usize,
}

impl Totals {
    /// Adds the results of a seed.
    pub(super) fn add(&mut self, run_outcome: &RunOutcome, verification: &Verification) {
        let RunOutcome { workload, evidence, .. } = run_outcome;
        self.seeds += 1;
        self.messages += workload.messages.len();
        self.differences += verification.differences.len();
        for (message, final_state) in workload.messages.iter().zip(&verification.final_states) {
            *self.final_states.entry((family(message.family), final_state.to_string())).or_default() += 1;
        }
        let counts = [
            workload.puts(),
            evidence.deliveries.len(),
            evidence.deliveries.iter().filter(|delivery| matches!(delivery.end, End::Failed(_))).count(),
            evidence.writes.len(),
            evidence.writes.iter().filter(|write| write.status == Some(412)).count(),
            evidence.writes.iter().filter(|write| write.status.is_none()).count(),
            evidence.leases.len(),
            evidence.leases.iter().filter(|lease| lease.taken.is_some()).count(),
            run_outcome.hosts,
            verification.late_overlaps,
            verification.brought_back,
        ];
        self.took.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        let most = evidence.deliveries.iter().map(|delivery| delivery.count).max().unwrap_or_default();
        self.most_deliveries = self.most_deliveries.max(most);
    }

    /// Adds another tally.
    pub(super) fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.messages += other.messages;
        self.differences += other.differences;
        self.most_deliveries = self.most_deliveries.max(other.most_deliveries);
        for (final_state, count) in other.final_states {
            *self.final_states.entry(final_state).or_default() += count;
        }
        self.took.iter_mut().zip(other.took).for_each(|(sum, count)| *sum += count);
    }

    /// The number of messages in this final state.
    pub(super) fn final_state(&self, wanted: &FinalState) -> usize {
        let wanted = wanted.to_string();
        self.final_states.iter().filter(|((_, final_state), _)| *final_state == wanted).map(|(_, count)| count).sum()
    }

    /// All counts as a table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.set_header(["messages", "ended as", "count"]);
        let mut last = "";
        for ((family, final_state), count) in &self.final_states {
            let shown = if *family == last { "" } else { family };
            table.add_row([shown.to_owned(), final_state.clone(), count.to_string()]);
            last = family;
        }
        table.add_row(["all".to_owned(), String::new(), self.messages.to_string()]);
        let mut heading = "counts";
        for (name, count) in COUNTS.iter().zip(&self.took) {
            table.add_row([heading, *name, &count.to_string()]);
            heading = "";
        }
        table.add_row(["", "most deliveries of one message", &self.most_deliveries.to_string()]);
        if let Some(column) = table.column_mut(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

fn family(family: Family) -> &'static str {
    match family {
        Family::Versioned => "with versions",
        Family::Plain => "upserts without versions",
        Family::Present => "updates without versions",
        Family::Created => "creates",
        Family::Silent => "first write never answered",
        Family::Invalid(_) => "invalid",
    }
}

/// Every difference, with the history of its messages.
pub(super) fn differences(workload: &Workload, evidence: &Evidence, verification: &Verification) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("writing to a string cannot fail");
    let mut shown = BTreeSet::new();
    for difference in verification.differences.iter().take(MAX_SHOWN) {
        line(&format!("  ✗ {}", difference.what));
        for number in &difference.messages {
            if shown.insert(*number) {
                for part in history(workload, evidence, *number) {
                    line(&format!("      {part}"));
                }
            } else {
                line(&format!("      m-{number}: see above"));
            }
        }
    }
    if let Some(more) = verification.differences.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
        line(&format!("  … and {more} more"));
    }
    text
}

/// All events of one message, in order.
fn history(workload: &Workload, evidence: &Evidence, number: usize) -> Vec<String> {
    let message = &workload.messages[number];
    let seconds = |time: std::time::Duration| format!("{:8.3} s", time.as_secs_f64());
    let mut events = vec![(message.at, format!("sent {} time(s)", message.copies))];
    for delivery in evidence.deliveries_of(number) {
        let (End::Reported(text) | End::Failed(text)) = &delivery.end;
        events.push((delivery.started, format!("delivery {} to {}", delivery.count, delivery.host)));
        events.push((delivery.ended, format!("delivery {} at {}: {text}", delivery.count, delivery.host)));
    }
    // A deletion does not identify its message, so all deletions of its key are shown.
    let deletes = |write: &Write| message.operation == Operation::Delete && write.change == Some(Change::Deleted);
    let concerns = |write: &&Write| {
        write.message == Some(number) || (deletes(write) && write.key.as_deref() == Some(&*message.key))
    };
    for write in evidence.writes.iter().filter(concerns) {
        let status = write.status.map_or("no answer".to_owned(), |status| status.to_string());
        let change = write.change.map_or("nothing".to_owned(), |change| format!("{change:?}").to_ascii_lowercase());
        events.push((write.start, format!("write by {}: {change}, {status}", write.host)));
    }
    for letter in evidence.dead_letters.iter().filter(|letter| letter.message == Some(number)) {
        let reason = letter.reason.as_deref().unwrap_or("as it was sent");
        events.push((letter.at, format!("in the poison queue: {reason}")));
    }
    events.sort_by_key(|(at, _)| *at);
    let events = events.into_iter().map(|(at, what)| format!("{}  {what}", seconds(at)));
    [message.shown()].into_iter().chain(events).collect()
}
