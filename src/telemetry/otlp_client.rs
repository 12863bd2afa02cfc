//! Carries what the OpenTelemetry SDK exports to the collector, with the HTTP client that everything else goes by.
//!
//! The SDK sends from threads of its own; the requests run in the program's runtime. A collector that does not take what it gets
//! is told of once, and again only after [`QUIET`]: the log is for the messages.

use std::error::Error;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use reqwest::header::CONTENT_TYPE;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::http::Http;
use crate::http::response::read_body;

/// No second warning within this time.
const QUIET: Duration = Duration::from_mins(10);

/// An answer says at most how many spans were refused, and why.
const MOST_BYTES: usize = 64 * 1024;

/// Sends for the SDK.
#[derive(Debug)]
pub(super) struct Courier {
    runtime: Handle,
    timeout: Duration,
    /// Made with the first delivery: by then there is a log for what is wrong with it.
    http: OnceLock<Option<Http>>,
    told: Mutex<Told>,
}

/// What the log says of the collector.
#[derive(Debug, Default)]
struct Told {
    is_down: bool,
    warned: Option<Instant>,
}

/// A delivery did not arrive.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Undelivered(&'static str);

impl Courier {
    /// For deliveries that take at most `timeout` each, in the runtime that this is called in.
    pub(super) fn new(timeout: Duration) -> Self {
        Self { runtime: Handle::current(), timeout, http: OnceLock::new(), told: Mutex::default() }
    }

    async fn deliver(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let Some(http) = self.http.get_or_init(|| Http::new().ok()) else {
            return Err(Undelivered("TLS cannot be set up").into());
        };
        let mut request = reqwest::Request::try_from(request)?;
        *request.timeout_mut() = Some(self.timeout);
        for (name, value) in request.headers_mut() {
            // Keys travel in headers, under names of the collector's choice.
            value.set_sensitive(name != CONTENT_TYPE);
        }
        // All of it in the runtime: the client makes its timers at once.
        let sent = self.runtime.spawn(exchange(http.to(request.url().as_str()).clone(), request));
        sent.await.unwrap_or_else(|_| Err(Undelivered("the runtime stopped").into()))
    }

    /// Tells what has changed about the collector, if that is not said too often.
    fn tell(&self, problem: Option<&str>) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = told.is_down != problem.is_some();
        told.is_down = problem.is_some();
        let quiet = told.warned.is_some_and(|at| at.elapsed() < QUIET);
        match problem {
            Some(problem) if changed && !quiet => {
                told.warned = Some(Instant::now());
                tracing::warn!(
                    problem,
                    "the collector at OTEL_EXPORTER_OTLP_ENDPOINT takes no traces or metrics; messages go on"
                );
            }
            None if changed => tracing::info!("the collector takes traces and metrics again"),
            _ => {}
        }
    }
}

#[async_trait]
impl HttpClient for Courier {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let delivered = self.deliver(request).await;
        match &delivered {
            Ok(answer) if answer.status().is_success() => self.tell(None),
            Ok(answer) => self.tell(Some(&format!("it answers {}", answer.status().as_u16()))),
            Err(error) => self.tell(Some(&error.to_string())),
        }
        delivered
    }
}

/// One request and its answer. What went wrong is told without the address.
async fn exchange(http: reqwest::Client, request: reqwest::Request) -> Result<Response<Bytes>, HttpError> {
    let answer = http.execute(request).await.map_err(|error| undelivered(&error))?;
    let status = answer.status();
    let body = read_body(answer, MOST_BYTES).await.map_err(|_| Undelivered("the answer could not be read"))?;
    let mut response = Response::new(body);
    *response.status_mut() = status;
    Ok(response)
}

fn undelivered(error: &reqwest::Error) -> Box<dyn Error + Send + Sync> {
    let problem = if error.is_connect() {
        "no connection"
    } else if error.is_timeout() {
        "no answer in time"
    } else {
        "the connection broke"
    };
    Undelivered(problem).into()
}
