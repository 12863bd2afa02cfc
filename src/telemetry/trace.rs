//! The spans of a message, for OpenTelemetry; next to nothing where nobody collects them.
//!
//! One span per message or call continues the caller's trace ([`queue_message`], [`http_call`]); below it lie the spans of what the
//! message waits for and does: `gate`, `token`, `lock`, `write`, `read`, `verify`, `release`.
//!
//! They are apart from the log and its filter: all are made here, so their target is [`TARGET`], and [`crate::telemetry`] lets
//! nothing of that target into the log, and nothing else into a trace. No key, no address and no value of a column is in them:
//! entity sets, hashes, methods, statuses, codes.
//!
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>, <https://www.w3.org/TR/trace-context/>

use std::fmt::Display;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use opentelemetry::Context;
use opentelemetry::trace::{SpanContext, SpanId, TraceContextExt as _, TraceFlags, TraceId, TraceState};
use tracing::field::Empty;
use tracing::{Instrument as _, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;

use crate::outcome::{Disposition, Outcome};

/// The target of every span in here.
pub const TARGET: &str = module_path!();

/// The directive that keeps them out of a log.
pub const TARGET_IS_OFF: &str = concat!(module_path!(), "=off");

const ERROR: &str = "ERROR";

/// One delivery of a queue message to `function`.
pub fn queue_message(function: &'static str, invocation_id: &str, traceparent: Option<&str>) -> Span {
    let span = info_span!(
        "message",
        otel.name = function,
        otel.kind = "consumer",
        otel.status_code = Empty,
        otel.status_description = Empty,
        faas.name = function,
        faas.trigger = "pubsub",
        faas.invocation_id = invocation_id,
        messaging.system = "azure_storage_queue",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
        dataverse_sync.outcome = Empty,
        dataverse_sync.reason = Empty,
        dataverse_sync.table = Empty,
        dataverse_sync.key_hash = Empty,
        dataverse_sync.attempt = Empty,
        error.type = Empty,
    );
    continue_trace(&span, traceparent);
    span
}

/// One call of `function`, with one record or many.
pub fn http_call(function: &'static str, route: &'static str, invocation_id: &str, traceparent: Option<&str>) -> Span {
    let span = info_span!(
        "call",
        otel.name = function,
        otel.kind = "server",
        otel.status_code = Empty,
        otel.status_description = Empty,
        faas.name = function,
        faas.trigger = "http",
        faas.invocation_id = invocation_id,
        http.request.method = "POST",
        http.route = route,
        http.response.status_code = Empty,
        dataverse_sync.outcome = Empty,
        dataverse_sync.reason = Empty,
        dataverse_sync.table = Empty,
        dataverse_sync.key_hash = Empty,
        dataverse_sync.attempt = Empty,
        error.type = Empty,
    );
    continue_trace(&span, traceparent);
    span
}

/// One record of a call with many.
pub fn record() -> Span {
    info_span!(
        "record",
        otel.kind = "internal",
        otel.status_code = Empty,
        otel.status_description = Empty,
        dataverse_sync.outcome = Empty,
        dataverse_sync.reason = Empty,
        dataverse_sync.table = Empty,
        dataverse_sync.key_hash = Empty,
        dataverse_sync.attempt = Empty,
        error.type = Empty,
    )
}

/// What became of the record that `span` is about.
pub fn settled(span: &Span, outcome: &Outcome) {
    if span.is_disabled() {
        return;
    }
    span.record("dataverse_sync.outcome", outcome.disposition.code());
    span.record("dataverse_sync.reason", outcome.reason.code());
    span.record("dataverse_sync.table", outcome.table.as_deref());
    span.record("dataverse_sync.key_hash", outcome.key_hash.as_deref());
    span.record("dataverse_sync.attempt", outcome.attempts);
    match outcome.disposition {
        Disposition::Applied | Disposition::Skipped => {}
        Disposition::Retry | Disposition::Rejected => {
            let said = format_args!("{}/{}", outcome.disposition.code(), outcome.reason.code());
            failed(span, outcome.reason.code(), said);
        }
    }
}

/// The answer to a call.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 500 {
        span.record("otel.status_code", ERROR);
    }
}

/// What `span` is about has failed: `kind` is one of a few words, `said` a clause without data.
pub fn failed(span: &Span, kind: &str, said: impl Display) {
    span.record("error.type", kind);
    span.record("otel.status_code", ERROR);
    span.record("otel.status_description", tracing::field::display(said));
}

/// Waiting before the gate.
pub fn admission() -> Span {
    info_span!("gate", otel.kind = "internal")
}

/// Waiting for a token of Entra ID.
pub fn token() -> Span {
    info_span!(
        "token",
        otel.kind = "internal",
        otel.status_code = Empty,
        otel.status_description = Empty,
        error.type = Empty,
    )
}

/// Waiting for the record's lock; see [`acquired`].
pub fn lock() -> Span {
    info_span!("lock", otel.kind = "internal", dataverse_sync.lock.result = Empty)
}

/// How the waiting for a lock ended.
pub fn acquired(span: &Span, result: &'static str) {
    span.record("dataverse_sync.lock.result", result);
}

/// Handing a lock on, or giving it back.
pub fn release() -> Span {
    info_span!("release", otel.kind = "internal")
}

/// Looking whether the row holds what was sent; see [`found`].
pub fn verify() -> Span {
    info_span!("verify", otel.kind = "internal", dataverse_sync.verify.result = Empty)
}

/// What the look at the row has shown.
pub fn found(span: &Span, result: &'static str) {
    span.record("dataverse_sync.verify.result", result);
}

/// A request to Dataverse: `write`, or `read` where it changes nothing. See [`exchanged`] and [`failed`].
pub fn request<'a>(method: &str, server: &str, port: u16, id: impl Fn() -> &'a str) -> Span {
    info_span!(
        "request",
        otel.name = if method == "GET" { "read" } else { "write" },
        otel.kind = "client",
        otel.status_code = Empty,
        otel.status_description = Empty,
        http.request.method = method,
        http.response.status_code = Empty,
        server.address = server,
        server.port = port,
        dataverse_sync.client_request_id = id(),
        error.type = Empty,
    )
}

/// The answer to a request of ours.
pub fn exchanged(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
    if status >= 400 {
        span.record("error.type", status.to_string());
        span.record("otel.status_code", ERROR);
    }
}

/// Does `work`, in a span if it does not end at once; `tell` puts into the span what came of it.
pub async fn span_if_pending<T>(
    work: impl Future<Output = T>,
    span: impl FnOnce() -> Span,
    tell: impl FnOnce(&Span, &T),
) -> T {
    let mut work = pin!(work);
    let at_once = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
    if let Poll::Ready(done) = at_once {
        return done;
    }
    let span = span();
    let done = work.instrument(span.clone()).await;
    tell(&span, &done);
    done
}

/// Makes a span the child of the caller's; one that cannot be read is as none, and a new trace begins.
fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(parent) = traceparent.and_then(parse) {
        // It fails without a collector, and then nobody misses the parent.
        let _ = span.set_parent(Context::new().with_remote_span_context(parent));
    }
}

/// Reads a `traceparent`. A later version may hold more than we know, behind one more hyphen.
fn parse(traceparent: &str) -> Option<SpanContext> {
    let mut parts = traceparent.trim().split('-');
    let version = hex(parts.next()?, 2)?;
    let trace = TraceId::from_hex(hex(parts.next()?, 32)?).ok()?;
    let span = SpanId::from_hex(hex(parts.next()?, 16)?).ok()?;
    let flags = u8::from_str_radix(hex(parts.next()?, 2)?, 16).ok()?;
    if version == "ff" || (version == "00" && parts.next().is_some()) {
        return None;
    }
    let flags = TraceFlags::new(flags) & TraceFlags::SAMPLED;
    let context = SpanContext::new(trace, span, flags, true, TraceState::NONE);
    context.is_valid().then_some(context)
}

/// Exactly so many lower-case hexadecimal digits.
fn hex(text: &str, digits: usize) -> Option<&str> {
    let fits = text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    fits.then_some(text)
}

#[cfg(test)]
mod tests;
