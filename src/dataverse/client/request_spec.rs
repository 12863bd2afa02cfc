//! One request to Dataverse, before it has the headers that every request has.

use std::time::Duration;

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Request};
use url::Url;
use uuid::Uuid;

use super::{CLIENT_REQUEST_ID, READ_TIMEOUT, WRITE_TIMEOUT};
use crate::dataverse::Error;

/// Method, address and body of a request, and how long its whole answer may take.
#[derive(Debug)]
pub(super) struct RequestSpec {
    method: Method,
    url: Url,
    json: Option<Bytes>,
    header: Option<(HeaderName, String)>,
    pub(super) timeout: Duration,
}

impl RequestSpec {
    pub(super) fn read(url: Url) -> Self {
        Self { method: Method::GET, url, json: None, header: None, timeout: READ_TIMEOUT }
    }

    pub(super) fn write(method: Method, url: Url, json: Option<Bytes>) -> Self {
        Self { method, url, json, header: None, timeout: WRITE_TIMEOUT }
    }

    /// Sets the one header that is this request's own.
    pub(super) fn with(self, name: HeaderName, value: impl Into<String>) -> Self {
        Self { header: Some((name, value.into())), ..self }
    }

    /// The request with `common` headers, which its own header overrides, a token, and a request id that no other sending has.
    pub(super) fn build(&self, common: &HeaderMap, token: HeaderValue) -> Result<Request, Error> {
        let id = Uuid::new_v4().to_string();
        let mut request = Request::new(self.method.clone(), self.url.clone());
        *request.body_mut() = self.json.clone().map(Into::into);
        let headers = request.headers_mut();
        headers.clone_from(common);
        headers.insert(AUTHORIZATION, token);
        headers.insert(CLIENT_REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is ASCII"));
        if self.json.is_some() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        if let Some((name, value)) = &self.header {
            let value = HeaderValue::from_str(value).map_err(|_| Error::NOT_SENDABLE)?;
            headers.insert(name, value);
        }
        Ok(request)
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::IF_MATCH;

    use super::*;

    fn url() -> Url {
        Url::parse("https://a.example/api/data/v9.2/a(1)").expect("an address")
    }

    fn token() -> HeaderValue {
        HeaderValue::from_static("Bearer hush")
    }

    #[test]
    fn each_sending_differs_in_its_id_alone() {
        let common =
            HeaderMap::from_iter([(HeaderName::from_static("odata-version"), HeaderValue::from_static("4.0"))]);
        let spec = RequestSpec::write(Method::PATCH, url(), Some("{}".into())).with(IF_MATCH, "*");
        let [first, second] = [(); 2].map(|()| spec.build(&common, token()).expect("it can be sent"));
        assert_ne!(first.headers()[CLIENT_REQUEST_ID], second.headers()[CLIENT_REQUEST_ID]);
        for request in [first, second] {
            assert_eq!((request.method(), request.url().path()), (&Method::PATCH, "/api/data/v9.2/a(1)"));
            let named =
                ["odata-version", "authorization", "content-type", "if-match"].map(|name| &request.headers()[name]);
            assert_eq!(named, ["4.0", "Bearer hush", "application/json", "*"]);
            let body = request.body().and_then(reqwest::Body::as_bytes);
            assert_eq!((request.headers().len(), body), (5, Some(&b"{}"[..])));
        }
    }

    #[test]
    fn its_own_header_overrides_a_common_one() {
        let prefer = HeaderName::from_static("prefer");
        let common = HeaderMap::from_iter([(prefer.clone(), HeaderValue::from_static("return=representation"))]);
        let read = RequestSpec::read(url()).with(prefer.clone(), "odata.include-annotations=\"a\"");
        for (spec, preferred) in [
            (read, "odata.include-annotations=\"a\""),
            (RequestSpec::write(Method::DELETE, url(), None), "return=representation"),
        ] {
            let request = spec.build(&common, token()).expect("it can be sent");
            assert_eq!(request.headers().get_all(&prefer).iter().collect::<Vec<_>>(), [preferred]);
        }
    }

    #[test]
    fn a_header_that_cannot_be_sent_is_not_sent() {
        let error = RequestSpec::read(url()).with(IF_MATCH, "W/\"1\n\"").build(&HeaderMap::new(), token());
        assert!(matches!(error, Err(Error::NoAnswer { sent: false, .. })), "{error:?}");
    }
}
