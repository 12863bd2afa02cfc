//! Responses and their common headers.
//!
//! The headers are those seen in the service's responses:
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#how-to-maximize-throughput>.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use uuid::Uuid;

use super::errors::JSON;
use super::limits::Left;

/// The cookies of every response.
const COOKIES: [&str; 4] = [
    "ARRAffinity=5a4d80b0; path=/; HttpOnly",
    "ReqClientId=00000000-0000-4000-8000-0000000000cc; expires=Sun, 07-Jan-2074 21:10:42 GMT; path=/; HttpOnly",
    "orgId=00000000-0000-4000-8000-0000000000aa; expires=Sun, 07-Jan-2074 21:10:42 GMT; path=/; HttpOnly",
    "ARRAffinity=7c1e52d9; path=/; HttpOnly",
];

/// A JSON response.
pub(super) fn json(status: StatusCode, body: &Value) -> Response {
    (status, [(CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

/// 204, with the written row's URL.
pub(super) fn no_content(entity_id: Option<&str>) -> Response {
    let mut response = (StatusCode::NO_CONTENT, Body::empty()).into_response();
    if let Some(url) = entity_id {
        response.headers_mut().insert("odata-entityid", header_value(url));
        response.headers_mut().insert("location", header_value(url));
    }
    response
}

/// Adds the headers of every answer within a batch: fewer than those of a response.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api#batch-responses>
pub(super) fn dress_part(headers: &mut HeaderMap, request_id: &str) {
    headers.insert("req_id", header_value(request_id));
    headers.insert("odata-version", HeaderValue::from_static("4.0"));
}

/// Adds the headers of every response.
pub(super) fn dress(headers: &mut HeaderMap, request_id: &str, dop_hint: u32, left: Option<Left>) {
    dress_part(headers, request_id);
    // Two servers handle a request, each with an id of its own; `REQ_ID` repeats that of the one which did the work.
    headers.insert("x-ms-service-request-id", header_value(&Uuid::new_v4().to_string()));
    headers.append("x-ms-service-request-id", header_value(request_id));
    headers.insert("x-ms-dop-hint", HeaderValue::from(dop_hint));
    // Affinity to one server. A client that keeps the cookie is bound by one server's limits.
    for cookie in COOKIES {
        headers.append(SET_COOKIE, HeaderValue::from_static(cookie));
    }
    if let Some(left) = left {
        let requests = HeaderName::from_static("x-ms-ratelimit-burst-remaining-xrm-requests");
        headers.insert(requests, HeaderValue::from(left.requests));
        let time = HeaderName::from_static("x-ms-ratelimit-time-remaining-xrm-requests");
        headers.insert(time, header_value(&with_thousands(left.execution.as_secs_f64())));
    }
}

/// A header value of visible characters; empty if `text` contains others.
pub(super) fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// `1,199.25`, the service's format for seconds.
fn with_thousands(seconds: f64) -> String {
    let text = format!("{seconds:.2}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, "00"));
    match whole.len().checked_sub(3) {
        Some(at @ 1..) => format!("{},{}.{fraction}", &whole[..at], &whole[at..]),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_has_a_thousands_comma() {
        assert_eq!(with_thousands(1_199.25), "1,199.25");
        assert_eq!(with_thousands(7.0), "7.00");
        assert_eq!(with_thousands(999.0), "999.00");
    }
}
