//! The HTTP server: routes, tracked tasks, drain. Only this module uses axum.
//!
//! Every invocation runs in a tracked task that is never cancelled: a caller that disconnects does not stop it, and a panic
//! becomes `retry/internal`. On shutdown the listener closes, the tasks finish, and their locks are released.
//!
//! Caller data never reaches a header or a reason phrase; in bodies it is JSON. The query is not read: it may hold a function
//! key.

mod array;
mod body;
mod budget;
mod call_slots;
mod invocation;
mod listener;
mod origin;
mod respond;
mod routes;

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::host::MessageEncoding;
use crate::pipeline::{INVOCATION_GRACE, Pipeline};
use crate::process_limits;
use crate::shutdown::Cause;
use budget::Budget;
use call_slots::CallSlots;
use listener::Listener;

/// During the drain: how long a finished response may take to leave, and an incomplete request to arrive.
const FLUSH_GRACE: Duration = Duration::from_secs(1);

/// The host opens one for each message and call in flight. At most half of the limit of open files: the other half is for outgoing
/// connections.
const MAX_CONNECTIONS: usize = 512;

/// The state that the routes share.
#[derive(Clone)]
struct AppState {
    pipeline: Arc<Pipeline>,
    calls: CallSlots,
    tasks: TaskTracker,
    queue: QueuePolicy,
    budget: Budget,
    /// The records of arrays that may be started at a time, all arrays together.
    array_slots: Arc<Semaphore>,
    /// Cancelled when the process stops.
    stop: CancellationToken,
}

/// The host's delivery policy for queue messages.
#[derive(Debug, Clone, Copy)]
pub struct QueuePolicy {
    /// The longest wait in place through an outage or throttling.
    pub hold: Duration,
    /// The number of deliveries before the host gives up, if known.
    pub max_deliveries: Option<u32>,
    /// The messages that the host keeps in flight.
    pub in_flight: usize,
    /// How the host writes messages, if known.
    pub encoding: Option<MessageEncoding>,
}

/// Serves on `listener` until `shutdown` completes or no connection can be accepted any more, then drains: invocations that wait
/// for admission are answered at once, those at work finish. Returns why it stopped.
pub async fn run(
    listener: TcpListener,
    pipeline: Pipeline,
    queue: QueuePolicy,
    shutdown: impl Future<Output = Cause> + Send + 'static,
) -> Cause {
    let (pipeline, tasks, stop) = (Arc::new(pipeline), TaskTracker::new(), CancellationToken::new());
    let budget = Budget::new(queue.in_flight);
    let array_slots = Arc::new(Semaphore::new(pipeline.admission.ceiling()));
    let max_connections = process_limits::max_connections(MAX_CONNECTIONS);
    let calls = CallSlots::new(max_connections);
    let port = listener.local_addr().map_or(0, |address| address.port());
    let state = AppState {
        pipeline: pipeline.clone(),
        calls,
        tasks: tasks.clone(),
        queue,
        budget: budget.clone(),
        array_slots: array_slots.clone(),
        stop: stop.clone(),
    };
    let router = routes::router(state, port);
    let gone = CancellationToken::new();
    let listener = Listener::new(listener, max_connections, gone.clone());
    let serving = listener.serve(router, stop.clone());
    let ended = gone.clone().drop_guard();
    let server = tokio::spawn(async move {
        let _ended = ended;
        serving.await;
    });
    let cause = tokio::select! {
        cause = shutdown => cause,
        () = gone.cancelled() => Cause::ListenerGone,
    };
    info!(cause = cause.code(), "stopping; finishing the requests in progress");
    pipeline.admission.stop();
    array_slots.close();
    budget.stop();
    stop.cancel();
    tasks.close();
    let closed = async {
        // An error is a panic, after which the process stops in any case.
        let _ = server.await;
        tasks.wait().await;
    };
    let drain = async {
        tokio::select! {
            () = closed => {}
            () = drained(&tasks) => {}
        }
        pipeline.finished().await;
    };
    if timeout(cause.drain_timeout(queue.hold + INVOCATION_GRACE), drain).await.is_err() {
        warn!(unfinished = tasks.len(), "shutdown timed out with work in progress; its leases will expire");
    }
    cause
}

/// Waits until no task runs and the last responses had time to leave: a connection with an incomplete request stays open.
async fn drained(tasks: &TaskTracker) {
    loop {
        tasks.wait().await;
        sleep(FLUSH_GRACE).await;
        if tasks.is_empty() {
            return;
        }
    }
}
