//! The host's HTTP/1.1 client for the handler. It keeps the reason phrase, the only information about a failed invocation.
//!
//! Connections are pooled, one for each call in flight. A request is sent once: when its connection breaks, the call has failed. A
//! pooled connection that the handler has closed meanwhile is not used. Timeouts are the caller's.
//!
//! Contract: <https://www.rfc-editor.org/rfc/rfc9112>.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::http1::{self, Connection, Headers};

/// The handler's port and the idle connections to it.
#[derive(Debug)]
pub(super) struct Wire {
    port: u16,
    idle: Mutex<Vec<Connection>>,
}

/// What to send; the header of the framing is added before the first content header.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
    /// Sends the body in chunks, as content of unknown length.
    pub(super) chunked: bool,
}

/// The response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The phrase after the status, as the server chose it.
    pub(super) reason: String,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The first header with this name, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        http1::values(&self.headers, name).next()
    }
}

impl Wire {
    /// A client for 127.0.0.1 at this port.
    pub(super) fn new(port: u16) -> Self {
        Self { port, idle: Mutex::default() }
    }

    /// The handler's port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Sends a request and reads the whole response.
    pub(super) async fn send(&self, request: &Request) -> io::Result<Response> {
        let mut connection = self.connection().await?;
        connection.write_all(&bytes(request)).await?;
        if connection.fill_buf().await?.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let mut response = read_head(&mut connection).await?;
        while (100..200).contains(&response.status) {
            response = read_head(&mut connection).await?;
        }
        let reusable = read_body(&mut connection, request, &mut response).await?;
        let closes = |headers| http1::has_token(headers, "connection", "close");
        if reusable && !closes(&response.headers) && !closes(&request.headers) {
            self.idle.lock().expect("no holder panics").push(connection);
        }
        Ok(response)
    }

    async fn connection(&self) -> io::Result<Connection> {
        while let Some(kept) = self.take_idle() {
            // No data and no end of the stream: the connection is still open.
            let pending = kept.get_ref().try_read(&mut [0]);
            if pending.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                return Ok(kept);
            }
        }
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        Ok(BufReader::new(stream))
    }

    fn take_idle(&self) -> Option<Connection> {
        self.idle.lock().expect("no holder panics").pop()
    }
}

fn bytes(request: &Request) -> Vec<u8> {
    let Request { method, target, headers, body, chunked } = request;
    let is_content = |(name, _): &(String, _)| name.eq_ignore_ascii_case("content-type");
    let (content, general): (Vec<_>, Vec<_>) = headers.iter().partition(|header| is_content(header));
    let framing = match (*chunked, !body.is_empty() || !matches!(method.as_str(), "GET" | "HEAD")) {
        (true, _) => Some(("Transfer-Encoding".to_owned(), b"chunked".to_vec())),
        (false, true) => Some(("Content-Length".to_owned(), body.len().to_string().into_bytes())),
        (false, false) => None,
    };
    let mut bytes = format!("{method} {target} HTTP/1.1\r\n").into_bytes();
    http1::write_headers(&mut bytes, general.into_iter().chain(framing.as_ref()).chain(content));
    if *chunked && !body.is_empty() {
        bytes.extend_from_slice(format!("{:X}\r\n", body.len()).as_bytes());
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
    } else {
        bytes.extend_from_slice(body);
    }
    if *chunked {
        bytes.extend_from_slice(b"0\r\n\r\n");
    }
    bytes
}

async fn read_head(connection: &mut Connection) -> io::Result<Response> {
    let head = http1::read_head(connection).await?;
    let mut parts = head.first_line.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().and_then(|status| status.parse().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(http1::malformed("the handler's status line"));
    };
    let reason = parts.next().unwrap_or_default().to_owned();
    Ok(Response { status, reason, headers: head.headers, body: Vec::new() })
}

/// Reads the body; returns whether the connection can be reused.
async fn read_body(connection: &mut Connection, request: &Request, response: &mut Response) -> io::Result<bool> {
    if request.method == "HEAD" || matches!(response.status, 204 | 304) {
        return Ok(true);
    }
    if http1::has_token(&response.headers, "transfer-encoding", "chunked") {
        response.body = http1::read_chunks(connection).await?;
        return Ok(true);
    }
    let Some(length) = response.header("content-length") else {
        connection.read_to_end(&mut response.body).await?;
        return Ok(false);
    };
    let length = length.parse().map_err(|_| http1::malformed("the handler's Content-Length"))?;
    response.body = http1::read_length(connection, length).await?;
    Ok(true)
}

#[cfg(test)]
mod tests;
