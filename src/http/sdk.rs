//! The transport of the Azure SDK: our client, with a cap on headers and bodies.

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::Headers;
use azure_core::http::request::Body;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method};

use super::response::{TransportError, read_body};

/// The bytes of an answer's headers; hyper's own cap is above 400 KB for HTTP/1.1.
const MAX_HEADER_BYTES: usize = 16 * 1024;

/// Sends the SDK's requests; an answer with more headers than [`MAX_HEADER_BYTES`] or with a body above `body_cap` bytes is an error.
#[derive(Debug)]
pub(crate) struct SdkTransport {
    pub(crate) client: Client,
    pub(crate) body_cap: usize,
}

#[async_trait]
impl HttpClient for SdkTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.client.execute(convert(request)?).await.map_err(TransportError::from)?;
        let (status, headers) = (response.status().as_u16(), text_headers(response.headers())?);
        let body = read_body(response, self.body_cap).await?;
        Ok(AsyncRawResponse::from_bytes(status.into(), headers, body))
    }
}

fn convert(request: &Request) -> Result<reqwest::Request, TransportError> {
    let Body::Bytes(body) = request.body() else {
        return Err(TransportError::NotSendable("streams are not supported".into()));
    };
    let method = Method::from_bytes(request.method().as_str().as_bytes()).map_err(not_sendable)?;
    let mut converted = reqwest::Request::new(method, request.url().clone());
    *converted.body_mut() = Some(body.clone().into());
    for (name, value) in request.headers().iter() {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).map_err(not_sendable)?;
        let mut value = HeaderValue::from_str(value.as_str()).map_err(not_sendable)?;
        value.set_sensitive(name == AUTHORIZATION);
        converted.headers_mut().insert(name, value);
    }
    Ok(converted)
}

fn not_sendable(error: impl std::error::Error + Send + Sync + 'static) -> TransportError {
    TransportError::NotSendable(Box::new(error))
}

fn text_headers(headers: &HeaderMap) -> Result<Headers, TransportError> {
    let size: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
    if size > MAX_HEADER_BYTES {
        return Err(TransportError::TooLarge);
    }
    let mut text = Headers::new();
    for (name, value) in headers {
        if let Ok(value) = value.to_str() {
            text.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    Ok(text)
}

impl From<TransportError> for azure_core::Error {
    fn from(error: TransportError) -> Self {
        let kind = match error {
            TransportError::NotSendable(_) => ErrorKind::Other,
            TransportError::NoConnection(_) => ErrorKind::Connection,
            TransportError::Broken(_) => ErrorKind::Io,
            TransportError::TooLarge => ErrorKind::DataConversion,
        };
        Self::new(kind, error)
    }
}

#[cfg(test)]
mod tests {
    use azure_core::http::{Method as SdkMethod, Url};

    use super::*;

    fn request(body: &'static [u8]) -> Request {
        let url = Url::parse("http://127.0.0.1:1/locks/a?comp=lease").expect("an address");
        let mut request = Request::new(url, SdkMethod::Put);
        request.insert_header("authorization", "SharedKey hush");
        request.insert_header("x-ms-lease-id", "1");
        request.set_body(body);
        request
    }

    #[test]
    fn sends_what_the_sdk_made_and_marks_its_secret() {
        let sent = convert(&request(b"abc")).expect("it can be sent");
        assert_eq!((sent.method(), sent.url().as_str()), (&Method::PUT, "http://127.0.0.1:1/locks/a?comp=lease"));
        assert_eq!((sent.headers().len(), &sent.headers()["x-ms-lease-id"]), (2, &HeaderValue::from_static("1")));
        assert_eq!(sent.body().and_then(reqwest::Body::as_bytes), Some(&b"abc"[..]));
        assert!(sent.headers()[AUTHORIZATION].is_sensitive());
    }

    #[test]
    fn headers_are_taken_up_to_their_cap() {
        for (length, fits) in [(MAX_HEADER_BYTES - 1, true), (MAX_HEADER_BYTES, false)] {
            let value = HeaderValue::try_from("v".repeat(length)).expect("text");
            let headers = HeaderMap::from_iter([(HeaderName::from_static("a"), value)]);
            assert_eq!(text_headers(&headers).is_ok(), fits, "{length}");
        }
    }

    #[test]
    fn does_not_quote_a_header_that_cannot_be_sent() {
        let mut request = request(b"");
        request.insert_header("authorization", "hush\nhush");
        let error = azure_core::Error::from(convert(&request).expect_err("a header has no line breaks"));
        assert!(!format!("{error} {error:?}").contains("hush"), "{error:?}");
    }
}
