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
    if let Some(encoding) = encoding(&bytes) {
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

/// The encoding of a body that cannot be read. JSON begins with an ASCII character, so of its first two bytes one is zero only in
/// UTF-16.
///
/// <https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1>, <https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1>,
/// <https://www.unicode.org/faq/utf_bom#bom4>
fn encoding(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, second, ..] if (*first == 0) != (*second == 0) => Some("UTF-16"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_known_by_its_first_bytes() {
        let utf16 = |text: &str, to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
        for text in ["{\"a\":1}", "\u{feff}{}", " [", "\u{feff}\r\n{"] {
            for to in [u16::to_le_bytes, u16::to_be_bytes] {
                assert_eq!(encoding(&utf16(text, to)), Some("UTF-16"), "{text:?}");
            }
            assert_eq!(encoding(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(encoding(b"\x1f\x8b\x08\0"), Some("gzip"));
        assert_eq!(encoding(b"\x28\xb5\x2f\xfd\x04"), Some("zstd"));
        for other in [&b""[..], b"{", b"\0", b"\0\0", b"(\xb5", b"\xff", b"x\x9c"] {
            assert_eq!(encoding(other), None, "{other:?}");
        }
    }
}
