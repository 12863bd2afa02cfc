//! HTTP/1 as bytes: what no client library would send, and what came back before anyone interpreted it.

use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Far beyond what an answer takes; a connection that is still open then hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// One answer, its head as it was sent.
#[derive(Debug)]
pub(super) struct RawAnswer {
    pub(super) status: u16,
    /// The status line and the headers, without the empty line.
    pub(super) head: String,
    pub(super) body: String,
}

impl RawAnswer {
    /// A header's value by its name in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}

/// Sends these bytes and reads until the handler closes the connection, so they should ask for that.
pub(super) async fn exchange(port: u16, bytes: &[u8]) -> Vec<RawAnswer> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.expect("it listens");
    let (mut from, mut to) = stream.into_split();
    // A handler that has seen enough closes; what is still to be sent is lost with good reason.
    let sent = async { to.write_all(bytes).await.is_ok() };
    let mut received = Vec::new();
    let read = async { while matches!(from.read_buf(&mut received).await, Ok(some) if some > 0) {} };
    timeout(PATIENCE, async { tokio::join!(sent, read) }).await.expect("the connection is closed in the end");
    answers(&String::from_utf8_lossy(&received))
}

/// Takes answers apart by their Content-Length; a 100 has none and no body.
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
