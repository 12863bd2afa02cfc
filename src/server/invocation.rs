//! One record as a tracked task, from its bytes to its [`Outcome`]: one span and one closing log line.
//!
//! Keys are logged as hashes, column values never.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::http::HeaderMap;
use bytes::Bytes;
use futures::FutureExt as _;
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, error_span, info, warn};
use uuid::Uuid;

use super::{AppState, QueuePolicy};
use crate::host::{HTTP_FUNCTION, QUEUE_FUNCTION};
use crate::outcome::{Disposition, Outcome, Reason};
use crate::pipeline::{Delivery, LINE_GRACE, Pipeline};
use crate::record::{self, decode};
use crate::telemetry::{metrics, trace};

const INVOCATION_ID: &str = "x-azure-functions-invocationid";

/// Longest wait in place of an HTTP call; Azure's front end gives up after 230 s.
pub(super) const HTTP_WAIT_BUDGET: Duration = Duration::from_secs(20);

/// Longest wait in place of a queue message for a row that a lookup names: mostly the next messages bring it.
const MAX_PARENT_WAIT: Duration = Duration::from_mins(1);

impl AppState {
    /// Limits for a queue message that was received at `received`.
    pub(super) fn queue_delivery(&self, attempts: Option<u32>, received: Instant) -> Delivery {
        let QueuePolicy { hold, max_deliveries, in_flight: _, encoding: _ } = self.queue;
        let last = attempts.zip(max_deliveries).is_some_and(|(attempts, max)| attempts >= max);
        let (queue_budget, waited) = (hold + LINE_GRACE, received.elapsed());
        let parent_wait = MAX_PARENT_WAIT;
        Delivery {
            attempts,
            last,
            wait_budget: hold,
            queue_budget,
            waited,
            fail_fast: false,
            parent_wait,
            behind: None,
        }
    }

    /// Limits for a record of a call that was received at `received`.
    pub(super) fn http_delivery(&self, received: Instant) -> Delivery {
        Delivery {
            attempts: Some(1),
            last: false,
            wait_budget: self.queue.hold.min(HTTP_WAIT_BUDGET),
            queue_budget: HTTP_WAIT_BUDGET,
            waited: received.elapsed(),
            fail_fast: true,
            parent_wait: Duration::ZERO,
            behind: None,
        }
    }

    /// Processes one message in a task of its own, which finishes even if this future is dropped. The task's log lines belong to
    /// `span`; its trace continues the current span.
    pub(super) async fn settle(&self, span: Span, message: Bytes, delivery: Delivery) -> Outcome {
        self.process(span, message, delivery, |_| true).await
    }

    /// The same for a record that is tried again if it misses a parent: then it has no closing line yet, see [`closed`].
    pub(super) async fn attempt(&self, span: Span, message: Bytes, delivery: Delivery) -> Outcome {
        let is_first_of_key = delivery.behind.is_none();
        self.process(span, message, delivery, move |reason| !(is_first_of_key && reason == Reason::ParentMissing)).await
    }

    async fn process(
        &self,
        span: Span,
        message: Bytes,
        delivery: Delivery,
        is_end: impl FnOnce(Reason) -> bool + Send + 'static,
    ) -> Outcome {
        let (pipeline, trace_span) = (self.pipeline.clone(), Span::current());
        let function = if delivery.fail_fast { HTTP_FUNCTION } else { QUEUE_FUNCTION };
        let task = async move {
            let begun = Instant::now();
            let work = AssertUnwindSafe(settle(&pipeline, &message, delivery));
            let outcome = work.catch_unwind().await.unwrap_or_else(|_| Outcome {
                attempts: delivery.attempts,
                ..Outcome::new(Reason::Internal).detail("the handler panicked")
            });
            if !is_end(outcome.reason) {
                return outcome;
            }
            let outcome = if delivery.last { outcome.on_last_attempt() } else { outcome };
            report(function, &outcome, begun.elapsed());
            trace::settled(&trace_span, &outcome);
            metrics::settled(function, &outcome, begun.elapsed());
            if function == HTTP_FUNCTION { outcome.for_caller() } else { outcome }
        };
        let outcome = self.tasks.spawn(task.instrument(span).in_current_span()).await;
        outcome.unwrap_or_else(|_| Outcome::new(Reason::Internal).detail("the runtime stopped"))
    }
}

/// The invocation's id: a GUID, the host's or a new one.
pub(super) fn id(headers: &HeaderMap) -> String {
    host_id(headers).unwrap_or_else(Uuid::new_v4).to_string()
}

/// The host's id of the invocation: it comes after an id that the caller has sent, in one header or in two.
pub(super) fn host_id(headers: &HeaderMap) -> Option<Uuid> {
    let values = headers.get_all(INVOCATION_ID).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|id| Uuid::try_parse(id.trim()).ok()).next_back()
}

/// The outcome of an invocation that is refused before its records are read, with its closing line. Its detail is in our own words.
pub(super) fn refused(function: &'static str, invocation_id: &str, mut outcome: Outcome, received: Instant) -> Outcome {
    if outcome.reason.is_for_operators() {
        outcome.log_detail.clone_from(&outcome.detail);
    }
    closed(function, invocation_id, outcome, received.elapsed())
}

/// An outcome with its closing line, after so long.
pub(super) fn closed(function: &'static str, invocation_id: &str, outcome: Outcome, lasted: Duration) -> Outcome {
    let span = span(function, invocation_id, outcome.attempts);
    span.record("table", outcome.table.as_deref());
    span.record("key_hash", outcome.key_hash.as_deref());
    span.in_scope(|| report(function, &outcome, lasted));
    trace::settled(&Span::current(), &outcome);
    metrics::settled(function, &outcome, lasted);
    outcome
}

/// The span of one record, with every field of its closing line. Created at ERROR so that it exists under `RUST_LOG=error`.
pub(super) fn span(function: &'static str, invocation_id: &str, attempt: Option<u32>) -> Span {
    error_span!(
        "record",
        outcome = Empty,
        reason = Empty,
        table = Empty,
        key_hash = Empty,
        source = Empty,
        message_id = Empty,
        attempt,
        last_attempt = Empty,
        queued_ms = Empty,
        duration_ms = Empty,
        lock_wait_ms = Empty,
        write_ms = Empty,
        status = Empty,
        code = Empty,
        request_id = Empty,
        function,
        invocation_id,
        // The last one: what does not fit into a line of an answer is left out there.
        detail = Empty,
    )
}

/// Milliseconds from when a message was put on the queue until this delivery was received; 0 where the storage's clock is ahead of
/// ours. Earlier deliveries do not shorten it.
pub(super) fn queued_ms(inserted: OffsetDateTime, received: OffsetDateTime) -> u64 {
    u64::try_from((received - inserted).whole_milliseconds()).unwrap_or_default()
}

async fn settle(pipeline: &Pipeline, message: &Bytes, delivery: Delivery) -> Outcome {
    let record = match decode(message) {
        Ok(record) => record,
        Err((error, partial)) => return rejected(&error, partial, delivery),
    };
    Span::current().record("table", &*record.table);
    pipeline.settle(&record, delivery).await
}

fn rejected(error: &record::Error, partial: record::PartialRecord, delivery: Delivery) -> Outcome {
    let reason = match error {
        record::Error::TooLarge { .. } => Reason::TooLarge,
        _ => Reason::InvalidMessage,
    };
    let record::PartialRecord { table, message_id } = partial;
    Span::current().record("table", table.as_deref());
    Outcome { table, message_id, attempts: delivery.attempts, ..Outcome::new(reason).detail(error.to_string()) }
}

/// Writes the closing line: an error for a dead letter, a warning for a call that its caller can correct. Dataverse's message is
/// left out: it may hold column values.
fn report(function: &'static str, outcome: &Outcome, duration: Duration) {
    let span = Span::current();
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    span.record("outcome", outcome.disposition.code());
    span.record("reason", outcome.reason.code());
    span.record("message_id", outcome.message_id.as_deref());
    span.record("last_attempt", outcome.last_attempt.then_some(true));
    span.record("source", outcome.source.as_deref());
    span.record("duration_ms", millis(duration));
    span.record("lock_wait_ms", outcome.timings.map(|spent| millis(spent.lock)));
    span.record("write_ms", outcome.timings.map(|spent| millis(spent.write)));
    if let Some(answer) = &outcome.dataverse {
        span.record("status", answer.status);
        span.record("code", answer.code.as_deref());
        span.record("request_id", answer.request_id.as_deref());
    }
    span.record("detail", outcome.log_detail.as_deref());
    match outcome.disposition {
        Disposition::Applied | Disposition::Skipped => info!("record settled"),
        Disposition::Rejected if function == HTTP_FUNCTION => warn!("call rejected"),
        Disposition::Rejected => error!("record rejected"),
        Disposition::Retry if function == QUEUE_FUNCTION && outcome.is_dead_letter() => error!("record given up"),
        Disposition::Retry if function == QUEUE_FUNCTION => warn!("record returned to the host"),
        Disposition::Retry => warn!("record not settled; its caller has to send it again"),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn the_time_in_the_queue_is_never_negative() {
        let inserted = datetime!(2026-11-28 22:37:45 +1);
        for (received, expected) in [
            (datetime!(2026-11-28 21:37:46.219 UTC), 1_219),
            (datetime!(2026-11-28 21:37:45 UTC), 0),
            (datetime!(2026-11-28 21:37:44.9 UTC), 0),
            (datetime!(2026-12-05 21:37:45 UTC), 7 * 24 * 3_600_000),
        ] {
            assert_eq!(queued_ms(inserted, received), expected, "{received}");
        }
    }
}
