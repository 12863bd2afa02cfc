//! One request to Dataverse and its answer, traced and measured.
//!
//! Traces and metrics say nothing about a row: method, server, status, request id.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap, HeaderName};
use reqwest::{Client, Request, Response};
use time::OffsetDateTime;
use tokio::time::error::Elapsed;
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument as _, Span};
use url::Url;

use super::CLIENT_REQUEST_ID;
use super::multipart;
use crate::dataverse::Error;
use crate::http::response::{TransportError, read_into};
use crate::identity::TokenError;
use crate::telemetry::{metrics, trace};

/// An answer whose headers have arrived.
#[derive(Debug)]
pub(super) struct Answer {
    response: Response,
    deadline: Instant,
    /// The time from the request to the headers.
    took: Duration,
}

impl Answer {
    #[cfg(test)]
    pub(super) fn of(response: http::Response<Bytes>) -> Self {
        Self { response: response.into(), deadline: Instant::now() + Duration::from_mins(1), took: Duration::ZERO }
    }

    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn is_success(&self) -> bool {
        self.response.status().is_success()
    }

    /// Whether it is the answer to a batch.
    pub(super) fn is_multipart(&self) -> bool {
        self.header(CONTENT_TYPE.as_str()).is_some_and(|kind| kind.starts_with("multipart/"))
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

    /// The last second, by the service's clock, in which the request can have been sent.
    pub(super) fn sent_at(&self) -> Option<OffsetDateTime> {
        sent_at(self.header(DATE.as_str())?, self.took)
    }

    /// The header of this name, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// All headers of this name that are text, in order.
    pub(super) fn headers(&self, name: &str) -> impl DoubleEndedIterator<Item = &str> {
        self.response.headers().get_all(name).into_iter().filter_map(|value| value.to_str().ok())
    }

    /// The answers to the parts of a batch, of which there should be so many; `None` where there is none.
    pub(super) async fn parts(self, expected: usize, cap: usize) -> Vec<Option<Self>> {
        let (took, deadline, head) = (self.took, self.deadline, self.response.headers().clone());
        let content_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default().to_owned();
        // What came before the end was executed.
        let (body, _) = self.body(cap).await;
        let parts = multipart::read(&content_type, &body.into(), expected);
        parts
            .into_iter()
            .map(|part| Some(Self { response: with_head_of_batch(part?, &head).into(), deadline, took }))
            .collect()
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

/// A part has the time and the ids of the whole, unless it has its own.
fn with_head_of_batch(mut part: http::Response<Bytes>, whole: &HeaderMap) -> http::Response<Bytes> {
    for name in [DATE.as_str(), "req_id", "x-ms-service-request-id", "odata-version"] {
        if let (Some(value), false) = (whole.get(name), part.headers().contains_key(name)) {
            part.headers_mut().insert(HeaderName::from_static(name), value.clone());
        }
    }
    part
}

/// `Date` without the time that the answer took, rounded up, because `Date` is rounded down.
fn sent_at(date: &str, took: Duration) -> Option<OffsetDateTime> {
    let date: OffsetDateTime = httpdate::parse_http_date(date).ok()?.into();
    let sent = date.checked_sub(took.try_into().ok()?)?;
    let whole = sent.truncate_to_second();
    if whole == sent { Some(whole) } else { whole.checked_add(time::Duration::SECOND) }
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
    Ok(Answer { response, deadline, took: since.elapsed() })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_was_sent_in_the_second_that_the_date_and_its_duration_leave_possible() {
        let date = "Sat, 31 Jan 2026 12:00:10 GMT";
        for (took, second) in [(0, 10), (300, 10), (1_000, 9), (1_001, 9), (1_999, 9), (2_000, 8)] {
            let sent = sent_at(date, Duration::from_millis(took)).expect("a date");
            assert_eq!((sent.minute(), sent.second(), sent.nanosecond()), (0, second, 0), "{took}");
        }
        for date in ["", "yesterday", "Sat, 31 Feb 2026 12:00:10 GMT"] {
            assert_eq!(sent_at(date, Duration::ZERO), None, "{date}");
        }
        assert_eq!(sent_at(date, Duration::MAX), None);
    }
}
