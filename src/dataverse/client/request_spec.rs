//! One request, before it has what every request has.

use std::time::Duration;

use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Request, Uri};
use bytes::Bytes;
use uuid::Uuid;

use super::{CLIENT_REQUEST_ID, READ_TIMEOUT, WRITE_TIMEOUT};
use crate::dataverse::Error;

/// What is asked of whom, and how long the whole answer may take.
#[derive(Debug)]
pub(super) struct RequestSpec {
    method: Method,
    address: String,
    json: Option<Bytes>,
    header: Option<(HeaderName, Bytes)>,
    pub(super) limit: Duration,
}

impl RequestSpec {
    /// To read what is there.
    pub(super) fn read(address: impl Into<String>) -> Self {
        Self { method: Method::GET, address: address.into(), json: None, header: None, limit: READ_TIMEOUT }
    }

    /// To write, with a body of JSON where there is one.
    pub(super) fn write(method: Method, address: impl Into<String>, json: Option<Bytes>) -> Self {
        Self { method, address: address.into(), json, header: None, limit: WRITE_TIMEOUT }
    }

    /// With one header more; there is room for one.
    pub(super) fn with(self, name: HeaderName, value: impl Into<Bytes>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    /// The request, with the headers that all have, where it has not its own, and with what only this sending of it has: its
    /// token and its id.
    pub(super) fn request(&self, all: &HeaderMap, token: HeaderValue) -> Result<Request<Bytes>, Error> {
        let not_built = || Error::NoAnswer { sent: false, problem: "the request could not be built" };
        let mut headers = HeaderMap::with_capacity(all.len() + 4);
        headers.extend(all.iter().map(|(name, value)| (name.clone(), value.clone())));
        headers.insert(AUTHORIZATION, token);
        headers.insert(CLIENT_REQUEST_ID, id());
        if self.json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some((name, value)) = &self.header {
            let value = HeaderValue::from_maybe_shared(value.clone()).map_err(|_| not_built())?;
            headers.insert(name.clone(), value);
        }
        let mut request = Request::new(self.json.clone().unwrap_or_default());
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = Uri::try_from(self.address.as_str()).map_err(|_| not_built())?;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

fn id() -> HeaderValue {
    let mut text = Uuid::encode_buffer();
    let text = Uuid::new_v4().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).expect("digits and hyphens can stand in a header")
}

#[cfg(test)]
mod tests {
    use axum::http::header::IF_MATCH;

    use super::*;

    fn token() -> HeaderValue {
        HeaderValue::from_static("Bearer hush")
    }

    #[test]
    fn each_sending_has_an_id_of_its_own_and_else_the_same() {
        let all = HeaderMap::from_iter([(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"))]);
        let ask = RequestSpec::write(Method::PATCH, "https://a.example/api/data/v9.2/a(1)", Some("{}".into()));
        let ask = ask.with(IF_MATCH, "*");
        let [first, second] = [(); 2].map(|()| ask.request(&all, token()).expect("it can be sent"));
        assert_ne!(first.headers()[CLIENT_REQUEST_ID], second.headers()[CLIENT_REQUEST_ID]);
        for request in [first, second] {
            assert_eq!((request.method(), request.uri().path()), (&Method::PATCH, "/api/data/v9.2/a(1)"));
            let named =
                ["odata-version", "authorization", "content-type", "if-match"].map(|name| &request.headers()[name]);
            assert_eq!(named, ["4.0", "Bearer hush", "application/json", "*"]);
            assert_eq!((request.headers().len(), &request.body()[..]), (5, &b"{}"[..]));
        }
    }

    #[test]
    fn a_header_of_its_own_comes_before_one_that_all_have() {
        let prefer = HeaderName::from_static("prefer");
        let all = HeaderMap::from_iter([(prefer.clone(), HeaderValue::from_static("return=representation"))]);
        let read = RequestSpec::read("https://a.example/").with(prefer.clone(), "odata.include-annotations=\"a\"");
        for (ask, preferred) in [
            (read, "odata.include-annotations=\"a\""),
            (RequestSpec::write(Method::DELETE, "https://a.example/", None), "return=representation"),
        ] {
            let request = ask.request(&all, token()).expect("it can be sent");
            assert_eq!(request.headers().get_all(&prefer).iter().collect::<Vec<_>>(), [preferred]);
        }
    }

    #[test]
    fn what_cannot_be_sent_was_not_sent() {
        let long = format!("https://a.example/{}", "x".repeat(70_000));
        for ask in [RequestSpec::read(long), RequestSpec::read("https://a.example/").with(IF_MATCH, "W/\"1\n\"")] {
            let fault = ask.request(&HeaderMap::new(), token()).expect_err("it is no request");
            assert!(matches!(fault, Error::NoAnswer { sent: false, .. }), "{fault:?}");
        }
    }
}
