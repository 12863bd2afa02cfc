//! A minimal HTTP/1.1 client for the handler that keeps the reason phrase, the only information about a failed invocation.
//!
//! Connections are pooled. A request is repeated only if a pooled connection was closed before a byte of the response, as .NET's
//! client does. Timeouts are the caller's.
//!
//! Contract: <https://www.rfc-editor.org/rfc/rfc9112>.

use std::fmt::Write;
use std::io;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

/// Larger than any response of a handler; guards against an endless one.
const LARGEST_BODY: usize = 256 * 1024 * 1024;

/// The handler's port and the idle connections to it.
#[derive(Debug)]
pub(super) struct Wire {
    port: u16,
    idle: Mutex<Vec<Connection>>,
}

type Connection = BufReader<TcpStream>;

/// What to send; Content-Length is added.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query.
    pub(super) target: String,
    /// Names in any case; values unchanged.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

/// The response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: u16,
    /// The phrase after the status, as the server chose it.
    pub(super) reason: String,
    /// Names in lower case.
    pub(super) headers: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
}

impl Response {
    /// The first header with this (lower-case) name, if it is text.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name)?;
        std::str::from_utf8(value).ok()
    }

    fn has_token(&self, name: &str, token: &str) -> bool {
        self.header(name).is_some_and(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
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
        let kept = self.idle.lock().expect("no holder panics").pop();
        if let Some(connection) = kept {
            match self.exchange(connection, request).await {
                Err(Broken { started: false, .. }) => {}
                settled => return settled.map_err(|broken| broken.error),
            }
        }
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
        stream.set_nodelay(true)?;
        self.exchange(BufReader::new(stream), request).await.map_err(|broken| broken.error)
    }

    async fn exchange(&self, mut connection: Connection, request: &Request) -> Result<Response, Broken> {
        let unstarted = |error| Broken { started: false, error };
        let started = |error| Broken { started: true, error };
        connection.write_all(&bytes(request)).await.map_err(unstarted)?;
        if connection.fill_buf().await.map_err(unstarted)?.is_empty() {
            return Err(unstarted(io::ErrorKind::ConnectionReset.into()));
        }
        let mut response = read_head(&mut connection).await.map_err(started)?;
        while (100..200).contains(&response.status) {
            response = read_head(&mut connection).await.map_err(started)?;
        }
        let reusable = read_body(&mut connection, request, &mut response).await.map_err(started)?;
        if reusable && !response.has_token("connection", "close") {
            self.idle.lock().expect("no holder panics").push(connection);
        }
        Ok(response)
    }
}

/// A failed exchange, and whether the response had begun.
struct Broken {
    started: bool,
    error: io::Error,
}

fn bytes(request: &Request) -> Vec<u8> {
    let mut head = format!("{} {} HTTP/1.1\r\n", request.method, request.target);
    if !request.body.is_empty() || !matches!(request.method.as_str(), "GET" | "HEAD") {
        write!(head, "Content-Length: {}\r\n", request.body.len()).expect("writing to a String cannot fail");
    }
    let mut bytes = head.into_bytes();
    for (name, value) in &request.headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(&request.body);
    bytes
}

async fn read_head(connection: &mut Connection) -> io::Result<Response> {
    let status_line = latin1(&read_line(connection).await?);
    let mut parts = status_line.splitn(3, ' ');
    let version = parts.next().unwrap_or_default();
    let status = parts.next().and_then(|status| status.parse().ok());
    let (true, Some(status)) = (version.starts_with("HTTP/1."), status) else {
        return Err(bad("the status line"));
    };
    let reason = parts.next().unwrap_or_default().to_owned();
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection).await?;
        if line.is_empty() {
            return Ok(Response { status, reason, headers, body: Vec::new() });
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| bad("a header"))?;
        headers.push((latin1(&line[..colon]).to_ascii_lowercase(), line[colon + 1..].trim_ascii().to_vec()));
    }
}

/// Reads the body; returns whether the connection can be reused.
async fn read_body(connection: &mut Connection, request: &Request, response: &mut Response) -> io::Result<bool> {
    if request.method == "HEAD" || matches!(response.status, 204 | 304) {
        return Ok(true);
    }
    if response.has_token("transfer-encoding", "chunked") {
        return read_chunks(connection, &mut response.body).await.map(|()| true);
    }
    let Some(length) = response.header("content-length") else {
        connection.read_to_end(&mut response.body).await?;
        return Ok(false);
    };
    let length = length.parse().ok().filter(|length| *length <= LARGEST_BODY).ok_or_else(|| bad("the length"))?;
    response.body.resize(length, 0);
    connection.read_exact(&mut response.body).await.map(|_| true)
}

async fn read_chunks(connection: &mut Connection, body: &mut Vec<u8>) -> io::Result<()> {
    loop {
        let line = latin1(&read_line(connection).await?);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| bad("a chunk's size"))?;
        if size > LARGEST_BODY - body.len() {
            return Err(bad("the length"));
        }
        if size == 0 {
            while !read_line(connection).await?.is_empty() {}
            return Ok(());
        }
        let from = body.len();
        body.resize(from + size, 0);
        connection.read_exact(&mut body[from..]).await?;
        read_line(connection).await?;
    }
}

async fn read_line(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    connection.read_until(b'\n', &mut line).await?;
    if line.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the handler's answer: {what} is malformed"))
}

#[cfg(test)]
mod tests;
