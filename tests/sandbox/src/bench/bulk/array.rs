//! The time of an HTTP array of new rows, with and without batches, in a window that is spent.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{FORTY, MODES};
use crate::bench::benchmark::Context;
use crate::bench::limited::{COLUMNS, Fleet, Trial, scaled};
use crate::bench::{Samples, number};
use stand_ins::net::http_client;

/// Rows of the array.
const ROWS: usize = 1_000;

/// Windows of ten seconds, which allow 200 requests: with longer ones, what an array of this size takes depends on when the requests
/// before it were sent.
const FACTOR: u32 = 30;

/// Measures both at the same time.
pub(super) async fn measure(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let (trial, rows) = (Trial { limits: scaled(FACTOR), ..FORTY.trial(context) }, context.or_quick(ROWS, 20));
    let settings = MODES.map(|mode| [("SYNC_BATCH", mode)]);
    let [off, auto] = settings.each_ref().map(|settings| of_one(&trial, FORTY.fleet(context, settings), rows));
    let (off, auto) = tokio::try_join!(off, auto)?;
    for (mode, sent) in MODES.iter().zip([&off, &auto]) {
        samples.add(format!("{rows} new rows, {mode}"), "s", sent.took.as_secs_f64());
        samples.add(format!("calls, {mode}"), "calls", number(sent.calls));
    }
    samples.add("off, times auto", "×", off.took.div_duration_f64(auto.took));
    Ok(())
}

/// An array that was applied.
struct Sent {
    took: Duration,
    calls: usize,
}

/// Spends a window with queue messages, then sends the array.
async fn of_one(trial: &Trial, fleet: Fleet<'_>, rows: usize) -> anyhow::Result<Sent> {
    let running = fleet.start(trial.options()).await?;
    if let Ok(ended) = timeout(trial.limits.window, running.load(&fleet)).await {
        ended.map(|never| match never {})?;
    }
    let port = running.hosts.first().context("an instance runs")?.port_of_handler();
    let sent = apply(&format!("http://127.0.0.1:{port}/api/records"), rows).await?;
    running.stop().await;
    Ok(sent)
}

/// Sends new records until all are applied: those that are answered `retry` are sent again.
async fn apply(url: &str, rows: usize) -> anyhow::Result<Sent> {
    let columns: Value = serde_json::from_str(COLUMNS)?;
    let key = |number: usize| json!({ "employeeid": format!("A-{number}") });
    let record = |number| json!({ "table": "contacts", "key": key(number), "columns": columns });
    let mut records: Vec<_> = (0..rows).map(record).collect();
    let (http, begun, mut calls) = (http_client(), Instant::now(), 0);
    while !records.is_empty() {
        let body = serde_json::to_string(&records)?;
        let response = http.post(url).header(CONTENT_TYPE, "application/json").body(body).send().await;
        let text = response.context("sending the array")?.text().await.context("reading its answer")?;
        let answer: Value = serde_json::from_str(&text).with_context(|| format!("the answer is not JSON: {text}"))?;
        records = left(records, &answer)?;
        calls += 1;
    }
    Ok(Sent { took: begun.elapsed(), calls })
}

/// The records to send again.
fn left(records: Vec<Value>, answer: &Value) -> anyhow::Result<Vec<Value>> {
    let results = answer["results"].as_array().map(Vec::as_slice).unwrap_or_default();
    ensure!(results.len() == records.len(), "{} records were answered {answer}", records.len());
    let mut left = Vec::new();
    for (record, result) in records.into_iter().zip(results) {
        match result["outcome"].as_str() {
            Some("applied" | "skipped") => {}
            Some("retry") => left.push(record),
            _ => anyhow::bail!("{record} was answered {result}"),
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_answered_retry_is_sent_again() {
        let records = || vec![json!(1), json!(2), json!(3)];
        let answer = |outcomes: &[&str]| {
            let results: Vec<_> = outcomes.iter().map(|outcome| json!({ "outcome": outcome })).collect();
            json!({ "results": results })
        };
        assert_eq!(left(records(), &answer(&["applied", "retry", "skipped"])).ok(), Some(vec![json!(2)]));
        assert!(left(records(), &answer(&["applied", "rejected", "retry"])).is_err(), "it would never be applied");
        assert!(left(records(), &answer(&["applied"])).is_err(), "two have no result");
    }
}
