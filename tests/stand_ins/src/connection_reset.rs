//! Breaks a connection on purpose: the client gets a transport error and no status, as when a network or a peer fails.
//!
//! A handler takes a [`Wire`] as an argument and returns [`Wire::cut`]. Earlier effects stay, so "the
//! write was committed and the response was lost" is `commit(); return wire.cut();`.
//!
//! After a cut no byte leaves the connection, neither of this response nor of any other. It affects one connection only, and only
//! connections that [`crate::net::Server`] accepted; elsewhere extracting a [`Wire`] fails with a 500.
//!
//! How it works: a listener wraps every accepted stream in a [`CuttableStream`], whose writes fail once the switch is off;
//! hyper then drops the stream. See <https://docs.rs/axum/0.8/axum/serve/trait.Listener.html>.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::rejection::ExtensionRejection;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::response::Response;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::gauge::{Gauge, Open};

/// Lets a request's handler break the request's connection.
#[derive(Debug, Clone, Default)]
pub struct Wire {
    cut: Arc<AtomicBool>,
}

impl Wire {
    /// Breaks the connection and returns the response for the handler to return, which is never sent.
    pub fn cut(&self) -> Response {
        self.cut.store(true, Ordering::Release);
        Response::new(Body::empty())
    }

    fn check(&self) -> io::Result<()> {
        if self.cut.load(Ordering::Acquire) {
            return Err(io::Error::new(io::ErrorKind::ConnectionReset, "cut by the sandbox"));
        }
        Ok(())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Wire {
    type Rejection = ExtensionRejection;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let ConnectInfo(wire) = ConnectInfo::<Self>::from_request_parts(parts, state).await?;
        Ok(wire)
    }
}

impl<L: Listener> Connected<IncomingStream<'_, CuttableListener<L>>> for Wire {
    fn connect_info(stream: IncomingStream<'_, CuttableListener<L>>) -> Self {
        stream.io().wire.clone()
    }
}

/// A listener whose connections can be cut. Serve it with `router.into_make_service_with_connect_info::<Wire>()`.
#[derive(Debug)]
pub struct CuttableListener<L> {
    listener: L,
    connections: Gauge,
}

impl<L> CuttableListener<L> {
    /// Accepts the connections of `listener`, and counts them.
    pub fn new(listener: L, connections: Gauge) -> Self {
        Self { listener, connections }
    }
}

impl<L: Listener> Listener for CuttableListener<L> {
    type Io = CuttableStream<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = self.listener.accept().await;
        (CuttableStream { stream, wire: Wire::default(), _open: self.connections.open() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A connection whose writes fail once its [`Wire`] is cut.
#[derive(Debug)]
pub struct CuttableStream<S> {
    stream: S,
    wire: Wire,
    _open: Open,
}

impl<S: AsyncRead + Unpin> AsyncRead for CuttableStream<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for CuttableStream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.wire.check()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::atomic::AtomicU32;

    use axum::Router;
    use axum::extract::State;
    use axum::routing::{get, post};

    use super::*;
    use crate::net::{Server, Tls};

    #[derive(Clone, Default)]
    struct Commits(Arc<AtomicU32>);

    async fn commit_then_cut(State(commits): State<Commits>, wire: Wire) -> Response {
        commits.0.fetch_add(1, Ordering::SeqCst);
        wire.cut()
    }

    fn router(commits: Commits) -> Router {
        Router::new().route("/cut", post(commit_then_cut)).route("/", get(|| async { "here" })).with_state(commits)
    }

    async fn the_answer_is_lost_and_the_work_is_done(tls: Option<Tls>) {
        let commits = Commits::default();
        let server = Server::start(router(commits.clone()), 0, tls.as_ref()).await.expect("loopback has a free port");
        let client = reqwest::Client::builder().tls_backend_preconfigured(trusting(tls.as_ref()));
        let client = client.build().expect("the settings are valid");

        let warm = client.get(server.url()).send().await.expect("the server answers");
        assert_eq!(warm.text().await.expect("a body"), "here");

        let lost = client.post(format!("{}/cut", server.url())).body("x".repeat(100_000)).send().await;
        let error = lost.expect_err("the connection was cut");
        assert_eq!(error.status(), None);
        assert!(!error.is_timeout());
        assert_eq!(commits.0.load(Ordering::SeqCst), 1, "executed once, and not repeated by the client");

        let after = client.get(server.url()).send().await.expect("a new connection works");
        assert_eq!(after.status(), 200);
        assert_eq!((server.connections().opened(), server.connections().most() <= 2), (2, true));
    }

    /// Client settings that trust only the authority of `tls`, if any.
    pub(crate) fn trusting(tls: Option<&Tls>) -> rustls::ClientConfig {
        use rustls::pki_types::CertificateDer;
        use rustls::pki_types::pem::PemObject;
        let mut roots = rustls::RootCertStore::empty();
        if let Some(tls) = tls {
            let ca = CertificateDer::from_pem_slice(tls.ca_pem().as_bytes()).expect("the authority is PEM");
            roots.add(ca).expect("the authority is a certificate");
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    #[tokio::test]
    async fn a_cut_loses_the_answer_but_not_the_work() {
        the_answer_is_lost_and_the_work_is_done(None).await;
    }

    #[tokio::test]
    async fn a_cut_works_behind_tls() {
        the_answer_is_lost_and_the_work_is_done(Some(Tls::generate().expect("a certificate"))).await;
    }
}
