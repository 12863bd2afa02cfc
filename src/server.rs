//! The edge: routes, tracked tasks, drain. Only this module uses axum.
//!
//! Every invocation runs in a task of its own that nobody cancels: a caller who leaves does not stop it, and a panic in it
//! becomes `retry/internal`. On shutdown the listener closes and the tasks finish, which releases what they hold.
//!
//! One span and one closing line per record; keys appear as hashes, values not at all.

mod batch;
mod respond;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use futures::{FutureExt as _, StreamExt as _};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, error, info, info_span, warn};

use crate::host::{Answer, HTTP_ROUTE, Invocation, QUEUE_FUNCTION};
use crate::outcome::{Disposition, Outcome, Reason};
use crate::record::{self, decode};
use crate::sync::{Delivery, Sync};

/// An envelope holds the record twice over, encoded; beyond this it is none of the host's.
const MOST_ENVELOPE_BYTES: usize = 64 * 1024 * 1024;

/// Of a body that is too large for a record no more than this is read; the host forwards at most 100 MiB.
const MOST_BYTES_READ: usize = 100 * 1024 * 1024;

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
///
/// # Errors
/// When the listener fails.
pub async fn run(
    listener: TcpListener,
    sync: Sync,
    terms: Terms,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    let tasks = TaskTracker::new();
    let sync = Arc::new(sync);
    let edge = Edge { sync: sync.clone(), tasks: tasks.clone(), terms };
    let (stop, stopping) = oneshot::channel();
    let shutdown = async move {
        shutdown.await;
        sync.gate.stop();
        // Nobody listens when the listener has failed before.
        let _ = stop.send(());
    };
    let served = async {
        axum::serve(listener, router(edge)).with_graceful_shutdown(shutdown).await?;
        tasks.close();
        tasks.wait().await;
        Ok(())
    };
    tokio::select! {
        ended = served => ended,
        () = out_of_time(stopping) => {
            warn!(unfinished = tasks.len(), "stopping with work under way; its leases lapse by themselves");
            Ok(())
        }
    }
}

/// The end of the time for draining, which begins when `stopping` says so.
async fn out_of_time(stopping: oneshot::Receiver<()>) {
    match stopping.await {
        Ok(()) => sleep(DRAIN).await,
        Err(_) => std::future::pending().await,
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
    let invocation = match to_bytes(body, MOST_ENVELOPE_BYTES).await {
        Err(_) => Err("the invocation could not be read, or is larger than 64 MiB".to_owned()),
        Ok(body) => Invocation::read(&body).map_err(|error| error.to_string()),
    };
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(problem) => {
            error!(invocation_id = id, problem, "the host and this program do not fit each other");
            return respond::queue(Answer::Failed { phrase: "retry/internal not an invocation".to_owned() });
        }
    };
    let delivery = edge.queue_delivery(invocation.dequeue_count);
    let message = Bytes::from(invocation.message.clone());
    let outcome = edge.settle("SyncQueue", id.clone(), message, delivery).await;
    respond::queue(Answer::new(&outcome, &invocation.message, &id, OffsetDateTime::now_utc()))
}

async fn sync_http(State(edge): State<Edge>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let id = invocation_id(&parts.headers);
    let body = match read_record_body(body).await {
        Ok(body) => body,
        Err(outcome) => return respond::single(&outcome),
    };
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        // A task of its own as well: of two records with one key the second begins when the first has ended.
        let batch = edge.tasks.spawn(batch::sync(edge.clone(), id, body));
        return batch
            .await
            .unwrap_or_else(|_| respond::single(&Outcome::new(Reason::Internal).detail("the handler panicked")));
    }
    let delivery = edge.http_delivery(Instant::now());
    respond::single(&edge.settle("SyncHttp", id, body, delivery).await)
}

/// Reads a body up to [`record::MOST_BYTES`]. What is longer is read on and thrown away: a caller who is still sending when the
/// answer comes and the connection closes loses the answer.
async fn read_record_body(body: Body) -> Result<Bytes, Outcome> {
    let (mut stream, mut kept, mut length) = (body.into_data_stream(), BytesMut::new(), 0);
    while let Some(chunk) = stream.next().await {
        let Ok(chunk) = chunk else { return Err(Outcome::new(Reason::InvalidMessage).detail("the body broke off")) };
        length += chunk.len();
        if length <= record::MOST_BYTES {
            kept.extend_from_slice(&chunk);
        } else if length > MOST_BYTES_READ {
            break;
        }
    }
    if length > record::MOST_BYTES {
        return Err(Outcome::new(Reason::TooLarge).detail(format!("a body has at most {} bytes", record::MOST_BYTES)));
    }
    if length == 0 {
        let hint = "the body is empty; the Functions host drops bodies without a Content-Length, so send one";
        return Err(Outcome::new(Reason::InvalidMessage).detail(hint));
    }
    Ok(kept.freeze())
}

fn invocation_id(headers: &HeaderMap) -> String {
    let id = headers.get(INVOCATION_ID).and_then(|value| value.to_str().ok()).unwrap_or_default();
    id.chars().take(64).collect()
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

    /// Runs one message to its end, whoever still waits for it.
    async fn settle(&self, function: &'static str, id: String, message: Bytes, delivery: Delivery) -> Outcome {
        let sync = self.sync.clone();
        let task = async move {
            let begun = Instant::now();
            let work = AssertUnwindSafe(settle_in_span(&sync, function, &id, &message, delivery));
            let outcome = work.catch_unwind().await.unwrap_or_else(|_| Outcome {
                attempts: delivery.attempts,
                ..Outcome::new(Reason::Internal).detail("the handler panicked")
            });
            let outcome = if delivery.last { outcome.for_the_last_time() } else { outcome };
            report(function, &id, &outcome, begun.elapsed());
            outcome
        };
        let ended = self.tasks.spawn(task).await;
        ended.unwrap_or_else(|_| Outcome::new(Reason::Internal).detail("the runtime stopped"))
    }
}

async fn settle_in_span(sync: &Sync, function: &str, id: &str, message: &[u8], delivery: Delivery) -> Outcome {
    let record = match decode(message) {
        Ok(record) => record,
        Err((error, trace)) => return not_a_record(&error, trace, delivery),
    };
    let span = info_span!("record", invocation_id = id, function, table = record.table, attempt = delivery.attempts);
    sync.settle(&record, delivery).instrument(span).await
}

fn not_a_record(error: &record::Error, trace: record::Trace, delivery: Delivery) -> Outcome {
    let reason = match error {
        record::Error::TooLarge { .. } => Reason::TooLarge,
        _ => Reason::InvalidMessage,
    };
    let record::Trace { table, message_id } = trace;
    Outcome { table, message_id, attempts: delivery.attempts, ..Outcome::new(reason).detail(error.to_string()) }
}

/// The one closing line of a record. What Dataverse said may hold data, so its text stays out.
fn report(function: &str, id: &str, outcome: &Outcome, took: Duration) {
    let (disposition, reason) = (outcome.disposition.code(), outcome.reason.code());
    let millis = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let duration_ms = millis(took);
    let lock_wait_ms = outcome.spent.map(|spent| millis(spent.lock));
    let write_ms = outcome.spent.map(|spent| millis(spent.write));
    let source = outcome.source.as_deref();
    let table = outcome.table.as_deref();
    let key_hash = outcome.key_hash.as_deref();
    let message_id = outcome.message_id.as_deref();
    let attempt = outcome.attempts;
    let status = outcome.dataverse.as_ref().and_then(|answer| answer.status);
    let code = outcome.dataverse.as_ref().and_then(|answer| answer.code.as_deref());
    let request_id = outcome.dataverse.as_ref().and_then(|answer| answer.request_id.as_deref());
    match outcome.disposition {
        Disposition::Applied | Disposition::Skipped => info!(
            outcome = disposition,
            reason,
            function,
            table,
            key_hash,
            source,
            message_id,
            attempt,
            duration_ms,
            lock_wait_ms,
            write_ms,
            status,
            code,
            request_id,
            invocation_id = id,
            "record settled"
        ),
        Disposition::Retry => warn!(
            outcome = disposition,
            reason,
            function,
            table,
            key_hash,
            source,
            message_id,
            attempt,
            last_attempt = outcome.last_attempt.then_some(true),
            duration_ms,
            lock_wait_ms,
            write_ms,
            status,
            code,
            request_id,
            invocation_id = id,
            "record goes back to the host"
        ),
        Disposition::Rejected => error!(
            outcome = disposition,
            reason,
            function,
            table,
            key_hash,
            source,
            message_id,
            attempt,
            duration_ms,
            lock_wait_ms,
            write_ms,
            status,
            code,
            request_id,
            invocation_id = id,
            "record rejected"
        ),
    }
}
