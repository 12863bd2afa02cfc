//! Letters counted by what they have in common: reason, Dataverse's code, table. Pure.
//!
//! Memory does not grow with the number of letters: beyond a bound, further groups are counted as one.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;

use super::entry::{BY_THE_HOST, Found, moment};
use crate::sanitize::sanitize_short;

/// Nobody reads a longer table.
const MOST_GROUPS: usize = 1_000;

/// What a code or a table is cut to.
const WIDEST: usize = 40;

const NOTHING: &str = "–";

/// What the letters of a group have in common.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Alike { reason: Option<String>, code: Option<String>, table: Option<String> },
    Others,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    letters: u64,
    first: OffsetDateTime,
    last: OffsetDateTime,
}

/// The groups so far.
#[derive(Debug, Default)]
pub struct Tally {
    groups: BTreeMap<Key, Group>,
    next_to_expire: Option<OffsetDateTime>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, found: &Found) {
        let (letter, time) = (&found.letter, found.time());
        let owned = |text: Option<&str>| text.map(|text| text.chars().take(WIDEST + 1).collect());
        let key = Key::Alike {
            reason: letter.reason().map(str::to_owned),
            code: owned(letter.code()),
            table: owned(letter.subject.table.as_deref()),
        };
        let full = self.groups.len() >= MOST_GROUPS && !self.groups.contains_key(&key);
        let key = if full { Key::Others } else { key };
        let group = self.groups.entry(key).or_insert(Group { letters: 0, first: time, last: time });
        group.letters += 1;
        group.first = group.first.min(time);
        group.last = group.last.max(time);
        self.next_to_expire = self.next_to_expire.into_iter().chain([found.expires]).min();
    }

    /// When the queue forgets the first of them.
    pub fn next_to_expire(&self) -> Option<OffsetDateTime> {
        self.next_to_expire
    }

    /// The groups, the largest first.
    pub fn groups(&self) -> Vec<GroupLine<'_>> {
        let mut lines: Vec<_> = self.groups.iter().map(|(key, group)| GroupLine::new(key, group)).collect();
        lines.sort_by_key(|line| Reverse(line.letters));
        lines
    }
}

/// A group as it is shown. Without a reason, its letters were moved by the host.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct GroupLine<'a> {
    letters: u64,
    reason: Option<&'a str>,
    code: Option<&'a str>,
    table: Option<&'a str>,
    first: String,
    last: String,
    /// Whatever is beyond the bound.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    others: bool,
}

impl<'a> GroupLine<'a> {
    fn new(key: &'a Key, group: &Group) -> Self {
        let (reason, code, table) = match key {
            Key::Alike { reason, code, table } => (reason.as_deref(), code.as_deref(), table.as_deref()),
            Key::Others => (None, None, None),
        };
        let (first, last) = (moment(group.first), moment(group.last));
        Self { letters: group.letters, reason, code, table, first, last, others: *key == Key::Others }
    }

    fn cells(&self) -> [String; 6] {
        let cell = |text: Option<&str>| sanitize_short(text.unwrap_or(NOTHING), WIDEST).into_owned();
        let without = if self.others { "(others)" } else { BY_THE_HOST };
        let reason = self.reason.unwrap_or(without).to_owned();
        [self.letters.to_string(), reason, cell(self.code), cell(self.table), self.first.clone(), self.last.clone()]
    }
}

impl fmt::Display for Tally {
    /// A table, each line ended; nothing when nothing was counted.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.groups.is_empty() {
            return Ok(());
        }
        let head = ["letters", "reason", "dataverse", "table", "first", "last"].map(str::to_owned);
        let rows: Vec<_> = std::iter::once(head).chain(self.groups().iter().map(GroupLine::cells)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
        let widths: [usize; 6] = std::array::from_fn(width);
        for [letters, reason, code, table, first, last] in &rows {
            let [w0, w1, w2, w3, w4, _] = widths;
            writeln!(f, "{letters:>w0$}  {reason:<w1$}  {code:<w2$}  {table:<w3$}  {first:<w4$}  {last}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;

    use super::*;

    fn found(content: &str) -> Found {
        Found::example(content.as_bytes())
    }

    fn ours(code: &str, table: &str, at: &str) -> Found {
        let message = json!({ "table": table, "key": { "a": 1 }, "columns": {} }).to_string();
        let dataverse = json!({ "code": code });
        let letter = json!({ "message": message, "reason": "exists", "at": at, "dataverse": dataverse });
        found(&letter.to_string())
    }

    fn tally(letters: &[Found]) -> Tally {
        let mut tally = Tally::default();
        for letter in letters {
            tally.add(letter);
        }
        tally
    }

    #[test]
    fn letters_are_counted_by_reason_code_and_table_with_their_times() {
        let tally = tally(&[
            ours("0x1", "contacts", "2026-11-24T09:00:00Z"),
            found("no record"),
            ours("0x1", "contacts", "2026-11-23T09:00:00Z"),
            ours("0x1", "accounts", "2026-11-22T09:00:00Z"),
            ours("0x1", "contacts", "2026-11-23T11:00:00Z"),
            found(r#"{"table":"contacts","key":{"a":1},"columns":{}}"#),
            found("no record either"),
        ]);
        let expected = "\
letters  reason                    dataverse  table     first                 last
      3  exists                    0x1        contacts  2026-11-23T09:00:00Z  2026-11-24T09:00:00Z
      2  (by the host, no reason)  –          –         2026-11-24T10:00:00Z  2026-11-24T10:00:00Z
      1  (by the host, no reason)  –          contacts  2026-11-24T10:00:00Z  2026-11-24T10:00:00Z
      1  exists                    0x1        accounts  2026-11-22T09:00:00Z  2026-11-22T09:00:00Z
";
        assert_eq!(tally.to_string(), expected);
        let groups = serde_json::to_value(tally.groups()).expect("plain data");
        let first = json!({ "letters": 3, "reason": "exists", "code": "0x1", "table": "contacts",
            "first": "2026-11-23T09:00:00Z", "last": "2026-11-24T09:00:00Z" });
        assert_eq!((&groups[0], &groups[1]["reason"]), (&first, &serde_json::Value::Null));
    }

    #[test]
    fn a_hostile_code_neither_reaches_the_terminal_nor_breaks_the_table() {
        let shown = tally(&[ours(&format!("\u{1b}[2J\n{}", "x".repeat(5000)), "contacts", "2026-11-24T09:00:00Z")]);
        let shown = shown.to_string();
        assert!(!shown.contains('\u{1b}') && shown.lines().count() == 2, "{shown:?}");
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
    }

    #[test]
    fn beyond_the_bound_groups_are_counted_as_one() {
        let mut tally = Tally::default();
        for number in 0..MOST_GROUPS + 5 {
            tally.add(&ours(&number.to_string(), "contacts", "2026-11-24T09:00:00Z"));
        }
        let groups = tally.groups();
        assert_eq!(groups.len(), MOST_GROUPS + 1);
        assert_eq!((groups[0].letters, groups[0].others), (5, true));
        assert_eq!(tally.next_to_expire(), Some(datetime!(2026-12-01 10:00 UTC)));
    }

    #[test]
    fn of_nothing_there_is_no_table() {
        assert_eq!(Tally::default().to_string(), "");
    }
}
