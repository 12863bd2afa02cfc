//! One part of a batch's answer: MIME headers, then an HTTP answer.

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING};
use http::{Response, StatusCode};
use httparse::{EMPTY_HEADER, Status};

/// The longest head of an answer, and the longest MIME headers, in bytes.
pub const MAX_HEAD_BYTES: usize = 16 * 1024;

/// Dataverse's answers have about a dozen.
const MAX_HEADERS: usize = 64;

const END: &[u8] = b"\r\n\r\n";

/// A part has the id of another position.
pub(super) struct Misplaced;

/// The answer in the part at `position`, counted from 1; `None`: there is none, or it is not complete.
///
/// `is_whole` says whether the end of `content` is the end of the part.
pub(super) fn read(content: &Bytes, is_whole: bool, position: usize) -> Result<Option<Response<Bytes>>, Misplaced> {
    let Some((head, content)) = split(content, false) else { return Ok(None) };
    let Some(mime) = mime_headers(&head) else { return Ok(None) };
    let answer = is_http(&mime).then(|| http_answer(&content, is_whole)).flatten();
    let heads = [Some(&mime), answer.as_ref().map(Response::headers)].into_iter().flatten();
    let is_at_its_place = heads.filter_map(|head| head.get("content-id")).all(|id| id == position.to_string().as_str());
    if is_at_its_place { Ok(answer) } else { Err(Misplaced) }
}

fn mime_headers(head: &[u8]) -> Option<HeaderMap> {
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    match httparse::parse_headers(head, &mut headers) {
        Ok(Status::Complete((length, headers))) if length == head.len() => header_map(headers),
        Ok(_) | Err(_) => None,
    }
}

fn is_http(mime: &HeaderMap) -> bool {
    let is = |name: &str, wanted: &str| {
        let value = mime.get(name).and_then(|value| value.to_str().ok());
        value.map(|value| value.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(wanted))
    };
    is("content-type", "application/http") == Some(true) && is("content-transfer-encoding", "binary") != Some(false)
}

fn http_answer(content: &Bytes, is_whole: bool) -> Option<Response<Bytes>> {
    let (head, body) = split(content, is_whole)?;
    let mut headers = [EMPTY_HEADER; MAX_HEADERS];
    let mut parsed = httparse::Response::new(&mut headers);
    // It also takes line ends that are not CRLF, which would end the head earlier.
    parsed.parse(&head).ok().filter(|end| *end == Status::Complete(head.len()))?;
    let status = parsed.code.filter(|code| (200..=599).contains(code))?;
    let headers = header_map(parsed.headers)?;
    let mut response = Response::new(body_of(&headers, body, is_whole)?);
    *response.status_mut() = StatusCode::from_u16(status).ok()?;
    *response.headers_mut() = headers;
    Some(response)
}

/// The body: as long as its length says, or up to the end of the part.
fn body_of(headers: &HeaderMap, body: Bytes, is_whole: bool) -> Option<Bytes> {
    if headers.contains_key(TRANSFER_ENCODING) {
        return None;
    }
    let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
    match (lengths.next(), lengths.next()) {
        (None, _) => is_whole.then_some(body),
        (Some(length), None) => {
            let length: usize = length.to_str().ok()?.parse().ok()?;
            let rest = body.get(length..)?;
            (!is_whole || rest.trim_ascii().is_empty()).then(|| body.slice(..length))
        }
        (Some(_), Some(_)) => None,
    }
}

/// A head up to and with its empty line, and what follows. `is_whole`: the empty line may be missing at the end, as in answers of
/// Dataverse without a body: <https://github.com/MicrosoftDocs/powerapps-docs/issues/3744>.
fn split(content: &Bytes, is_whole: bool) -> Option<(Bytes, Bytes)> {
    let start = &content[..content.len().min(MAX_HEAD_BYTES)];
    match find(start, END) {
        Some(end) => Some((content.slice(..end + END.len()), content.slice(end + END.len()..))),
        None if is_whole && content.len() <= MAX_HEAD_BYTES => {
            let lines = content.strip_suffix(b"\r\n").unwrap_or(content);
            Some(([lines, END].concat().into(), Bytes::new()))
        }
        None => None,
    }
}

fn header_map(headers: &[httparse::Header<'_>]) -> Option<HeaderMap> {
    let header = |header: &httparse::Header<'_>| {
        Some((HeaderName::from_bytes(header.name.as_bytes()).ok()?, HeaderValue::from_bytes(header.value).ok()?))
    };
    headers.iter().map(header).collect()
}

/// Where `wanted` begins.
pub(super) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}
