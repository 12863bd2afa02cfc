//! The OpenTelemetry metrics; without an export every function in here returns at once.
//!
//! The instruments are process-wide, like the log: [`install`] creates them once. Labels have few values (codes, methods, statuses);
//! never a key, never a table. `docs/telemetry.md` lists all metrics.
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use tokio::time::Instant;

use crate::outcome::Outcome;

/// Bucket bounds in seconds: from a cached answer to the longest plug-in.
const REQUEST_BOUNDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bucket bounds in seconds: from a free lock to the longest hold.
const WAIT_BOUNDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

/// Bucket bounds in parts: from two to the most.
const BATCH_BOUNDS: [f64; 7] = [2.0, 5.0, 10.0, 20.0, 40.0, 60.0, 100.0];

static METERS: OnceLock<Meters> = OnceLock::new();

#[derive(Debug)]
struct Meters {
    records: Counter<u64>,
    record_duration: Histogram<f64>,
    lock_wait: Histogram<f64>,
    lock_hold: Histogram<f64>,
    request_duration: Histogram<f64>,
    batch_size: Histogram<u64>,
    batch_duration: Histogram<f64>,
    gate_closings: Counter<u64>,
    gate_closed_duration: Histogram<f64>,
}

/// Creates the instruments. A second call changes nothing.
pub(super) fn install(meter: &Meter) {
    let seconds = |name, bounds: [f64; 15], text| {
        meter.f64_histogram(name).with_unit("s").with_boundaries(bounds.to_vec()).with_description(text).build()
    };
    let count = |name, unit, text| meter.u64_counter(name).with_unit(unit).with_description(text).build();
    METERS.get_or_init(|| Meters {
        records: count("dataverse_sync.records", "{record}", "Records by outcome"),
        record_duration: seconds("dataverse_sync.record.duration", WAIT_BOUNDS, "From a record's arrival to its end"),
        lock_wait: seconds("dataverse_sync.lock.wait", WAIT_BOUNDS, "Waiting for a record's lock"),
        lock_hold: seconds("dataverse_sync.lock.hold", WAIT_BOUNDS, "From a lock's grant to its release"),
        request_duration: seconds("http.client.request.duration", REQUEST_BOUNDS, "Duration of requests to Dataverse"),
        batch_size: meter
            .u64_histogram("dataverse_sync.batch.size")
            .with_unit("{record}")
            .with_boundaries(BATCH_BOUNDS.to_vec())
            .with_description("Records in a batch")
            .build(),
        batch_duration: seconds("dataverse_sync.batch.duration", REQUEST_BOUNDS, "Duration of batches"),
        gate_closings: count("dataverse_sync.gate.closings", "{closing}", "Pauses and outages that have begun"),
        gate_closed_duration: seconds("dataverse_sync.gate.closed.duration", WAIT_BOUNDS, "Length of ended pauses"),
    });
}

/// Calls `figures` for limit, in flight and waiting whenever these are collected.
pub(super) fn observe_admission(meter: &Meter, figures: impl Fn() -> [u64; 3] + Clone + Send + Sync + 'static) {
    let gauges = [
        ("dataverse_sync.gate.width", "How many messages may be admitted at once"),
        ("dataverse_sync.gate.in_flight", "How many messages are admitted"),
        ("dataverse_sync.gate.waiting", "How many messages wait for admission"),
    ];
    for (place, (name, text)) in gauges.into_iter().enumerate() {
        let figures = figures.clone();
        let gauge = meter.u64_observable_gauge(name).with_unit("{message}").with_description(text);
        // The meter keeps the gauge.
        let _ = gauge.with_callback(move |observer| observer.observe(figures()[place], &[])).build();
    }
}

/// Calls `figure` for the lines of the log that were dropped whenever they are collected.
pub(super) fn observe_dropped_lines(meter: &Meter, figure: impl Fn() -> u64 + Send + Sync + 'static) {
    let counter = meter.u64_observable_counter("dataverse_sync.log.dropped").with_unit("{line}");
    let counter = counter.with_description("Lines of the log that were dropped, because they were not read");
    // The meter keeps the counter.
    let _ = counter.with_callback(move |observer| observer.observe(figure(), &[])).build();
}

/// A record of `function` has come to its end after `took`.
pub(crate) fn settled(function: &'static str, outcome: &Outcome, took: Duration) {
    let Some(meters) = METERS.get() else { return };
    let labels = [
        KeyValue::new("faas.name", function),
        KeyValue::new("dataverse_sync.outcome", outcome.disposition.code()),
        KeyValue::new("dataverse_sync.reason", outcome.reason.code()),
    ];
    meters.records.add(1, &labels);
    meters.record_duration.record(took.as_secs_f64(), &labels[..2]);
}

/// The wait for a lock has ended with `result`.
pub(crate) fn lock_waited(since: Instant, result: &'static str) {
    if let Some(meters) = METERS.get() {
        meters.lock_wait.record(since.elapsed().as_secs_f64(), &[KeyValue::new("dataverse_sync.lock.result", result)]);
    }
}

/// A lock that was granted at `since` has been released.
pub(crate) fn lock_held(since: Instant) {
    if let Some(meters) = METERS.get() {
        meters.lock_hold.record(since.elapsed().as_secs_f64(), &[]);
    }
}

/// A request to Dataverse has been answered with this status, or has failed with this kind of error.
pub(crate) fn exchanged(since: Instant, method: &str, server: (&str, u16), ended: Result<u16, &'static str>) {
    let Some(meters) = METERS.get() else { return };
    let mut labels = vec![
        KeyValue::new("http.request.method", method.to_owned()),
        KeyValue::new("server.address", server.0.to_owned()),
        KeyValue::new("server.port", i64::from(server.1)),
    ];
    match ended {
        Ok(status) => {
            labels.push(KeyValue::new("http.response.status_code", i64::from(status)));
            labels.extend((status >= 400).then(|| KeyValue::new("error.type", status.to_string())));
        }
        Err(kind) => labels.push(KeyValue::new("error.type", kind)),
    }
    meters.request_duration.record(since.elapsed().as_secs_f64(), &labels);
}

/// A batch of so many parts has ended.
pub(crate) fn batched(since: Instant, parts: usize) {
    if let Some(meters) = METERS.get() {
        meters.batch_size.record(u64::try_from(parts).unwrap_or(u64::MAX), &[]);
        meters.batch_duration.record(since.elapsed().as_secs_f64(), &[]);
    }
}

/// A `pause` or a `hold` of admission has begun, for this reason.
pub(crate) fn admission_paused(by: &'static str, reason: &'static str) {
    if let Some(meters) = METERS.get() {
        meters.gate_closings.add(1, &closing(by, reason));
    }
}

/// The pause or hold has ended.
pub(crate) fn admission_resumed(by: &'static str, reason: &'static str, lasted: Duration) {
    if let Some(meters) = METERS.get() {
        meters.gate_closed_duration.record(lasted.as_secs_f64(), &closing(by, reason));
    }
}

fn closing(by: &'static str, reason: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("dataverse_sync.gate.closed_by", by), KeyValue::new("dataverse_sync.reason", reason)]
}
