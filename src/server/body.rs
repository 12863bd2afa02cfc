//! The body of an HTTP call: read within its limit, and recognised where it is not UTF-8.
//!
//! The Functions host drops `Content-Encoding`, so an encoded body is known by its first bytes alone.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use futures::StreamExt as _;

use crate::json;
use crate::outcome::{Outcome, Reason};
use crate::record;

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
    Ok(body)
}

fn invalid(detail: impl Into<String>) -> Outcome {
    Outcome::new(Reason::InvalidMessage).detail(detail)
}
