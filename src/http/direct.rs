//! HTTP/1.1 to one server, without what a client for all servers does for each request.
//!
//! Locks take two requests of each message, and reqwest reads a request's address three times over and copies its headers,
//! for redirects and retries that never are: a sixth of all the instructions of a message. This is the client below it, with the
//! same connections. Proxies are reqwest's.

use std::fmt;
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use thread_local::ThreadLocal;

use super::CONNECT_TIMEOUT;

/// When a silent connection is asked whether it is still there, and how long until the next time; as reqwest has it.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// What a connection reads at once, and the longest head of an answer: those of a storage have about 1 KiB. A connection keeps so
/// much as long as it is open, and hundreds may be.
const READ: usize = 4 * 1024;

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// The connections to one server, each thread's own.
pub struct Direct {
    tls: ClientConfig,
    connections: ThreadLocal<Connections>,
}

impl Direct {
    /// To the server of `address`, unless one of `proxies` is for it.
    pub(super) fn to(address: &Uri, tls: &ClientConfig, proxies: &Matcher) -> Option<Self> {
        let is_direct = proxies.intercept(address).is_none();
        is_direct.then(|| Self { tls: tls.clone(), connections: ThreadLocal::new() })
    }

    /// Sends a request, and waits for the answer's head. Nothing but the wait for a connection has a time limit.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        self.connections.get_or(|| connections(self.tls.clone())).request(request.map(Full::new)).await
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

fn connections(tls: ClientConfig) -> Connections {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let connector =
        HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(tcp);
    // Without a timer idle connections are kept for ever.
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new()).http1_read_buf_exact_size(READ);
    client.build(connector)
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::tls;
    use super::*;

    /// The body of an answer whose head has so many bytes more.
    async fn answered(more: usize) -> Option<Bytes> {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = format!("http://{}", server.local_addr().expect("it is bound"));
        let direct = Direct::to(&address.parse().expect("an address"), &tls(), &Matcher::builder().build());
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = address.parse().expect("an address");
        let serve = async {
            let (mut stream, _) = server.accept().await.expect("it connects");
            let _ = stream.read(&mut [0; 1_024]).await;
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 9000\r\nx-ms-meta-a: {}\r\n\r\n", "x".repeat(more));
            // Who does not want all of it closes.
            let _ = stream.write_all(&[head.as_bytes(), &[b'y'; 9_000]].concat()).await;
        };
        let direct = direct.expect("there is no proxy");
        let (answer, ()) = tokio::join!(direct.send(request), serve);
        Some(answer.ok()?.into_body().collect().await.ok()?.to_bytes())
    }

    #[tokio::test]
    async fn an_answer_is_read_whatever_its_length_and_a_head_like_no_storages_is_an_error() {
        assert_eq!(answered(3_000).await.expect("it is read").len(), 9_000);
        assert_eq!(answered(5_000).await, None);
    }

    #[test]
    fn where_a_proxy_stands_between_there_is_no_direct_way() {
        let proxies = Matcher::builder().http("http://proxy.example:3128").no("127.0.0.1").build();
        for (address, is_direct) in [
            ("http://a.example/locks", false),
            ("http://127.0.0.1:10000/devstoreaccount1", true),
            ("https://a.example/locks", true),
        ] {
            let address = address.parse().expect("an address");
            assert_eq!(Direct::to(&address, &tls(), &proxies).is_some(), is_direct, "{address}");
        }
    }
}
