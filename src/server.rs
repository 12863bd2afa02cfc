//! The edge: routes, tracked tasks, drain. Only this module uses axum.
//!
//! Every invocation runs in a task of its own that nobody cancels: a caller who leaves does not stop it, and a panic in it
//! becomes `retry/internal`. On shutdown the listener closes and the tasks finish, and what they held goes back.
//!
//! Nothing of a caller is in a header or a reason phrase; in bodies it stands as JSON. The query is not read: a function key
//! may be in it.
//!
//! One span and one closing line per record; keys appear as hashes, values not at all. The lines of a settled queue message
//! travel in its answer.

mod batch;
mod body;
mod connections;
mod respond;
mod workers;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures::FutureExt as _;
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument as _, Span, error, error_span, info, warn};

use crate::host::{Answer, HTTP_FUNCTION, HTTP_ROUTE, Invocation, QUEUE_FUNCTION};
use crate::outcome::{Disposition, Outcome, Reason};
use crate::pipeline::{Delivery, Sync};
use crate::record::{self, decode};
use crate::telemetry::CapturedLogs;
use crate::telemetry::metrics;
use crate::telemetry::trace;

pub use workers::Workers;

/// An envelope holds the record twice over, encoded; beyond this it is none of the host's.
const MOST_ENVELOPE_BYTES: usize = 64 * 1024 * 1024;

/// Longest wait in place of an HTTP caller; the front end of Azure gives up at 230 s.
const HTTP_PATIENCE: Duration = Duration::from_secs(20);

/// Least wait of a queue message for others to be done, while all goes well.
const IN_LINE: Duration = Duration::from_mins(2);

/// Tasks that have not finished this long after the signal are left to their leases, and so are callers who wait for them.
const DRAIN: Duration = Duration::from_secs(25);

const INVOCATION_ID: &str = "x-azure-functions-invocationid";

/// What the routes share.
#[derive(Clone)]
struct Edge {
    sync: Arc<Sync>,
    tasks: TaskTracker,
    terms: Terms,
    stop: CancellationToken,
}

/// What the host grants a queue message.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// The longest wait in place through an outage or throttling.
    pub hold: Duration,
    /// How often it is delivered, if that is known.
    pub most_deliveries: Option<u32>,
}

/// Serves on `listener` until `shutdown` ends, then drains: who waits before the gate goes back at once, who is at work finishes.
pub async fn run(
    listener: TcpListener,
    workers: Workers,
    sync: Sync,
    terms: Terms,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    let (tasks, stop) = (TaskTracker::new(), CancellationToken::new());
    let sync = Arc::new(sync);
    let edge = Edge { sync: sync.clone(), tasks: tasks.clone(), terms, stop: stop.clone() };
    let stopped = async {
        shutdown.await;
        sync.gate.stop();
        stop.cancel();
        sleep(DRAIN).await;
    };
    let served = async {
        connections::serve(listener, &workers, router(edge), stop.clone()).await;
        tasks.close();
        tasks.wait().await;
        sync.finished().await;
    };
    tokio::select! {
        biased;
        () = served => {}
        () = stopped => {
            warn!(unfinished = tasks.len(), "stopping with work under way; its leases lapse by themselves");
        }
    }
}

fn router(edge: Edge) -> Router {
    Router::new()
        .route("/", get(ready))
        .route(&format!("/{QUEUE_FUNCTION}"), post(sync_queue))
        .route(HTTP_ROUTE, post(sync_http))
        .method_not_allowed_fallback(|| async { respond::plain_problem(StatusCode::METHOD_NOT_ALLOWED) })
        .fallback(|| async { respond::plain_problem(StatusCode::NOT_FOUND) })
        .with_state(edge)
}

async fn ready() -> &'static str {
    concat!("dataverse-sync ", env!("CARGO_PKG_VERSION"), "\n")
}

async fn sync_queue(State(edge): State<Edge>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = invocation_id(&parts.headers);
    let traced = trace::queue_message(QUEUE_FUNCTION, &id, traceparent(&parts.headers));
    // A head is a part of the connection's read buffer; while it is kept, the connection gets itself another.
    drop(parts);
    let invocation = match body::read(body, MOST_ENVELOPE_BYTES, &edge.stop).await {
        Err(error) => Err(error.to_string()),
        Ok(body) => Invocation::read(&body).map_err(|error| error.to_string()),
    };
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(problem) => {
            trace::failed(&traced, Reason::Internal.code(), "not an invocation");
            error!(invocation_id = id, problem, "the host and this program do not fit each other");
            return respond::queue(Answer::Failed { phrase: "retry/internal not an invocation".to_owned() });
        }
    };
    let delivery = edge.queue_delivery(invocation.dequeue_count);
    let message = Bytes::from(invocation.message);
    let span = span(QUEUE_FUNCTION, &id, delivery.attempts);
    let lines = CapturedLogs::of(&span);
    let outcome = edge.settle(span, message.clone(), delivery).instrument(traced).await;
    let now = OffsetDateTime::now_utc();
    respond::queue(Answer::new(&outcome, &message, &id, now, || lines.take()))
}

async fn sync_http(State(edge): State<Edge>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = invocation_id(&parts.headers);
    let traced = trace::http_call(HTTP_FUNCTION, HTTP_ROUTE, &id, traceparent(&parts.headers));
    drop(parts);
    let response = answer_call(edge, id, body).instrument(traced.clone()).await;
    trace::answered(&traced, response.status().as_u16());
    response
}

async fn answer_call(edge: Edge, id: String, body: Body) -> Response {
    let body = match read_record_body(body, &edge.stop).await {
        Ok(body) => body,
        Err(outcome) => return respond::single(&outcome),
    };
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        // A task of its own as well: of two records with one key the second begins when the first has ended.
        let batch = edge.tasks.spawn(batch::sync(edge.clone(), id, body).in_current_span());
        return batch
            .await
            .unwrap_or_else(|_| respond::single(&Outcome::new(Reason::Internal).detail("the handler panicked")));
    }
    let delivery = edge.http_delivery(Instant::now());
    let span = span(HTTP_FUNCTION, &id, delivery.attempts);
    respond::single(&edge.settle(span, body, delivery).await)
}

/// Reads a body up to [`record::MOST_BYTES`].
async fn read_record_body(body: Body, stop: &CancellationToken) -> Result<Bytes, Outcome> {
    let body = body::read(body, record::MOST_BYTES, stop).await.map_err(|error| {
        let reason = match error {
            body::Error::TooLarge { .. } => Reason::TooLarge,
            body::Error::BrokenOff | body::Error::TooSlow => Reason::InvalidMessage,
        };
        Outcome::new(reason).detail(error.to_string())
    })?;
    if body.is_empty() {
        let hint = "the body is empty; the Functions host drops bodies without a Content-Length, so send one";
        return Err(Outcome::new(Reason::InvalidMessage).detail(hint));
    }
    Ok(body)
}

fn invocation_id(headers: &HeaderMap) -> String {
    let id = headers.get(INVOCATION_ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
    id.chars().take(64).collect()
}

/// The caller's place in its trace; two of them are none.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all("traceparent").iter();
    let only = all.next().filter(|_| all.next().is_none());
    only.and_then(|value| value.to_str().ok())
}

impl Edge {
    /// For a message of the queue. However short the hold is: while all goes well the line moves, and there is no reason to go.
    fn queue_delivery(&self, attempts: Option<u32>) -> Delivery {
        let Terms { hold, most_deliveries } = self.terms;
        let last = attempts.zip(most_deliveries).is_some_and(|(attempts, most)| attempts >= most);
        Delivery { attempts, last, patience: hold, in_line: hold.max(IN_LINE), is_call: false }
    }

    /// For a record of a call that came at `called`.
    fn http_delivery(&self, called: Instant) -> Delivery {
        let left = |patience: Duration| patience.saturating_sub(called.elapsed());
        let patience = left(self.terms.hold.min(HTTP_PATIENCE));
        Delivery { attempts: Some(1), last: false, patience, in_line: left(HTTP_PATIENCE), is_call: true }
    }

    /// Runs one message to its end in its `span`, within the trace's that this is called in, whoever still waits for it.
    async fn settle(&self, span: Span, message: Bytes, delivery: Delivery) -> Outcome {
        let (sync, traced) = (self.sync.clone(), Span::current());
        let function = if delivery.is_call { HTTP_FUNCTION } else { QUEUE_FUNCTION };
        let task = async move {
            let begun = Instant::now();
            let work = AssertUnwindSafe(settle(&sync, &message, delivery));
            let outcome = work.catch_unwind().await.unwrap_or_else(|_| Outcome {
                attempts: delivery.attempts,
                ..Outcome::new(Reason::Internal).detail("the handler panicked")
            });
            let outcome = if delivery.last { outcome.for_the_last_time() } else { outcome };
            report(&outcome, begun.elapsed());
            trace::settled(&traced, &outcome);
            metrics::settled(function, &outcome, begun.elapsed());
            outcome
        };
        let ended = self.tasks.spawn(task.instrument(span).in_current_span()).await;
        ended.unwrap_or_else(|_| Outcome::new(Reason::Internal).detail("the runtime stopped"))
    }
}

/// The span of one record, open for all that its closing line says. Whoever wants to read errors alone has it as well.
fn span(function: &'static str, invocation_id: &str, attempt: Option<u32>) -> Span {
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
        duration_ms = Empty,
        lock_wait_ms = Empty,
        write_ms = Empty,
        status = Empty,
        code = Empty,
        request_id = Empty,
        function,
        invocation_id,
    )
}

async fn settle(sync: &Sync, message: &Bytes, delivery: Delivery) -> Outcome {
    let record = match decode(message) {
        Ok(record) => record,
        Err((error, trace)) => return not_a_record(&error, trace, delivery),
    };
    Span::current().record("table", &*record.table);
    sync.settle(&record, delivery).await
}

fn not_a_record(error: &record::Error, trace: record::Trace, delivery: Delivery) -> Outcome {
    let reason = match error {
        record::Error::TooLarge { .. } => Reason::TooLarge,
        _ => Reason::InvalidMessage,
    };
    let record::Trace { table, message_id } = trace;
    Span::current().record("table", table.as_deref());
    Outcome { table, message_id, attempts: delivery.attempts, ..Outcome::new(reason).detail(error.to_string()) }
}

/// The one closing line of a record, whose span has all its fields. What Dataverse said may hold data, so its text stays out.
fn report(outcome: &Outcome, took: Duration) {
    let span = Span::current();
    span.record("outcome", outcome.disposition.code());
    span.record("reason", outcome.reason.code());
    span.record("message_id", outcome.message_id.as_deref());
    span.record("last_attempt", outcome.last_attempt.then_some(true));
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    span.record("source", outcome.source.as_deref());
    span.record("duration_ms", millis(took));
    span.record("lock_wait_ms", outcome.spent.map(|spent| millis(spent.lock)));
    span.record("write_ms", outcome.spent.map(|spent| millis(spent.write)));
    if let Some(answer) = &outcome.dataverse {
        span.record("status", answer.status);
        span.record("code", answer.code.as_deref());
        span.record("request_id", answer.request_id.as_deref());
    }
    match outcome.disposition {
        Disposition::Applied | Disposition::Skipped => info!("record settled"),
        Disposition::Retry => warn!("record goes back to the host"),
        Disposition::Rejected => error!("record rejected"),
    }
}
