//! One request to Dataverse and its answer, traced and measured.
//!
//! Traces and metrics say nothing about a row: method, server, status, request id.

use std::time::Duration;

use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Request, Response};
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};
use url::Url;

use super::CLIENT_REQUEST_ID;
use crate::dataverse::Error;
use crate::http::response::{TransportError, read_into};
use crate::identity::TokenError;
use crate::telemetry::{metrics, trace};

/// An answer whose headers have arrived.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    deadline: Instant,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Whether a success is Dataverse's: 204, or 200 and 201 with JSON or OData's version. A sign-in page is not.
    pub(super) fn is_of_dataverse(&self) -> bool {
        let is_json = || self.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("application/json"));
        match self.status() {
            204 => true,
            200 | 201 => self.header("odata-version").is_some() || is_json(),
            _ => false,
        }
    }

    /// The header of this name, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The body, and why it is not complete if it is not.
    pub(super) async fn body(self, cap: usize) -> (Vec<u8>, Option<&'static str>) {
        let mut body = Vec::new();
        let problem = match timeout_at(self.deadline, read_into(&mut body, self.response, cap)).await {
            Ok(Ok(())) => None,
            Ok(Err(TransportError::TooLarge)) => Some("the answer is too large"),
            Ok(Err(_)) | Err(_) => Some("the answer broke off"),
        };
        (body, problem)
    }
}

/// Sends `request` to the server of `root`; the whole answer may take as long as `timeout`.
pub(super) async fn exchange(
    client: &Client,
    request: Request,
    timeout: Duration,
    root: &Url,
) -> Result<Answer, Error> {
    let (method, since) = (request.method().clone(), Instant::now());
    let deadline = since + timeout;
    let server = (root.host_str().unwrap_or_default(), root.port_or_known_default().unwrap_or_default());
    let id = || request.headers().get(CLIENT_REQUEST_ID).and_then(|id| id.to_str().ok()).unwrap_or_default();
    let span = trace::request(method.as_str(), server.0, server.1, id);
    let sent = timeout_at(deadline, client.execute(request)).instrument(span.clone()).await;
    let answered = sent.map_err(|_| TIMEOUT).and_then(|sent| sent.map_err(|error| failure(&error.into())));
    let ended = answered.as_ref().map(|response| response.status().as_u16()).map_err(|(kind, _)| *kind);
    metrics::exchanged(since, method.as_str(), server, ended);
    match ended {
        Ok(status) => trace::exchanged(&span, status),
        Err(kind) => trace::failed(&span, kind, "no answer came"),
    }
    let response = answered.map_err(|(_, error)| error)?;
    Ok(Answer { response, deadline })
}

const TIMEOUT: (&str, Error) = ("timeout", Error::NoAnswer { sent: true, problem: "no answer in time" });

/// Why there is no answer: in a word for metrics, and as an error.
fn failure(error: &TransportError) -> (&'static str, Error) {
    match error {
        TransportError::NotSendable(_) => ("broken", Error::NOT_SENDABLE),
        TransportError::NoConnection(_) => ("connect", Error::NoAnswer { sent: false, problem: "no connection" }),
        TransportError::Broken(_) | TransportError::TooLarge => {
            ("broken", Error::NoAnswer { sent: true, problem: "the connection broke" })
        }
    }
}

/// Records in the span why there is no token.
pub(super) fn record_token_failure<T>(span: &Span, token: &Result<Result<T, TokenError>, Elapsed>) {
    let kind = match token {
        Ok(Ok(_)) => return,
        Ok(Err(TokenError { refused: true, .. })) => "refused",
        Ok(Err(TokenError { refused: false, .. })) => "unavailable",
        Err(_) => "timeout",
    };
    trace::failed(span, kind, "there is no token");
}
