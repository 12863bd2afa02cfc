//! The load: a constant number of queue messages in flight, each on its own connection, as the Functions host sends them.
//!
//! It uses plain sockets, because it shares the machine with the handler and must use less CPU time. It stops at a
//! response other than 200 and at a dead letter: a message that was not written must not count.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, anyhow, ensure};
use futures::future::try_join_all;
use indicatif::ProgressBar;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::message::Template;
use super::null_server::Latency;
use super::target::Running;

/// Records per connection, enough for a record's lease to be released before the record is used again.
pub(super) const TURNS: u64 = 8;

/// After this time without a response the handler is considered stuck.
const RESPONSE_TIMEOUT: Duration = Duration::from_mins(1);

/// The output binding of a message that cannot be written.
const DEAD_LETTER: &[u8] = b"\"deadLetter\"";

/// What is sent, and how.
#[derive(Debug, Clone)]
pub(super) struct Load {
    /// Where the handler listens.
    pub(super) port: u16,
    /// The message.
    pub(super) template: Template,
    /// The number of messages in flight.
    pub(super) in_flight: u64,
    /// The number of messages in all.
    pub(super) messages: u64,
    /// The connections start staggered over this time. Connections that start together stay synchronised and wait for
    /// each other.
    pub(super) spread: Duration,
    /// The records of the messages.
    pub(super) keys: Keys,
    /// The response timeout.
    pub(super) patience: Duration,
    /// The latency of the network calls, if it is subtracted.
    pub(super) latency: Option<Arc<Latency>>,
    /// Counts the responses.
    pub(super) bar: ProgressBar,
}

/// Chooses the records of the messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Each connection uses this many records of its own in turn.
    InTurn(u64),
    /// A new record for each message, from this number on.
    Fresh(u64),
}

/// The result of a load.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers {
    /// From the first byte sent to the last byte read.
    pub(super) took: Vec<Duration>,
    /// The same, less the latency of the network calls of that message.
    pub(super) added: Vec<Duration>,
    /// From the first message to the last response.
    pub(super) lasted: Duration,
}

/// One connection with its part of the load.
struct Slot {
    stream: TcpStream,
    bytes: Vec<u8>,
    load: Load,
    number: u64,
}

impl Load {
    /// A load for a running target, which reuses records and does not subtract latency.
    pub(super) fn of(running: &Running, template: &Template, in_flight: u64, messages: u64) -> Self {
        Self::to(running.port(), template, in_flight, messages)
    }

    /// The same load for this port.
    pub(super) fn to(port: u16, template: &Template, in_flight: u64, messages: u64) -> Self {
        let (template, keys, spread) = (template.clone(), Keys::InTurn(TURNS), Duration::ZERO);
        let (patience, latency, bar) = (RESPONSE_TIMEOUT, None, ProgressBar::hidden());
        Self { port, template, in_flight, messages, spread, keys, patience, latency, bar }
    }

    /// Sends several loads concurrently. They share one message counter, so all end together.
    pub(super) async fn drive_together(loads: Vec<Self>) -> anyhow::Result<Answers> {
        let next = Arc::new(AtomicU64::new(0));
        let slots = loads.iter().flat_map(|load| (0..load.in_flight).map(|number| Slot::open(load.clone(), number)));
        let slots = try_join_all(slots).await.context("connecting to the handler")?;
        let begun = Instant::now();
        let parts = try_join_all(slots.into_iter().map(|slot| tokio::spawn(slot.run(next.clone())))).await?;
        let mut all = Answers { lasted: begun.elapsed(), ..Answers::default() };
        for part in parts {
            let part = part?;
            all.took.extend(part.took);
            all.added.extend(part.added);
        }
        Ok(all)
    }

    /// Waits until the slot of this number may start.
    async fn wait_for_turn(&self, number: u64) {
        if !self.spread.is_zero() {
            let part = u32::try_from(number).unwrap_or(u32::MAX);
            let all = u32::try_from(self.in_flight).unwrap_or(u32::MAX);
            tokio::time::sleep(self.spread * part / all).await;
        }
    }
}

impl Keys {
    /// The record for a slot's turn; `message` is the number of the message overall.
    fn key(self, slot: u64, turn: u64, message: u64) -> u64 {
        match self {
            Self::InTurn(each) => slot * each + turn % each,
            Self::Fresh(first) => first + message,
        }
    }
}

impl Slot {
    async fn open(load: Load, number: u64) -> std::io::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, load.port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, bytes: Vec::with_capacity(1_024), load, number })
    }

    async fn run(mut self, next: Arc<AtomicU64>) -> anyhow::Result<Answers> {
        let mut answers = Answers::default();
        self.load.wait_for_turn(self.number).await;
        for turn in 0.. {
            let message = next.fetch_add(1, Ordering::Relaxed);
            if message >= self.load.messages {
                break;
            }
            let key = self.load.keys.key(self.number, turn, message);
            let begun = Instant::now();
            self.stream.write_all(self.load.template.fill(key)).await.context("sending a message")?;
            let answered = timeout(self.load.patience, self.answer()).await;
            let answered = answered.map_err(|_| anyhow!("it was not answered in {:?}", self.load.patience));
            answered.flatten().with_context(|| format!("message {message}"))?;
            let took = begun.elapsed();
            answers.took.push(took);
            if let Some(own) = &self.load.latency {
                answers.added.push(took.saturating_sub(own.take(key)));
            }
            self.load.bar.inc(1);
        }
        Ok(answers)
    }

    /// Reads one response, which must be 200.
    async fn answer(&mut self) -> anyhow::Result<()> {
        self.bytes.clear();
        loop {
            if let Some(status) = whole(&self.bytes) {
                ensure!(status == "200", "it was answered {status}");
                let is_letter = self.bytes.windows(DEAD_LETTER.len()).any(|window| window == DEAD_LETTER);
                ensure!(!is_letter, "it became a dead letter: {}", reason(&self.bytes));
                return Ok(());
            }
            ensure!(self.stream.read_buf(&mut self.bytes).await? > 0, "the handler hung up");
        }
    }
}

/// The end of a dead letter, which has the reason.
fn reason(answer: &[u8]) -> String {
    let text = String::from_utf8_lossy(answer);
    let from = text.rfind("\"reason\"").unwrap_or_default();
    text[from..].chars().take(200).collect()
}

/// The status of a response, if it is complete.
pub(super) fn whole(bytes: &[u8]) -> Option<&str> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let named = |name: &str| {
        let lines = head.split("\r\n").filter_map(|line| line.split_once(':'));
        lines.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let whole = match named("content-length") {
        Some(length) => bytes.len() - end >= length.parse().ok()?,
        None if named("transfer-encoding").is_some() => bytes.ends_with(b"0\r\n\r\n"),
        None => true,
    };
    whole.then(|| head.split(' ').nth(1).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::message::Columns;

    #[test]
    fn an_answer_is_whole_with_the_last_byte_that_its_head_names() {
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";
        assert_eq!(whole(answer), Some("200"));
        assert_eq!(whole(&answer[..answer.len() - 1]), None);
        assert_eq!(whole(b"HTTP/1.1 500 lock_busy\r\ncontent-length:0\r\n\r\n"), Some("500"));
    }

    #[test]
    fn an_answer_in_chunks_ends_with_the_empty_one() {
        let answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n";
        assert_eq!(whole(answer), Some("200"));
        assert_eq!(whole(&answer[..answer.len() - 5]), None);
    }

    #[test]
    fn a_dead_letter_tells_its_own_reason_and_not_the_messages() {
        let answer = br#"{"Outputs":{"deadLetter":{"message":"{\"reason\":1}","reason":"invalid_data","detail":"x"}}}"#;
        assert!(reason(answer).starts_with(r#""reason":"invalid_data""#), "{}", reason(answer));
    }

    #[tokio::test]
    async fn a_missing_response_ends_the_load() {
        let silent = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("loopback has free ports");
        let port = silent.local_addr().expect("it is bound").port();
        let template = Template::new(Columns::Many(1_024));
        let load = Load { patience: Duration::from_millis(1), ..Load::to(port, &template, 1, 1) };
        let error = Load::drive_together(vec![load]).await.expect_err("the server does not respond");
        assert_eq!(format!("{error:#}"), "message 0: it was not answered in 1ms");
    }

    #[test]
    fn a_slots_keys_are_its_own_and_come_round() {
        let keys = Keys::InTurn(3);
        let all: Vec<_> = (0..4).map(|turn| keys.key(2, turn, 99)).collect();
        assert_eq!(all, [6, 7, 8, 6]);
        assert_eq!(Keys::Fresh(1_000).key(2, 0, 99), 1_099);
    }
}
