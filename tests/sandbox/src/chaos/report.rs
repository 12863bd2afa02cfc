//! The report of a run: messages by final state, counts, and the history of each key with a difference.

use std::collections::BTreeMap;

use comfy_table::{CellAlignment, Table};

use super::evidence::Evidence;
use super::verifier::Verification;

/// Maximum number of keys whose differences are printed.
const MAX_SHOWN: usize = 20;

/// Counts of one seed or of several.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Messages by kind and final state.
    states: BTreeMap<(&'static str, String), usize>,
    counts: BTreeMap<&'static str, usize>,
}

impl Totals {
    /// Adds the results of a seed.
    pub(super) fn add(&mut self, evidence: &Evidence, verification: &Verification) {
        for (state, count) in &verification.states {
            *self.states.entry(state.clone()).or_default() += count;
        }
        let verified = [
            ("overlaps after a lost lease", verification.late_overlaps),
            ("rows restored after a lost lease", verification.restored),
        ];
        for (name, count) in evidence.counts.iter().map(|(name, count)| (*name, *count)).chain(verified) {
            *self.counts.entry(name).or_default() += count;
        }
    }

    /// The number of messages, or of those in this final state.
    pub(super) fn messages(&self, state: Option<&str>) -> usize {
        self.states.iter().filter(|((_, one), _)| state.is_none_or(|state| one == state)).map(|(_, count)| count).sum()
    }

    /// All counts as a table.
    pub(super) fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::UTF8_BORDERS_ONLY);
        table.set_header(["messages", "ended as", "count"]);
        let states = self.states.iter().map(|((kind, state), count)| (*kind, state.as_str(), *count));
        let counts = self.counts.iter().map(|(name, count)| ("counts", *name, *count));
        let mut last = "";
        for (group, name, count) in states.chain([("all", "", self.messages(None))]).chain(counts) {
            table.add_row([if group == last { "" } else { group }, name, &count.to_string()]);
            last = group;
        }
        if let Some(column) = table.column_mut(2) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }
}

/// Every difference, with the history of its key.
pub(super) fn differences(evidence: &Evidence, verification: &Verification) -> String {
    let mut lines = Vec::new();
    for (key, differences) in verification.differences.iter().take(MAX_SHOWN) {
        lines.extend(differences.iter().map(|what| format!("  ✗ {key}: {what}")));
        let Some(history) = evidence.keys.get(key) else { continue };
        for message in &history.messages {
            let version = message.version.map(|version| format!(", version {version}")).unwrap_or_default();
            let (number, at, operation) = (message.number, message.at.as_secs_f64(), message.operation);
            lines.push(format!("    {at:8.3} s  m-{number} sent by {}: {operation:?}{version}", message.source));
        }
        for event in &history.events {
            let message = event.message.map(|number| format!("m-{number}")).unwrap_or_default();
            let (from, to) = (event.from.as_secs_f64(), event.to.as_secs_f64());
            lines.push(format!("    {from:8.3} to {to:8.3} s  {message} {} {:?}", event.host, event.what));
        }
    }
    if verification.differences.len() > MAX_SHOWN {
        lines.push(format!("  … and {} more keys", verification.differences.len() - MAX_SHOWN));
    }
    lines.join("\n")
}
