//! Outcomes as HTTP: results, problem documents (RFC 9457), and the two answers that the host understands.
//!
//! <https://www.rfc-editor.org/rfc/rfc9457>

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::ext::ReasonPhrase;
use serde::Serialize;

use crate::host::Answer;
use crate::outcome::Outcome;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const PROBLEM: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Callers' words are in these documents: they are what `Content-Type` says and nothing that a browser may make of them.
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");

/// A problem document: RFC 9457's members, and the outcome's as extensions. `detail` is a member of both.
#[derive(Serialize)]
pub(super) struct Problem<'a> {
    title: &'static str,
    status: u16,
    #[serde(flatten)]
    outcome: &'a Outcome,
}

/// The answer to a call with one record.
pub(super) fn single(outcome: &Outcome) -> Response {
    let status = outcome.reason.http_status();
    if status < 400 {
        return with(status, JSON, to_json(outcome));
    }
    let problem = Problem { title: outcome.reason.title(), status, outcome };
    let mut response = with(status, PROBLEM, to_json(&problem));
    if let Some(delay) = outcome.retry_after {
        // Whole seconds, rounded up: to come back early is to be refused again.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// JSON with a status.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with(status.as_u16(), JSON, to_json(body))
}

/// The answer to a queue invocation.
pub(super) fn queue(answer: Answer) -> Response {
    match answer {
        Answer::Done(body) => with(200, JSON, body),
        Answer::Failed { phrase } => {
            let mut response = with(500, HeaderValue::from_static("text/plain"), format!("{phrase}\n"));
            let phrase = ReasonPhrase::try_from(phrase.into_bytes()).expect("codes and hashes are plain ASCII");
            response.extensions_mut().insert(phrase);
            response
        }
    }
}

/// A problem that no record had.
pub(super) fn plain_problem(status: StatusCode) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = serde_json::json!({ "title": title, "status": status.as_u16() });
    with(status.as_u16(), PROBLEM, body.to_string())
}

fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("results are plain data")
}

fn with(status: u16, content_type: HeaderValue, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).expect("only known statuses are used");
    response.headers_mut().insert(header::CONTENT_TYPE, content_type);
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    response
}
