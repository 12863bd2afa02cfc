//! The host's HTTP frontend: finds the function, checks its key, and forwards the request unchanged.
//!
//! A body is forwarded only when the request has a Content-Length above 0: a chunked one is dropped, as the real host does.
//! The handler continues if the caller disconnects. No `traceparent` is added.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#http-only-function>.

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State as Shared;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Request as HttpRequest, Response as HttpResponse, StatusCode};
use time::OffsetDateTime;
use uuid::Uuid;

use super::app::HttpFunction;
use super::invocation::{HOST_VERSION, SharedRuntime};
use super::invocations::{InvocationRecord, InvocationResult};
use super::logs::{Category, Severity};
use super::process::State;
use super::wire::{Request, Response};

/// The default of `extensions.http.maxRequestBodySize` in Azure: 100 MB.
const LARGEST_BODY: usize = 104_857_600;

/// Headers of a single connection; Content-Length is set again.
const HOP_BY_HOP: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The frontend's state.
#[derive(Debug)]
pub(super) struct HttpFrontend {
    pub(super) runtime: SharedRuntime,
    pub(super) functions: Vec<HttpFunction>,
    pub(super) route_prefix: String,
    pub(super) key: String,
    pub(super) without_keys: bool,
}

impl HttpFrontend {
    /// Serves all functions.
    pub(super) fn router(self) -> Router {
        Router::new().fallback(serve).with_state(Arc::new(self))
    }

    fn find(&self, method: &str, path: &str) -> Option<&HttpFunction> {
        let prefix = self.route_prefix.trim_matches('/');
        self.functions.iter().find(|function| {
            let route = format!("{prefix}/{}", function.route.trim_matches('/'));
            let served = function.methods.is_empty() || function.methods.iter().any(|known| known == method);
            served && path.trim_matches('/').eq_ignore_ascii_case(route.trim_matches('/'))
        })
    }

    fn admits(&self, function: &HttpFunction, parts: &Parts) -> bool {
        let header = parts.headers.get("x-functions-key").and_then(|value| value.to_str().ok());
        let query = parts.uri.query().unwrap_or_default();
        let code = url::form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == "code");
        let open = self.without_keys || !function.needs_key;
        open || header == Some(&self.key) || code.is_some_and(|(_, value)| value == self.key)
    }

    async fn forward(&self, name: &str, request: Request, id: Uuid) -> HttpResponse<Body> {
        let (running, started) = (self.runtime.invocations.begin(), OffsetDateTime::now_utc());
        let (wire, pid) = (self.runtime.handler.wire(), self.runtime.handler.pid());
        let (result, response) = match self.runtime.within_limit(wire.send(&request)).await {
            Some(Ok(response)) => (InvocationResult::Succeeded, answer(response)),
            Some(Err(error)) => (InvocationResult::Failed(error.to_string()), None),
            None => (InvocationResult::TimedOut, None),
        };
        if result != InvocationResult::Succeeded {
            let text = format!("Executed 'Functions.{name}' ({result:?}, Id={id})");
            self.runtime.logs.add(Severity::Error, Category::Invocation(id), text);
        }
        if result == InvocationResult::TimedOut {
            self.runtime.handler.restart(pid).await;
        }
        running.end(InvocationRecord {
            function: name.to_owned(),
            id,
            trace: None,
            message_id: None,
            dequeue_count: 0,
            started,
            ended: OffsetDateTime::now_utc(),
            result,
            outputs: Vec::new(),
        });
        response.unwrap_or_else(|| empty(StatusCode::INTERNAL_SERVER_ERROR))
    }
}

async fn serve(Shared(front): Shared<Arc<HttpFrontend>>, request: HttpRequest<Body>) -> HttpResponse<Body> {
    let (parts, body) = request.into_parts();
    if matches!(front.runtime.handler.settled().await, State::Down(_) | State::Stopping) {
        return empty(StatusCode::SERVICE_UNAVAILABLE);
    }
    let Some(function) = front.find(parts.method.as_str(), parts.uri.path()) else {
        return empty(StatusCode::NOT_FOUND);
    };
    if !front.admits(function, &parts) {
        return empty(StatusCode::UNAUTHORIZED);
    }
    let body = if has_length(&parts.headers) { to_bytes(body, LARGEST_BODY).await } else { Ok(Vec::new().into()) };
    let Ok(body) = body else { return empty(StatusCode::PAYLOAD_TOO_LARGE) };
    let (name, id) = (function.name.clone(), Uuid::new_v4());
    let request = forwarded(&parts, body.into(), id);
    let work = tokio::spawn(async move { front.forward(&name, request, id).await });
    work.await.unwrap_or_else(|_| empty(StatusCode::INTERNAL_SERVER_ERROR))
}

fn has_length(headers: &HeaderMap) -> bool {
    let length = headers.get("content-length").and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    length.is_some_and(|length| length > 0)
}

fn forwarded(parts: &Parts, body: Vec<u8>, id: Uuid) -> Request {
    let kept = parts.headers.iter().filter(|(name, _)| !HOP_BY_HOP.contains(&name.as_str()));
    let mut headers: Vec<_> = kept.map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect();
    headers.push(("X-Azure-Functions-InvocationId".to_owned(), id.to_string().into_bytes()));
    headers.push(("X-Azure-Functions-HostVersion".to_owned(), HOST_VERSION.as_bytes().to_vec()));
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str()).to_owned();
    Request { method: parts.method.to_string(), target, headers, body }
}

/// `None` if the handler's status or headers cannot be forwarded.
fn answer(response: Response) -> Option<HttpResponse<Body>> {
    let mut answer = empty(StatusCode::from_u16(response.status).ok()?);
    for (name, value) in response.headers {
        if !HOP_BY_HOP.contains(&name.as_str()) {
            let (name, value) = (HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?);
            answer.headers_mut().append(name, value);
        }
    }
    *answer.body_mut() = Body::from(response.body);
    Some(answer)
}

fn empty(status: StatusCode) -> HttpResponse<Body> {
    let mut response = HttpResponse::new(Body::empty());
    *response.status_mut() = status;
    response
}
