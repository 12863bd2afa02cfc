//! HTTP to one server, without what a client for all servers does for each request.
//!
//! A message takes three requests, and reqwest reads a request's address three times over and copies its headers, for redirects
//! and retries that never are: a sixth of all the instructions of a message. This is the client below it, with the same
//! connections; and as all three requests go the same way, most of its code is still in the core's caches when the next one
//! comes. Proxies are reqwest's.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{Request, Response, Uri};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ClientConfig;
use thread_local::ThreadLocal;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::{CONNECT_TIMEOUT, Server};

/// When a silent connection is asked whether it is still there, and how long until the next time; as reqwest has it.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;

/// What a connection to a storage reads at once, and the longest head of its answers: they have about 1 KiB. A connection keeps so
/// much as long as it is open, and hundreds may be.
const READ: usize = 4 * 1024;

type Connections = Client<Connector, Full<Bytes>>;

/// The connections to one server, each thread's own.
pub struct Direct {
    tls: ClientConfig,
    server: Server,
    connections: ThreadLocal<Connections>,
}

impl Direct {
    /// To the server of `address`, unless one of `proxies` is for it.
    pub(super) fn to(address: &Uri, server: Server, tls: &ClientConfig, proxies: &Matcher) -> Option<Self> {
        let is_direct = proxies.intercept(address).is_none();
        is_direct.then(|| Self { tls: tls.clone(), server, connections: ThreadLocal::new() })
    }

    /// Sends a request, and waits for the answer's head. Nothing but the wait for a connection has a time limit.
    ///
    /// # Errors
    /// When no answer came.
    pub async fn send(&self, request: Request<Bytes>) -> Result<Response<Incoming>, Error> {
        self.connections.get_or(|| connections(self.tls.clone(), self.server)).request(request.map(Full::new)).await
    }
}

impl fmt::Debug for Direct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Direct").finish_non_exhaustive()
    }
}

/// Opens connections, in time. The client copies it for each request, and a request seldom needs it.
#[derive(Clone)]
struct Connector(Arc<HttpsConnector<HttpConnector>>);

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Box<dyn StdError + Send + Sync>;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        // As that of TCP, each copy of which is.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, address: Uri) -> Self::Future {
        let opened = HttpsConnector::clone(&self.0).call(address);
        // The handshake of TLS takes its part of the time too.
        async move { timeout(CONNECT_TIMEOUT, opened).await? }.boxed()
    }
}

fn connections(tls: ClientConfig, server: Server) -> Connections {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE));
    tcp.set_keepalive_interval(Some(KEEPALIVE));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
    let https = match server {
        Server::Storage => https.wrap_connector(tcp),
        Server::Dataverse => https.enable_http2().wrap_connector(tcp),
    };
    // Without a timer idle connections are kept for ever.
    let mut client = Client::builder(TokioExecutor::new());
    client.pool_timer(TokioTimer::new());
    if server == Server::Storage {
        // Its requests have no bodies, and a head alone goes out by the shorter system call.
        client.http1_read_buf_exact_size(READ).http1_writev(false);
    }
    client.build(Connector(Arc::new(https)))
}

#[cfg(test)]
mod tests;
