//! HTTP/1.1 on the wire, as both ends of the host read it: the first line, headers in their order and case, and bodies.
//!
//! Contract: <https://www.rfc-editor.org/rfc/rfc9112>.

use std::io;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;

/// Larger than any body of a test.
pub(super) const MAX_BODY: usize = 256 * 1024 * 1024;

/// A connection to read from.
pub(super) type Connection = BufReader<TcpStream>;

/// Header lines in their order; names as they were sent.
pub(super) type Headers = Vec<(String, Vec<u8>)>;

/// The first line and the headers of a message.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) first_line: String,
    pub(super) headers: Headers,
}

/// The values of all headers with this name, in any case, that are text.
pub(super) fn values<'a>(headers: &'a Headers, name: &str) -> impl Iterator<Item = &'a str> {
    let named = headers.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name));
    named.filter_map(|(_, value)| std::str::from_utf8(value).ok())
}

/// Whether a header with this name lists the token.
pub(super) fn has_token(headers: &Headers, name: &str, token: &str) -> bool {
    values(headers, name).flat_map(|value| value.split(',')).any(|part| part.trim().eq_ignore_ascii_case(token))
}

/// Reads up to the empty line after the headers.
pub(super) async fn read_head(connection: &mut Connection) -> io::Result<Head> {
    let first_line = latin1(&read_line(connection).await?);
    let mut headers = Vec::new();
    loop {
        let line = read_line(connection).await?;
        if line.is_empty() {
            return Ok(Head { first_line, headers });
        }
        let colon = line.iter().position(|byte| *byte == b':').ok_or_else(|| malformed("a header"))?;
        headers.push((latin1(&line[..colon]), line[colon + 1..].trim_ascii().to_vec()));
    }
}

/// Reads a body of this length.
pub(super) async fn read_length(connection: &mut Connection, length: usize) -> io::Result<Vec<u8>> {
    if length > MAX_BODY {
        return Err(malformed("the length"));
    }
    let mut body = vec![0; length];
    connection.read_exact(&mut body).await.map(|_| body)
}

/// Reads a chunked body and its trailers.
pub(super) async fn read_chunks(connection: &mut Connection) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = latin1(&read_line(connection).await?);
        let size = line.split(';').next().unwrap_or_default().trim();
        let size = usize::from_str_radix(size, 16).map_err(|_| malformed("a chunk's size"))?;
        if size > MAX_BODY - body.len() {
            return Err(malformed("the length"));
        }
        if size == 0 {
            while !read_line(connection).await?.is_empty() {}
            return Ok(body);
        }
        body.extend(read_length(connection, size).await?);
        read_line(connection).await?;
    }
}

/// A line without its end.
pub(super) async fn read_line(connection: &mut Connection) -> io::Result<Vec<u8>> {
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

/// Appends header lines and the empty line that ends them.
pub(super) fn write_headers<'a>(bytes: &mut Vec<u8>, headers: impl IntoIterator<Item = &'a (String, Vec<u8>)>) {
    for (name, value) in headers {
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes.extend_from_slice(b"\r\n");
}

/// A message that violates the protocol.
pub(super) fn malformed(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} is malformed"))
}

fn latin1(bytes: &[u8]) -> String {
    bytes.iter().copied().map(char::from).collect()
}
