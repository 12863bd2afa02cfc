//! A small client of the Queue REST API: what the Functions host needs, and what tests need to inspect a queue.
//!
//! It signs with the shared key of a connection string and works with Azurite and the embedded storage. Message texts
//! are passed unchanged; the host does base64. It does not retry, except deletes: every call is one request, so that a
//! test sees the service's response. It trusts one given certificate authority or none: it is not intended for Azure.
//!
//! Contract: <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>.

mod connection;
mod xml;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Method, Response, StatusCode};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use time::OffsetDateTime;
use url::Url;

use connection::Account;

/// The REST version that every request uses.
const API_VERSION: &str = "2021-12-02";

/// A local store that takes longer than this is broken.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// How often a delete without a response is repeated.
const MAX_DELETE_ATTEMPTS: usize = 3;

/// Why a queue call failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The connection string, or the certificate to trust, cannot be used.
    #[error("connection string: {problem}")]
    Connection {
        /// What is wrong with it; never quotes the string, which holds a key.
        problem: String,
    },
    /// The service returned an error.
    #[error("the queue service answered {status} {code}")]
    Service {
        /// The HTTP status.
        status: u16,
        /// The service's error code, such as `QueueNotFound`; empty if it gave none.
        code: String,
    },
    /// There was no usable response.
    #[error("no answer from the queue service")]
    Transport(#[source] reqwest::Error),
    /// The response violates the contract.
    #[error("the queue service's answer lacks {missing}")]
    Malformed {
        /// The missing header or element.
        missing: String,
    },
}

impl Error {
    /// Whether the service returned this error code.
    pub fn is(&self, wanted: &str) -> bool {
        matches!(self, Self::Service { code, .. } if code == wanted)
    }
}

/// One storage account's queue endpoint and key.
#[derive(Debug, Clone)]
pub struct QueueService {
    account: Arc<Account>,
    client: Client,
}

impl QueueService {
    /// Parses a storage connection string; `UseDevelopmentStorage=true` is Azurite's own account on port 10001.
    pub fn from_connection_string(text: &str) -> Result<Self, Error> {
        Self::build(text, RootCertStore::empty())
    }

    /// Like [`Self::from_connection_string`], for an https endpoint whose authority is `ca_pem`.
    pub fn trusting(text: &str, ca_pem: &str) -> Result<Self, Error> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca_pem.as_bytes()) {
            let certificate = certificate.map_err(|_| refused("the authority's certificate is not PEM"))?;
            roots.add(certificate).map_err(|_| refused("the authority's certificate is not usable"))?;
        }
        Self::build(text, roots)
    }

    /// A queue of this account; it need not exist yet.
    pub fn queue(&self, name: &str) -> Queue {
        Queue { service: self.clone(), name: name.to_owned() }
    }

    fn build(text: &str, roots: RootCertStore) -> Result<Self, Error> {
        let account = Account::parse(text).map_err(refused)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let client = Client::builder()
            .tls_backend_preconfigured(tls)
            .no_proxy()
            .timeout(REQUEST_TIMEOUT)
            .build()
            .map_err(Error::Transport)?;
        Ok(Self { account: Arc::new(account), client })
    }

    async fn send(&self, method: Method, url: Url, body: Option<String>) -> Result<Response, Error> {
        let date = connection::http_date(OffsetDateTime::now_utc());
        let headers = [("x-ms-date", date.as_str()), ("x-ms-version", API_VERSION)];
        let length = body.as_ref().map_or(0, String::len);
        let authorization = self.account.authorization(method.as_str(), &url, length, &headers);
        let mut request = self.client.request(method, url).header("authorization", authorization);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        // An empty body still needs its Content-Length: a PUT without one gets 411.
        let request = request.body(body.unwrap_or_default()).header("content-length", length);
        let response = request.send().await.map_err(transport)?;
        if response.status().is_success() { Ok(response) } else { Err(refusal(response).await) }
    }
}

/// A message as it was received or peeked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The service's own id.
    pub id: String,
    /// Required to update or delete the message; empty on a peeked one.
    pub pop_receipt: String,
    /// The text as it is stored.
    pub text: String,
    /// How often it has been received, including this time.
    pub dequeue_count: u32,
    /// When it was put into the queue.
    pub insertion: OffsetDateTime,
    /// When it expires.
    pub expiration: OffsetDateTime,
    /// When it can be received again; on a peeked message, the moment of peeking.
    pub next_visible: OffsetDateTime,
}

/// One queue.
#[derive(Debug, Clone)]
pub struct Queue {
    service: QueueService,
    name: String,
}

impl Queue {
    /// The queue's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address, without a signature.
    pub fn address(&self) -> String {
        self.url("", &[]).to_string()
    }

    /// Creates the queue unless it exists.
    pub async fn create_if_missing(&self) -> Result<(), Error> {
        self.service.send(Method::PUT, self.url("", &[]), None).await.map(drop)
    }

    /// Puts a message that is visible at once, and returns its id.
    pub async fn put(&self, text: &str) -> Result<String, Error> {
        self.put_with(text, Duration::ZERO).await
    }

    /// Puts a message that becomes visible after `visibility` (whole seconds), and returns its id.
    pub async fn put_with(&self, text: &str, visibility: Duration) -> Result<String, Error> {
        let url = self.url("/messages", &[("visibilitytimeout", &visibility.as_secs().to_string())]);
        let response = self.service.send(Method::POST, url, Some(xml::message_body(text))).await?;
        let answer = response.text().await.map_err(transport)?;
        xml::message_id(&answer).map_err(malformed)
    }

    /// Receives up to `count` (1 to 32) messages and hides them for `visibility` (whole seconds).
    pub async fn receive(&self, count: usize, visibility: Duration) -> Result<Vec<Message>, Error> {
        let (count, seconds) = (count.to_string(), visibility.as_secs().to_string());
        let url = self.url("/messages", &[("numofmessages", &count), ("visibilitytimeout", &seconds)]);
        self.messages(url).await
    }

    /// Returns up to `count` (1 to 32) visible messages without receiving them.
    pub async fn peek(&self, count: usize) -> Result<Vec<Message>, Error> {
        self.messages(self.url("/messages", &[("peekonly", "true"), ("numofmessages", &count.to_string())])).await
    }

    /// Hides a received message for `visibility` from now on (whole seconds), and returns its new pop receipt.
    pub async fn update(&self, message: &Message, visibility: Duration) -> Result<String, Error> {
        let seconds = visibility.as_secs().to_string();
        let query = [("popreceipt", message.pop_receipt.as_str()), ("visibilitytimeout", &seconds)];
        let url = self.url(&format!("/messages/{}", message.id), &query);
        let response = self.service.send(Method::PUT, url, Some(xml::message_body(&message.text))).await?;
        header(&response, "x-ms-popreceipt")
    }

    /// Deletes a received message. Like the real host's SDK, it repeats the request if there was no response; if the
    /// message is then not found, the first request deleted it.
    pub async fn delete(&self, message: &Message) -> Result<(), Error> {
        let url = self.url(&format!("/messages/{}", message.id), &[("popreceipt", &message.pop_receipt)]);
        let mut deleted = self.service.send(Method::DELETE, url.clone(), None).await.map(drop);
        for _ in 0..MAX_DELETE_ATTEMPTS {
            if !matches!(deleted, Err(Error::Transport(_))) {
                break;
            }
            deleted = match self.service.send(Method::DELETE, url.clone(), None).await.map(drop) {
                Err(error) if error.is("MessageNotFound") => Ok(()),
                repeated => repeated,
            };
        }
        deleted
    }

    /// Deletes all messages.
    pub async fn clear(&self) -> Result<(), Error> {
        self.service.send(Method::DELETE, self.url("/messages", &[]), None).await.map(drop)
    }

    /// The number of messages, including hidden ones; never too low.
    pub async fn approximate_count(&self) -> Result<u64, Error> {
        let response = self.service.send(Method::GET, self.url("", &[("comp", "metadata")]), None).await?;
        let name = "x-ms-approximate-messages-count";
        header(&response, name)?.parse().map_err(|_| malformed(name))
    }

    async fn messages(&self, url: Url) -> Result<Vec<Message>, Error> {
        let response = self.service.send(Method::GET, url, None).await?;
        let answer = response.text().await.map_err(transport)?;
        xml::messages(&answer).map_err(malformed)
    }

    fn url(&self, below: &str, query: &[(&str, &str)]) -> Url {
        let mut url = self.service.account.endpoint().clone();
        let path = format!("{}/{}{below}", url.path().trim_end_matches('/'), self.name);
        url.set_path(&path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        url
    }
}

fn refused(problem: impl Into<String>) -> Error {
    Error::Connection { problem: problem.into() }
}

fn malformed(missing: impl Into<String>) -> Error {
    Error::Malformed { missing: missing.into() }
}

// Removes the URL, because it contains the pop receipt, which would be noise in a log.
fn transport(error: reqwest::Error) -> Error {
    Error::Transport(error.without_url())
}

fn header(response: &Response, name: &str) -> Result<String, Error> {
    let value = response.headers().get(name).and_then(|value| value.to_str().ok());
    value.map(str::to_owned).ok_or_else(|| malformed(name))
}

async fn refusal(response: Response) -> Error {
    let status: StatusCode = response.status();
    let named = header(&response, "x-ms-error-code").ok();
    let code = match named {
        Some(code) => code,
        None => response.text().await.map(|body| xml::error_code(&body)).unwrap_or_default(),
    };
    Error::Service { status: status.as_u16(), code }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTION: &str = "AccountName=a;AccountKey=a2V5;QueueEndpoint=http://127.0.0.1:9/a";

    #[test]
    fn a_pop_receipt_is_escaped_in_the_address() {
        let queue = QueueService::from_connection_string(CONNECTION).expect("it is valid").queue("q");
        let url = queue.url("/messages/1", &[("popreceipt", "a+b=")]);
        assert_eq!(url.as_str(), "http://127.0.0.1:9/a/q/messages/1?popreceipt=a%2Bb%3D");
    }

    #[test]
    fn an_invalid_certificate_trusts_no_server() {
        let service = QueueService::trusting(CONNECTION, "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
        assert!(matches!(service, Err(Error::Connection { .. })));
    }

    #[tokio::test]
    async fn a_closed_port_is_a_transport_error() {
        let queue = QueueService::from_connection_string(CONNECTION).expect("it is valid").queue("q");
        assert!(matches!(queue.put("x").await, Err(Error::Transport(_))));
    }
}
