//! A storage and a Dataverse that say yes and remember next to nothing, for more keys than the stand-ins could hold.
//!
//! It is no stand-in: it checks no signature and no token, and no row exists. It answers as the real ones would answer a
//! handler that is alone and sees every key for the first time: the lock's blob is missing (404), is created, leased and
//! released. A blob is remembered from its creation to its first lease only, so memory does not grow with the keys.
//! Written on the bare socket: it shares the machine with what it measures and has to cost less.

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// No client of the handler sends more at once.
const MOST_BYTES: usize = 64 * 1024;

/// The sink; dropping it closes it.
#[derive(Debug)]
pub(super) struct Sink {
    address: SocketAddr,
    state: Arc<State>,
    task: AbortHandle,
}

#[derive(Debug, Default)]
struct State {
    /// Blobs that were created and not leased yet.
    created: Mutex<HashSet<String>>,
    leases: AtomicU64,
    writes: AtomicU64,
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
    /// Listens on a free port.
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let state = Arc::new(State::default());
        let task = tokio::spawn(accept(listener, state.clone())).abort_handle();
        Ok(Self { address, state, task })
    }

    /// The address to use as Dataverse's.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A connection string to use for the locks; signatures are made with its key and not checked.
    pub(super) fn connection_string(&self) -> String {
        let url = self.url();
        format!("DefaultEndpointsProtocol=http;AccountName=sink;AccountKey=c2luaw==;BlobEndpoint={url}/sink;")
    }

    /// Leases that were granted.
    pub(super) fn leases(&self) -> u64 {
        self.state.leases.load(Ordering::Relaxed)
    }

    /// Rows that were taken.
    pub(super) fn writes(&self) -> u64 {
        self.state.writes.load(Ordering::Relaxed)
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            // A connection that could not be accepted is the client's to repeat.
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                connections.spawn(serve(stream, state.clone()));
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Answers one request after the other until the client leaves or sends what is not understood.
async fn serve(mut stream: TcpStream, state: Arc<State>) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = Vec::with_capacity(4 * 1024);
    loop {
        let (answer, used) = match Asked::read(&bytes) {
            Some(asked) if bytes.len() >= asked.length => (state.answer(&asked), asked.length),
            _ if bytes.len() > MOST_BYTES => return Err(io::ErrorKind::InvalidData.into()),
            _ => {
                if stream.read_buf(&mut bytes).await? == 0 {
                    return Ok(());
                }
                continue;
            }
        };
        stream.write_all(answer.as_bytes()).await?;
        bytes.drain(..used);
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
                "HTTP/1.1 204 No Content\r\nOData-Version: 4.0\r\n\r\n".to_owned()
            }
            _ => "HTTP/1.1 501 Not Implemented\r\nContent-Length: 0\r\n\r\n".to_owned(),
        }
    }

    fn create(&self, path: &str) {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
    }

    fn take(&self, path: &str) -> bool {
        self.created.lock().unwrap_or_else(PoisonError::into_inner).remove(path)
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
        let sink = Sink::start().await.expect("loopback has free ports");
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
