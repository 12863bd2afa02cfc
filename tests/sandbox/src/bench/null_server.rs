//! A server that replaces storage and Dataverse, accepts every request and keeps almost no state, for more keys than
//! the stand-ins could hold.
//!
//! It checks no signature and no token, and stores no rows. It uses plain sockets, because it shares the machine with the handler
//! and must use less CPU time. Responses are delayed as configured; the real delays are recorded, as timers are not exact.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

use stand_ins::net::Tls;

/// The null server; dropping it closes it.
#[derive(Debug)]
pub(super) struct NullServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<Mutex<State>>,
    task: AbortHandle,
}

/// How it behaves, and what it has seen.
#[derive(Debug, Default)]
pub(super) struct State {
    /// The minimum delay of the storage's responses.
    pub(super) storage_delay: Duration,
    /// The minimum delay of Dataverse's responses.
    pub(super) dataverse_delay: Duration,
    /// Every key is new: the lock's blob is missing (404), is created, leased and released. Otherwise every blob exists.
    pub(super) keys_are_new: bool,
    /// Blobs that were created and not leased yet.
    created: HashSet<String>,
    /// From the last byte of each acquire of a lease to the first of its response.
    pub(super) acquires: Vec<Duration>,
    /// The same of each write.
    pub(super) writes: Vec<Duration>,
    /// Responses that were sent.
    pub(super) calls: u64,
    /// Connections that were opened.
    pub(super) connections: u64,
}

/// The relevant parts of a request.
struct ParsedRequest<'a> {
    method: &'a str,
    path: &'a str,
    action: Option<&'a str>,
    lease: Option<&'a str>,
    /// Bytes of head and body.
    length: usize,
}

impl NullServer {
    /// Listens on a free port, with TLS if given; every blob exists, and nothing is delayed.
    pub(super) async fn start(tls: Option<&Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, state) = (listener.local_addr()?, Arc::default());
        let scheme = if tls.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, tls.map(Tls::acceptor), Arc::clone(&state))).abort_handle();
        Ok(Self { address, scheme, state, task })
    }

    /// How it behaves, and what it has seen.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        locked(&self.state)
    }

    /// The address to use as Dataverse's.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// A connection string to use for the locks; signatures are made with its key and not checked.
    pub(super) fn connection_string(&self) -> String {
        let (scheme, url) = (self.scheme, self.url());
        format!("DefaultEndpointsProtocol={scheme};AccountName=null;AccountKey=c2luaw==;BlobEndpoint={url}/null;")
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // If a connection could not be accepted, the client has to retry.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                locked(&state).connections += 1;
                connections.spawn(open(stream, acceptor.clone(), state.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn open(stream: TcpStream, acceptor: Option<TlsAcceptor>, state: Arc<Mutex<State>>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => serve(stream, &state).await,
        Some(acceptor) => serve(acceptor.accept(stream).await?, &state).await,
    }
}

/// Answers requests in sequence until the client disconnects.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(64 * 1024);
    while stream.read_buf(&mut bytes).await? > 0 {
        let since = Instant::now();
        while let Some(asked) = ParsedRequest::read(&bytes).filter(|asked| bytes.len() >= asked.length) {
            let (answer, delay) = locked(state).answer(&asked);
            // A timer for zero would take up to a millisecond.
            if !delay.is_zero() {
                tokio::time::sleep(delay).await;
            }
            locked(state).record(&asked, since.elapsed());
            stream.write_all(answer.as_bytes()).await?;
            let length = asked.length;
            bytes.drain(..length);
        }
    }
    Ok(())
}

impl<'a> ParsedRequest<'a> {
    /// Parses a request's head, if it is complete.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let (first, headers) = std::str::from_utf8(&bytes[..end]).ok()?.split_once("\r\n")?;
        let mut words = first.split([' ', '?']);
        let (method, path) = (words.next()?, words.next()?);
        let mut asked = Self { method, path, action: None, lease: None, length: end + 4 };
        for (name, value) in headers.split("\r\n").filter_map(|line| line.split_once(": ")) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => asked.length += value.parse::<usize>().ok()?,
                "x-ms-lease-action" => asked.action = Some(value),
                "x-ms-lease-id" | "x-ms-proposed-lease-id" => asked.lease = Some(value),
                _ => {}
            }
        }
        Some(asked)
    }
}

impl State {
    fn record(&mut self, asked: &ParsedRequest<'_>, took: Duration) {
        self.calls += 1;
        match (asked.method, asked.action) {
            ("PUT", Some("acquire")) => self.acquires.push(took),
            ("PATCH", _) => self.writes.push(took),
            _ => {}
        }
    }

    /// The response and its delay.
    fn answer(&mut self, asked: &ParsedRequest<'_>) -> (String, Duration) {
        if asked.method == "PATCH" {
            let answer = "HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\nx-ms-dop-hint: 1024\r\n\r\n";
            return (answer.to_owned(), self.dataverse_delay);
        }
        let status = match asked.action {
            Some("acquire") if self.keys_are_new && !self.created.remove(asked.path) => {
                "404 Not Found\r\nx-ms-error-code: BlobNotFound"
            }
            Some("acquire") => "201 Created",
            Some(_) => "200 OK",
            None => {
                self.created.insert(asked.path.to_owned());
                "201 Created"
            }
        };
        let lease = asked.lease.map_or_else(String::new, |id| format!("x-ms-lease-id: {id}\r\n"));
        let id = "x-ms-request-id: 4f2a6b1e-7003-0011-2d0c-9c1a3b000000";
        let answer = format!("HTTP/1.1 {status}\r\n{lease}{id}\r\nETag: \"0x8DE0000\"\r\nContent-Length: 0\r\n\r\n");
        (answer, self.storage_delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stand_ins::net::http_client;

    #[tokio::test]
    async fn a_key_is_new_each_time_and_a_row_is_taken() {
        let null_server = NullServer::start(None).await.expect("loopback has free ports");
        null_server.state().keys_are_new = true;
        let (http, blob) = (http_client(), format!("{}/null/locks/a", null_server.url()));
        let lease = |action: &'static str| http.put(format!("{blob}?comp=lease")).header("x-ms-lease-action", action);
        for _ in 0..2 {
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 404);
            assert_eq!(http.put(&blob).send().await.expect("an answer").status(), 201);
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 201);
            assert_eq!(lease("release").send().await.expect("an answer").status(), 200);
        }
        let row = http.patch(format!("{}/api/data/v9.2/contacts(1)", null_server.url())).body("{}").send();
        assert_eq!(row.await.expect("an answer").status(), 204);
        let state = null_server.state();
        assert_eq!((state.calls, state.acquires.len(), state.writes.len()), (9, 4, 1));
    }
}
