//! Requests of the Azure SDK over the HTTP client of the thread.
//!
//! The SDK brings such a transport itself. This one is on the way of every message twice, and so it builds a request without the
//! detours of a builder, reads an answer at once, and keeps of the headers what somebody reads.

use async_trait::async_trait;
use azure_core::Error;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use bytes::Bytes;
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::http::Http;

/// Headers that every answer has, and nobody reads.
const UNREAD: [&str; 7] = [
    "connection",
    "content-length",
    "last-modified",
    "server",
    "x-ms-client-request-id",
    "x-ms-request-id",
    "x-ms-version",
];

/// The thread's HTTP client, as the SDK wants one.
#[derive(Debug)]
pub(super) struct Direct(pub(super) Http);

#[async_trait]
impl HttpClient for Direct {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let answer = self.0.here().execute(built(request)?).await.map_err(not_answered)?;
        let (status, headers) = (answer.status().as_u16(), kept(answer.headers()));
        let body = match answer.content_length() {
            Some(0) => Bytes::new(),
            _ => {
                answer.bytes().await.map_err(|error| Error::with_error(ErrorKind::Io, error, "the answer broke off"))?
            }
        };
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

fn built(request: &Request) -> azure_core::Result<reqwest::Request> {
    let method = Method::from_bytes(request.method().as_str().as_bytes()).map_err(not_sendable)?;
    let mut built = reqwest::Request::new(method, request.url().clone());
    let headers = built.headers_mut();
    headers.reserve(request.headers().iter().size_hint().0 + 1);
    for (name, value) in request.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(not_sendable)?;
        let mut value = HeaderValue::from_str(value.as_str()).map_err(not_sendable)?;
        value.set_sensitive(name == AUTHORIZATION);
        headers.insert(name, value);
    }
    match request.body() {
        Body::Bytes(bytes) if bytes.is_empty() => {}
        Body::Bytes(bytes) => *built.body_mut() = Some(bytes.clone().into()),
        Body::SeekableStream(_) => return Err(Error::with_message(ErrorKind::Other, "only bytes are sent")),
    }
    Ok(built)
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

fn not_answered(error: reqwest::Error) -> Error {
    let kind = if error.is_connect() { ErrorKind::Connection } else { ErrorKind::Io };
    Error::with_error(kind, error, "the request was not answered")
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method, Url};

    use super::*;

    fn request(body: &'static [u8]) -> Request {
        let url = Url::parse("http://127.0.0.1:1/locks/a?comp=lease").expect("an address");
        let mut request = Request::new(url, Method::Put);
        request.insert_header("authorization", "SharedKey hush");
        request.insert_header("x-ms-lease-id", "1");
        request.set_body(body);
        request
    }

    #[test]
    fn what_is_sent_is_what_the_sdk_made_and_its_secret_is_marked() {
        let sent = built(&request(b"abc")).expect("it can be sent");
        assert_eq!((sent.method().as_str(), sent.url().as_str()), ("PUT", "http://127.0.0.1:1/locks/a?comp=lease"));
        assert_eq!((sent.headers().len(), &sent.headers()["x-ms-lease-id"]), (2, &HeaderValue::from_static("1")));
        assert_eq!(sent.body().and_then(reqwest::Body::as_bytes), Some(b"abc".as_slice()));
        assert!(sent.headers()[AUTHORIZATION].is_sensitive());
        assert!(built(&request(b"")).expect("it can be sent").body().is_none());
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_an_error_that_does_not_quote_it() {
        let mut request = request(b"");
        request.insert_header("authorization", "hush\nhush");
        let error = built(&request).expect_err("no line break can be sent");
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
