//! Responses: results, problem documents (RFC 9457), and the two answers to a queue invocation.
//!
//! <https://www.rfc-editor.org/rfc/rfc9457>

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use hyper::ext::ReasonPhrase;
use serde::Serialize;

use super::budget;
use crate::host::Answer;
use crate::outcome::Outcome;

const JSON: &str = "application/json";
const PROBLEM: &str = "application/problem+json";

/// RFC 9457's members, with the outcome's as extensions; `detail` is a member of both.
#[derive(Serialize)]
struct Problem<'a> {
    title: &'a str,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'a str>,
    #[serde(flatten)]
    outcome: Option<&'a Outcome>,
}

/// The response to a call with one record.
pub(super) fn single(outcome: &Outcome) -> Response {
    let status = outcome.reason.http_status();
    let code = StatusCode::from_u16(status).expect("every reason has a valid status");
    if status < 400 {
        return json(code, outcome);
    }
    let problem = Problem { title: outcome.reason.title(), status, detail: None, outcome: Some(outcome) };
    let mut response = with(code, PROBLEM, to_json(&problem));
    if let Some(delay) = outcome.retry_after {
        // Rounded up: a retry that is too early is refused again.
        let seconds = delay.as_secs() + u64::from(delay.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
    response
}

/// JSON with a status.
pub(super) fn json(status: StatusCode, body: &impl Serialize) -> Response {
    with(status, JSON, to_json(body))
}

/// JSON with a status; `reservation` ends once it is sent.
pub(super) fn json_with_reservation(
    status: StatusCode,
    body: &impl Serialize,
    reservation: impl Send + 'static,
) -> Response {
    with(status, JSON, budget::with_reservation(to_json(body), reservation))
}

/// The response to a queue invocation.
pub(super) fn queue(answer: Answer) -> Response {
    match answer {
        Answer::Done(body) => with(StatusCode::OK, JSON, body),
        Answer::Failed { reason_phrase } => {
            let mut response = with(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", format!("{reason_phrase}\n"));
            let phrase = ReasonPhrase::try_from(reason_phrase.into_bytes()).expect("codes and hashes are plain ASCII");
            response.extensions_mut().insert(phrase);
            response
        }
    }
}

/// A problem document without a record.
pub(super) fn plain_problem(status: StatusCode) -> Response {
    problem(status, status.canonical_reason().unwrap_or_default(), None)
}

/// The response to a web page.
pub(super) fn refused_page() -> Response {
    let detail = "call the Functions host, whose CORS settings name the pages that may; a program on this machine calls \
                  127.0.0.1 or localhost, without Origin and Sec-Fetch-Site";
    problem(StatusCode::FORBIDDEN, "A web page may not call the handler itself.", Some(detail))
}

fn problem(status: StatusCode, title: &str, detail: Option<&str>) -> Response {
    with(status, PROBLEM, to_json(&Problem { title, status: status.as_u16(), detail, outcome: None }))
}

/// Ends with a newline: in a terminal the prompt begins on the next line.
fn to_json(body: &impl Serialize) -> String {
    let mut json = serde_json::to_string(body).expect("results are plain data");
    json.push('\n');
    json
}

/// `nosniff`: bodies hold caller data, so a browser must not guess another content type.
fn with(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let headers = [(header::CONTENT_TYPE, content_type), (header::X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, body.into()).into_response()
}
