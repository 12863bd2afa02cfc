//! HTTP/1 as raw bytes: requests that no client library would send, and the raw responses.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection that is open for longer is considered hung.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(30);

/// One answer; the head is as received.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: u16,
    /// The status line and the headers, without the blank line.
    pub(super) head: String,
    pub(super) body: String,
}

impl RawAnswer {
    /// A header's value; the name is in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends these bytes and reads until the handler closes the connection, so the last request needs `Connection: close`.
pub(super) async fn exchange(port: u16, bytes: &[u8]) -> Vec<RawAnswer> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens");
    let (mut from, mut to) = stream.into_split();
    // May fail: after an error the handler closes the connection before everything is sent.
    let sent = async { to.write_all(bytes).await.is_ok() };
    let mut received = Vec::new();
    let read = async { while matches!(from.read_buf(&mut received).await, Ok(some) if some > 0) {} };
    timeout(EXCHANGE_TIMEOUT, async { tokio::join!(sent, read) }).await.expect("the connection is closed in the end");
    answers(&String::from_utf8_lossy(&received))
}

/// Splits the answers by their Content-Length; a 100 has neither that nor a body.
fn answers(mut text: &str) -> Vec<RawAnswer> {
    let mut answers = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
        let answer = RawAnswer { status, head: head.to_owned(), body: String::new() };
        let length: usize = answer.header("content-length").map_or(0, |length| length.parse().expect("a number"));
        let (body, next) = rest.split_at_checked(length).expect("the body is whole");
        answers.push(RawAnswer { body: body.to_owned(), ..answer });
        text = next;
    }
    assert_eq!(text, "", "nothing but answers is sent");
    answers
}
