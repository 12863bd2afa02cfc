//! The bodies of `$batch`: many requests as one body, and one body as many answers. Pure.
//!
//! An ambiguous answer counts as none: the outcome of its request is then unknown, which is safe. Answers have the order of the
//! requests, and an id of ours has to be at its position.
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api>,
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part1-protocol.html#sec_MultipartBatchFormat>

mod answer;

use bytes::Bytes;
use http::Response;
use reqwest::header::HeaderValue;
use reqwest::{Body, Request};
use uuid::Uuid;

pub use answer::MAX_HEAD_BYTES;

/// The requests as the body of one, and its `Content-Type`. The `Content-ID` of each is its position, from 1.
///
/// Every body must be in memory.
pub fn write<'a>(requests: impl IntoIterator<Item = &'a Request>) -> (HeaderValue, Bytes) {
    // 122 random bits: no content has this line.
    let boundary = format!("batch_{}", Uuid::new_v4().simple());
    let mut body = Vec::new();
    for (at, request) in requests.into_iter().enumerate() {
        let head = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary";
        body.extend_from_slice(format!("--{boundary}\r\n{head}\r\nContent-ID: {}\r\n\r\n", at + 1).as_bytes());
        write_request(&mut body, request);
        body.extend_from_slice(b"\r\n");
    }
    // Without the last line end the service cannot read the last request.
    // <https://learn.microsoft.com/troubleshoot/power-platform/dataverse/dataverse-web-api-and-sdk/web-api-client-errors>
    body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    let content_type = format!("multipart/mixed; boundary={boundary}");
    (HeaderValue::try_from(content_type).expect("a UUID is ASCII"), body.into())
}

fn write_request(to: &mut Vec<u8>, request: &Request) {
    let (url, query) = (request.url(), request.url().query());
    let target = query.map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()));
    to.extend_from_slice(format!("{} {target} HTTP/1.1\r\n", request.method()).as_bytes());
    for (name, value) in request.headers() {
        to.extend_from_slice(&[name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    let body = request.body().and_then(Body::as_bytes).unwrap_or_default();
    if !body.is_empty() {
        // The length is optional; clients report that it helps.
        // <https://github.com/ryanmichaeljames/dataverse-mcp/releases/tag/v1.3.2>
        to.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    to.extend_from_slice(b"\r\n");
    to.extend_from_slice(body);
}

/// The answers to the `expected` requests, by position; `None`: the outcome is unknown.
///
/// `body` may have broken off: then the answers that are complete are given. All outcomes are unknown if there are more answers
/// than requests, if there are fewer and the last one is not an error (the service stops at errors), or if an id is not at
/// its place.
pub fn read(content_type: &str, body: &Bytes, expected: usize) -> Vec<Option<Response<Bytes>>> {
    let mut answers = boundary(content_type).and_then(|boundary| answers(boundary, body, expected)).unwrap_or_default();
    answers.resize_with(expected, || None);
    answers
}

fn answers(boundary: &str, body: &Bytes, expected: usize) -> Option<Vec<Option<Response<Bytes>>>> {
    let Parts { contents, cut, is_closed } = split(body, boundary, expected)?;
    let mut answers = Vec::with_capacity(expected);
    for content in contents {
        answers.push(answer::read(&content, true, answers.len() + 1).ok()?);
    }
    if let Some(content) = cut {
        answers.push(answer::read(&content, false, answers.len() + 1).ok()?);
    }
    let stopped = || answers.last().is_some_and(|last| last.as_ref().is_some_and(|last| last.status().as_u16() >= 400));
    (!is_closed || answers.len() == expected || stopped()).then_some(answers)
}

/// The parts of a multipart body.
#[derive(Default)]
struct Parts {
    /// Those that end with a delimiter.
    contents: Vec<Bytes>,
    /// The one in which the body breaks off.
    cut: Option<Bytes>,
    /// Whether the last delimiter came.
    is_closed: bool,
}

/// The parts of `body`, or `None` if there are more than `max`.
fn split(body: &Bytes, boundary: &str, max: usize) -> Option<Parts> {
    let mut parts = Parts::default();
    let mut from = None;
    for (start, delimiter) in delimiters(body, boundary.as_bytes()) {
        if let Some(from) = from {
            // The line end before a delimiter belongs to it.
            parts.contents.push(body.slice(from..(start - 2).max(from)));
        }
        match delimiter {
            Delimiter::Next { content } => from = Some(content),
            Delimiter::Last => {
                parts.is_closed = true;
                break;
            }
        }
    }
    if !parts.is_closed {
        parts.cut = from.map(|from| body.slice(from..));
    }
    (parts.contents.len() + usize::from(parts.cut.is_some()) <= max).then_some(parts)
}

/// A delimiter line.
enum Delimiter {
    /// A part begins, with its content here.
    Next {
        content: usize,
    },
    Last,
}

/// The delimiters, and where their lines begin. Each is a line of its own: `--boundary` or `--boundary--`.
/// <https://www.rfc-editor.org/rfc/rfc2046#section-5.1.1>
fn delimiters<'a>(body: &'a [u8], boundary: &'a [u8]) -> impl Iterator<Item = (usize, Delimiter)> + 'a {
    let mut start = 0;
    let lines = std::iter::from_fn(move || {
        let line = body.get(start..).filter(|rest| !rest.is_empty())?;
        let length = answer::find(line, b"\r\n").map(|end| end + 2);
        let at = start;
        start = length.map_or(body.len(), |length| at + length);
        Some((at, &body[at..start], length.is_some()))
    });
    lines.filter_map(move |(at, line, is_whole)| {
        let rest = line.strip_prefix(b"--")?.strip_prefix(boundary)?;
        let (rest, is_last) = rest.strip_prefix(b"--").map_or((rest, false), |rest| (rest, true));
        let is_delimiter = rest.trim_ascii().is_empty() && (is_whole || is_last);
        let delimiter = if is_last { Delimiter::Last } else { Delimiter::Next { content: at + line.len() } };
        is_delimiter.then_some((at, delimiter))
    })
}

/// The boundary in the content type of a multipart body.
fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    let mut parameters = parameters.split(';').filter_map(|parameter| parameter.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    let boundary = boundary.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(boundary);
    (kind.trim().eq_ignore_ascii_case("multipart/mixed") && !boundary.is_empty()).then_some(boundary)
}

#[cfg(test)]
mod tests;
