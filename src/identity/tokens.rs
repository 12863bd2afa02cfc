//! Tokens by scope: one request at a time for each, by a task of its own.
//!
//! Callers share that request; one that gives up leaves it to the next. A token is renewed in the background before it expires, and
//! serves until then if that fails.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use azure_core::credentials::{AccessToken, TokenCredential};
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use time::OffsetDateTime;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::error::TokenError;

/// How long before its end a token is renewed; a short-lived one halfway.
const RENEWAL: Duration = Duration::from_mins(5);

/// The pause after a renewal that failed, as in the SDKs for other languages.
const RENEWAL_PAUSE: Duration = Duration::from_secs(30);

/// The longest request. Callers wait less; the next one finds its result.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Opens the credential. The SDK's caches cannot be emptied, so each request opens a new one.
type Open = dyn Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync;

#[derive(Clone)]
pub(super) struct Tokens {
    open: Arc<Open>,
    scopes: Arc<Mutex<HashMap<String, Scope>>>,
}

/// One scope's token, and the request for the next one.
#[derive(Default)]
struct Scope {
    token: Option<Token>,
    request: Option<Request>,
    /// When the next renewal may begin, after one that failed.
    renewal: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Token {
    access: AccessToken,
    received: Instant,
    /// Its lifetime from then on.
    life: Duration,
}

/// The result of a request that many callers wait for.
type SharedResult = Shared<BoxFuture<'static, Result<Token, TokenError>>>;

struct Request {
    result: SharedResult,
    task: AbortHandle,
}

impl Tokens {
    pub(super) fn new(open: impl Fn() -> azure_core::Result<Arc<dyn TokenCredential>> + Send + Sync + 'static) -> Self {
        Self { open: Arc::new(open), scopes: Arc::default() }
    }

    /// A token for `scope`.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn get(&self, scope: &str) -> Result<AccessToken, TokenError> {
        let request = {
            let mut scopes = self.lock();
            let entry = scopes.entry(scope.to_owned()).or_default();
            match entry.token.clone().filter(Token::is_valid) {
                Some(token) => {
                    if token.is_due() && entry.renewal.is_none_or(|renewal| renewal <= Instant::now()) {
                        drop(self.request(scope, entry));
                    }
                    return Ok(token.access);
                }
                None => self.request(scope, entry),
            }
        };
        request.await.map(|token| token.access)
    }

    /// Forgets a token that a service refused, unless another one has taken its place.
    pub(super) fn forget(&self, refused: &str) {
        for entry in self.lock().values_mut() {
            entry.token.take_if(|token| token.access.token.secret() == refused);
        }
    }

    /// The request for the scope's next token, which begins unless one is under way.
    fn request(&self, scope: &str, entry: &mut Scope) -> SharedResult {
        if let Some(request) = entry.request.as_ref().filter(|request| !request.task.is_finished()) {
            return request.result.clone();
        }
        let (tokens, name) = (self.clone(), scope.to_owned());
        let task = tokio::spawn(async move {
            let result = tokens.fetch(&name).await;
            tokens.keep(&name, &result);
            result
        });
        let handle = task.abort_handle();
        let panicked = |_| Err(TokenError::outage("the request for a token failed by a defect of this program"));
        let result = task.map(move |ended| ended.unwrap_or_else(panicked)).boxed().shared();
        entry.request = Some(Request { result: result.clone(), task: handle });
        result
    }

    async fn fetch(&self, scope: &str) -> Result<Token, TokenError> {
        let credential = (self.open)().map_err(|error| TokenError::from(&error))?;
        let answered = timeout(REQUEST_TIMEOUT, credential.get_token(&[scope], None)).await;
        let access = answered.map_err(|_| TokenError::outage("no answer in time"))?;
        Ok(Token::new(access.map_err(|error| TokenError::from(&error))?))
    }

    fn keep(&self, scope: &str, result: &Result<Token, TokenError>) {
        let mut scopes = self.lock();
        let entry = scopes.entry(scope.to_owned()).or_default();
        match result {
            Ok(token) => *entry = Scope { token: Some(token.clone()), ..Scope::default() },
            Err(error) => {
                entry.request = None;
                entry.renewal = Some(Instant::now() + RENEWAL_PAUSE);
                if entry.token.as_ref().is_some_and(Token::is_valid) {
                    tracing::warn!(problem = error.problem, "a token was not renewed; it serves until it expires");
                }
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Scope>> {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    fn new(access: AccessToken) -> Self {
        let life = (access.expires_on - OffsetDateTime::now_utc()).try_into().unwrap_or_default();
        Self { access, received: Instant::now(), life }
    }

    /// By both clocks: one stands still while the machine sleeps, and the other may be set.
    fn is_valid(&self) -> bool {
        self.received.elapsed() < self.life && OffsetDateTime::now_utc() < self.access.expires_on
    }

    fn is_due(&self) -> bool {
        self.received.elapsed() >= self.life.saturating_sub(RENEWAL.min(self.life / 2))
    }
}

#[cfg(test)]
mod tests;
