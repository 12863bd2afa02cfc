//! The host's HTTP server, as Kestrel reads requests and writes answers, byte for byte.
//!
//! Known headers get Kestrel's spelling and come first, in its order; the others keep their order and spelling. Lines with one name
//! are one header with several values. An answer always has a length, a date and a server.
//!
//! Contract: <https://github.com/dotnet/aspnetcore/tree/main/src/Servers/Kestrel/Core/src/Internal/Http>.

use std::io;
use std::sync::Arc;

use time::OffsetDateTime;
use time::macros::format_description;
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::http1::{self, Connection, Head, Headers};

/// The default of `extensions.http.maxRequestBodySize` in Azure: 100 MB.
const MAX_REQUEST: usize = 104_857_600;

/// The known request headers in the order in which they are enumerated.
const REQUEST_HEADERS: [&str; 42] = [
    "Accept",
    "Connection",
    "Host",
    "User-Agent",
    "Accept-Charset",
    "Accept-Encoding",
    "Accept-Language",
    "Access-Control-Request-Headers",
    "Access-Control-Request-Method",
    "Authorization",
    "baggage",
    "Cache-Control",
    "Content-Type",
    "Cookie",
    "Correlation-Context",
    "Date",
    "Expect",
    "From",
    "Grpc-Accept-Encoding",
    "Grpc-Timeout",
    "If-Match",
    "If-Modified-Since",
    "If-None-Match",
    "If-Range",
    "If-Unmodified-Since",
    "Keep-Alive",
    "Max-Forwards",
    "Origin",
    "Pragma",
    "Proxy-Authorization",
    "Range",
    "Referer",
    "Request-Id",
    "TE",
    "traceparent",
    "tracestate",
    "Transfer-Encoding",
    "Translate",
    "Upgrade",
    "Upgrade-Insecure-Requests",
    "Via",
    "Warning",
];

/// The known response headers in the order in which they are written.
const RESPONSE_HEADERS: [&str; 38] = [
    "Content-Length",
    "Connection",
    "Content-Type",
    "Date",
    "Server",
    "Accept-Ranges",
    "Access-Control-Allow-Credentials",
    "Access-Control-Allow-Headers",
    "Access-Control-Allow-Methods",
    "Access-Control-Allow-Origin",
    "Access-Control-Expose-Headers",
    "Access-Control-Max-Age",
    "Age",
    "Allow",
    "Alt-Svc",
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Location",
    "Content-MD5",
    "Content-Range",
    "ETag",
    "Expires",
    "Keep-Alive",
    "Last-Modified",
    "Location",
    "Pragma",
    "Proxy-Authenticate",
    "Proxy-Connection",
    "Retry-After",
    "Set-Cookie",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
    "Vary",
    "Via",
    "Warning",
    "WWW-Authenticate",
];

/// A request as it was read.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) method: String,
    /// Path and query, as they were sent.
    pub(super) target: String,
    /// Without those of the content, except `Content-Type`.
    pub(super) headers: Headers,
    pub(super) body: Body,
}

/// A request's body.
#[derive(Debug)]
pub(super) enum Body {
    /// With a known length.
    Whole(Vec<u8>),
    /// Chunked.
    Chunked(Vec<u8>),
}

/// An answer, before the server adds its own headers.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    /// `None`: the usual one.
    pub(super) reason: Option<String>,
    pub(super) headers: Headers,
    pub(super) body: Vec<u8>,
}

impl Answer {
    /// An answer without headers and body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, reason: None, headers: Vec::new(), body: Vec::new() }
    }
}

/// Answers requests.
pub(super) trait Application: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request) -> impl Future<Output = Answer> + Send;
}

/// Serves until `open` is false or its sender is gone; then no connection is accepted any more, those that are answered end after
/// their answers, and the idle ones end. Dropping the future ends them all.
pub(super) async fn serve(listener: TcpListener, application: impl Application, mut open: watch::Receiver<bool>) {
    let application = Arc::new(application);
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = open.wait_for(|open| !open) => break,
        };
        while connections.try_join_next().is_some() {}
        if let Ok((stream, _)) = accepted {
            connections.spawn(serve_connection(stream, application.clone(), open.clone()));
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// Serves one connection until it is closed or fails.
async fn serve_connection(stream: TcpStream, application: Arc<impl Application>, mut open: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let mut connection = BufReader::new(stream);
    loop {
        let head = tokio::select! {
            head = http1::read_head(&mut connection) => head,
            _ = open.wait_for(|open| !open) => return,
        };
        let Ok(head) = head else { return };
        let closes = http1::has_token(&head.headers, "connection", "close");
        let (answer, is_head, stays) = match read_request(&mut connection, head).await {
            Ok(request) => {
                let is_head = request.method == "HEAD";
                (application.answer(request).await, is_head, !closes)
            }
            Err(Some(status)) => (Answer::empty(status), false, false),
            Err(None) => return,
        };
        let stays = stays && *open.borrow() && !http1::has_token(&answer.headers, "connection", "close");
        if connection.write_all(&bytes(answer, is_head, stays)).await.is_err() || !stays {
            let _ = connection.shutdown().await;
            return;
        }
    }
}

/// The error is the status to refuse the request with; `None` if the connection broke.
async fn read_request(connection: &mut Connection, head: Head) -> Result<Request, Option<u16>> {
    const BAD_REQUEST: Option<u16> = Some(400);
    let parts: Vec<&str> = head.first_line.split(' ').collect();
    let [method, target, "HTTP/1.1" | "HTTP/1.0"] = parts[..] else { return Err(BAD_REQUEST) };
    let lengths: Vec<&str> = http1::values(&head.headers, "content-length").collect();
    let chunked = http1::has_token(&head.headers, "transfer-encoding", "chunked");
    let continues = http1::has_token(&head.headers, "expect", "100-continue");
    if continues && connection.buffer().is_empty() {
        connection.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.map_err(|_| None)?;
    }
    let body = match lengths[..] {
        _ if chunked => Body::Chunked(http1::read_chunks(connection).await.map_err(|_| BAD_REQUEST)?),
        [] => Body::Whole(Vec::new()),
        [length] => {
            let length: usize = length.parse().map_err(|_| BAD_REQUEST)?;
            if length > MAX_REQUEST {
                return Err(Some(413));
            }
            Body::Whole(http1::read_length(connection, length).await.map_err(|_| None)?)
        }
        _ => return Err(BAD_REQUEST),
    };
    Ok(Request {
        method: method.to_owned(),
        target: target.to_owned(),
        headers: in_order(head.headers, &REQUEST_HEADERS),
        body,
    })
}

/// Known headers first, in their order and spelling.
fn in_order(headers: Headers, known: &[&str]) -> Headers {
    let place = |name: &str| known.iter().position(|known| known.eq_ignore_ascii_case(name));
    let mut headers = headers;
    headers.sort_by_key(|(name, _)| place(name).unwrap_or(known.len()));
    let spelled = |name: String| place(&name).map_or(name, |place| known[place].to_owned());
    headers.into_iter().map(|(name, value)| (spelled(name), value)).collect()
}

fn bytes(answer: Answer, is_head: bool, stays: bool) -> Vec<u8> {
    let Answer { status, reason, mut headers, body } = answer;
    let own = |name: &str| ["content-length", "transfer-encoding", "connection", "date"].contains(&name);
    headers.retain(|(name, _)| !own(&name.to_ascii_lowercase()));
    let mut add = |name: &str, value: String| headers.push((name.to_owned(), value.into_bytes()));
    let has_body = !matches!(status, 204 | 304);
    if has_body {
        add("Content-Length", body.len().to_string());
    }
    if !stays {
        add("Connection", "close".to_owned());
    }
    let date =
        format_description!("[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT");
    add("Date", OffsetDateTime::now_utc().format(date).expect("a UTC time has all these parts"));
    if http1::values(&headers, "server").next().is_none() {
        headers.push(("Server".to_owned(), b"Kestrel".to_vec()));
    }
    // Kestrel writes ASCII.
    let ascii =
        |text: String| text.chars().map(|character| if character.is_ascii() { character } else { '?' }).collect();
    let reason: String = reason.map_or_else(|| usual_reason(status).to_owned(), ascii);
    let mut bytes = format!("HTTP/1.1 {status} {reason}\r\n").into_bytes();
    http1::write_headers(&mut bytes, &in_order(headers, &RESPONSE_HEADERS));
    if has_body && !is_head {
        bytes.extend(body);
    }
    bytes
}

fn usual_reason(status: u16) -> &'static str {
    axum::http::StatusCode::from_u16(status).ok().and_then(|status| status.canonical_reason()).unwrap_or_default()
}

/// Binds a port on 127.0.0.1; 0 chooses one.
pub(super) async fn bind(port: u16) -> io::Result<TcpListener> {
    TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, port)).await
}
