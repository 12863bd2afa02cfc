//! Processes an HTTP request: body, count, fault, latency, authorization, operation, common headers.
//!
//! It rejects bodies above 8 MiB. As in the service, a request is executed even if its client has disconnected; only a
//! fault prevents it. No lock is held across an await.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use tokio::time::{Instant, sleep};
use uuid::Uuid;

use super::auth::{Account, Grant};
use super::blobs::Blobs;
use super::call::{Call, Service};
use super::counts::Counts;
use super::error::{REQUEST_BODY_TOO_LARGE, Result, old_date};
use super::fault::{self, Effect, Faults, Op};
use super::lease_log::LeaseLog;
use super::operation::Operation;
use super::queues::Queues;
use super::reply::Now;
use super::{blob_service, queue_service};
use crate::connection_reset::Wire;
use crate::gauge::Gauge;

const MAX_BODY_BYTES: usize = 8 * 1024 * 1024;
/// The version in responses to requests that give none.
const DEFAULT_VERSION: &str = "2026-04-06";

/// The store's whole state, shared by both services and the `Storage` handle.
#[derive(Debug)]
pub(super) struct Store {
    pub(super) account: Account,
    pub(super) latency: Duration,
    pub(super) secure: bool,
    pub(super) blobs: Mutex<Blobs>,
    pub(super) queues: Mutex<Queues>,
    pub(super) counts: Mutex<Counts>,
    pub(super) faults: Mutex<Faults>,
    pub(super) lease_log: Mutex<LeaseLog>,
    /// Blob requests in flight.
    pub(super) requests: Gauge,
}

/// Locks, ignoring poison: a test that panics while it holds the lock leaves no value half written.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The routes of one service.
pub(super) fn router(store: Arc<Store>, service: Service) -> Router {
    Router::new().fallback(answer).with_state((store, service))
}

async fn answer(State((store, service)): State<(Arc<Store>, Service)>, wire: Wire, request: Request) -> Response {
    let _in_flight = (service == Service::Blob).then(|| store.requests.open());
    let (parts, body) = request.into_parts();
    let common = CommonHeaders::of(&parts);
    let task = tokio::spawn(process(store, service, wire.clone(), parts, body));
    match task.await {
        Ok(response) => common.on(response),
        // The runtime is shutting down: the response is lost, as with any server that stops.
        Err(_) => wire.cut(),
    }
}

async fn process(store: Arc<Store>, service: Service, wire: Wire, parts: Parts, body: Body) -> Response {
    let Ok(body) = axum::body::to_bytes(body, MAX_BODY_BYTES).await else {
        return REQUEST_BODY_TOO_LARGE.into_response();
    };
    let call = Call::parse(service, store.secure, store.account.name, parts, body);
    let (call, operation) = match call.and_then(|call| Operation::of(&call).map(|operation| (call, operation))) {
        Ok(both) => both,
        Err(error) => return error.into_response(),
    };
    let op = Op::of(operation);
    lock(&store.counts).add(op);
    let effect = lock(&store.faults).apply(op);
    match effect {
        Some(Effect::Status { code, error_code, retry_after }) => {
            lock(&store.lease_log).note(&call, op, Instant::now(), Some(code), None);
            return fault::refusal(code, error_code, retry_after).into_response();
        }
        Some(Effect::OldDate) => {
            lock(&store.lease_log).note(&call, op, Instant::now(), Some(403), None);
            return old_date("Mon, 23 Nov 2020 10:00:00 GMT").into_response();
        }
        Some(Effect::Hang(time)) => {
            lock(&store.lease_log).note(&call, op, Instant::now(), None, None);
            sleep(time).await;
            return wire.cut();
        }
        Some(Effect::DropBefore) => {
            lock(&store.lease_log).note(&call, op, Instant::now(), None, None);
            return wire.cut();
        }
        Some(Effect::Slow(time)) => sleep(time).await,
        Some(Effect::SlowAnswer(_) | Effect::DropAfter) | None => {}
    }
    if !store.latency.is_zero() {
        sleep(store.latency).await;
    }
    let response = execute(&store, &call, operation).unwrap_or_else(IntoResponse::into_response);
    match effect {
        Some(Effect::DropAfter) => return wire.cut(),
        Some(Effect::SlowAnswer(time)) => sleep(time).await,
        _ => {}
    }
    response
}

fn execute(store: &Store, call: &Call, operation: Operation) -> Result<Response> {
    let grant = store.account.authorize(call, operation)?;
    let result = match call.service {
        Service::Blob => serve_blobs(store, call, operation, grant),
        Service::Queue => queue_service::serve(&mut lock(&store.queues), call, operation, Now::read()),
    };
    let conflict = result.as_ref().is_err_and(|error| error.status == StatusCode::CONFLICT);
    if operation == Operation::Acquire && conflict {
        lock(&store.counts).acquire_conflict += 1;
    }
    result
}

/// Reads the time and logs the outcome under the blobs' lock, so that the log has the order in which requests were
/// decided.
fn serve_blobs(store: &Store, call: &Call, operation: Operation, grant: Grant) -> Result<Response> {
    let mut blobs = lock(&store.blobs);
    let now = Now::read();
    let result = blob_service::serve(&mut blobs, call, operation, grant, now);
    let (status, granted) = match &result {
        Ok(response) => (response.status(), lease_id(response)),
        Err(error) => (error.status, None),
    };
    lock(&store.lease_log).note(call, Op::of(operation), now.instant, Some(status.as_u16()), granted);
    result
}

fn lease_id(response: &Response) -> Option<Uuid> {
    response.headers().get("x-ms-lease-id")?.to_str().ok()?.parse().ok()
}

/// What every response repeats from its request.
struct CommonHeaders {
    version: String,
    client_request_id: Option<String>,
}

impl CommonHeaders {
    fn of(parts: &Parts) -> Self {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            version: text("x-ms-version").unwrap_or_else(|| DEFAULT_VERSION.to_owned()),
            client_request_id: text("x-ms-client-request-id"),
        }
    }

    fn on(&self, mut response: Response) -> Response {
        let request_id = Uuid::new_v4().to_string();
        let pairs = [
            ("x-ms-request-id", Some(request_id.as_str())),
            ("x-ms-version", Some(self.version.as_str())),
            ("x-ms-client-request-id", self.client_request_id.as_deref()),
        ];
        for (name, value) in pairs {
            if let Some(value) = value.and_then(|value| value.parse().ok()) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    use super::super::testing::{Fixture, signed};
    use super::super::{Effect, Fault, Op, Options};

    const PAUSE: Duration = Duration::from_millis(80);
    const FIFTEEN: (&str, &str) = ("x-ms-lease-duration", "15");

    async fn acquire(fixture: &Fixture) -> reqwest::Result<u16> {
        let url = format!("{}/locks/one?comp=lease", fixture.storage.blob_endpoint());
        let request = signed("PUT", &url, &[("x-ms-lease-action", "acquire"), FIFTEEN], "");
        fixture.http.execute(request).await.map(|response| response.status().as_u16())
    }

    #[tokio::test]
    async fn a_status_fault_is_answered_once_and_nothing_is_executed() {
        let fixture = Fixture::with_blob().await;
        let effect = Effect::Status { code: 503, error_code: "ServerBusy", retry_after: Some(Duration::from_secs(7)) };
        fixture.storage.fault(Fault::once(Op::AnyLease, effect));
        let busy = fixture.lease("acquire", &[FIFTEEN]).await;
        assert_eq!((busy.refusal(), busy.header("retry-after")), ((503, "ServerBusy"), "7"));
        assert!(fixture.storage.leases().is_empty());
        assert_eq!(acquire(&fixture).await.ok(), Some(201));
    }

    #[tokio::test]
    async fn a_drop_before_executes_nothing_and_a_drop_after_everything() {
        let fixture = Fixture::with_blob().await;
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::DropBefore));
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::DropAfter));
        let error = acquire(&fixture).await.expect_err("the connection was closed");
        assert_eq!((error.status(), fixture.storage.leases().len()), (None, 0));
        let error = acquire(&fixture).await.expect_err("the connection was closed");
        assert_eq!((error.status(), fixture.storage.leases().len()), (None, 1));
        assert_eq!(acquire(&fixture).await.ok(), Some(409), "the lost answer's lease is there");
        assert_eq!(fixture.storage.counts().acquire, 3);
    }

    #[tokio::test]
    async fn a_hanging_request_is_closed_unexecuted_and_a_slow_one_executed() {
        let fixture = Fixture::with_blob().await;
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::Hang(PAUSE)));
        let start = Instant::now();
        acquire(&fixture).await.expect_err("the connection was closed");
        assert!(start.elapsed() >= PAUSE && fixture.storage.leases().is_empty());
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::Slow(PAUSE)));
        let start = Instant::now();
        assert_eq!(acquire(&fixture).await.ok(), Some(201));
        assert!(start.elapsed() >= PAUSE);
    }

    #[tokio::test]
    async fn a_request_is_executed_even_when_its_client_has_left() {
        let fixture = Arc::new(Fixture::with_blob().await);
        fixture.storage.fault(Fault::once(Op::Acquire, Effect::Slow(PAUSE)));
        let client = tokio::spawn({
            let fixture = fixture.clone();
            async move { acquire(&fixture).await }
        });
        while fixture.storage.counts().acquire == 0 {
            tokio::task::yield_now().await;
        }
        client.abort();
        let limit = Instant::now() + Duration::from_secs(5);
        while fixture.storage.leases().is_empty() {
            assert!(Instant::now() < limit, "the lease was never taken");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn every_request_waits_the_latency() {
        let fixture = Fixture::start(Options { latency: PAUSE, ..Options::default() }).await;
        let start = Instant::now();
        assert_eq!(fixture.queue("PUT", "sync-records", "").await.status, 201);
        assert!(start.elapsed() >= PAUSE);
    }

    #[tokio::test]
    async fn an_unsupported_request_is_501() {
        let fixture = Fixture::with_blob().await;
        let snapshot = fixture.blob("PUT", "locks/one?comp=snapshot", &[], "").await;
        assert_eq!(snapshot.refusal(), (501, "NotImplemented"));
    }
}
