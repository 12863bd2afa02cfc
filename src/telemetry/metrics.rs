//! What is counted and measured, for OpenTelemetry; nothing where nobody collects it.
//!
//! The instruments are the process's, like the log: [`install`] makes them once, and until then every function in here returns at
//! once, a [`Stopwatch`] does not even look at the clock. Labels have few values: codes, methods, statuses; never a key, never a
//! table. The README names all of them.
//!
//! <https://opentelemetry.io/docs/specs/semconv/http/http-metrics/>

use std::sync::OnceLock;
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use tokio::time::Instant;

use crate::outcome::Outcome;

/// Records by what became of them.
pub const RECORDS: &str = "dataverse_sync.records";
/// From a record's arrival to its end.
pub const RECORD_DURATION: &str = "dataverse_sync.record.duration";
/// The waiting for a lock.
pub const LOCK_WAIT: &str = "dataverse_sync.lock.wait";
/// From a lock's grant to its release.
pub const LOCK_HOLD: &str = "dataverse_sync.lock.hold";
/// From a request to Dataverse to the head of its answer.
pub const REQUEST_DURATION: &str = "http.client.request.duration";
/// How many may be inside the gate.
pub const GATE_WIDTH: &str = "dataverse_sync.gate.width";
/// How many are inside the gate.
pub const GATE_IN_FLIGHT: &str = "dataverse_sync.gate.in_flight";
/// How many wait before the gate.
pub const GATE_WAITING: &str = "dataverse_sync.gate.waiting";
/// Pauses and holds that have begun.
pub const GATE_CLOSINGS: &str = "dataverse_sync.gate.closings";
/// How long pauses and holds that are over have lasted.
pub const GATE_CLOSED_DURATION: &str = "dataverse_sync.gate.closed.duration";

/// Bounds in seconds: from a cached answer to the longest plug-in.
const REQUEST_BOUNDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0];
/// Bounds in seconds: from a free lock to the longest hold.
const WAIT_BOUNDS: [f64; 15] =
    [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0, 600.0];

static METERS: OnceLock<Meters> = OnceLock::new();

#[derive(Debug)]
struct Meters {
    records: Counter<u64>,
    record_duration: Histogram<f64>,
    lock_wait: Histogram<f64>,
    lock_hold: Histogram<f64>,
    request_duration: Histogram<f64>,
    gate_closings: Counter<u64>,
    gate_closed_duration: Histogram<f64>,
}

/// Begins to count and measure. A second call changes nothing.
pub fn install(meter: &Meter) {
    let seconds = |name: &'static str, bounds: &[f64], text: &'static str| {
        meter.f64_histogram(name).with_unit("s").with_boundaries(bounds.to_vec()).with_description(text).build()
    };
    let count = |name: &'static str, unit: &'static str, text: &'static str| {
        meter.u64_counter(name).with_unit(unit).with_description(text).build()
    };
    METERS.get_or_init(|| Meters {
        records: count(RECORDS, "{record}", "Records by what became of them"),
        record_duration: seconds(RECORD_DURATION, &WAIT_BOUNDS, "From a record's arrival to its end"),
        lock_wait: seconds(LOCK_WAIT, &WAIT_BOUNDS, "The waiting for a record's lock"),
        lock_hold: seconds(LOCK_HOLD, &WAIT_BOUNDS, "From a lock's grant to its release"),
        request_duration: seconds(REQUEST_DURATION, &REQUEST_BOUNDS, "Duration of requests to Dataverse"),
        gate_closings: count(GATE_CLOSINGS, "{closing}", "Pauses and holds that have begun"),
        gate_closed_duration: seconds(GATE_CLOSED_DURATION, &WAIT_BOUNDS, "How long pauses and holds have lasted"),
    });
}

/// Asks `figures` for width, in flight and waiting whenever these are collected.
pub fn observe_admission(meter: &Meter, figures: impl Fn() -> [u64; 3] + Clone + Send + Sync + 'static) {
    let gauges = [
        (GATE_WIDTH, "How many requests may be in flight to Dataverse"),
        (GATE_IN_FLIGHT, "How many messages are inside the gate"),
        (GATE_WAITING, "How many messages wait before the gate"),
    ];
    for (place, (name, text)) in gauges.into_iter().enumerate() {
        let figures = figures.clone();
        let gauge = meter.u64_observable_gauge(name).with_unit("{message}").with_description(text);
        // The meter keeps it.
        let _ = gauge.with_callback(move |observer| observer.observe(figures()[place], &[])).build();
    }
}

/// The time since its start, where anybody wants to know.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct Stopwatch(Option<Instant>);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Self {
        Self(METERS.get().map(|_| Instant::now()))
    }

    /// The instruments and the seconds since the start.
    fn read(self) -> Option<(&'static Meters, f64)> {
        METERS.get().zip(self.0).map(|(meters, started)| (meters, started.elapsed().as_secs_f64()))
    }
}

/// A record of `function` has come to its end after `took`.
pub fn settled(function: &'static str, outcome: &Outcome, took: Duration) {
    let Some(meters) = METERS.get() else { return };
    let labels = [
        KeyValue::new("faas.name", function),
        KeyValue::new("dataverse_sync.outcome", outcome.disposition.code()),
        KeyValue::new("dataverse_sync.reason", outcome.reason.code()),
    ];
    meters.records.add(1, &labels);
    meters.record_duration.record(took.as_secs_f64(), &labels[..2]);
}

/// The waiting for a lock has ended with `result`.
pub fn lock_waited(since: Stopwatch, result: &'static str) {
    if let Some((meters, seconds)) = since.read() {
        meters.lock_wait.record(seconds, &[KeyValue::new("dataverse_sync.lock.result", result)]);
    }
}

/// A lock is not ours any more.
pub fn lock_held(since: Stopwatch) {
    if let Some((meters, seconds)) = since.read() {
        meters.lock_hold.record(seconds, &[]);
    }
}

/// A request to Dataverse has an answer with this status, or failed with this kind of error.
pub fn exchanged(since: Stopwatch, method: &'static str, server: (&str, u16), ended: Result<u16, &'static str>) {
    let Some((meters, seconds)) = since.read() else { return };
    let (host, port) = server;
    let mut labels = Vec::with_capacity(5);
    labels.push(KeyValue::new("http.request.method", method));
    labels.push(KeyValue::new("server.address", host.to_owned()));
    labels.push(KeyValue::new("server.port", i64::from(port)));
    match ended {
        Ok(status) => labels.push(KeyValue::new("http.response.status_code", i64::from(status))),
        Err(kind) => labels.push(KeyValue::new("error.type", kind)),
    }
    if let Ok(status @ 400..) = ended {
        labels.push(KeyValue::new("error.type", status.to_string()));
    }
    meters.request_duration.record(seconds, &labels);
}

/// The gate has closed: a `pause` or a `hold`, and why.
pub fn admission_paused(by: &'static str, reason: &'static str) {
    if let Some(meters) = METERS.get() {
        meters.gate_closings.add(1, &closing(by, reason));
    }
}

/// What [`admission_paused`] told of is over.
pub fn admission_resumed(by: &'static str, reason: &'static str, lasted: Duration) {
    if let Some(meters) = METERS.get() {
        meters.gate_closed_duration.record(lasted.as_secs_f64(), &closing(by, reason));
    }
}

fn closing(by: &'static str, reason: &'static str) -> [KeyValue; 2] {
    [KeyValue::new("dataverse_sync.gate.closed_by", by), KeyValue::new("dataverse_sync.reason", reason)]
}
