//! The answer to a batch: a multipart body in the form of the documented examples, which can break off.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/execute-batch-operations-using-web-api#batch-responses>

use std::fmt::Write as _;
use std::io;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream::{self, StreamExt as _};
use uuid::Uuid;

/// The answers to the parts so far.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// Each without its delimiters.
    parts: Vec<Vec<u8>>,
    /// The part in whose answer the connection breaks.
    cut: Option<usize>,
}

impl Answers {
    pub(super) async fn add(&mut self, content_id: Option<&str>, response: Response) {
        self.parts.push(written(content_id, response).await);
    }

    /// Adds a part that should be an answer and is not.
    pub(super) fn add_empty(&mut self) {
        self.parts.push(HEAD.as_bytes().to_vec());
    }

    /// Adds an answer in the middle of which the connection breaks.
    pub(super) async fn cut_midway(&mut self, content_id: Option<&str>, response: Response) {
        self.cut.get_or_insert(self.parts.len());
        self.add(content_id, response).await;
    }

    pub(super) fn are_cut(&self) -> bool {
        self.cut.is_some()
    }

    pub(super) fn reverse(&mut self) {
        self.parts.reverse();
    }

    pub(super) fn into_response(self, status: StatusCode) -> Response {
        let boundary = format!("batchresponse_{}", Uuid::new_v4());
        let (mut body, mut end) = (Vec::new(), None);
        for (at, part) in self.parts.iter().enumerate() {
            body.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
            if self.cut == Some(at) {
                end = Some(body.len() + part.len() / 2);
            }
            body.extend_from_slice(part);
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
        let body = match end {
            None => Body::from(body),
            Some(end) => breaking_off(Bytes::from(body).slice(..end)),
        };
        (status, [(CONTENT_TYPE, format!("multipart/mixed; boundary={boundary}"))], body).into_response()
    }
}

const HEAD: &str = "Content-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\n";

async fn written(content_id: Option<&str>, response: Response) -> Vec<u8> {
    let (head, body) = response.into_parts();
    let mut text = HEAD.to_owned();
    if let Some(id) = content_id {
        text.insert_str(HEAD.len() - 2, &format!("Content-ID: {id}\r\n"));
    }
    let reason = head.status.canonical_reason().unwrap_or("Unknown");
    write!(text, "HTTP/1.1 {} {reason}\r\n", head.status.as_u16()).expect("a string takes any text");
    let mut bytes = text.into_bytes();
    for (name, value) in &head.headers {
        bytes.extend_from_slice(name.as_str().as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value.as_bytes());
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&to_bytes(body, usize::MAX).await.expect("it is in memory"));
    bytes
}

/// A body that arrives, and then the connection breaks.
fn breaking_off(body: Bytes) -> Body {
    let broken = stream::once(async {
        // The stream is polled again only after its data has been sent.
        tokio::task::yield_now().await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    Body::from_stream(stream::once(async { Ok(body) }).chain(broken))
}
