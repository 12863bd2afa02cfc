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
        self.opened_by(client)
    }

    /// Where a further one cannot be opened, the first could not be now either: it serves all the same.
    fn opened_by(&self, open: impl FnOnce() -> reqwest::Result<Client>) -> &Client {
        match &self.own {
            Some(own) => own.get_or(|| open().unwrap_or_else(|_| self.first.clone())),
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
        // The owner of every retry is the host; a request that never left is sent anew by the pool below this. Without the
        // zero each request would be copied first, in case.
        .retry(reqwest::retry::never().max_retries_per_request(0))
        .referer(false)
        .user_agent(concat!("dataverse-sync/", env!("CARGO_PKG_VERSION")))
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn opened(http: &Http) -> Option<usize> {
        http.own.as_ref().map(|own| own.iter().count())
    }

    #[test]
    fn a_thread_opens_a_client_of_its_own_when_it_needs_one_and_no_second() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::for_each_thread().expect("this machine has root certificates");
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
        let _ = rustls::crypto::ring::default_provider().install_default();
        let first = builder().user_agent("the first").build().expect("this machine has root certificates");
        let http = Http { first, own: Some(Arc::default()) };
        let refused = || builder().user_agent("no\nheader").build();
        refused().expect_err("a line break is in no header");
        let given = format!("{:?}", http.opened_by(refused));
        assert!(given.contains("the first"), "{given}");
    }

    #[test]
    fn a_client_that_is_given_is_every_threads() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = Http::from(client().expect("this machine has root certificates"));
        let given = std::ptr::from_ref(http.here()) as usize;
        thread::scope(|scope| {
            let other = scope.spawn(|| std::ptr::from_ref(http.here()) as usize);
            assert_eq!(other.join().expect("nothing panics"), given);
        });
    }
}
