//! A batch's body as requests.
//!
//! It refuses what is not a multipart message with CRLF line ends, and accepts what clients in use send: a part without headers or
//! without an empty line after them. Nothing is executed if a part is malformed.
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api#batch-requests>

use axum::body::Bytes;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use axum::http::{HeaderMap, HeaderName, Request, StatusCode};
use httparse::{EMPTY_HEADER, Status};

use super::super::call::Call;
use super::super::errors::Error;
use super::{Part, RESOURCE};

/// The maximum; the service has been seen to allow fewer: <https://github.com/MicrosoftDocs/powerapps-docs/issues/1890>
const MAX_PARTS: usize = 1_000;

const MAX_HEADERS: usize = 64;

/// The requests of a batch with this request id.
pub(super) fn parts(batch: &Call, id: &str) -> Result<Vec<Part>, Error> {
    let delimiter = format!("--{}", boundary(batch)?);
    let contents = contents(&batch.body, delimiter.as_bytes())?;
    if contents.len() > MAX_PARTS {
        return Err(Error::query(format!(
            "The current batch message contains too many parts. Only batch messages with a maximum number of '{MAX_PARTS}' \
             query operations, including changeset operations, are allowed."
        )));
    }
    let mut parts = contents.iter().map(|content| part(batch, id, content)).collect::<Result<Vec<_>, _>>()?;
    if let Some(last) = parts.last_mut() {
        // Without a line end after it, the service does not find the end of the last part's body.
        last.call.is_unreadable = !batch.body.ends_with(b"\r\n") && !last.call.body.is_empty();
    }
    Ok(parts)
}

fn boundary(batch: &Call) -> Result<&str, Error> {
    let kind = batch.header(&CONTENT_TYPE).unwrap_or_default();
    let parameter = kind.strip_prefix("multipart/mixed").and_then(|rest| rest.split_once("boundary="));
    match parameter.map(|(_, value)| value.split(';').next().unwrap_or_default().trim().trim_matches('"')) {
        Some(boundary) if !boundary.is_empty() => Ok(boundary),
        _ => {
            let text = format!("The request entity's media type '{kind}' is not supported for this resource.");
            Err(Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "", text))
        }
    }
}

/// The contents between the delimiter lines.
fn contents(body: &Bytes, delimiter: &[u8]) -> Result<Vec<Bytes>, Error> {
    let mut contents = Vec::new();
    let mut from = None;
    let mut at = 0;
    while let Some(found) = find(&body[at..], delimiter) {
        let (start, after) = (at + found, at + found + delimiter.len());
        at = after;
        match &body[..start] {
            [] | [.., b'\r', b'\n'] => {}
            [.., b'\n'] => return Err(Error::unreadable(RESOURCE)),
            _ => continue,
        }
        if let Some(from) = from {
            contents.push(body.slice(from..(start - 2).max(from)));
        }
        match &body[after..] {
            [b'-', b'-', ..] => return Ok(contents),
            [b'\r', b'\n', ..] => from = Some(after + 2),
            _ => return Err(Error::unreadable(RESOURCE)),
        }
    }
    Err(malformed("The end boundary is missing."))
}

fn part(batch: &Call, id: &str, content: &Bytes) -> Result<Part, Error> {
    let (head, content) = split(content)?;
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let parsed = httparse::parse_headers(&head, &mut headers).map_err(malformed)?;
    let Status::Complete((_, headers)) = parsed else {
        return Err(malformed("The headers of a part are not complete."));
    };
    let header = |name: &str| {
        let value = headers.iter().find(|header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    match header("content-type").unwrap_or_default().split(';').next().unwrap_or_default() {
        "application/http" => Ok(Part { content_id: header("content-id"), call: request(batch, id, &content)? }),
        "multipart/mixed" => Err(Error::new(StatusCode::NOT_IMPLEMENTED, "", "This stand-in does not do change sets.")),
        kind => Err(malformed(format!("A part has the media type '{kind}'."))),
    }
}

fn request(batch: &Call, id: &str, content: &Bytes) -> Result<Call, Error> {
    let (head, mut body) = split(content)?;
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Request::new(&mut headers);
    parsed.parse(&head).map_err(malformed)?;
    let target = parsed.path.unwrap_or_default();
    // Absolute, with or without the host, or below the service root.
    let is_absolute = target.starts_with('/') || target.contains("://");
    let target = if is_absolute { target.to_owned() } else { format!("{}{target}", batch.root()) };
    let request = Request::builder().method(parsed.method.unwrap_or_default()).uri(target).version(batch.version);
    let (mut parts, ()) = request.body(()).map_err(malformed)?.into_parts();
    parts.headers = parsed.headers.iter().map(header).collect::<Result<HeaderMap, Error>>()?;
    if let Some(length) = parts.headers.get(CONTENT_LENGTH) {
        let length = length.to_str().ok().and_then(|length| length.parse().ok());
        let length = length.filter(|length| *length <= body.len());
        body.truncate(length.ok_or_else(|| malformed("A part is shorter than its Content-Length."))?);
    }
    let mut call = Call::new(parts, body);
    call.batch = Some(id.to_owned());
    Ok(call)
}

fn header(header: &httparse::Header<'_>) -> Result<(HeaderName, HeaderValue), Error> {
    let name = HeaderName::from_bytes(header.name.as_bytes()).map_err(malformed)?;
    Ok((name, HeaderValue::from_bytes(header.value).map_err(malformed)?))
}

/// A head up to and with its empty line, which is added where it is missing, and the rest.
fn split(content: &Bytes) -> Result<(Bytes, Bytes), Error> {
    let (head, rest) = if content.starts_with(b"\r\n") {
        (content.slice(..2), content.slice(2..))
    } else if let Some(end) = find(content, b"\r\n\r\n") {
        (content.slice(..end + 4), content.slice(end + 4..))
    } else {
        ([content, b"\r\n\r\n".as_slice()].concat().into(), Bytes::new())
    };
    let has_lone_feed = head.split(|byte| *byte == b'\n').rev().skip(1).any(|line| !line.ends_with(b"\r"));
    if has_lone_feed { Err(Error::unreadable(RESOURCE)) } else { Ok((head, rest)) }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

/// The service's text is not known.
fn malformed(problem: impl std::fmt::Display) -> Error {
    Error::query(format!("The batch request is not valid. {problem}"))
}
