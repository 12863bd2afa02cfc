//! A server that replaces storage and Dataverse, accepts every request and keeps almost no state, for more keys than
//! the stand-ins could hold.
//!
//! It checks no signature and no token, and stores no rows. It responds as the services would to a single handler:
//! either every blob exists, or every key is new ([`Blobs`]), and then the lock's blob is missing (404), is created,
//! leased and released. A blob is remembered only from its creation to its first lease, so memory does not grow with
//! the keys. It uses plain sockets, because it shares the machine with the handler and must use less CPU time.
//!
//! It delays responses as configured ([`Pace`]) and records the real delays ([`Latency`]), as timers are not exact.

mod latency;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

pub(super) use self::latency::Latency;
use stand_ins::net::Tls;

/// Maximum length of a request.
const MOST_BYTES: usize = 256 * 1024;

/// The recommended degree of parallelism in every response.
const PARALLELISM: u32 = 1_024;

/// The null server; dropping it closes it.
#[derive(Debug)]
pub(super) struct NullServer {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    task: AbortHandle,
}

/// Which blobs exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blobs {
    /// All of them.
    Known,
    /// None except those just created.
    New,
}

/// The minimum delay of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    /// Of the storage.
    pub(super) storage: Duration,
    /// Of Dataverse.
    pub(super) dataverse: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Whether every blob exists.
    known: AtomicBool,
    pace: Mutex<Pace>,
    /// Blobs that were created and not leased yet.
    created: Mutex<HashSet<String>>,
    leases: AtomicU64,
    writes: AtomicU64,
    connections: AtomicU64,
    /// When each response was sent, while this is recorded.
    log: Mutex<Option<Vec<Instant>>>,
    /// The last calls, while they are recorded.
    calls: Mutex<Option<Calls>>,
    latency: Arc<Latency>,
}

/// The raw calls of a message.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    /// The acquire of the lease.
    pub(super) acquire: Vec<u8>,
    /// The PATCH.
    pub(super) write: Vec<u8>,
    /// The release of the lease.
    pub(super) release: Vec<u8>,
}

/// The relevant parts of a request.
#[derive(Debug, PartialEq, Eq)]
struct ParsedRequest<'a> {
    method: &'a str,
    path: &'a str,
    action: Option<&'a str>,
    lease: Option<&'a str>,
    /// Bytes of head and body.
    length: usize,
}

impl NullServer {
    /// Listens on a free port, with TLS if given.
    pub(super) async fn start(blobs: Blobs, tls: Option<&Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let acceptor = tls.map(Tls::acceptor);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, acceptor, state.clone())).abort_handle();
        let null_server = Self { address, scheme, state, task };
        null_server.knows(blobs);
        Ok(null_server)
    }

    /// Sets which blobs exist.
    pub(super) fn knows(&self, blobs: Blobs) {
        self.state.known.store(blobs == Blobs::Known, Ordering::Relaxed);
    }

    /// Sets the delay of responses.
    pub(super) fn pace(&self, pace: Pace) {
        *self.state.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// The measured delays.
    pub(super) fn latency(&self) -> Arc<Latency> {
        self.state.latency.clone()
    }

    /// Starts a new record of response times, and returns the previous one.
    pub(super) fn answered(&self) -> Vec<Instant> {
        let log = self.state.log.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new());
        log.unwrap_or_default()
    }

    /// Starts recording the last calls.
    pub(super) fn keep_calls(&self) {
        *self.state.calls.lock().unwrap_or_else(PoisonError::into_inner) = Some(Calls::default());
    }

    /// Stops recording, and returns the last calls.
    pub(super) fn calls(&self) -> Calls {
        self.state.calls.lock().unwrap_or_else(PoisonError::into_inner).take().unwrap_or_default()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address to use as Dataverse's.
    pub(super) fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// A connection string to use for the locks; signatures are made with its key and not checked.
    pub(super) fn connection_string(&self) -> String {
        let (scheme, url) = (self.scheme, self.url());
        format!(
            "DefaultEndpointsProtocol={scheme};AccountName=nullserver;AccountKey=c2luaw==;BlobEndpoint={url}/nullserver;"
        )
    }

    /// Leases that were granted.
    pub(super) fn leases(&self) -> u64 {
        self.state.leases.load(Ordering::Relaxed)
    }

    /// Rows that were written.
    pub(super) fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// Connections that were opened.
    pub(super) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for NullServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // If a connection could not be accepted, the client has to retry.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                state.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(open(stream, acceptor.clone(), state.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn open(stream: TcpStream, acceptor: Option<TlsAcceptor>, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    match acceptor {
        None => serve(stream, state).await,
        Some(acceptor) => serve(acceptor.accept(stream).await?, state).await,
    }
}

/// Answers requests in sequence until the client disconnects or sends an invalid request.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * 1024);
    let mut since = Instant::now();
    loop {
        let used = match ParsedRequest::read(&bytes) {
            Some(asked) if bytes.len() >= asked.length => {
                let answer = state.answer(&asked);
                wait(state.pace_of(&asked)).await;
                state.record(&asked, since);
                state.keep(&asked, &bytes[..asked.length]);
                stream.write_all(answer.as_bytes()).await?;
                asked.length
            }
            _ if bytes.len() > MOST_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            _ => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
                since = Instant::now();
                continue;
            }
        };
        bytes.drain(..used);
    }
}

/// Skips the timer for zero, which would take up to a millisecond.
async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl<'a> ParsedRequest<'a> {
    /// Parses a request's head, if it is complete.
    fn read(bytes: &'a [u8]) -> Option<Self> {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&bytes[..end]).ok()?;
        let (first, headers) = head.split_once("\r\n")?;
        let mut words = first.split(' ');
        let (method, target) = (words.next()?, words.next()?);
        let path = target.split('?').next().unwrap_or(target);
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
    /// The minimum delay of the response.
    fn pace_of(&self, asked: &ParsedRequest<'_>) -> Duration {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.method == "PATCH" { pace.dataverse } else { pace.storage }
    }

    /// Records the response to a request that was read at `since`.
    fn record(&self, asked: &ParsedRequest<'_>, since: Instant) {
        let now = Instant::now();
        match (asked.method, asked.action) {
            ("PUT", Some("acquire")) => self.latency.leased(asked.path, now - since),
            ("PATCH", _) => self.latency.written(asked.path, now - since),
            _ => {}
        }
        if let Some(log) = self.log.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            log.push(now);
        }
    }

    fn keep(&self, asked: &ParsedRequest<'_>, bytes: &[u8]) {
        if let Some(calls) = self.calls.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            let call = match (asked.method, asked.action) {
                ("PUT", Some("acquire")) => &mut calls.acquire,
                ("PUT", Some("release")) => &mut calls.release,
                ("PATCH", _) => &mut calls.write,
                _ => return,
            };
            bytes.clone_into(call);
        }
    }

    fn answer(&self, asked: &ParsedRequest<'_>) -> String {
        match (asked.method, asked.action) {
            ("PUT", Some("acquire")) if !self.take(asked.path) => missing(),
            ("PUT", Some("acquire")) => {
                self.leases.fetch_add(1, Ordering::Relaxed);
                leased("201 Created", asked.lease)
            }
            ("PUT", Some(_)) => leased("200 OK", asked.lease),
            ("PUT", None) => {
                self.create(asked.path);
                leased("201 Created", None)
            }
            ("PATCH", _) => {
                self.writes.fetch_add(1, Ordering::Relaxed);
                format!("HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\nx-ms-dop-hint: {PARALLELISM}\r\n\r\n")
            }
            _ => "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    }

    fn create(&self, path: &str) {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    fn take(&self, path: &str) -> bool {
        self.known.load(Ordering::Relaxed) || self.created.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
    }
}

fn missing() -> String {
    let text = "<?xml version=\"1.0\" encoding=\"utf-8\"?><Error><Code>BlobNotFound</Code></Error>";
    let (code, length) = ("BlobNotFound", text.len());
    format!("HTTP/1.1 404 Not Found\r\nx-ms-error-code: {code}\r\nContent-Length: {length}\r\n\r\n{text}")
}

fn leased(status: &str, lease: Option<&str>) -> String {
    let lease = lease.map_or_else(String::new, |id| format!("x-ms-lease-id: {id}\r\n"));
    format!("HTTP/1.1 {status}\r\n{lease}ETag: \"0x8DE0000\"\r\nContent-Length: 0\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use stand_ins::net::http_client;

    #[test]
    fn a_request_is_read_when_its_head_is_whole() {
        let text =
            b"PUT /nullserver/locks/a?comp=lease HTTP/1.1\r\nX-Ms-Lease-Action: acquire\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(ParsedRequest::read(&text[..text.len() - 3]), None);
        let asked = ParsedRequest::read(text).expect("it is whole");
        assert_eq!((asked.method, asked.path, asked.action), ("PUT", "/nullserver/locks/a", Some("acquire")));
        assert_eq!(asked.length, text.len());
    }

    #[tokio::test]
    async fn a_key_is_new_each_time_and_a_row_is_taken() {
        let null_server = NullServer::start(Blobs::New, None).await.expect("loopback has free ports");
        let (http, blob) = (http_client(), format!("{}/nullserver/locks/a", null_server.url()));
        let lease = |action: &'static str| http.put(format!("{blob}?comp=lease")).header("x-ms-lease-action", action);
        for _ in 0..2 {
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 404);
            assert_eq!(http.put(&blob).send().await.expect("an answer").status(), 201);
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 201);
            assert_eq!(lease("release").send().await.expect("an answer").status(), 200);
        }
        let row = http.patch(format!("{}/api/data/v9.2/contacts(1)", null_server.url())).body("{}").send();
        assert_eq!(row.await.expect("an answer").status(), 204);
        assert_eq!((null_server.leases(), null_server.writes()), (2, 1));
    }
}
