//! The HTTP clients of the process: pooled connections, no redirects, no cookies, no retries.
//!
//! A connection is driven by the thread that opened it, and another thread that used it would have to wake that one for each
//! request. So every thread that serves has a client of its own; what proves a server's name to them is read once.

mod direct;
mod way;

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::proxy::matcher::Matcher;
use reqwest::Client;
use rustls::client::WantsClientCert;
use rustls::crypto::ring;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_platform_verifier::BuilderVerifierExt as _;
use thread_local::ThreadLocal;

pub use direct::Direct;
pub use way::{Body, NoAnswer, Way};

/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Who we are to every server.
pub const USER_AGENT: &str = concat!("dataverse-sync/", env!("CARGO_PKG_VERSION"));

/// Whom a way leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// It speaks HTTP/1.1, and no head of an answer has more than 4 KiB.
    Storage,
    /// It speaks HTTP/2 where it takes the offer, else HTTP/1.1.
    Dataverse,
}

/// A client, or one for each thread.
#[derive(Debug, Clone)]
pub struct Http {
    first: Client,
    own: Option<Arc<Own>>,
}

/// The threads' own clients, and what to open one with.
#[derive(Debug)]
struct Own {
    tls: ClientConfig,
    clients: ThreadLocal<Client>,
}

impl Http {
    /// One for each thread; the calling thread's is opened at once, the others' when they are needed.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn for_each_thread() -> reqwest::Result<Self> {
        let (tls, clients) = (tls(), ThreadLocal::new());
        let first = builder(&tls).build()?;
        clients.get_or(|| first.clone());
        Ok(Self { first, own: Some(Arc::new(Own { tls, clients })) })
    }

    /// The calling thread's.
    pub fn here(&self) -> &Client {
        self.opened_by(|tls| builder(tls).build())
    }

    /// Where a further one cannot be opened, the first could not be now either: it serves all the same.
    fn opened_by(&self, open: impl FnOnce(&ClientConfig) -> reqwest::Result<Client>) -> &Client {
        match &self.own {
            Some(own) => own.clients.get_or(|| open(&own.tls).unwrap_or_else(|_| self.first.clone())),
            None => &self.first,
        }
    }

    /// A shorter way to the server of `address`, for each thread, where no proxy stands between.
    fn direct(&self, address: &str, server: Server) -> Option<Direct> {
        let own = self.own.as_ref()?;
        // By the same rules as reqwest's.
        Direct::to(&address.parse().ok()?, server, &own.tls, &Matcher::from_system())
    }
}

/// The one for all threads.
impl From<Client> for Http {
    fn from(client: Client) -> Self {
        Self { first: client, own: None }
    }
}

/// A client.
///
/// # Errors
/// When TLS cannot be set up at all.
pub fn client() -> reqwest::Result<Client> {
    builder(&tls()).build()
}

/// What the system trusts.
///
/// Without root certificates (a bare container) the process still serves, and every https address is refused: a process that
/// exits would be started over and over, and this way the log and each result say what is wrong.
fn tls() -> ClientConfig {
    settled(|builder| {
        builder.clone().with_platform_verifier().unwrap_or_else(|_| {
            tracing::error!(
                "this system has no root certificates, so no https address can be trusted: install ca-certificates"
            );
            builder.with_root_certificates(RootCertStore::empty())
        })
    })
}

/// TLS that trusts as `trusting` says.
fn settled(
    trusting: impl FnOnce(ConfigBuilder<ClientConfig, WantsVerifier>) -> ConfigBuilder<ClientConfig, WantsClientCert>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has the ciphers of both versions");
    trusting(builder).with_no_client_auth()
}

fn builder(tls: &ClientConfig) -> reqwest::ClientBuilder {
    let mut tls = tls.clone();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Client::builder()
        .tls_backend_preconfigured(tls)
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        // The owner of every retry is the host; a request that never left is sent anew by the pool below this. Without the
        // zero each request would be copied first, in case.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .referer(false)
        .user_agent(USER_AGENT)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;

    fn opened(http: &Http) -> Option<usize> {
        http.own.as_ref().map(|own| own.clients.iter().count())
    }

    #[test]
    fn a_thread_opens_a_client_of_its_own_when_it_needs_one_and_no_second() {
        let http = Http::for_each_thread().expect("the settings are valid");
        http.here();
        assert_eq!(opened(&http), Some(1), "the calling thread's was opened at once");
        let copy = http.clone();
        let other = thread::spawn(move || {
            for _ in 0..2 {
                copy.here();
            }
        });
        other.join().expect("nothing panics");
        assert_eq!(opened(&http), Some(2));
    }

    #[test]
    fn a_thread_that_can_open_none_has_the_first() {
        let tls = tls();
        let first = builder(&tls).user_agent("the first").build().expect("the settings are valid");
        let refused = |tls: &ClientConfig| builder(tls).user_agent("no\nheader").build();
        refused(&tls).expect_err("a line break is in no header");
        let http = Http { first, own: Some(Arc::new(Own { tls, clients: ThreadLocal::new() })) };
        let given = format!("{:?}", http.opened_by(refused));
        assert!(given.contains("the first"), "{given}");
    }

    #[tokio::test]
    async fn a_client_offers_http_2_and_then_1_1() {
        let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
        let address = format!("https://{}", server.local_addr().expect("it is bound"));
        let http = client().expect("the settings are valid");
        let hello = async {
            let (mut stream, _) = server.accept().await.expect("it connects");
            let mut hello = vec![0; 4_096];
            let length = stream.read(&mut hello).await.expect("it says hello");
            hello.truncate(length);
            hello
        };
        let (_, hello) = tokio::join!(http.get(address).send(), hello);
        let offered = b"\x02h2\x08http/1.1";
        assert!(hello.windows(offered.len()).any(|window| window == offered), "{hello:?}");
    }

    #[test]
    fn a_client_that_is_given_is_every_threads() {
        let http = Http::from(client().expect("the settings are valid"));
        let given = std::ptr::from_ref(http.here()) as usize;
        thread::scope(|scope| {
            let other = scope.spawn(|| std::ptr::from_ref(http.here()) as usize);
            assert_eq!(other.join().expect("nothing panics"), given);
        });
    }
}
