//! An array of records in one HTTP call, answered in the order sent.
//!
//! Records with the same key are processed one after the other, in the order sent. Once one of a key has to be sent again, those
//! behind it are too: a caller who resends what failed would otherwise write older over newer.
//!
//! All arrays of the process share as many slots as admission admits at most. The limit of the moment would be too few: records
//! that wait for their locks would take them up. An array waits for one slot at a time and slots are granted in order of arrival,
//! so that arrays take turns. What has not begun when the call's time is over goes back.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::BuildHasher as _;
use std::pin::pin;
use std::time::Duration;
use std::vec;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::time::{Instant, sleep_until};
use tracing::Instrument as _;

use super::invocation::HTTP_WAIT_BUDGET;
use super::{AppState, body, invocation, respond};
use crate::host::HTTP_FUNCTION;
use crate::outcome::{Disposition, Outcome, Reason};
use crate::pipeline::Delivery;
use crate::record::decode;
use crate::telemetry::trace;

/// The most records in one call.
const MAX_RECORDS: usize = 1_000;

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
    summary: BTreeMap<&'static str, usize>,
}

/// The records of one key that have not begun, each with its position in the array.
#[derive(Debug)]
struct Group {
    rest: vec::IntoIter<(usize, Bytes)>,
    /// Why an earlier one goes back.
    behind: Option<Reason>,
}

/// Processes every record of a JSON array.
pub(super) async fn process(app: AppState, id: String, body: Bytes) -> Response {
    let received = Instant::now();
    let refused = |outcome| respond::single(&invocation::refused(HTTP_FUNCTION, &id, outcome, received));
    let records = match elements(&body) {
        Ok(records) => records,
        Err(outcome) => return refused(*outcome),
    };
    let Some(reserved) = app.budget.array_records(records.len()) else { return refused(body::at_memory_limit()) };
    let groups = group_by_key(records.into_iter().map(|record| body.slice_ref(record.get().as_bytes())));
    let mut settled = settle_groups(&app, &id, received, groups).await;
    settled.sort_by_key(|(position, _)| *position);
    let results: Vec<Outcome> = settled.into_iter().map(|(_, outcome)| outcome).collect();
    let mut summary = BTreeMap::new();
    for outcome in &results {
        *summary.entry(outcome.disposition.code()).or_default() += 1;
    }
    let is_done = |outcome: &Outcome| matches!(outcome.disposition, Disposition::Applied | Disposition::Skipped);
    let status = if results.iter().all(is_done) { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    // The results repeat what the body holds, such as keys.
    respond::json_with_reservation(status, &Results { results, summary }, (body, reserved))
}

/// The elements of a JSON array of records.
fn elements(body: &[u8]) -> Result<Vec<&RawValue>, Box<Outcome>> {
    let (mut json, mut elements) = (serde_json::Deserializer::from_slice(body), Vec::new());
    let read = json.deserialize_seq(Elements(&mut elements)).and_then(|()| json.end());
    match read {
        _ if elements.len() > MAX_RECORDS => {
            let detail = format!("more than {MAX_RECORDS} records in one call");
            Err(Outcome::new(Reason::TooLarge).detail(detail).into())
        }
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let detail = format!("the body is not a JSON array of records: line {line} column {column}");
            Err(Outcome::new(Reason::InvalidMessage).detail(detail).into())
        }
        Ok(()) => Ok(elements),
    }
}

/// Collects the elements of an array, up to the first that is too many.
struct Elements<'a, 'de>(&'a mut Vec<&'de RawValue>);

impl<'de> Visitor<'de> for Elements<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<(), A::Error> {
        while let Some(element) = array.next_element()? {
            self.0.push(element);
            if self.0.len() > MAX_RECORDS {
                return Err(A::Error::custom("too many elements"));
            }
        }
        Ok(())
    }
}

/// The messages by key, in the order of the first of each; an invalid one is a group of its own. Only a hash of a key is kept.
fn group_by_key(messages: impl Iterator<Item = Bytes>) -> VecDeque<Group> {
    let (mut groups, mut by_key, hasher) = (Vec::<Vec<_>>::new(), HashMap::new(), RandomState::new());
    for element in messages.enumerate() {
        let key = decode(&element.1).ok().map(|record| hasher.hash_one(record.key.lock_name("", &record.table)));
        let group = key.map_or(groups.len(), |key| *by_key.entry(key).or_insert(groups.len()));
        match groups.get_mut(group) {
            Some(group) => group.push(element),
            None => groups.push(vec![element]),
        }
    }
    groups.into_iter().map(|group| Group { rest: group.into_iter(), behind: None }).collect()
}

/// Processes the groups side by side, a slot for each record; returns the outcomes with their positions.
async fn settle_groups(
    app: &AppState,
    id: &str,
    received: Instant,
    mut groups: VecDeque<Group>,
) -> Vec<(usize, Outcome)> {
    let (mut running, mut settled) = (FuturesUnordered::new(), Vec::new());
    let free_slot = || app.array_slots.clone().acquire_owned();
    let mut next_slot = pin!(free_slot());
    let mut time_is_over = pin!(sleep_until(received + HTTP_WAIT_BUDGET));
    loop {
        let slot = tokio::select! {
            granted = &mut next_slot, if !groups.is_empty() => {
                next_slot.set(free_slot());
                // An error: the process stops.
                granted.ok()
            }
            () = &mut time_is_over, if !groups.is_empty() => {
                // No longer in the line: a slot granted there would be taken and not used.
                next_slot.set(free_slot());
                None
            }
            Some((group, outcome)) = running.next() => {
                settled.push(outcome);
                // In front, because many records of one key take longest.
                if let Some(group) = group {
                    groups.push_front(group);
                }
                continue;
            }
            else => return settled,
        };
        let Some(group) = groups.pop_front() else { continue };
        let next = settle_next(app, id, received, group, slot.is_some());
        if let Some(slot) = slot {
            running.push(async move {
                let ended = next.await;
                drop(slot);
                ended
            });
        } else {
            let (group, outcome) = next.await;
            settled.push(outcome);
            groups.extend(group);
        }
    }
}

/// Processes the next record of a group; returns the group if it has more. A record without a slot does not begin.
async fn settle_next(
    app: &AppState,
    id: &str,
    received: Instant,
    mut group: Group,
    has_slot: bool,
) -> (Option<Group>, (usize, Outcome)) {
    let (position, message) = group.rest.next().expect("a group without records is dropped");
    let mut delivery = Delivery { behind: group.behind, ..app.http_delivery(received) };
    if !has_slot {
        delivery.queue_budget = Duration::ZERO;
    }
    let span = invocation::span(HTTP_FUNCTION, id, delivery.attempts);
    let outcome = app.settle(span, message, delivery).instrument(trace::child("record")).await;
    group.behind = group.behind.or((outcome.disposition == Disposition::Retry).then_some(outcome.reason));
    (Some(group).filter(|group| !group.rest.as_slice().is_empty()), (position, outcome))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> Reason {
        elements(body.as_bytes()).expect_err("it is refused").reason
    }

    #[test]
    fn an_array_that_is_too_long_is_refused_where_it_becomes_so() {
        let zeros = |count: usize| "0,".repeat(count);
        let full = format!("[{}0]", zeros(MAX_RECORDS - 1));
        assert_eq!(elements(full.as_bytes()).expect("an array").len(), MAX_RECORDS);
        assert_eq!(refusal(&format!("[{}0]", zeros(MAX_RECORDS))), Reason::TooLarge);
        // What comes after is not read.
        assert_eq!(refusal(&format!("[{}!", zeros(MAX_RECORDS + 1))), Reason::TooLarge);
        assert_eq!(refusal(&format!("[{}!", zeros(MAX_RECORDS - 1))), Reason::InvalidMessage);
        for not_an_array in ["[0", "[0,]", "[0][", "[0] 0"] {
            assert_eq!(refusal(not_an_array), Reason::InvalidMessage, "{not_an_array}");
        }
    }

    #[test]
    fn records_of_one_key_are_a_group_in_the_order_sent_and_an_invalid_one_is_alone() {
        let record = |key: &str| format!(r#"{{"table":"contacts","key":{{"k":"{key}"}},"columns":{{}}}}"#);
        let messages = [record("a"), "7".to_owned(), record("b"), record("A "), "7".to_owned()];
        let groups = group_by_key(messages.map(Bytes::from).into_iter());
        let positions: Vec<Vec<_>> =
            groups.into_iter().map(|group| group.rest.map(|(position, _)| position).collect()).collect();
        assert_eq!(positions, [vec![0, 3], vec![1], vec![2], vec![4]]);
    }
}
