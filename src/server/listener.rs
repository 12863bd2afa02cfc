//! A TCP listener that caps the open connections and retries after accept errors.
//!
//! At the limit, further connections wait in the system's backlog until another one closes. A socket that does not listen any more
//! never gives another connection; the server then stops, and the host starts another handler.

use std::future::pending;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::serve;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// The pause after an accept error, such as too many open files.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections for [`axum::serve()`].
pub(super) struct Listener {
    inner: TcpListener,
    slots: Arc<Semaphore>,
    /// Cancelled once the socket does not listen any more.
    gone: CancellationToken,
}

impl Listener {
    pub(super) fn new(inner: TcpListener, max_connections: usize, gone: CancellationToken) -> Self {
        Self { inner, slots: Arc::new(Semaphore::new(max_connections)), gone }
    }
}

impl serve::Listener for Listener {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut is_reported = false;
        loop {
            match self.inner.accept().await {
                Ok((stream, address)) => {
                    // Without it a response in two writes waits for the peer's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return (Connection { stream, _slot: slot }, address);
                }
                // The peer closed the connection before it was accepted.
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset) => {}
                // <https://man7.org/linux/man-pages/man2/accept.2.html>: EINVAL, "socket is not listening for connections".
                Err(error) if error.kind() == ErrorKind::InvalidInput => {
                    error!(%error, "the socket does not listen any more");
                    self.gone.cancel();
                    return pending().await;
                }
                Err(error) => {
                    if !is_reported {
                        warn!(%error, "cannot accept a connection; retrying every second");
                        is_reported = true;
                    }
                    sleep(ACCEPT_RETRY_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.inner.local_addr()
    }
}

/// An accepted connection; dropping it frees its slot.
pub(super) struct Connection {
    stream: TcpStream,
    _slot: OwnedSemaphorePermit,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::serve::Listener as _;
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_limit_is_accepted_once_another_one_closes() {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut listener = Listener::new(inner, 1, CancellationToken::new());
        let address = listener.local_addr().expect("it is bound");
        let _clients = [TcpStream::connect(address).await, TcpStream::connect(address).await].map(Result::unwrap);
        let (first, _) = listener.accept().await;
        let wait = Duration::from_millis(100);
        assert!(timeout(wait, listener.accept()).await.is_err(), "the only slot is taken");
        drop(first);
        timeout(Duration::from_secs(10), listener.accept()).await.expect("the slot is free again");
    }
}
