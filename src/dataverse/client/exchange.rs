//! One request to Dataverse and its answer, traced and measured, and the waiting for its token.
//!
//! Only what says nothing of a row is told: method, server, status, the request's id.

use std::time::Duration;

use axum::http::response::Parts;
use axum::http::{Method, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};
use url::Url;

use super::CLIENT_REQUEST_ID;
use crate::dataverse::Error;
use crate::http::{Body, NoAnswer, Way};
use crate::identity;
use crate::telemetry::metrics::{self, Stopwatch};
use crate::telemetry::trace;

/// An answer, of which the head has come.
#[derive(Debug)]
pub(super) struct Answer {
    head: Parts,
    body: Body,
    until: Instant,
}

/// The body came to an end before it was all there.
#[derive(Debug)]
pub(super) struct Truncated;

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    pub(super) fn is_success(&self) -> bool {
        self.head.status.is_success()
    }

    /// The header of this name, where it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.head.headers.get(name)?.to_str().ok()
    }

    /// The body's next part; `None` after the last.
    pub(super) async fn chunk(&mut self) -> Result<Option<Bytes>, Truncated> {
        loop {
            match timeout_at(self.until, self.body.frame()).await {
                Ok(None) => return Ok(None),
                Ok(Some(Ok(frame))) => {
                    // Else it has headers that follow a body.
                    if let Ok(data) = frame.into_data() {
                        return Ok(Some(data));
                    }
                }
                Ok(Some(Err(_))) | Err(_) => return Err(Truncated),
            }
        }
    }
}

/// Sends `request` to the server of `root`, whose whole answer may take so long as `limit`.
pub(super) async fn exchange(way: &Way, request: Request<Bytes>, limit: Duration, root: &Url) -> Result<Answer, Error> {
    let method = method(request.method());
    let server = (root.host_str().unwrap_or_default(), root.port_or_known_default().unwrap_or_default());
    let id = || request.headers().get(CLIENT_REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let (span, since) = (trace::request(method, server.0, server.1, id), Stopwatch::start());
    let until = Instant::now() + limit;
    let sent = timeout_at(until, way.send(request)).instrument(span.clone()).await;
    let answered = sent.map_err(|_| TIMEOUT).and_then(|sent| sent.map_err(|error| failure(&error)));
    let ended = answered.as_ref().map(|answer| answer.status().as_u16()).map_err(|failure| failure.kind);
    metrics::exchanged(since, method, server, ended);
    match ended {
        Ok(status) => trace::exchanged(&span, status),
        Err(kind) => trace::failed(&span, kind, "no answer came"),
    }
    match answered {
        Ok(answer) => {
            let (head, body) = answer.into_parts();
            Ok(Answer { head, body, until })
        }
        Err(Failure { sent, problem, .. }) => Err(Error::NoAnswer { sent, problem }),
    }
}

/// Why a request got no answer: in a word, whether it may have arrived all the same, and for people.
struct Failure {
    kind: &'static str,
    sent: bool,
    problem: &'static str,
}

const TIMEOUT: Failure = Failure { kind: "timeout", sent: true, problem: "no answer in time" };

fn failure(error: &NoAnswer) -> Failure {
    match error {
        NoAnswer::NotSendable(_) => Failure { kind: "broken", sent: false, problem: "the request could not be built" },
        NoAnswer::NoConnection(_) => Failure { kind: "connect", sent: false, problem: "no connection" },
        NoAnswer::Broken(_) => Failure { kind: "broken", sent: true, problem: "the connection broke" },
    }
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
