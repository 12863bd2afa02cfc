//! Requests of the Azure SDK over our own [`Way`] to the server.
//!
//! The SDK brings such a transport itself. This one is on the way of every message twice, and so it builds a request without the
//! detours of a builder, reads an answer at once, and keeps of the headers what somebody reads.

use async_trait::async_trait;
use axum::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use axum::http::{self, Method, Response, Uri};
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;

use crate::http::{Body as AnswerBody, NoAnswer, Way};

/// Headers that every answer has, or every one about a lease, and nobody reads.
const UNREAD: [&str; 11] = [
    "connection",
    "content-length",
    "date",
    "etag",
    "last-modified",
    "server",
    "x-ms-client-request-id",
    "x-ms-lease-id",
    "x-ms-lease-time",
    "x-ms-request-id",
    "x-ms-version",
];

#[async_trait]
impl HttpClient for Way {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.send(built(request)?).await;
        read(answer.map_err(not_answered)?).await
    }
}

fn built(request: &Request) -> azure_core::Result<http::Request<Bytes>> {
    let body = match request.body() {
        Body::Bytes(bytes) => bytes.clone(),
        Body::SeekableStream(_) => return Err(Error::with_message(ErrorKind::Other, "only bytes are sent")),
    };
    let mut built = http::Request::new(body);
    *built.method_mut() = Method::from_bytes(request.method().as_str().as_bytes()).map_err(not_sendable)?;
    *built.uri_mut() = Uri::try_from(request.url().as_str()).map_err(not_sendable)?;
    let headers = built.headers_mut();
    // One more, for the server's name.
    headers.reserve(request.headers().iter().size_hint().0 + 1);
    for (name, value) in request.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(not_sendable)?;
        let mut value = HeaderValue::from_str(value.as_str()).map_err(not_sendable)?;
        value.set_sensitive(name == AUTHORIZATION);
        headers.insert(name, value);
    }
    Ok(built)
}

async fn read(answer: Response<AnswerBody>) -> azure_core::Result<AsyncRawResponse> {
    let (head, body) = answer.into_parts();
    let (status, headers) = (head.status.as_u16(), kept(&head.headers));
    let body = if body.is_end_stream() {
        Bytes::new()
    } else {
        let broke_off = |error| Error::with_error(ErrorKind::Io, error, "the answer broke off");
        body.collect().await.map_err(broke_off)?.to_bytes()
    };
    Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
}

fn kept(headers: &HeaderMap) -> Headers {
    let mut kept = Headers::new();
    for (name, value) in headers {
        if let Some(value) = value.to_str().ok().filter(|_| !UNREAD.contains(&name.as_str())) {
            kept.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    kept
}

fn not_sendable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_error(ErrorKind::Other, error, "the request cannot be sent")
}

fn not_answered(error: NoAnswer) -> Error {
    let kind = match error {
        NoAnswer::NotSendable(_) => ErrorKind::Other,
        NoAnswer::NoConnection(_) => ErrorKind::Connection,
        NoAnswer::Broken(_) => ErrorKind::Io,
    };
    Error::new(kind, error)
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method as Verb, Url};

    use super::*;

    fn request(body: &'static [u8]) -> Request {
        let url = Url::parse("http://127.0.0.1:1/locks/a?comp=lease").expect("an address");
        let mut request = Request::new(url, Verb::Put);
        request.insert_header("authorization", "SharedKey hush");
        request.insert_header("x-ms-lease-id", "1");
        request.set_body(body);
        request
    }

    #[test]
    fn what_is_sent_is_what_the_sdk_made_and_its_secret_is_marked() {
        let sent = built(&request(b"abc")).expect("it can be sent");
        assert_eq!(sent.method(), Method::PUT);
        assert_eq!(sent.uri(), "http://127.0.0.1:1/locks/a?comp=lease");
        assert_eq!((sent.headers().len(), &sent.headers()["x-ms-lease-id"]), (2, &HeaderValue::from_static("1")));
        assert_eq!(sent.body(), "abc");
        assert!(sent.headers()[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_an_error_that_does_not_quote_it() {
        let mut request = request(b"");
        request.insert_header("authorization", "hush\nhush");
        let error = built(&request).expect_err("no line break can be sent");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
