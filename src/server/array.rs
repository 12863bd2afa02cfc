//! An array of records in one HTTP call, answered in the order sent.
//!
//! Records with the same key are processed one after the other, in the order sent; all others run in parallel. Once one of a key
//! has to be sent again, those behind it are too: a caller who resends what failed would otherwise write older over newer.

use std::collections::BTreeMap;

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{AppState, invocation, respond};
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

/// Processes every record of a JSON array.
pub(super) async fn process(app: AppState, id: String, body: Bytes) -> Response {
    let received = Instant::now();
    let records: Vec<&RawValue> = match serde_json::from_slice(&body) {
        Ok(records) => records,
        Err(error) => {
            let (line, column) = (error.line(), error.column());
            let text = format!("the body is not a JSON array of records: line {line} column {column}");
            let outcome = Outcome::new(Reason::InvalidMessage).detail(text);
            return respond::single(&invocation::refused(&id, outcome, received));
        }
    };
    if records.len() > MAX_RECORDS {
        let text = format!("{} records in one call; at most {MAX_RECORDS} are allowed", records.len());
        return respond::single(&invocation::refused(&id, Outcome::new(Reason::TooLarge).detail(text), received));
    }
    let messages = records.into_iter().map(|record| body.slice_ref(record.get().as_bytes()));
    let groups = group_by_key(messages).into_iter().map(|group| settle_group(&app, &id, received, group));
    let mut settled: Vec<(usize, Outcome)> = join_all(groups).await.into_iter().flatten().collect();
    settled.sort_by_key(|(position, _)| *position);
    let results: Vec<Outcome> = settled.into_iter().map(|(_, outcome)| outcome).collect();
    let mut summary = BTreeMap::new();
    for outcome in &results {
        *summary.entry(outcome.disposition.code()).or_default() += 1;
    }
    let is_done = |outcome: &Outcome| matches!(outcome.disposition, Disposition::Applied | Disposition::Skipped);
    let status = if results.iter().all(is_done) { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    respond::json(status, &Results { results, summary })
}

/// The messages by key, each with its position; an invalid one is a group of its own.
fn group_by_key(messages: impl Iterator<Item = Bytes>) -> Vec<Vec<(usize, Bytes)>> {
    let mut groups = BTreeMap::<Result<String, usize>, Vec<(usize, Bytes)>>::new();
    for (position, message) in messages.enumerate() {
        let key = decode(&message).map(|record| record.key.lock_name("", &record.table)).map_err(|_| position);
        groups.entry(key).or_default().push((position, message));
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_by_key(|group| group[0].0);
    groups
}

async fn settle_group(
    app: &AppState,
    id: &str,
    received: Instant,
    group: Vec<(usize, Bytes)>,
) -> Vec<(usize, Outcome)> {
    let mut settled = Vec::with_capacity(group.len());
    let mut behind = None;
    for (position, message) in group {
        let delivery = Delivery { behind, ..app.http_delivery(received) };
        let span = invocation::span(HTTP_FUNCTION, id, delivery.attempts);
        let outcome = app.settle(span, message, delivery).instrument(trace::child("record")).await;
        behind = behind.or((outcome.disposition == Disposition::Retry).then_some(outcome.reason));
        settled.push((position, outcome));
    }
    settled
}
