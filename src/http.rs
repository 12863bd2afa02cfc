//! The HTTP clients of the process: pooled connections, no redirects, no cookies, no retries.
//!
//! A connection is driven by the thread that opened it, and another thread that used it would have to wake that one for each
//! request. So every thread that serves has a client of its own.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Client;
use thread_local::ThreadLocal;

/// A client, or one for each thread.
#[derive(Debug, Clone)]
pub struct Http {
    first: Client,
    own: Option<Arc<ThreadLocal<Client>>>,
}

impl Http {
    /// One for each thread; the calling thread's is opened at once, the others' when they are needed.
    ///
    /// # Errors
    /// When TLS cannot be set up at all.
    pub fn for_each_thread() -> reqwest::Result<Self> {
        let (first, own) = (client()?, ThreadLocal::new());
        own.get_or(|| first.clone());
        Ok(Self { first, own: Some(Arc::new(own)) })
    }

    /// The calling thread's.
    pub fn here(&self) -> &Client {
        match &self.own {
            // A second one cannot be opened only where the first could not be now either: it serves all the same.
            Some(own) => own.get_or(|| client().unwrap_or_else(|_| self.first.clone())),
            None => &self.first,
        }
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
/// Without root certificates (a bare container) it still serves, and every https address is refused: a process that exits
/// would be started over and over, and this way the log and each result say what is wrong.
///
/// # Errors
/// When TLS cannot be set up at all.
pub fn client() -> reqwest::Result<Client> {
    builder().build().or_else(|_| {
        tracing::error!(
            "this system has no root certificates, so no https address can be trusted: install ca-certificates"
        );
        builder().tls_certs_only([]).build()
    })
}

fn builder() -> reqwest::ClientBuilder {
    Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .redirect(reqwest::redirect::Policy::none())
        // The owner of every retry is the host; a request that never left is sent anew by the pool below this.
        .retry(reqwest::retry::never())
        .referer(false)
        .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
}
