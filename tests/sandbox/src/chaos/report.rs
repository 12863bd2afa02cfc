//! What a run shows: the storm, the ledger by fate, what it took, and the story of each message that does not balance.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table};

use super::evidence::{End, Evidence, Write};
use super::run::Aftermath;
use super::verifier::{Fate, Judgement};
use super::workload::{Family, Ledger, Operation};
use crate::dataverse::Change;

/// So many differences are told in full.
const MOST_TOLD: usize = 20;

/// What is counted besides the messages' fates.
const TOOK: [&str; 11] = [
    "puts into the queue",
    "deliveries that ended",
    "deliveries that went back to the queue",
    "writes that reached Dataverse",
    "writes answered 412",
    "writes that got no answer",
    "leases granted",
    "leases ended under their holders",
    "hosts, one after the other",
    "overlaps after a lost lease",
    "rows brought back after a lost lease",
];

/// Counts of one seed or of several.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) seeds: usize,
    /// Messages by what they are and what became of them.
    fates: BTreeMap<(&'static str, String), usize>,
    /// What it took, as in [`TOOK`].
    took: [usize; TOOK.len()],
    /// The most deliveries that one message had.
    most_deliveries: u32,
    pub(super) messages: usize,
    pub(super) differences: usize,
}

impl Tally {
    /// Adds what a seed led to.
    pub(super) fn add(&mut self, aftermath: &Aftermath, judgement: &Judgement) {
        let Aftermath { ledger, evidence, .. } = aftermath;
        self.seeds += 1;
        self.messages += ledger.messages.len();
        self.differences += judgement.differences.len();
        for (message, fate) in ledger.messages.iter().zip(&judgement.fates) {
            *self.fates.entry((family(message.family), fate.to_string())).or_default() += 1;
        }
        let counts = [
            ledger.puts(),
            evidence.deliveries.len(),
            evidence.deliveries.iter().filter(|delivery| matches!(delivery.end, End::Failed(_))).count(),
            evidence.writes.len(),
            evidence.writes.iter().filter(|write| write.status == Some(412)).count(),
            evidence.writes.iter().filter(|write| write.status.is_none()).count(),
            evidence.leases.len(),
            evidence.leases.iter().filter(|lease| lease.taken.is_some()).count(),
            aftermath.hosts,
            judgement.late_overlaps,
            judgement.brought_back,
        ];
        self.took.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
        let most = evidence.deliveries.iter().map(|delivery| delivery.count).max().unwrap_or_default();
        self.most_deliveries = self.most_deliveries.max(most);
    }

    /// Adds another one.
    pub(super) fn merge(&mut self, other: Self) {
        self.seeds += other.seeds;
        self.messages += other.messages;
        self.differences += other.differences;
        self.most_deliveries = self.most_deliveries.max(other.most_deliveries);
        for (fate, count) in other.fates {
            *self.fates.entry(fate).or_default() += count;
        }
        self.took.iter_mut().zip(other.took).for_each(|(sum, count)| *sum += count);
    }

    /// Messages that ended in this way.
    pub(super) fn fate(&self, wanted: &Fate) -> usize {
        let wanted = wanted.to_string();
        self.fates.iter().filter(|((_, fate), _)| *fate == wanted).map(|(_, count)| count).sum()
    }

    /// The ledger and what it took, as a table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.set_header(["messages", "ended as", "count"]);
        let mut last = "";
        for ((family, fate), count) in &self.fates {
            let shown = if *family == last { "" } else { family };
            table.add_row([shown.to_owned(), fate.clone(), count.to_string()]);
            last = family;
        }
        table.add_row(["all".to_owned(), String::new(), self.messages.to_string()]);
        let mut heading = "what it took";
        for (name, count) in TOOK.iter().zip(&self.took) {
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
        Family::Doomed(_) => "can never work",
    }
}

/// Every difference, and the stories of its messages.
pub(super) fn differences(ledger: &Ledger, evidence: &Evidence, judgement: &Judgement) -> String {
    let mut text = String::new();
    let mut line = |line: &str| writeln!(text, "{line}").expect("writing to a string cannot fail");
    let mut told = BTreeSet::new();
    for difference in judgement.differences.iter().take(MOST_TOLD) {
        line(&format!("  ✗ {}", difference.what));
        for number in &difference.messages {
            if told.insert(*number) {
                for part in story(ledger, evidence, *number) {
                    line(&format!("      {part}"));
                }
            } else {
                line(&format!("      m-{number}: see above"));
            }
        }
    }
    if let Some(more) = judgement.differences.len().checked_sub(MOST_TOLD).filter(|more| *more > 0) {
        line(&format!("  … and {more} more"));
    }
    text
}

/// All that is known about one message, in order.
fn story(ledger: &Ledger, evidence: &Evidence, number: usize) -> Vec<String> {
    let message = &ledger.messages[number];
    let seconds = |time: std::time::Duration| format!("{:8.3} s", time.as_secs_f64());
    let mut events = vec![(message.at, format!("put {} time(s)", message.copies))];
    for delivery in evidence.deliveries_of(number) {
        let (End::Said(text) | End::Failed(text)) = &delivery.end;
        events.push((delivery.started, format!("delivery {} to {}", delivery.count, delivery.host)));
        events.push((delivery.ended, format!("delivery {} at {}: {text}", delivery.count, delivery.host)));
    }
    // A deletion holds nothing of its message, so those of its key are shown.
    let deletes = |write: &Write| message.operation == Operation::Delete && write.change == Some(Change::Deleted);
    let concerns = |write: &&Write| {
        write.message == Some(number) || (deletes(write) && write.key.as_deref() == Some(&*message.key))
    };
    for write in evidence.writes.iter().filter(concerns) {
        let status = write.status.map_or("no answer".to_owned(), |status| status.to_string());
        let change = write.change.map_or("nothing".to_owned(), |change| format!("{change:?}").to_ascii_lowercase());
        events.push((write.start, format!("write by {}: {change}, {status}", write.host)));
    }
    for letter in evidence.letters.iter().filter(|letter| letter.message == Some(number)) {
        let reason = letter.reason.as_deref().unwrap_or("as it was sent");
        events.push((letter.at, format!("in the poison queue: {reason}")));
    }
    events.sort_by_key(|(at, _)| *at);
    let events = events.into_iter().map(|(at, what)| format!("{}  {what}", seconds(at)));
    [message.shown()].into_iter().chain(events).collect()
}
