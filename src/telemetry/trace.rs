//! The OpenTelemetry spans of an invocation; without an export they are disabled and cost next to nothing.
//!
//! One span per queue message or HTTP call continues the caller's trace ([`queue_message`], [`http_call`]). Its children are the
//! records of a call with many (`record`), and what each waits for and does: admission (`gate`), an Entra ID token (`token`), its
//! `lock`, a `write`, a `read`, whether the row holds what was sent (`verify`), and handing the lock on or releasing it (`release`).
//!
//! All spans are made here, so their target is [`TARGET`]: [`crate::telemetry`] keeps that target out of the log and everything else
//! out of the traces. Attributes hold entity sets, hashes, methods, statuses and codes; never a key, a URL or a column value.
//!
//! <https://opentelemetry.io/docs/specs/semconv/faas/faas-spans/>, <https://www.w3.org/TR/trace-context/>

use std::borrow::Cow;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use opentelemetry::Context;
use opentelemetry::propagation::TextMapPropagator as _;
use opentelemetry::trace::Status;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::{Instrument as _, Span, info_span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use uuid::Uuid;

use crate::outcome::{Disposition, Outcome};

/// The target of every span in this module.
pub(super) const TARGET: &str = module_path!();

/// One delivery of a queue message to `function`.
pub(crate) fn queue_message(function: &'static str, invocation_id: &str, traceparent: Option<&str>) -> Span {
    let span = info_span!(
        "message",
        otel.name = function,
        otel.kind = "consumer",
        faas.name = function,
        faas.trigger = "pubsub",
        faas.invocation_id = invocation_id,
        messaging.system = "azure_storage_queue",
        messaging.operation.name = "process",
        messaging.operation.type = "process",
    );
    continue_trace(&span, traceparent);
    span
}

/// One HTTP call of `function`, with one record or many.
pub(crate) fn http_call(
    function: &'static str,
    route: &'static str,
    invocation_id: &str,
    traceparent: Option<&str>,
) -> Span {
    let span = info_span!(
        "call",
        otel.name = function,
        otel.kind = "server",
        faas.name = function,
        faas.trigger = "http",
        faas.invocation_id = invocation_id,
        http.request.method = "POST",
        http.route = route,
    );
    continue_trace(&span, traceparent);
    span
}

/// Records the outcome of the record that `span` covers.
pub(crate) fn settled(span: &Span, outcome: &Outcome) {
    if span.is_disabled() {
        return;
    }
    let (disposition, reason) = (outcome.disposition.code(), outcome.reason.code());
    span.set_attribute("dataverse_sync.outcome", disposition);
    span.set_attribute("dataverse_sync.reason", reason);
    if let Some(table) = &outcome.table {
        span.set_attribute("dataverse_sync.table", table.clone());
    }
    if let Some(hash) = &outcome.key_hash {
        span.set_attribute("dataverse_sync.key_hash", hash.clone());
    }
    if let Some(attempts) = outcome.attempts {
        span.set_attribute("dataverse_sync.attempt", i64::from(attempts));
    }
    if matches!(outcome.disposition, Disposition::Retry | Disposition::Rejected) {
        failed(span, reason, format!("{disposition}/{reason}"));
    }
}

/// Records the status of the answer to an HTTP call.
pub(crate) fn answered(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 500 {
        span.set_status(Status::error(""));
    }
}

/// Marks `span` as failed: `kind` is one of a few words, `description` a clause without data.
pub(crate) fn failed(span: &Span, kind: &'static str, description: impl Into<Cow<'static, str>>) {
    span.set_attribute("error.type", kind);
    span.set_status(Status::error(description));
}

/// A part of an invocation.
pub(crate) fn child(name: &'static str) -> Span {
    info_span!("child", otel.name = name, otel.kind = "internal")
}

/// Records the result of what `span` covers.
pub(crate) fn ended(span: &Span, attribute: &'static str, result: &'static str) {
    span.set_attribute(attribute, result);
}

/// A request to Dataverse: `read` for GET, else `write`. See [`exchanged`] and [`failed`].
pub(crate) fn request<'a>(method: &str, server: &str, port: u16, id: impl Fn() -> &'a str) -> Span {
    info_span!(
        "request",
        otel.name = if method == "GET" { "read" } else { "write" },
        otel.kind = "client",
        http.request.method = method,
        server.address = server,
        server.port = port,
        dataverse_sync.client_request_id = id(),
    )
}

/// One request for several records.
pub(crate) fn batch(id: Uuid, records: usize) -> Span {
    info_span!(
        "batch",
        otel.name = "batch",
        otel.kind = "internal",
        dataverse_sync.batch.id = %id,
        dataverse_sync.batch.size = records,
    )
}

/// Records in which batch a record was sent.
pub(crate) fn batched(span: &Span, id: Uuid) {
    span.set_attribute("dataverse_sync.batch.id", id.to_string());
}

/// Records the status of Dataverse's answer.
pub(crate) fn exchanged(span: &Span, status: u16) {
    span.set_attribute("http.response.status_code", i64::from(status));
    if status >= 400 {
        span.set_attribute("error.type", status.to_string());
        span.set_status(Status::error(""));
    }
}

/// Awaits `work`, within a span unless the first poll completes it; `record` then adds the result to the span.
pub(crate) async fn span_if_pending<T>(
    work: impl Future<Output = T>,
    span: impl FnOnce() -> Span,
    record: impl FnOnce(&Span, &T),
) -> T {
    let mut work = pin!(work);
    if let Poll::Ready(done) = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await {
        return done;
    }
    let span = span();
    let done = work.instrument(span.clone()).await;
    record(&span, &done);
    done
}

/// Makes `span` a child of the caller's span. An invalid `traceparent` begins a new trace.
fn continue_trace(span: &Span, traceparent: Option<&str>) {
    if span.is_disabled() {
        return;
    }
    if let Some(traceparent) = traceparent {
        let headers = HashMap::from([("traceparent".to_owned(), traceparent.to_owned())]);
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &headers);
        // An error only says that there is no export.
        let _ = span.set_parent(parent);
    }
}

#[cfg(test)]
mod tests;
