//! A service whose answers never end: each begins as a real one would, and goes on until its client leaves.
//!
//! A client that never leaves gets [`MAX_BYTES`], and then the connection is closed.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::{AbortHandle, JoinSet};

/// Far beyond every limit.
const MAX_BYTES: u64 = 512 * 1024 * 1024;

/// The system's buffer for a connection: bytes in it count as sent.
const BUFFER: u32 = 32 * 1024;

const CHUNK: usize = 16 * 1024;

/// How an answer begins.
#[derive(Debug, Clone, Copy)]
pub(super) struct Script {
    /// The status line, and headers other than those about the body.
    pub(super) head: &'static str,
    /// The beginning of the body.
    pub(super) body: &'static str,
}

/// Bytes that were sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    /// In all answers.
    pub(super) total: AtomicU64,
    /// In the longest answer.
    pub(super) most: AtomicU64,
}

/// The service; dropping it closes it.
#[derive(Debug)]
pub(super) struct EndlessServer {
    address: SocketAddr,
    pub(super) sent: Arc<Sent>,
    task: AbortHandle,
}

impl EndlessServer {
    /// Listens on a free port.
    pub(super) fn start(script: Script) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.set_send_buffer_size(BUFFER)?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1_024)?;
        let (address, sent) = (listener.local_addr()?, Arc::<Sent>::default());
        let task = tokio::spawn(accept(listener, script, sent.clone())).abort_handle();
        Ok(Self { address, sent, task })
    }

    /// Its origin, without a trailing slash.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for EndlessServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, script: Script, sent: Arc<Sent>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => if let Ok((stream, _)) = accepted {
                let sent = sent.clone();
                connections.spawn(async move { serve(stream, script, &sent).await });
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(mut stream: TcpStream, script: Script, sent: &Sent) -> io::Result<()> {
    let mut request = Vec::new();
    loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let Some(end) = request.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        // The number of messages of a queue is in a header.
        if !request[..end].windows(13).any(|part| part == b"comp=metadata") {
            break;
        }
        request.clear();
        let answer =
            "HTTP/1.1 200 OK\r\nx-ms-request-id: a\r\nx-ms-approximate-messages-count: 1\r\nContent-Length: 0\r\n\r\n";
        stream.write_all(answer.as_bytes()).await?;
    }
    let Script { head, body } = script;
    let begin = format!("HTTP/1.1 {head}\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n", body.len());
    stream.write_all(begin.as_bytes()).await?;
    let chunk = format!("{CHUNK:x}\r\n{}\r\n", "a".repeat(CHUNK));
    let mut answer = 0;
    while answer < MAX_BYTES {
        stream.write_all(chunk.as_bytes()).await?;
        answer += CHUNK as u64;
        sent.total.fetch_add(CHUNK as u64, Ordering::Relaxed);
        sent.most.fetch_max(answer, Ordering::Relaxed);
    }
    Ok(())
}
