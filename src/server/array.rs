//! An array of records in one HTTP call, answered in the order sent.
//!
//! Records with the same key are processed one after the other, in the order sent. Once one of a key has to be sent again, those
//! behind it are too: a caller who resends what failed would otherwise write older over newer. Records go behind those that their
//! lookups name, and are tried again while a row that they name is missing: see [`Order`] and [`schedule`].
//!
//! All arrays of the process share as many slots as admission admits at most. The limit of the moment would be too few: records
//! that wait for their locks would take them up. An array waits for one slot at a time and slots are granted in order of arrival,
//! so that arrays take turns. What has not begun when the call's time is over goes back, and what waits for parents does so as soon as
//! another array finds no room.

mod schedule;

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::pin::pin;
use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use serde::Serialize;
use serde::de::{Deserializer as _, Error as _, SeqAccess, Visitor};
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use super::invocation::HTTP_WAIT_BUDGET;
use super::{AppState, body, invocation, respond};
use crate::host::HTTP_FUNCTION;
use crate::outcome::{Disposition, Outcome, Reason};
use crate::pipeline::Delivery;
use crate::record::{Links, Order, decode};
use crate::telemetry::trace;
use schedule::Schedule;

/// The most records in one call.
const MAX_RECORDS: usize = 1_000;

/// The longest pause before records that miss a parent are tried again for the first time; each further one is twice as long, up to
/// [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between two rounds: the last one comes within so much of the end.
const MAX_PAUSE: Duration = Duration::from_secs(4);

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
    summary: BTreeMap<&'static str, usize>,
}

/// The records of one call, called by their positions.
struct Array<'a> {
    app: &'a AppState,
    id: &'a str,
    received: Instant,
    messages: Vec<Bytes>,
    schedule: Schedule,
    /// Why an earlier one with the same key goes back.
    behind: HashMap<usize, Reason>,
    /// The last outcome of those that missed a parent and are tried again.
    missed: HashMap<usize, Outcome>,
    settled: Vec<(usize, Outcome)>,
    /// How often those that missed a parent were tried again.
    rounds: u32,
    next_round: Instant,
}

/// One try of a record.
struct Attempt<'a> {
    app: &'a AppState,
    id: &'a str,
    message: Bytes,
    position: usize,
    delivery: Delivery,
    slot: Option<OwnedSemaphorePermit>,
}

/// Processes every record of a JSON array.
pub(super) async fn process(app: AppState, id: String, body: Bytes) -> Response {
    let received = Instant::now();
    let refused = |outcome| respond::single(&invocation::refused(HTTP_FUNCTION, &id, outcome, received));
    let records = match elements(&body) {
        Ok(records) => records,
        Err(outcome) => return refused(*outcome),
    };
    let Some(reserved) = app.budget.array_records(records.len()).await else { return refused(body::at_memory_limit()) };
    let messages: Vec<_> = records.into_iter().map(|record| body.slice_ref(record.get().as_bytes())).collect();
    let mut settled = Array::new(&app, &id, received, messages).await.settle().await;
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

impl<'a> Array<'a> {
    async fn new(app: &'a AppState, id: &'a str, received: Instant, messages: Vec<Bytes>) -> Self {
        let (hasher, mut links) = (RandomState::new(), Vec::with_capacity(messages.len()));
        for message in &messages {
            links.push(decode(message).ok().map(|record| Links::of(&record, &hasher)));
            // Eight megabytes of lookups take seconds, and others share the thread.
            yield_now().await;
        }
        let schedule = Schedule::new(Order::new(&links));
        let (behind, missed, settled) = (HashMap::new(), HashMap::new(), Vec::with_capacity(messages.len()));
        Self { app, id, received, messages, schedule, behind, missed, settled, rounds: 0, next_round: received }
    }

    /// Processes the records, a slot for each; returns the outcomes with their positions.
    async fn settle(mut self) -> Vec<(usize, Outcome)> {
        let (app, mut running) = (self.app, FuturesUnordered::new());
        let until = self.received + HTTP_WAIT_BUDGET;
        let retry_until = self.received + app.queue.hold.min(HTTP_WAIT_BUDGET);
        let free_slot = || app.array_slots.clone().acquire_owned();
        let mut next_slot = pin!(free_slot());
        loop {
            let only_waits = self.schedule.has_missing() && !self.schedule.has_ready() && running.is_empty();
            let slot = tokio::select! {
                granted = &mut next_slot, if self.schedule.has_ready() => {
                    next_slot.set(free_slot());
                    // An error: the process stops.
                    granted.ok()
                }
                () = over(until, &app.stop), if self.schedule.has_ready() => {
                    // No longer in the line: a slot granted there would be taken and not used.
                    next_slot.set(free_slot());
                    None
                }
                () = over(retry_until, &app.stop), if self.schedule.has_missing() => {
                    self.give_up_missing();
                    continue;
                }
                () = app.budget.room_needed(), if only_waits => {
                    self.give_up_missing();
                    continue;
                }
                () = sleep_until(self.next_round), if self.schedule.has_missing() => {
                    self.schedule.retry();
                    self.rounds += 1;
                    self.plan_round();
                    continue;
                }
                Some((position, outcome)) = running.next() => {
                    self.tried(position, outcome);
                    continue;
                }
                else => return self.settled,
            };
            let Some(position) = self.schedule.begin() else { continue };
            let attempt = self.attempt(position, slot);
            if attempt.slot.is_some() {
                running.push(attempt.run());
            } else if self.missed.contains_key(&position) {
                self.give_up(position);
            } else {
                let (position, outcome) = attempt.run().await;
                self.tried(position, outcome);
            }
        }
    }

    /// One try of a record. Without a slot it does not begin.
    fn attempt(&self, position: usize, slot: Option<OwnedSemaphorePermit>) -> Attempt<'a> {
        let behind = self.behind.get(&position).copied();
        let mut delivery = Delivery { behind, ..self.app.http_delivery(self.received) };
        if slot.is_none() {
            delivery.queue_budget = Duration::ZERO;
        }
        Attempt { app: self.app, id: self.id, message: self.messages[position].clone(), position, delivery, slot }
    }

    /// A try has ended.
    fn tried(&mut self, position: usize, outcome: Outcome) {
        self.missed.remove(&position);
        if outcome.reason != Reason::ParentMissing || self.behind.contains_key(&position) {
            return self.ended(position, outcome);
        }
        if !self.schedule.has_missing() {
            self.plan_round();
        }
        self.schedule.missed(position);
        self.missed.insert(position, outcome);
    }

    /// When those that miss a parent are tried again: with jitter, because other calls do as well.
    fn plan_round(&mut self) {
        let pause = (FIRST_PAUSE * 2u32.pow(self.rounds.min(8))).min(MAX_PAUSE);
        self.next_round = Instant::now() + pause.mul_f64(0.5 + fastrand::f64() / 2.0);
    }

    fn give_up_missing(&mut self) {
        for position in self.schedule.missing() {
            self.give_up(position);
        }
    }

    /// A record that missed a parent is not tried again.
    fn give_up(&mut self, position: usize) {
        if let Some(outcome) = self.missed.remove(&position) {
            let closed = || invocation::closed(HTTP_FUNCTION, self.id, outcome, self.received.elapsed());
            let outcome = trace::child("record").in_scope(closed);
            self.ended(position, outcome);
        }
    }

    fn ended(&mut self, position: usize, outcome: Outcome) {
        let is_written = matches!(outcome.disposition, Disposition::Applied | Disposition::Skipped);
        let behind = (outcome.disposition == Disposition::Retry).then_some(outcome.reason);
        let behind = self.behind.remove(&position).or(behind);
        if let Some((next, behind)) = self.schedule.ended(position, is_written).zip(behind) {
            self.behind.insert(next, behind);
        }
        self.settled.push((position, outcome));
    }
}

impl Attempt<'_> {
    async fn run(self) -> (usize, Outcome) {
        let span = invocation::span(HTTP_FUNCTION, self.id, self.delivery.attempts);
        let attempt = self.app.attempt(span, self.message, self.delivery);
        let outcome = attempt.instrument(trace::child("record")).await;
        drop(self.slot);
        (self.position, outcome)
    }
}

/// Completes at that time, or when the process stops.
async fn over(until: Instant, stop: &CancellationToken) {
    // An error is the end of the time.
    let _ = timeout_at(until, stop.cancelled()).await;
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
}
