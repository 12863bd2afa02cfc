//! The host's HTTP frontend: finds the function, checks its key, and forwards the request.
//!
//! Forwarded are the decoded path, the query as it is read and written again, the caller's headers without those of the content,
//! and a body whose length is known. A chunked body ends in an empty 500. Newer hosts look at `enableProxyingHttpRequest` first and
//! stream the request as it is. The handler continues if the caller disconnects. No `traceparent` is added.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#http-only-function>; what is forwarded is
//! `HttpRequestExtensions.ToHttpRequestMessage` in <https://github.com/Azure/azure-functions-host>.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use time::OffsetDateTime;
use uuid::Uuid;

use super::app::HttpFunction;
use super::http1::{self, Headers};
use super::invocation::{HOST_VERSION, SharedRuntime, USER_AGENT};
use super::invocations::{InvocationRecord, InvocationResult};
use super::kestrel::{Answer, Application, Body, Request};
use super::logs::{Category, Severity};
use super::process::State;
use super::wire::{self, Response};

/// .NET's content headers: they are not headers of a request, so they are not forwarded.
/// <https://learn.microsoft.com/dotnet/api/system.net.http.headers.httpcontentheaders>
const CONTENT_HEADERS: [&str; 11] = [
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "expires",
    "last-modified",
];

/// What .NET's `UrlEncoder.Default` leaves as it is.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'!')
    .remove(b'$')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b',')
    .remove(b';')
    .remove(b':')
    .remove(b'@');

/// What .NET's `Uri` leaves as it is in a path.
const PATH: &AsciiSet =
    &QUERY.remove(b'/').remove(b'&').remove(b'\'').remove(b'+').remove(b'=').remove(b'[').remove(b']');

const ID: &str = "X-Azure-Functions-InvocationId";

/// The page that `GET /` shows.
const HOME: &str = "<!DOCTYPE html>\n<html><head><title>Your Azure Function App is up and running.</title></head>\
    <body><h1>Your Functions app is up and running</h1></body></html>\n";

/// The frontend's state.
#[derive(Debug)]
pub(super) struct HttpFrontend {
    pub(super) runtime: SharedRuntime,
    pub(super) functions: Vec<HttpFunction>,
    pub(super) route_prefix: String,
    pub(super) key: String,
    pub(super) without_keys: bool,
    /// Whether the request is streamed unchanged.
    pub(super) proxies: bool,
}

impl HttpFrontend {
    fn find(&self, method: &str, path: &str) -> Option<&HttpFunction> {
        let prefix = self.route_prefix.trim_matches('/');
        let path = path.strip_prefix('/').unwrap_or(path);
        let path = path.strip_suffix('/').unwrap_or(path);
        self.functions.iter().find(|function| {
            let route = format!("{prefix}/{}", function.route.trim_matches('/'));
            let served = function.methods.is_empty() || function.methods.iter().any(|known| known == method);
            served && path.eq_ignore_ascii_case(route.trim_matches('/'))
        })
    }

    /// The header takes precedence: with a wrong one, the query is not read.
    fn admits(&self, request: &Request, query: &[(String, String)]) -> bool {
        let header = http1::values(&request.headers, "x-functions-key").next();
        let code = query.iter().find(|(name, _)| name.eq_ignore_ascii_case("code")).map(|(_, value)| value.as_str());
        self.without_keys || header.or(code) == Some(&self.key)
    }

    async fn forward(runtime: SharedRuntime, name: String, request: wire::Request, id: Uuid) -> Answer {
        let (running, started) = (runtime.invocations.begin(), OffsetDateTime::now_utc());
        let (wire, pid) = (runtime.handler.wire(), runtime.handler.pid());
        let (result, response) = match runtime.within_limit(pid, wire.send(&request)).await {
            Some(Ok(response)) => (InvocationResult::Succeeded, Some(response)),
            Some(Err(error)) => (InvocationResult::Failed(error.to_string()), None),
            None => (InvocationResult::TimedOut, None),
        };
        let record = InvocationRecord {
            function: name,
            id,
            trace: None,
            message_id: None,
            dequeue_count: 0,
            started,
            ended: OffsetDateTime::now_utc(),
            result,
            outputs: Vec::new(),
        };
        runtime.report_end(&record);
        running.end(record);
        response.map_or_else(|| Answer::empty(500), answer)
    }
}

impl Application for HttpFrontend {
    async fn answer(&self, request: Request) -> Answer {
        let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
        let path = percent_decode_str(path).decode_utf8_lossy().into_owned();
        let query: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        if path == "/" {
            let headers = vec![("Content-Type".to_owned(), b"text/html".to_vec())];
            return Answer { status: 200, reason: None, headers, body: HOME.into() };
        }
        if path.starts_with("/admin/") {
            // A function key is not the master key.
            return Answer::empty(if self.admits(&request, &query) { 403 } else { 401 });
        }
        let Some(function) = self.find(&request.method, &path) else { return Answer::empty(404) };
        if function.needs_key && !self.admits(&request, &query) {
            return Answer::empty(401);
        }
        if matches!(self.runtime.handler.settled().await, State::Down(_)) {
            return Answer::empty(500);
        }
        let (name, id) = (function.name.clone(), Uuid::new_v4());
        let request = if self.proxies { Some(streamed(request, id)) } else { forwarded(request, &path, &query, id) };
        let Some(request) = request else {
            let text = format!(
                "Executed 'Functions.{name}' (Failed, Id={id}): 'Transfer-Encoding: chunked' header can not be used when content \
                 object is not specified."
            );
            self.runtime.logs.add(Severity::Error, Category::Invocation(id), text);
            return Answer::empty(500);
        };
        let work = tokio::spawn(Self::forward(self.runtime.clone(), name, request, id));
        work.await.unwrap_or_else(|_| Answer::empty(500))
    }
}

/// `None` for a chunked body, which .NET's client refuses to send without content.
fn forwarded(request: Request, path: &str, query: &[(String, String)], id: Uuid) -> Option<wire::Request> {
    let Body::Whole(body) = request.body else { return None };
    let content_type = http1::values(&request.headers, "content-type").next().filter(|_| !body.is_empty());
    let content_type = content_type.map(|value| ("Content-Type".to_owned(), value.as_bytes().to_vec()));
    let mut headers = joined(request.headers);
    headers.retain(|(name, _)| !CONTENT_HEADERS.contains(&name.to_ascii_lowercase().as_str()));
    add(&mut headers, "X-Azure-Functions-HostVersion", ", ", HOST_VERSION);
    add(&mut headers, ID, ", ", &id.to_string());
    add(&mut headers, "User-Agent", " ", USER_AGENT);
    headers.extend(content_type);
    let target = utf8_percent_encode(path, PATH).to_string() + &rewritten(query);
    Some(wire::Request { method: request.method, target, headers, body, chunked: false })
}

/// The request unchanged, with the host's own invocation id added.
fn streamed(request: Request, id: Uuid) -> wire::Request {
    let (body, chunked) = match request.body {
        Body::Whole(body) => (body, false),
        Body::Chunked(body) => (body, true),
    };
    let mut headers = request.headers;
    let own = ["connection", "content-length", "keep-alive", "transfer-encoding", "upgrade"];
    headers.retain(|(name, _)| !own.contains(&name.to_ascii_lowercase().as_str()) && !name.eq_ignore_ascii_case(ID));
    headers.push((ID.to_owned(), id.to_string().into_bytes()));
    headers.push(("X-Azure-Functions-HostVersion".to_owned(), HOST_VERSION.into()));
    wire::Request { method: request.method, target: request.target, headers, body, chunked }
}

/// Lines with one name become one header.
fn joined(headers: Headers) -> Headers {
    let mut joined: Headers = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match name.as_str() {
            "User-Agent" => add_bytes(&mut joined, name, b" ", &value),
            "Cookie" => add_bytes(&mut joined, name, b"; ", &value),
            _ => add_bytes(&mut joined, name, b", ", &value),
        }
    }
    joined
}

fn add(headers: &mut Headers, name: &str, separator: &str, value: &str) {
    add_bytes(headers, name.to_owned(), separator.as_bytes(), value.as_bytes());
}

/// Appends to the header with this name, or adds it.
fn add_bytes(headers: &mut Headers, name: String, separator: &[u8], value: &[u8]) {
    match headers.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&name)) {
        Some((_, known)) => known.extend([separator, value].concat()),
        None => headers.push((name, value.to_vec())),
    }
}

/// The query as .NET reads and writes it: values of one name are joined, and everything is encoded anew.
fn rewritten(query: &[(String, String)]) -> String {
    let mut parameters: Vec<(&str, String)> = Vec::new();
    for (name, value) in query {
        match parameters.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, known)) => *known = format!("{known},{value}"),
            None => parameters.push((name, value.clone())),
        }
    }
    let encoded = parameters.iter().enumerate().map(|(number, (name, value))| {
        let mark = if number == 0 { '?' } else { '&' };
        format!("{mark}{}={}", utf8_percent_encode(name, QUERY), utf8_percent_encode(value, QUERY))
    });
    encoded.collect()
}

/// The handler's answer, unchanged.
fn answer(response: Response) -> Answer {
    let Response { status, reason, headers, body } = response;
    Answer { status, reason: Some(reason), headers, body }
}
