//! The load: a constant number of queue messages in flight, each on its own connection, as the Functions host sends them.
//!
//! It uses plain sockets, because it shares the machine with the handler and must use less CPU time. It stops at a
//! response other than 200 and at a dead letter: a message that was not written must not count.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::message::Message;

/// After this time without a response the handler is considered stuck; it may hold a message for eight minutes.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(10);

/// A load: messages, and how they are sent.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Where the handler listens.
    pub(super) port: u16,
    /// The message.
    pub(super) message: Message,
    /// The number of messages in flight.
    pub(super) in_flight: u64,
    /// The number of messages in all.
    pub(super) messages: u64,
    /// The connections start staggered over this time: those that start together stay synchronised and wait for each other.
    pub(super) spread: Duration,
    /// The records of the messages.
    pub(super) keys: Keys,
}

/// Chooses the records of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Each connection uses this many records of its own in turn, from number `first` on.
    InTurn { first: u64, each: u64 },
    /// A new record for each message, from this number on.
    Fresh(u64),
}

/// The result of a load.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// From the first byte sent to the last byte read, of each message.
    pub(super) took: Vec<Duration>,
    /// From the first message to the last response.
    pub(super) lasted: Duration,
}

impl Load {
    /// A load for this port, which reuses records.
    pub(super) fn to(port: u16, message: &Message, in_flight: u64, messages: u64) -> Self {
        // So many records that a record's lease is released before the record is used again.
        let (message, keys) = (message.clone(), Keys::InTurn { first: 0, each: 8 });
        Self { port, message, in_flight, messages, spread: Duration::ZERO, keys }
    }

    /// Sends it.
    pub(super) async fn send(self) -> anyhow::Result<Answers> {
        let open = |_| TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        let streams = try_join_all((0..self.in_flight).map(open)).await.context("connecting to the handler")?;
        let (next, begun) = (Arc::new(AtomicU64::new(0)), Instant::now());
        // Dropping the set ends the connections.
        let mut connections = JoinSet::new();
        for (number, stream) in (0..).zip(streams) {
            connections.spawn(self.clone().of_connection(number, stream, next.clone()));
        }
        let mut took = Vec::new();
        while let Some(answers) = connections.join_next().await {
            took.extend(answers.context("the load panicked")??);
        }
        Ok(Answers { took, lasted: begun.elapsed() })
    }

    /// Sends messages on one connection until all are sent.
    async fn of_connection(
        mut self,
        number: u64,
        mut stream: TcpStream,
        next: Arc<AtomicU64>,
    ) -> anyhow::Result<Vec<Duration>> {
        stream.set_nodelay(true)?;
        let (mut took, mut bytes) = (Vec::new(), Vec::new());
        tokio::time::sleep(self.spread.mul_f64(super::number(number) / super::number(self.in_flight))).await;
        for turn in 0.. {
            let message = next.fetch_add(1, Ordering::Relaxed);
            if message >= self.messages {
                break;
            }
            let (key, begun) = (self.keys.key(number, turn, message), Instant::now());
            stream.write_all(self.message.fill(key, message)).await.context("sending a message")?;
            let answered = timeout(RESPONSE_TIMEOUT, answer(&mut stream, &mut bytes)).await;
            answered.context("it was not answered").flatten().with_context(|| format!("message {message}"))?;
            took.push(begun.elapsed());
        }
        Ok(took)
    }
}

impl Keys {
    /// The record for a connection's turn; `message` is the number of the message overall.
    fn key(self, connection: u64, turn: u64, message: u64) -> u64 {
        match self {
            Self::InTurn { first, each } => first + connection * each + turn % each,
            Self::Fresh(first) => first + message,
        }
    }
}

/// Reads one response, which must be 200 and not have the output binding of a dead letter.
async fn answer(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> anyhow::Result<()> {
    bytes.clear();
    loop {
        if let Some(status) = whole(bytes) {
            let text = || String::from_utf8_lossy(bytes);
            ensure!(status == "200", "it was answered {}", text());
            ensure!(!text().contains("\"deadLetter\""), "it became a dead letter: {}", text());
            return Ok(());
        }
        ensure!(stream.read_buf(bytes).await? > 0, "the handler closed the connection");
    }
}

/// The status of a response, if it is complete.
fn whole(bytes: &[u8]) -> Option<&str> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let headers = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let length = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length")).map(|(_, value)| value.trim());
    let length: usize = length.last()?.parse().ok()?;
    (bytes.len() >= end + length).then(|| head.split(' ').nth(1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_message_that_was_not_written_ends_the_load() {
        for (answer, problem) in [
            ("HTTP/1.1 503 lock_busy\r\ncontent-length:0\r\n\r\n", "it was answered HTTP/1.1 503"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n\"deadLetter\"", "it became a dead letter"),
            ("HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "the handler closed the connection"),
        ] {
            let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            let port = listener.local_addr().expect("it is bound").port();
            let load = Load::to(port, &Message::new("{}"), 1, 1).send();
            let serving = async {
                let (mut stream, _) = listener.accept().await.expect("a connection");
                stream.read_buf(&mut Vec::with_capacity(64 * 1_024)).await.expect("a message");
                stream.write_all(answer.as_bytes()).await.expect("the load reads");
            };
            let (sent, ()) = tokio::join!(load, serving);
            let error = format!("{:#}", sent.expect_err("it was not written"));
            assert!(error.starts_with("message 0: ") && error.contains(problem), "{error}");
        }
    }
}
