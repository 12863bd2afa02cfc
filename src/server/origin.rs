//! Refuses the POSTs of web pages: any page can send one to any port of the machine that it is shown on.
//!
//! A browser adds `Origin` and `Sec-Fetch-Site`. A page cannot add the Functions host's invocation id to a request to another origin:
//! that takes a preflight, which nothing here permits. The host forwards a browser's headers beside its id, and decides itself which
//! pages may call it (CORS).
//!
//! A page whose name resolves to this machine (DNS rebinding) has our own origin for its browser, and may add any header. Its `Host`
//! is that name with our own port, which is in no request of the host: some versions keep the caller's `Host`, but the caller
//! named the host's port.
//!
//! <https://fetch.spec.whatwg.org/#http-cors-protocol>, <https://www.w3.org/TR/fetch-metadata/#sec-fetch-site-header>

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{HOST, ORIGIN};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, Method};
use axum::middleware::Next;
use axum::response::Response;
use tracing::warn;

use super::{invocation, respond};

/// `http` without a port.
const HTTP_PORT: u16 = 80;

/// Refuses requests of web pages, without reading their bodies; `port` is our own.
pub(super) async fn refuse_pages(State(port): State<u16>, request: Request, next: Next) -> Response {
    if request.method() == Method::POST && is_from_a_page(request.headers(), port) {
        warn!("call refused: it comes from a web page");
        return respond::refused_page();
    }
    next.run(request).await
}

fn is_from_a_page(headers: &HeaderMap, port: u16) -> bool {
    let hosts: Vec<_> = headers.get_all(HOST).iter().map(|host| Authority::try_from(host.as_bytes()).ok()).collect();
    let is_rebound = |host: &Authority| !is_local(host) && port_of(host) == port;
    if hosts.iter().flatten().any(is_rebound) {
        return true;
    }
    if invocation::host_id(headers).is_some() {
        return false;
    }
    let origins: Vec<_> = headers.get_all(ORIGIN).iter().collect();
    let sites = headers.get_all("sec-fetch-site").iter();
    hosts.iter().any(|host| !host.as_ref().is_some_and(is_local))
        || origins.len() > 1
        || origins.iter().any(|origin| !is_own(origin.as_bytes(), port))
        || sites.into_iter().any(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// Whether this is our own origin, under any name of this machine.
fn is_own(origin: &[u8], port: u16) -> bool {
    let authority = origin.strip_prefix(b"http://").and_then(|authority| Authority::try_from(authority).ok());
    authority.is_some_and(|authority| is_local(&authority) && port_of(&authority) == port)
}

fn port_of(authority: &Authority) -> u16 {
    authority.port_u16().unwrap_or(HTTP_PORT)
}

fn is_local(authority: &Authority) -> bool {
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.eq_ignore_ascii_case("localhost") || address.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    const ID: (&str, &str) = ("x-azure-functions-invocationid", "5b14f7c3-b8e4-4ecc-9d9a-b2068885c43d");

    fn judged(headers: &[(&'static str, &'static str)]) -> bool {
        let headers =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let mut map = HeaderMap::new();
        headers.for_each(|(name, value)| {
            map.append(name, value);
        });
        is_from_a_page(&map, 8080)
    }

    #[test]
    fn the_host_and_programs_on_this_machine_may_call() {
        let none: &[(&str, &str)] = &[];
        for headers in [
            none,
            &[("host", "127.0.0.1:8080")],
            &[("host", "LOCALHOST:8080"), ("origin", "http://localhost:8080"), ("sec-fetch-site", "same-origin")],
            &[("host", "[::1]:8080"), ("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "none")],
            // The host forwards a browser's call.
            &[("host", "127.0.0.1:8080"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site"), ID],
            // And some versions keep its Host.
            &[("host", "app.azurewebsites.net"), ("origin", "null"), ID],
            &[("host", "app.example:7071"), ID],
        ] {
            assert!(!judged(headers), "{headers:?}");
        }
    }

    #[test]
    fn a_page_may_not_call() {
        let here = ("host", "127.0.0.1:8080");
        let named: &[(&str, &str)] = &[("host", "evil.example")];
        for headers in [
            named,
            &[here, ("origin", "https://evil.example")],
            &[here, ("origin", "null")],
            &[here, ("origin", "")],
            &[here, ("origin", "http://localhost:3000")],
            &[here, ("origin", "https://localhost:8080")],
            &[here, ("origin", "http://localhost.evil.example:8080")],
            &[here, ("origin", "http://localhost:8080"), ("origin", "http://localhost:8080")],
            &[here, ("sec-fetch-site", "cross-site")],
            &[here, ("sec-fetch-site", "same-site")],
            &[here, ("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")],
            &[here, ("origin", "https://evil.example"), (ID.0, "not a GUID")],
            &[here, ("host", "evil.example")],
            &[("host", "evil example"), ("sec-fetch-site", "same-origin")],
            // A name that resolves to this machine: its page can send everything that a program can.
            &[
                ("host", "evil.example:8080"),
                ("origin", "http://evil.example:8080"),
                ("sec-fetch-site", "same-origin"),
                ID,
            ],
        ] {
            assert!(judged(headers), "{headers:?}");
        }
    }
}
