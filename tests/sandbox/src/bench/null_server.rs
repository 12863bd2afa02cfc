//! A storage and a Dataverse that say yes and remember next to nothing, for more keys than the stand-ins could hold.
//!
//! It is no stand-in: it checks no signature and no token, and no row exists. It answers as the real ones would answer a
//! handler that is alone: every blob is known to it, or every key is seen for the first time ([`Blobs`]), and then the lock's
//! blob is missing (404), is created, leased and released. A blob is remembered from its creation to its first lease only, so
//! memory does not grow with the keys. Written on the bare socket: it shares the machine with what it measures and has to cost
//! less.
//!
//! It takes its time where it is told to ([`Pace`]), and says how long that was ([`OwnTimes`]): a timer is never exact.

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

pub(super) use self::latency::OwnTimes;
use crate::net::Tls;

/// No client of the handler sends more at once.
const MOST_BYTES: usize = 256 * 1024;

/// What every row written says: so many at once are welcome.
const PARALLELISM: u32 = 1_024;

/// The sink; dropping it closes it.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    scheme: &'static str,
    state: Arc<State>,
    task: AbortHandle,
}

/// Which blobs there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Blobs {
    /// All that are asked for.
    Known,
    /// None but those that were created a moment ago.
    New,
}

/// How long an answer takes at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Pace {
    /// The storage's.
    pub(super) storage: Duration,
    /// Dataverse's.
    pub(super) dataverse: Duration,
}

#[derive(Debug, Default)]
struct State {
    /// Whether every blob is there.
    known: AtomicBool,
    pace: Mutex<Pace>,
    /// Blobs that were created and not leased yet.
    created: Mutex<HashSet<String>>,
    leases: AtomicU64,
    writes: AtomicU64,
    connections: AtomicU64,
    /// When each request was answered, while that is asked for.
    log: Mutex<Option<Vec<Instant>>>,
    /// The last calls, while they are kept.
    calls: Mutex<Option<Calls>>,
    own_times: Arc<OwnTimes>,
}

/// A message's calls, byte for byte as they came.
#[derive(Debug, Clone, Default)]
pub(super) struct Calls {
    /// For the lease.
    pub(super) acquire: Vec<u8>,
    /// The PATCH.
    pub(super) write: Vec<u8>,
    /// What gives the lease back.
    pub(super) release: Vec<u8>,
}

/// What was asked, as far as it matters.
#[derive(Debug, PartialEq, Eq)]
struct Asked<'a> {
    method: &'a str,
    path: &'a str,
    action: Option<&'a str>,
    lease: Option<&'a str>,
    /// Bytes of head and body.
    length: usize,
}

impl Sink {
    /// Listens on a free port, behind TLS where it is given.
    pub(super) async fn start(blobs: Blobs, tls: Option<&Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let acceptor = tls.map(Tls::acceptor);
        let scheme = if acceptor.is_some() { "https" } else { "http" };
        let task = tokio::spawn(accept(listener, acceptor, state.clone())).abort_handle();
        let sink = Self { address, scheme, state, task };
        sink.knows(blobs);
        Ok(sink)
    }

    /// From now on these blobs are there.
    pub(super) fn knows(&self, blobs: Blobs) {
        self.state.known.store(blobs == Blobs::Known, Ordering::Relaxed);
    }

    /// From now on answers take so long.
    pub(super) fn pace(&self, pace: Pace) {
        *self.state.pace.lock().unwrap_or_else(PoisonError::into_inner) = pace;
    }

    /// How long the answers really took.
    pub(super) fn own_times(&self) -> Arc<OwnTimes> {
        self.state.own_times.clone()
    }

    /// Begins to remember when each request was answered, and gives what was remembered so far.
    pub(super) fn answered(&self) -> Vec<Instant> {
        let log = self.state.log.lock().unwrap_or_else(PoisonError::into_inner).replace(Vec::new());
        log.unwrap_or_default()
    }

    /// From now on the last calls are kept.
    pub(super) fn keep_calls(&self) {
        *self.state.calls.lock().unwrap_or_else(PoisonError::into_inner) = Some(Calls::default());
    }

    /// The calls that were kept; no more are.
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
        format!("DefaultEndpointsProtocol={scheme};AccountName=sink;AccountKey=c2luaw==;BlobEndpoint={url}/sink;")
    }

    /// Leases that were granted.
    pub(super) fn leases(&self) -> u64 {
        self.state.leases.load(Ordering::Relaxed)
    }

    /// Rows that were taken.
    pub(super) fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }

    /// Connections that were opened.
    pub(super) fn connections(&self) -> u64 {
        self.state.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, acceptor: Option<TlsAcceptor>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that could not be accepted is the client's to repeat.
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

/// Answers one request after the other until the client leaves or sends what is not understood.
async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, state: Arc<State>) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(4 * 1024);
    let mut since = Instant::now();
    loop {
        let used = match Asked::read(&bytes) {
            Some(asked) if bytes.len() >= asked.length => {
                let answer = state.answer(&asked);
                wait(state.pace_of(&asked)).await;
                state.tell(&asked, since);
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

/// A timer that is set for no time at all takes up to a millisecond.
async fn wait(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

impl<'a> Asked<'a> {
    /// Reads a request's head, if all of it is there.
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
    /// How long the answer has to take.
    fn pace_of(&self, asked: &Asked<'_>) -> Duration {
        let pace = *self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.method == "PATCH" { pace.dataverse } else { pace.storage }
    }

    /// Notes that an answer is on its way to a request that was there `since` then.
    fn tell(&self, asked: &Asked<'_>, since: Instant) {
        let now = Instant::now();
        match (asked.method, asked.action) {
            ("PUT", Some("acquire")) => self.own_times.leased(asked.path, now - since),
            ("PATCH", _) => self.own_times.written(asked.path, now - since),
            _ => {}
        }
        if let Some(log) = self.log.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            log.push(now);
        }
    }

    fn keep(&self, asked: &Asked<'_>, bytes: &[u8]) {
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

    fn answer(&self, asked: &Asked<'_>) -> String {
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
    use crate::net::http_client;

    #[test]
    fn a_request_is_read_when_its_head_is_whole() {
        let text =
            b"PUT /sink/locks/a?comp=lease HTTP/1.1\r\nX-Ms-Lease-Action: acquire\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(Asked::read(&text[..text.len() - 3]), None);
        let asked = Asked::read(text).expect("it is whole");
        assert_eq!((asked.method, asked.path, asked.action), ("PUT", "/sink/locks/a", Some("acquire")));
        assert_eq!(asked.length, text.len());
    }

    #[tokio::test]
    async fn a_key_is_new_each_time_and_a_row_is_taken() {
        let sink = Sink::start(Blobs::New, None).await.expect("loopback has free ports");
        let (http, blob) = (http_client(), format!("{}/sink/locks/a", sink.url()));
        let lease = |action: &'static str| http.put(format!("{blob}?comp=lease")).header("x-ms-lease-action", action);
        for _ in 0..2 {
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 404);
            assert_eq!(http.put(&blob).send().await.expect("an answer").status(), 201);
            assert_eq!(lease("acquire").send().await.expect("an answer").status(), 201);
            assert_eq!(lease("release").send().await.expect("an answer").status(), 200);
        }
        let row = http.patch(format!("{}/api/data/v9.2/contacts(1)", sink.url())).body("{}").send();
        assert_eq!(row.await.expect("an answer").status(), 204);
        assert_eq!((sink.leases(), sink.writes()), (2, 1));
    }
}
