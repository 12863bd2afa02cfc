//! The routes: `GET /`, the queue function and the HTTP function.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use time::OffsetDateTime;
use tokio::time::Instant;
use tracing::{Instrument as _, error};

use super::{AppState, array, body, budget, call_slots, invocation, origin, respond};
use crate::host::{Answer, HTTP_FUNCTION, HTTP_ROUTE, Invocation, QUEUE_FUNCTION};
use crate::outcome::{Outcome, Reason};
use crate::pipeline::LINE_GRACE;
use crate::telemetry::{CapturedLogs, trace};

/// The routes of a handler that listens on `port`.
pub(super) fn router(app: AppState, port: u16) -> Router {
    Router::new()
        .route("/", get(ready))
        .route(&format!("/{QUEUE_FUNCTION}"), post(sync_queue))
        .method_not_allowed_fallback(|| async { respond::plain_problem(StatusCode::METHOD_NOT_ALLOWED) })
        .fallback(http_route)
        .layer(middleware::from_fn_with_state(port, origin::refuse_pages))
        .with_state(app)
}

/// The HTTP function. The host takes any case of its route and a slash at its end, and forwards the path as the caller wrote it.
async fn http_route(State(app): State<AppState>, request: Request) -> Response {
    let path = request.uri().path();
    if !path.strip_suffix('/').unwrap_or(path).eq_ignore_ascii_case(HTTP_ROUTE) {
        return respond::plain_problem(StatusCode::NOT_FOUND);
    }
    if request.method() != Method::POST {
        let mut response = respond::plain_problem(StatusCode::METHOD_NOT_ALLOWED);
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let (head, body) = request.into_parts();
    let Some(_slot) = app.calls.take() else {
        let id = invocation::id(&head.headers);
        let refused = invocation::refused(HTTP_FUNCTION, &id, call_slots::none_left(), Instant::now());
        let mut response = respond::single(&refused);
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        return response;
    };
    sync_http(app, head.headers, body).await
}

async fn ready() -> &'static str {
    concat!("dataverse-sync ", env!("CARGO_PKG_VERSION"), "\n")
}

async fn sync_queue(State(app): State<AppState>, headers: HeaderMap, body: Body) -> Response {
    let (id, received, received_at) = (invocation::id(&headers), Instant::now(), OffsetDateTime::now_utc());
    let trace_span = trace::queue_message(QUEUE_FUNCTION, &id, traceparent(&headers));
    let Some(mut reserved) = app.budget.invocation(received + app.queue.hold + LINE_GRACE).await else {
        let outcome = Outcome::new(Reason::Unavailable).detail("the handler was at its memory limit for too long");
        let outcome = trace_span.in_scope(|| invocation::refused(QUEUE_FUNCTION, &id, outcome, received));
        return respond::queue(Answer::failed(&outcome));
    };
    let body = body::read_invocation(body).await;
    let invocation = body.map_err(str::to_owned).and_then(|body| Invocation::parse(&body, app.queue.encoding));
    let invocation = match invocation {
        Ok(invocation) => invocation,
        Err(problem) => {
            trace::failed(&trace_span, Reason::Internal.code(), "not an invocation");
            error!(
                invocation_id = id,
                problem, "invalid invocation request; check that function.json matches this version"
            );
            return respond::queue(Answer::Failed { reason_phrase: "retry/internal not an invocation".to_owned() });
        }
    };
    let delivery = app.queue_delivery(invocation.dequeue_count, received);
    budget::shrink(&mut reserved, invocation.message.len());
    let message = budget::with_reservation(invocation.message, reserved);
    let span = invocation::span(QUEUE_FUNCTION, &id, delivery.attempts);
    span.record("queued_ms", invocation.insertion_time.map(|inserted| invocation::queued_ms(inserted, received_at)));
    let logs = CapturedLogs::of(&span);
    let mut outcome = app.settle(span, message.clone(), delivery).instrument(trace_span).await;
    if let (Reason::InvalidMessage, Some(problem)) = (outcome.reason, invocation.problem) {
        outcome.detail = Some(format!("{}; {problem}", outcome.detail.unwrap_or_default()));
    }
    let now = OffsetDateTime::now_utc();
    respond::queue(Answer::new(&outcome, &message, &id, now, app.queue.encoding, || logs.take()))
}

async fn sync_http(app: AppState, headers: HeaderMap, body: Body) -> Response {
    let id = invocation::id(&headers);
    let trace_span = trace::http_call(HTTP_FUNCTION, HTTP_ROUTE, &id, traceparent(&headers));
    let response = answer_call(app, id, body).instrument(trace_span.clone()).await;
    trace::answered(&trace_span, response.status().as_u16());
    response
}

async fn answer_call(app: AppState, id: String, body: Body) -> Response {
    let received = Instant::now();
    let body = match body::read(body, &app.budget).await {
        Ok(body) => body,
        Err(outcome) => return respond::single(&invocation::refused(HTTP_FUNCTION, &id, outcome, received)),
    };
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[') {
        // Also a task: a disconnected caller must not stop the records that are not yet started.
        let array = app.tasks.spawn(array::process(app.clone(), id, body).in_current_span());
        return array
            .await
            .unwrap_or_else(|_| respond::single(&Outcome::new(Reason::Internal).detail("the handler panicked")));
    }
    let delivery = app.http_delivery(Instant::now());
    let span = invocation::span(HTTP_FUNCTION, &id, delivery.attempts);
    respond::single(&app.settle(span, body, delivery).await)
}

/// The caller's `traceparent`; a repeated one counts as none.
fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all("traceparent").iter();
    let only = all.next().filter(|_| all.next().is_none());
    only.and_then(|value| value.to_str().ok())
}
