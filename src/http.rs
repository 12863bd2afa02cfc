//! The HTTP client of the process: `reqwest` for Dataverse, tokens, storage, telemetry and the commands.
//!
//! It follows no redirects, keeps no cookies and repeats no request. A peer that is gone is noticed: an HTTP/2 connection ends by its
//! pings within 25 s, and an HTTP/1.1 connection is closed when the request on it is dropped. Bodies are read up to a cap,
//! and no error text holds an address.

pub(crate) mod response;
pub(crate) mod sdk;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, ClientBuilder};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use url::{Host, Url};

/// The longest wait for a connection, the TLS handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How often an HTTP/2 connection is pinged, while idle too.
const PING_INTERVAL: Duration = Duration::from_secs(15);

/// A connection whose ping is not answered within this time is closed.
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// The operating system closes a connection whose data is not acknowledged for so long.
#[cfg(target_os = "linux")]
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// Idle HTTP/1.1 connections to each server that a command keeps; the dead-letter commands send at most so many requests at once.
const MAX_COMMAND_IDLE: usize = 16;

const USER_AGENT: &str = concat!("dataverse-sync/", env!("CARGO_PKG_VERSION"));

/// The client, with and without the proxy that the environment names (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`).
#[derive(Debug, Clone)]
pub struct Http {
    proxied: Client,
    direct: Client,
}

impl Http {
    /// A client that trusts the certificates of this system.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn new() -> reqwest::Result<Self> {
        Self::with_idle(MAX_COMMAND_IDLE)
    }

    /// Like [`Self::new`], but keeps up to `max_idle` idle HTTP/1.1 connections to each server.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn with_idle(max_idle: usize) -> reqwest::Result<Self> {
        let tls = tls();
        let proxied = builder(tls.clone()).pool_max_idle_per_host(max_idle).build()?;
        Ok(Self { proxied, direct: builder(tls).no_proxy().pool_max_idle_per_host(max_idle).build()? })
    }

    /// The client for requests to the server of `url`: loopback and link-local addresses are never asked through a proxy.
    pub(crate) fn to(&self, url: &str) -> &Client {
        if Url::parse(url).is_ok_and(|url| is_local(&url)) { &self.direct } else { &self.proxied }
    }

    /// The client that uses no proxy, for the identity endpoint.
    pub(crate) fn direct(&self) -> &Client {
        &self.direct
    }
}

/// One client for every address, as tests need it.
impl From<Client> for Http {
    fn from(client: Client) -> Self {
        Self { proxied: client.clone(), direct: client }
    }
}

/// Makes ring the TLS provider of all that name none; rustls chooses none by itself if a dependency links a second one.
pub fn install_tls() {
    // A second call changes nothing.
    let _ = ring::default_provider().install_default();
}

/// Whether the address is on this machine or this link, where no proxy can reach it.
fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_link_local(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unicast_link_local(),
        None => false,
    }
}

/// TLS that trusts the certificates of this system.
///
/// Without root certificates (a bare container) the process still serves, and every https request fails: a process that exits would
/// be restarted again and again, whereas this way the log and each result say what is wrong.
fn tls() -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the ciphers of both versions");
    let builder = builder.clone().with_platform_verifier().unwrap_or_else(|_| {
        tracing::error!(
            "this system has no root certificates, so every https request will fail: install ca-certificates"
        );
        builder.with_root_certificates(RootCertStore::empty())
    });
    let mut tls = builder.with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    tls
}

fn builder(tls: ClientConfig) -> ClientBuilder {
    let builder = Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(PING_INTERVAL)
        .http2_keep_alive_timeout(PING_TIMEOUT)
        .http2_keep_alive_while_idle(true)
        .redirect(reqwest::redirect::Policy::none())
        // Retries belong to the Functions host, and in the commands to `storage::RetryPolicy`.
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(USER_AGENT);
    #[cfg(target_os = "linux")]
    let builder = builder.tcp_user_timeout(TCP_USER_TIMEOUT);
    builder
}

#[cfg(test)]
mod tests;
