//! Sends single requests: the address of the service, the token, the headers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use azure_core::credentials::Secret;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Method, Request};
use tokio::time::timeout;
use url::Url;
use uuid::Uuid;

use super::exchange::{self, Answer};
use super::{CLIENT_REQUEST_ID, Environment, answer};
use crate::dataverse::Error;
use crate::http::Http;
use crate::identity::{Identity, TokenError};
use crate::telemetry::trace;

/// Synchronous plug-ins may run for two minutes and twenty seconds; the caller sets an earlier end where it has less time.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/analyze-performance>
const WRITE_TIMEOUT: Duration = Duration::from_secs(150);
const READ_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest wait for a token.
const TOKEN_TIMEOUT: Duration = Duration::from_secs(20);

/// <https://learn.microsoft.com/power-apps/developer/data-platform/send-parallel-requests>
const PARALLELISM: &str = "x-ms-dop-hint";

/// Sends requests, each with a token and an id.
#[derive(Debug)]
pub(super) struct Service {
    http: reqwest::Client,
    identity: Arc<Identity>,
    pub(super) root: Url,
    scope: String,
    /// Of every request.
    pub(super) headers: HeaderMap,
    /// The last hint; zero if there was none.
    pub(super) parallelism: AtomicU32,
}

impl Service {
    pub(super) fn new(environment: &Environment, identity: Arc<Identity>, http: &Http) -> Self {
        let mut root = environment.url.clone();
        root.set_path(&format!("/api/data/{}/", environment.api_version));
        Self {
            http: http.to(root.as_str()).clone(),
            identity,
            root,
            scope: environment.scope(),
            headers: environment.common_headers(),
            parallelism: AtomicU32::new(0),
        }
    }

    pub(super) async fn token(&self) -> Result<Secret, Error> {
        let token = timeout(TOKEN_TIMEOUT, self.identity.token(&self.scope));
        // A cached token needs no span.
        match trace::span_if_pending(token, || trace::child("token"), exchange::record_token_failure).await {
            Ok(Ok(token)) => Ok(token.token),
            Ok(Err(TokenError { refused, problem, .. })) => Err(Error::NoToken { refused, problem }),
            Err(_) => Err(Error::NoToken { refused: false, problem: "no answer in time".to_owned() }),
        }
    }

    /// A request with the headers that every request has.
    pub(super) fn request(&self, method: Method, url: Url) -> Request {
        let mut request = Request::new(method, url);
        request.headers_mut().clone_from(&self.headers);
        request
    }

    /// Sends a request and gives its success.
    pub(super) async fn send(&self, request: &Request) -> Result<Answer, Error> {
        let answer = self.answer(request, timeout_of(request)).await?;
        if answer.is_success() { Ok(answer) } else { Err(answer::error(answer).await) }
    }

    /// Sends a request and gives its answer, which has so much time; a token that is refused is replaced once.
    pub(super) async fn answer(&self, request: &Request, timeout: Duration) -> Result<Answer, Error> {
        let token = self.token().await?;
        let mut answer = self.send_once(request, &token, timeout).await?;
        if answer.status() == 401 {
            self.identity.forget(token.secret());
            answer = self.send_once(request, &self.token().await?, timeout).await?;
        }
        Ok(answer)
    }

    /// Adds the token, and a request id that no other sending has.
    async fn send_once(&self, request: &Request, token: &Secret, timeout: Duration) -> Result<Answer, Error> {
        let mut request = request.try_clone().expect("its body is in memory");
        let id = Uuid::new_v4().to_string();
        request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        request.headers_mut().insert(CLIENT_REQUEST_ID, HeaderValue::try_from(id).expect("a UUID is ASCII"));
        let answer = exchange::exchange(&self.http, request, timeout, &self.root).await?;
        if let Some(hint) = answer.header(PARALLELISM).and_then(|value| value.trim().parse().ok()) {
            self.parallelism.store(hint, Ordering::Relaxed);
        }
        Ok(answer)
    }
}

/// How much time the answer to a request has.
pub(super) fn timeout_of(request: &Request) -> Duration {
    if request.method() == Method::GET { READ_TIMEOUT } else { WRITE_TIMEOUT }
}

fn bearer(token: &Secret) -> Result<HeaderValue, Error> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.secret()))
        .map_err(|_| Error::NoToken { refused: false, problem: "the token is not a header value".to_owned() })?;
    value.set_sensitive(true);
    Ok(value)
}
