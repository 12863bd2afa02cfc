//! One request to Dataverse and the head of its answer, traced and measured, and the waiting for its token.
//!
//! Only what says nothing of a row is told: method, server, status, the request's id.

use reqwest::{Method, Request, Response};
use tokio::time::error::Elapsed;
use tracing::{Instrument as _, Span};
use url::Url;

use super::CLIENT_REQUEST_ID;
use crate::identity;
use crate::metrics::{self, Stopwatch};
use crate::trace;

/// Sends `request` to the server of `root`.
pub(super) async fn exchange(http: &reqwest::Client, request: Request, root: &Url) -> reqwest::Result<Response> {
    let method = method(request.method());
    let server = (root.host_str().unwrap_or_default(), root.port_or_known_default().unwrap_or_default());
    let id = || request.headers().get(CLIENT_REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let (span, since) = (trace::request(method, server.0, server.1, id), Stopwatch::start());
    let answered = http.execute(request).instrument(span.clone()).await;
    let ended = answered.as_ref().map(|response| response.status().as_u16()).map_err(kind);
    metrics::exchanged(since, method, server, ended);
    match ended {
        Ok(status) => trace::exchanged(&span, status),
        Err(kind) => trace::failed(&span, kind, "no answer came"),
    }
    answered
}

/// What came of the waiting for a token.
pub(super) fn tell_token<T>(span: &Span, asked: &Result<azure_core::Result<T>, Elapsed>) {
    let kind = match asked {
        Ok(Ok(_)) => return,
        Ok(Err(error)) if identity::is_refusal(error) => "refused",
        Ok(Err(_)) => "unavailable",
        Err(_) => "timeout",
    };
    trace::failed(span, kind, "there is no token");
}

/// The methods that this program sends.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "PATCH" => "PATCH",
        "POST" => "POST",
        "DELETE" => "DELETE",
        _ => "_OTHER",
    }
}

fn kind(error: &reqwest::Error) -> &'static str {
    if error.is_connect() {
        "connect"
    } else if error.is_timeout() {
        "timeout"
    } else {
        "broken"
    }
}
