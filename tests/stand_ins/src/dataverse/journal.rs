//! The journal: every write request, when it was executed, and its result. Tests check order and overlap against it.
//!
//! It records every write request that reached the stand-in, including rejected ones and those without a response, and
//! evaluates nothing. A write within a batch is an entry like any other; a batch is an entry only if no part was executed. Invariant: entries are numbered in order of arrival; times are relative to the stand-in's start,
//! on tokio's clock. The service has no equivalent; the closest is auditing
//! (<https://learn.microsoft.com/power-apps/developer/data-platform/auditing/overview>).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

/// The requested operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Operation {
    /// PATCH without a condition.
    Upsert,
    /// PATCH with `If-Match`.
    Update,
    /// POST, or PATCH with `If-None-Match: *`.
    Create,
    /// DELETE.
    Delete,
    /// One target of an `UpsertMultiple`.
    UpsertMultiple,
    /// A write that was rejected before its operation was known.
    Unknown,
}

/// What was committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Change {
    /// A new row.
    Created,
    /// An existing row.
    Updated,
    /// A row was deleted.
    Deleted,
}

/// One write request, alone or in a batch, or one target of a bulk request.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// Numbered by arrival, from 1.
    pub seq: u64,
    /// The HTTP method.
    pub method: String,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub protocol: String,
    /// Path and query as sent.
    pub target: String,
    /// The `request_id` of the batch that it was a part of.
    pub batch: Option<String>,
    /// The entity set.
    pub set: String,
    /// The key as addressed, percent-decoded; empty for POST.
    pub key: String,
    /// The requested operation.
    pub operation: Operation,
    /// What was committed; `None`: nothing.
    pub change: Option<Change>,
    /// The id of the row that was found, created or deleted.
    pub row: Option<String>,
    /// When the request arrived.
    #[serde(serialize_with = "milliseconds")]
    pub start: Duration,
    /// When the row was looked up; `None`: the request was rejected before that.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub looked_up: Option<Duration>,
    /// When the change was committed.
    #[serde(serialize_with = "maybe_milliseconds")]
    pub commit: Option<Duration>,
    /// When the response was ready.
    #[serde(serialize_with = "milliseconds")]
    pub end: Duration,
    /// The response's status; `None`: no response was sent (it hung, or the connection was dropped).
    pub status: Option<u16>,
    /// The service code of an error.
    pub code: Option<String>,
    /// `REQ_ID`, and the last `x-ms-service-request-id`.
    pub request_id: String,
    /// The request's headers, names in lower case, without credentials.
    pub headers: BTreeMap<String, String>,
    /// The body as sent.
    pub values: Map<String, Value>,
    /// Identical for all spellings of one address; for finding overlaps.
    #[serde(skip)]
    pub(super) identity: String,
}

/// How many requests were handled, by method and status. A batch has the method `$batch`, its parts have their own.
#[derive(Debug, Clone, Default)]
pub struct Counts(BTreeMap<(String, Option<u16>), usize>);

impl Counts {
    /// All requests; for a batch, it and each of its parts.
    pub fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Requests with this method and this status.
    pub fn of(&self, method: &str, status: u16) -> usize {
        self.0.get(&(method.to_owned(), Some(status))).copied().unwrap_or_default()
    }

    /// Requests with this method and any outcome.
    pub fn method(&self, method: &str) -> usize {
        self.iter().filter(|(of, ..)| *of == method).map(|(.., count)| count).sum()
    }

    /// Method, status (`None`: no response was sent) and number, sorted.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<u16>, usize)> {
        self.0.iter().map(|((method, status), count)| (method.as_str(), *status, *count))
    }

    pub(super) fn add(&mut self, method: &str, status: Option<u16>) {
        *self.0.entry((method.to_owned(), status)).or_default() += 1;
    }
}

/// Pairs of executed writes to the same row that overlapped in time; each pair once, in order of arrival.
pub(super) fn overlaps(entries: &[Entry]) -> Vec<(Entry, Entry)> {
    let mut groups: HashMap<(&str, &str), Vec<usize>> = HashMap::new();
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| entry.looked_up.is_some()) {
        let names = [Some(entry.identity.as_str()), entry.row.as_deref()];
        let names: BTreeSet<&str> = names.into_iter().flatten().filter(|name| !name.is_empty()).collect();
        for name in names {
            groups.entry((&entry.set, name)).or_default().push(at);
        }
    }
    let mut pairs = BTreeSet::new();
    for mut group in groups.into_values() {
        group.sort_by_key(|&at| entries[at].start);
        for (n, &first) in group.iter().enumerate() {
            let during = group[n + 1..].iter().take_while(|&&next| entries[next].start <= entries[first].end);
            pairs.extend(during.map(|&next| (first.min(next), first.max(next))));
        }
    }
    pairs.into_iter().map(|(a, b)| (entries[a].clone(), entries[b].clone())).collect()
}

fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(duration.as_secs_f64() * 1_000.0)
}

#[expect(clippy::ref_option, reason = "serde calls it with a reference to the field")]
fn maybe_milliseconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    duration.map(|duration| duration.as_secs_f64() * 1_000.0).serialize(serializer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(seq: u64, identity: &str, row: Option<&str>, start: u64, end: u64) -> Entry {
        Entry {
            seq,
            protocol: String::new(),
            method: "PATCH".to_owned(),
            target: String::new(),
            batch: None,
            set: "contacts".to_owned(),
            key: identity.to_owned(),
            operation: Operation::Upsert,
            change: None,
            row: row.map(str::to_owned),
            start: Duration::from_millis(start),
            looked_up: Some(Duration::from_millis(start)),
            commit: None,
            end: Duration::from_millis(end),
            status: Some(204),
            code: None,
            request_id: String::new(),
            headers: BTreeMap::new(),
            values: Map::new(),
            identity: identity.to_owned(),
        }
    }

    fn found(entries: &[Entry]) -> Vec<(u64, u64)> {
        overlaps(entries).into_iter().map(|(a, b)| (a.seq, b.seq)).collect()
    }

    #[test]
    fn writes_of_one_key_overlap_when_their_times_do() {
        assert_eq!(found(&[entry(1, "a", None, 0, 9), entry(2, "a", None, 5, 20)]), [(1, 2)]);
        assert_eq!(found(&[entry(1, "a", None, 0, 4), entry(2, "a", None, 5, 20)]), []);
        assert_eq!(found(&[entry(1, "a", None, 0, 9), entry(2, "b", None, 5, 20)]), []);
    }

    #[test]
    fn one_row_under_two_names_is_still_one_row() {
        assert_eq!(found(&[entry(1, "a", Some("r"), 0, 9), entry(2, "r", Some("r"), 5, 20)]), [(1, 2)]);
    }

    #[test]
    fn a_request_that_was_rejected_before_execution_overlaps_with_nothing() {
        let mut refused = entry(2, "a", None, 5, 20);
        refused.looked_up = None;
        assert_eq!(found(&[entry(1, "a", None, 0, 9), refused]), []);
    }
}
