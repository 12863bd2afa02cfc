//! A TCP server that answers each request with the next act of a script: raw bytes, or a failure. It parses only where
//! a request ends, so it can break every other HTTP rule.

use std::collections::VecDeque;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

/// How one request is answered. All but [`Act::Refuse`] read it completely first.
#[derive(Debug, Clone)]
pub(super) enum Act {
    /// Send these bytes and keep the connection open.
    Send(Vec<u8>),
    /// Send these bytes and close the connection.
    SendAndClose(Vec<u8>),
    /// Send these bytes, then nothing, on an open connection.
    SendAndHang(Vec<u8>),
    /// Send these bytes in small pieces with pauses, and keep the connection open.
    Dribble(Vec<u8>),
    /// Reset the connection.
    Reset,
    /// Close the connection as soon as it is accepted, without reading.
    Refuse,
}

/// The running server; dropping it closes every connection.
#[derive(Debug)]
pub(super) struct Scripted {
    port: u16,
    seen: watch::Receiver<Seen>,
    _listener: JoinSet<()>,
}

/// What the server received.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub(super) connections: usize,
    /// Head and body of each request, in order.
    pub(super) requests: Vec<String>,
}

/// Decides how a request is answered.
type Decide = dyn Fn(&str) -> Act + Send + Sync;

struct Script {
    acts: Mutex<VecDeque<Act>>,
    /// How requests are answered that the acts leave over.
    decide: Option<Box<Decide>>,
    seen: watch::Sender<Seen>,
}

impl Scripted {
    /// Starts a server that follows the script, and closes the connection of every further request.
    pub(super) async fn start(acts: Vec<Act>) -> Self {
        Self::run(acts, None).await
    }

    /// Starts a server that answers every request as `decide` says.
    pub(super) async fn answering(decide: impl Fn(&str) -> Act + Send + Sync + 'static) -> Self {
        Self::run(Vec::new(), Some(Box::new(decide))).await
    }

    async fn run(acts: Vec<Act>, decide: Option<Box<Decide>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("loopback has a free port");
        let port = listener.local_addr().expect("it is bound").port();
        let (sender, seen) = watch::channel(Seen::default());
        let script = Arc::new(Script { acts: Mutex::new(acts.into()), decide, seen: sender });
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                script.seen.send_modify(|seen| seen.connections += 1);
                if script.refuses() {
                    continue;
                }
                let script = script.clone();
                // A client may close its connection.
                open.spawn(async move { script.serve(stream).await.unwrap_or_default() });
            }
        });
        Self { port, seen, _listener: task }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// What the server has received so far.
    pub(super) fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits until `count` requests have been read completely.
    pub(super) async fn received(&self, count: usize) {
        let mut seen = self.seen.clone();
        seen.wait_for(|seen| seen.requests.len() >= count).await.expect("the server runs as long as this value");
    }
}

impl Script {
    fn acts(&self) -> std::sync::MutexGuard<'_, VecDeque<Act>> {
        self.acts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuses(&self) -> bool {
        let mut acts = self.acts();
        let refuses = matches!(acts.front(), Some(Act::Refuse));
        if refuses {
            acts.pop_front();
        }
        refuses
    }

    async fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        while let Some(request) = read_request(&mut stream).await? {
            let next = self.acts().pop_front();
            let act = next.or_else(|| self.decide.as_ref().map(|decide| decide(&request)));
            self.seen.send_modify(|seen| seen.requests.push(request));
            match act {
                Some(Act::Send(bytes)) => stream.write_all(&bytes).await?,
                Some(Act::SendAndClose(bytes)) => return stream.write_all(&bytes).await,
                Some(Act::SendAndHang(bytes)) => {
                    stream.write_all(&bytes).await?;
                    return std::future::pending().await;
                }
                Some(Act::Dribble(bytes)) => dribble(&mut stream, &bytes).await?,
                Some(Act::Reset) => return stream.set_zero_linger(),
                Some(Act::Refuse) | None => return Ok(()),
            }
        }
        Ok(())
    }
}

async fn dribble(stream: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    stream.set_nodelay(true)?;
    for piece in bytes.chunks(7) {
        stream.write_all(piece).await?;
        sleep(Duration::from_millis(2)).await;
    }
    Ok(())
}

/// One request with a Content-Length or without a body; `None` when the client has closed.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
            let length: usize = length.map_or(0, |text| text.trim().parse().expect("the client counts right"));
            if bytes.len() >= end + 4 + length {
                return Ok(Some(String::from_utf8_lossy(&bytes).into_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
