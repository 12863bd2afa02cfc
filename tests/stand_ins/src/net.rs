//! Loopback listeners for the stand-ins, plain or with TLS and the sandbox's own certificate authority.
//!
//! It listens on 127.0.0.1 only. Dropping a [`Server`] closes the listener and every connection.
//!
//! The Azure SDK requires https for the Entra authority and for storage with a token, hence [`Tls`]; `SSL_CERT_FILE`
//! makes the handler trust [`Tls::ca_pem`].

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::connection_reset::{CuttableListener, Wire};
use crate::gauge::Gauge;

/// A client that has not finished its TLS handshake by then is disconnected, so that it cannot block others.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A client for plain listeners on this machine.
pub fn http_client() -> reqwest::Client {
    // Another part of this process may have installed the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build();
    client.expect("without certificates and proxies there is nothing that can be wrong")
}

/// A running listener; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    connections: Gauge,
    task: AbortHandle,
}

impl Server {
    /// Serves `router` on 127.0.0.1; with port 0 the system chooses one. Handlers may take a [`Wire`] to cut their
    /// connection.
    pub async fn start(router: Router, port: u16, tls: Option<&Tls>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let address = listener.local_addr()?;
        let service = router.into_make_service_with_connect_info::<Wire>();
        let connections = Gauge::default();
        let (scheme, task) = match tls {
            None => {
                let listener = CuttableListener::new(listener, connections.clone());
                ("http", tokio::spawn(async move { axum::serve(listener, service).await }))
            }
            Some(tls) => {
                let listener = TlsListener { listener, acceptor: tls.acceptor() };
                let listener = CuttableListener::new(listener, connections.clone());
                ("https", tokio::spawn(async move { axum::serve(listener, service).await }))
            }
        };
        Ok(Self { address, scheme, connections, task: task.abort_handle() })
    }

    /// The connections that were accepted so far.
    pub fn connections(&self) -> &Gauge {
        &self.connections
    }

    /// The origin, without a trailing slash: `http://127.0.0.1:4711`.
    pub fn url(&self) -> String {
        format!("{}://{}", self.scheme, self.address)
    }

    /// The port that was bound.
    pub fn port(&self) -> u16 {
        self.address.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A throw-away certificate authority and a certificate for 127.0.0.1 and localhost.
#[derive(Debug, Clone)]
pub struct Tls {
    config: Arc<ServerConfig>,
    ca_pem: String,
    certificate_pem: String,
    key_pem: String,
}

impl Tls {
    /// Generates an authority and a server certificate.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let ca_key = rcgen::KeyPair::generate()?;
        let mut ca = rcgen::CertificateParams::new(Vec::new())?;
        ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        ca.distinguished_name.push(rcgen::DnType::CommonName, "dataverse-sync sandbox");
        let ca_certificate = ca.self_signed(&ca_key)?;
        let issuer = rcgen::Issuer::from_params(&ca, &ca_key);

        let key = rcgen::KeyPair::generate()?;
        let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
        let certificate = rcgen::CertificateParams::new(names)?.signed_by(&key, &issuer)?;
        let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring supports the default protocol versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .expect("the key was made for this certificate");
        Ok(Self {
            config: Arc::new(config),
            ca_pem: ca_certificate.pem(),
            certificate_pem: certificate.pem(),
            key_pem: key.serialize_pem(),
        })
    }

    /// Offers HTTP/2 as well. Without this, as Azure Storage does, only HTTP/1.1.
    #[must_use]
    pub fn with_http2(mut self) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        self
    }

    /// Accepts TLS connections with the server certificate.
    pub fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.config.clone())
    }

    /// The authority's certificate, for clients to trust.
    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// The server certificate, for another server (Azurite) to present.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// The server certificate's private key.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }
}

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = Listener::accept(&mut self.listener).await;
            let handshake = tokio::time::timeout(HANDSHAKE_TIMEOUT, self.acceptor.accept(stream));
            if let Ok(Ok(stream)) = handshake.await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}
