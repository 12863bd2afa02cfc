//! The body of an HTTP call: read within its limit, and recognised where it is not UTF-8.
//!
//! The Functions host drops `Content-Encoding`, so an encoded body is known by its first bytes alone.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::outcome::{Outcome, Reason};
use crate::record;
use crate::{host, json};

/// Reads a body, with or without a length. The rest of one that is too large is read and discarded, which axum's limit does not do:
/// hyper would close the connection, and a client that sends the whole body before it reads would see a reset instead of the 413.
pub(super) async fn read(body: Body) -> Result<Bytes, Outcome> {
    let (mut chunks, mut bytes, mut length) = (body.into_data_stream(), BytesMut::new(), 0);
    while let Some(chunk) = chunks.next().await {
        // Also where there is less than its Content-Length says.
        let chunk = chunk.map_err(|_| invalid("the body is incomplete"))?;
        length += chunk.len();
        if length <= record::MAX_BYTES {
            bytes.extend_from_slice(&chunk);
        }
    }
    if length > record::MAX_BYTES {
        let detail = format!("a body has at most {} bytes", record::MAX_BYTES);
        return Err(Outcome::new(Reason::TooLarge).detail(detail));
    }
    if let Some(encoding) = json::other_encoding(&bytes) {
        return Err(invalid(format!(
            "the body is in {encoding}; the host drops Content-Encoding, so send plain UTF-8"
        )));
    }
    let bytes = bytes.freeze();
    let body = bytes.slice_ref(json::without_bom(&bytes));
    if body.is_empty() {
        return Err(invalid("the body is empty; it must be a record or an array of records"));
    }
    if is_base64_of_an_object(&body) {
        return Err(invalid("the body is in base64, which only a queue message may be; send the JSON itself"));
    }
    Ok(body)
}

/// Judged by the beginning alone.
fn is_base64_of_an_object(body: &[u8]) -> bool {
    let begin = &body[..body.len().min(8)];
    std::str::from_utf8(begin).is_ok_and(|begin| host::object_in_base64(begin).is_some())
}

fn invalid(detail: impl Into<String>) -> Outcome {
    Outcome::new(Reason::InvalidMessage).detail(detail)
}
