//! Messages counted by reason, Dataverse's code and table. Pure.
//!
//! Memory does not grow with the number of messages: beyond a limit, further groups are counted as one.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use comfy_table::CellAlignment;
use serde::{Serialize, Serializer};
use serde_json::json;
use time::OffsetDateTime;

use super::entry::{Entry, MOVED_BY_HOST, timestamp};
use crate::sanitize::sanitize_short;
use crate::terminal;

const MAX_GROUPS: usize = 1_000;

/// The reason of all messages beyond [`MAX_GROUPS`].
const OTHERS: &str = "(others)";

/// A code or a table is cut to this width.
const MAX_WIDTH: usize = 40;

/// Reason, code and table. Without a reason the messages were moved by the host.
type Key = [Option<String>; 3];

#[derive(Debug)]
struct Group {
    count: usize,
    first: OffsetDateTime,
    last: OffsetDateTime,
}

#[derive(Debug, Default)]
pub(crate) struct Summary {
    groups: BTreeMap<Key, Group>,
    next_to_expire: Option<OffsetDateTime>,
}

impl Summary {
    pub(crate) fn add(&mut self, entry: &Entry) {
        let time = entry.time();
        let cut = |text: Option<&str>| text.map(|text| text.chars().take(MAX_WIDTH + 1).collect());
        let mut key = [entry.listed_reason().map(str::to_owned), cut(entry.code()), cut(entry.record.table.as_deref())];
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&key) {
            key = [Some(OTHERS.to_owned()), None, None];
        }
        let group = self.groups.entry(key).or_insert(Group { count: 0, first: time, last: time });
        group.count += 1;
        group.first = group.first.min(time);
        group.last = group.last.max(time);
        self.next_to_expire = self.next_to_expire.into_iter().chain([entry.received.expires]).min();
    }

    /// Whether there are messages with this reason.
    pub(super) fn has(&self, reason: &str) -> bool {
        self.groups.keys().any(|[found, ..]| found.as_deref() == Some(reason))
    }

    /// When the queue deletes the first of them.
    pub(super) fn next_to_expire(&self) -> Option<String> {
        self.next_to_expire.map(timestamp)
    }

    /// The groups, the largest first, each as its count, reason, code, table, first and last time.
    pub(crate) fn rows(&self) -> Vec<[String; 6]> {
        self.groups().into_iter().map(cells).collect()
    }

    fn groups(&self) -> Vec<(&Key, &Group)> {
        let mut groups: Vec<_> = self.groups.iter().collect();
        groups.sort_by_key(|(_, group)| Reverse(group.count));
        groups
    }
}

impl Serialize for Summary {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let group = |([reason, code, table], group): (&Key, &Group)| {
            let (first, last) = (timestamp(group.first), timestamp(group.last));
            json!({
                "letters": group.count, "reason": reason, "code": code, "table": table, "first": first, "last": last,
            })
        };
        let groups: Vec<_> = self.groups().into_iter().map(group).collect();
        json!({ "groups": groups, "nextToExpire": self.next_to_expire() }).serialize(serializer)
    }
}

fn cells(([reason, code, table], group): (&Key, &Group)) -> [String; 6] {
    let cell = |text: &Option<String>| sanitize_short(text.as_deref().unwrap_or("–"), MAX_WIDTH).into_owned();
    let reason = reason.as_deref().unwrap_or(MOVED_BY_HOST).to_owned();
    // With a blank, a narrow table can break a time between its date and its hour.
    let [first, last] = [group.first, group.last].map(|time| timestamp(time).replace('T', " "));
    [group.count.to_string(), reason, cell(code), cell(table), first, last]
}

impl Summary {
    /// A table, each line ended; nothing when nothing was counted.
    pub(super) fn table(&self, width: Option<u16>) -> String {
        if self.groups.is_empty() {
            return String::new();
        }
        let head = ["messages", "reason", "dataverse", "table", "first", "last"].map(str::to_owned);
        let mut table = terminal::table(std::iter::once(head).chain(self.rows()), width);
        if let Some(messages) = table.column_mut(0) {
            messages.set_cell_alignment(CellAlignment::Right);
        }
        table.trim_fmt() + "\n"
    }
}

#[cfg(test)]
mod tests {

    use super::*;

    fn found(content: &str) -> Entry {
        Entry::example(content.as_bytes())
    }

    fn ours(code: &str, table: &str, at: &str) -> Entry {
        let message = json!({ "table": table, "key": { "a": 1 }, "columns": {} }).to_string();
        let dataverse = json!({ "code": code });
        let letter = json!({ "message": message, "reason": "exists", "at": at, "dataverse": dataverse });
        found(&letter.to_string())
    }

    fn summary(letters: &[Entry]) -> Summary {
        let mut summary = Summary::default();
        for letter in letters {
            summary.add(letter);
        }
        summary
    }

    #[test]
    fn counts_messages_by_reason_code_and_table_with_their_times() {
        let summary = summary(&[
            ours("0x1", "contacts", "2026-11-24T09:00:00Z"),
            found("not a record"),
            ours("0x1", "contacts", "2026-11-23T09:00:00Z"),
            ours("0x1", "accounts", "2026-11-22T09:00:00Z"),
            ours("0x1", "contacts", "2026-11-23T11:00:00Z"),
            found(r#"{"table":"contacts","key":{"a":1},"columns":{}}"#),
            found("not a record either"),
        ]);
        let expected = "\
messages  reason                    dataverse  table     first                 last
       3  exists                    0x1        contacts  2026-11-23 09:00:00Z  2026-11-24 09:00:00Z
       2  (by the host, no reason)  –          –         2026-11-24 10:00:00Z  2026-11-24 10:00:00Z
       1  (by the host, no reason)  –          contacts  2026-11-24 10:00:00Z  2026-11-24 10:00:00Z
       1  exists                    0x1        accounts  2026-11-22 09:00:00Z  2026-11-22 09:00:00Z
";
        assert_eq!(summary.table(None), expected);
        let json = serde_json::to_value(&summary).expect("plain data");
        let groups = &json["groups"];
        let first = json!({ "letters": 3, "reason": "exists", "code": "0x1", "table": "contacts",
            "first": "2026-11-23T09:00:00Z", "last": "2026-11-24T09:00:00Z" });
        assert_eq!((&groups[0], &groups[1]["reason"]), (&first, &serde_json::Value::Null));
    }

    #[test]
    fn a_hostile_code_is_escaped_and_does_not_break_the_table() {
        let shown = summary(&[ours(&format!("\u{1b}[2J\n{}", "x".repeat(5000)), "contacts", "2026-11-24T09:00:00Z")]);
        let shown = shown.table(None);
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 2, "{shown:?}");
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    }

    #[test]
    fn groups_beyond_the_limit_are_counted_as_one() {
        let mut summary = Summary::default();
        for number in 0..MAX_GROUPS + 5 {
            summary.add(&ours(&number.to_string(), "contacts", "2026-11-24T09:00:00Z"));
        }
        let groups = summary.groups();
        assert_eq!(groups.len(), MAX_GROUPS + 1);
        assert_eq!((groups[0].0[0].as_deref(), groups[0].1.count), (Some(OTHERS), 5));
        assert_eq!(summary.next_to_expire().as_deref(), Some("2026-12-01T10:00:00Z"));
    }

    #[test]
    fn without_messages_there_is_no_table() {
        assert_eq!(Summary::default().table(None), "");
    }
}
