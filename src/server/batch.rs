//! An array of records in one HTTP call: settled side by side, answered in the order sent.
//!
//! Records with one key are settled one after the other, in the order sent; the rest do not wait for each other.

use std::collections::{BTreeMap, HashMap};

use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use futures::future::join_all;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{Edge, respond, span};
use crate::host::HTTP_FUNCTION;
use crate::outcome::{Disposition, Outcome, Reason};
use crate::record::decode;
use crate::telemetry::trace;

/// More records than this in one call are refused.
const MOST_RECORDS: usize = 1_000;

#[derive(Serialize)]
struct Results {
    results: Vec<Outcome>,
    summary: BTreeMap<&'static str, usize>,
}

/// Settles every record of a JSON array.
pub(super) async fn sync(edge: Edge, id: String, body: Bytes) -> Response {
    let called = Instant::now();
    let records: Vec<&RawValue> = match serde_json::from_slice(&body) {
        Ok(records) => records,
        Err(error) => {
            let text = format!("the body is no JSON array of records: line {} column {}", error.line(), error.column());
            return respond::single(&Outcome::new(Reason::InvalidMessage).detail(text));
        }
    };
    if records.len() > MOST_RECORDS {
        let text = format!("{} records in one call; at most {MOST_RECORDS} are taken", records.len());
        return respond::single(&Outcome::new(Reason::TooLarge).detail(text));
    }
    let messages: Vec<Bytes> = records.into_iter().map(|record| body.slice_ref(record.get().as_bytes())).collect();
    let mut settled: Vec<(usize, Outcome)> =
        join_all(same_keys(&messages).into_iter().map(|line| in_line(&edge, &id, called, line)))
            .await
            .into_iter()
            .flatten()
            .collect();
    settled.sort_by_key(|(position, _)| *position);
    let results: Vec<Outcome> = settled.into_iter().map(|(_, outcome)| outcome).collect();
    let mut summary = BTreeMap::new();
    for outcome in &results {
        *summary.entry(outcome.disposition.code()).or_default() += 1;
    }
    let fine = |outcome: &Outcome| matches!(outcome.disposition, Disposition::Applied | Disposition::Skipped);
    let status = if results.iter().all(fine) { StatusCode::OK } else { StatusCode::MULTI_STATUS };
    respond::json(status, &Results { results, summary })
}

/// The messages by key, each with its position; what is no record stands alone.
fn same_keys(messages: &[Bytes]) -> Vec<Vec<(usize, Bytes)>> {
    let mut lines: Vec<Vec<(usize, Bytes)>> = Vec::new();
    let mut line_of: HashMap<String, usize> = HashMap::new();
    for (position, message) in messages.iter().enumerate() {
        let name = decode(message).ok().map(|record| record.key.lock_name(&record.table));
        let next = lines.len();
        let line = name.map_or(next, |name| *line_of.entry(name).or_insert(next));
        if line == next {
            lines.push(Vec::new());
        }
        lines[line].push((position, message.clone()));
    }
    lines
}

async fn in_line(edge: &Edge, id: &str, called: Instant, line: Vec<(usize, Bytes)>) -> Vec<(usize, Outcome)> {
    let mut settled = Vec::with_capacity(line.len());
    for (position, message) in line {
        let delivery = edge.http_delivery(called);
        let settling = edge.settle(span(HTTP_FUNCTION, id, delivery.attempts), message, delivery);
        let outcome = settling.instrument(trace::record()).await;
        settled.push((position, outcome));
    }
    settled
}
