//! HTTP/1.1 on a TCP listener that caps the open connections and retries after accept errors.
//!
//! At the limit, further connections wait in the system's backlog until another one closes. A socket that does not listen any more
//! never gives another connection; the server then stops, and the host starts another handler.

use std::future::pending;
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

/// The pause after an accept error, such as too many open files.
const ACCEPT_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Accepts connections.
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

    /// Serves until `stop`. Then idle connections close, and the others finish their request.
    ///
    /// Not by `axum::serve`: as the client speaks HTTP/2, that would bring an HTTP/2 server, which the host does not use.
    pub(super) async fn serve(mut self, router: Router, stop: CancellationToken) {
        let (service, connections) = (TowerToHyperService::new(router), GracefulShutdown::new());
        while let Some((stream, slot)) = stop.run_until_cancelled(self.accept()).await {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service.clone());
            let connection = connections.watch(connection);
            tokio::spawn(async move {
                // Its errors are those of the peer.
                let _ = connection.await;
                drop(slot);
            });
        }
        drop(self);
        connections.shutdown().await;
    }

    /// A connection, and its slot, freed when it is dropped.
    async fn accept(&mut self) -> (TcpStream, OwnedSemaphorePermit) {
        let slot = self.slots.clone().acquire_owned().await.expect("the semaphore is never closed");
        let mut is_reported = false;
        loop {
            match self.inner.accept().await {
                Ok((stream, _)) => {
                    // Without it a response in two writes waits for the peer's delayed acknowledgement.
                    let _ = stream.set_nodelay(true);
                    return (stream, slot);
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
}

#[cfg(test)]
mod tests {
    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn a_connection_beyond_the_limit_is_accepted_once_another_one_closes() {
        let inner = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = inner.local_addr().expect("it is bound");
        let mut listener = Listener::new(inner, 1, CancellationToken::new());
        let _clients = [TcpStream::connect(address).await, TcpStream::connect(address).await].map(Result::unwrap);
        let first = listener.accept().await;
        let wait = Duration::from_millis(100);
        assert!(timeout(wait, listener.accept()).await.is_err(), "the only slot is taken");
        drop(first);
        let _second = timeout(Duration::from_secs(10), listener.accept()).await.expect("the slot is free again");
    }
}
