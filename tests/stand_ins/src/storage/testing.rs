//! The tests' client: reqwest, and a Shared Key signature implemented from the documentation, independent of the code
//! under test.
//!
//! It does not validate requests, so that tests can send invalid ones. Signature rules:
//! <https://learn.microsoft.com/rest/api/storageservices/authorize-with-shared-key>.

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use ring::hmac;
use time::OffsetDateTime;
use url::Url;

use super::reply::http_date;
use super::{EMULATOR_KEY, Options, Storage};
use crate::connection_reset::tests::trusting;

/// The version that the handler's client sends.
pub(super) const VERSION: &str = "2026-04-06";

/// A started store and its client.
pub(super) struct Fixture {
    pub(super) storage: Storage,
    pub(super) http: reqwest::Client,
}

/// A response with its body.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    /// A header's text, or an empty one.
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The status and the service's error code.
    pub(super) fn refusal(&self) -> (u16, &str) {
        (self.status, self.header("x-ms-error-code"))
    }

    /// The text of the first XML element of that name.
    pub(super) fn element(&self, name: &str) -> &str {
        let after = self.text.split(&format!("<{name}>")).nth(1).unwrap_or_default();
        after.split('<').next().unwrap_or_default()
    }
}

impl Fixture {
    /// Starts a store.
    pub(super) async fn start(options: Options) -> Self {
        let http = reqwest::Client::builder().tls_backend_preconfigured(trusting(options.tls.as_ref()));
        let http = http.build().expect("the settings are valid");
        Self { storage: Storage::start(options).await.expect("loopback has free ports"), http }
    }

    /// Starts a plain store with the container `locks` and, in it, the empty blob `one`.
    pub(super) async fn with_blob() -> Self {
        let fixture = Self::start(Options::default()).await;
        assert_eq!(fixture.blob("PUT", "locks?restype=container", &[], "").await.status, 201);
        assert_eq!(fixture.blob("PUT", "locks/one", &[("x-ms-blob-type", "BlockBlob")], "").await.status, 201);
        fixture
    }

    /// A signed request to the blob service; the path is without the account.
    pub(super) async fn blob(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let url = format!("{}/{path}", self.storage.blob_endpoint());
        read(self.http.execute(signed(method, &url, headers, body)).await.expect("the store answers")).await
    }

    /// A signed request to the queue service.
    pub(super) async fn queue(&self, method: &str, path: &str, body: &str) -> Answer {
        let url = format!("{}/{path}", self.storage.queue_endpoint());
        read(self.http.execute(signed(method, &url, &[], body)).await.expect("the store answers")).await
    }

    /// A lease action on the blob `locks/one`.
    pub(super) async fn lease(&self, action: &str, headers: &[(&str, &str)]) -> Answer {
        let headers: Vec<_> = [("x-ms-lease-action", action)].into_iter().chain(headers.iter().copied()).collect();
        self.blob("PUT", "locks/one?comp=lease", &headers, "").await
    }
}

/// Reads a response with its body.
pub(super) async fn read(response: reqwest::Response) -> Answer {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    Answer { status, headers, text: response.text().await.expect("the body is whole") }
}

/// A request with a Shared Key signature of the emulator's account.
pub(super) fn signed(method: &str, url: &str, headers: &[(&str, &str)], body: &str) -> reqwest::Request {
    let date = http_date(OffsetDateTime::now_utc());
    let mut headers = headers.to_vec();
    headers.extend([("x-ms-date", date.as_str()), ("x-ms-version", VERSION)]);
    headers.sort_unstable();
    let url = Url::parse(url).expect("the test's URL is valid");
    let value = |wanted: &str| headers.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| *value);
    let length = if body.is_empty() { String::new() } else { body.len().to_string() };
    let canonical_headers = headers.iter().filter(|(name, _)| name.starts_with("x-ms-"));
    let canonical_headers: Vec<_> = canonical_headers.map(|(name, value)| format!("{name}:{value}\n")).collect();
    let mut query: Vec<_> = url.query_pairs().map(|(name, value)| format!("\n{name}:{value}")).collect();
    query.sort_unstable();
    let text = format!(
        "{method}\n\n\n{length}\n\n{}\n\n\n{}\n{}\n\n{}\n{}/devstoreaccount1{}{}",
        value("content-type"),
        value("if-match"),
        value("if-none-match"),
        value("range"),
        canonical_headers.concat(),
        url.path(),
        query.concat(),
    );
    let method = Method::from_bytes(method.as_bytes()).expect("the test's method is valid");
    let mut request = reqwest::Request::new(method, url);
    for (name, value) in headers {
        let name: reqwest::header::HeaderName = name.parse().expect("the test's header is valid");
        request.headers_mut().insert(name, value.parse().expect("the test's header is valid"));
    }
    let authorization = format!("SharedKey devstoreaccount1:{}", sign(&text));
    request.headers_mut().insert("authorization", authorization.parse().expect("base64 fits a header"));
    // The service requires a length, even for an empty body.
    request.headers_mut().insert("content-length", body.len().into());
    *request.body_mut() = Some(body.to_owned().into());
    request
}

/// The emulator account's signature of a text, in base64.
pub(super) fn sign(text: &str) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(EMULATOR_KEY).expect("the key is base64"));
    STANDARD.encode(hmac::sign(&key, text.as_bytes()))
}
