//! Sends what the OpenTelemetry SDK exports, with the HTTP client of the process.
//!
//! The SDK exports from threads of its own; the requests run in the program's runtime. A collector that does not accept exports is
//! logged once, and again only after [`QUIET`].

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use reqwest::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::http::Http;

/// The shortest time between two warnings.
const QUIET: Duration = Duration::from_mins(10);

/// Sends for the SDK.
#[derive(Debug)]
pub(super) struct OtlpClient {
    runtime: Handle,
    timeout: Duration,
    /// Created by the first export: by then problems can be logged.
    http: OnceLock<Option<Http>>,
    collector: Mutex<CollectorState>,
}

#[derive(Debug, Default)]
struct CollectorState {
    is_down: bool,
    warned: Option<Instant>,
}

impl OtlpClient {
    /// For requests that take at most `timeout` each, in the runtime that this is called in.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { runtime: Handle::current(), timeout, http: OnceLock::new(), collector: Mutex::default() }
    }

    /// The answer has no body, because the SDK would only log it.
    async fn export(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let http = self.http.get_or_init(|| Http::new().ok()).as_ref().ok_or("TLS cannot be set up")?;
        let mut request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
        *request.timeout_mut() = Some(self.timeout);
        for (name, value) in request.headers_mut() {
            // The collector chooses the name of the header that holds its key.
            value.set_sensitive(name != CONTENT_TYPE);
        }
        // The client needs the runtime's timers.
        let http = http.to(request.url().as_str()).clone();
        let sent = self.runtime.spawn(async move { http.execute(request).await });
        let answer = sent.await?.map_err(|error| problem(&error))?;
        Ok(Response::builder().status(answer.status()).body(Bytes::new())?)
    }

    /// Logs a change of the collector's state.
    fn report(&self, problem: Option<&str>) {
        let mut collector = self.collector.lock().unwrap_or_else(PoisonError::into_inner);
        let has_changed = collector.is_down != problem.is_some();
        collector.is_down = problem.is_some();
        let is_quiet = collector.warned.is_some_and(|at| at.elapsed() < QUIET);
        match problem {
            Some(problem) if has_changed && !is_quiet => {
                collector.warned = Some(Instant::now());
                tracing::warn!(
                    problem,
                    "the OTLP collector does not accept traces or metrics; messages are not affected"
                );
            }
            None if has_changed => tracing::info!("the OTLP collector accepts traces and metrics again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for OtlpClient {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.export(request).await;
        match &answer {
            Ok(answer) if answer.status().is_success() => self.report(None),
            Ok(answer) => self.report(Some(&format!("it answers {}", answer.status().as_u16()))),
            Err(error) => self.report(Some(&error.to_string())),
        }
        answer
    }
}

/// A text without the URL, in which some collectors take their key.
fn problem(error: &reqwest::Error) -> &'static str {
    match error {
        error if error.is_connect() => "no connection",
        error if error.is_timeout() => "no answer in time",
        _ => "the connection broke",
    }
}
