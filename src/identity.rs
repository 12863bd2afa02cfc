//! The Entra credential that the settings choose, and its tokens.
//!
//! One credential is chosen at start and serves Dataverse and storage alike. All credentials are those of `azure_identity`; a client
//! certificate uses the client-assertion credential with an assertion signed in `identity/certificate.rs`, because the crate's own
//! certificate credential would tie the executable to a system OpenSSL.
//!
//! The SDK's retries are off: a message without a token goes back to the host, which retries. Secrets are in no Debug output.
//!
//! <https://learn.microsoft.com/azure/developer/rust/sdk/authentication/overview>

mod answer;
mod certificate;
mod choice;
mod developer_tools;
mod error;
mod token_file;
mod tokens;
mod tool_process;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::credentials::{AccessToken, TokenCredential, TokenRequestOptions};
use azure_core::error::ErrorKind;

use crate::http::Http;
pub use certificate::Certificate;
pub use choice::{Application, Choice};
pub(crate) use error::TokenError;
use tokens::Tokens;

/// The chosen credential, with its tokens.
pub struct Identity {
    name: &'static str,
    tokens: Tokens,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("choice", &self.name).finish_non_exhaustive()
    }
}

impl Identity {
    /// Opens the chosen credential without requesting a token.
    ///
    /// # Errors
    /// When `azure_identity` refuses the settings, for example a tenant id with a blank in it.
    pub fn open(choice: Choice, http: &Http) -> azure_core::Result<Self> {
        let (name, transport) = (choice.name(), choice.transport(http));
        choice.open(transport.clone())?;
        Ok(Self { name, tokens: Tokens::new(move || choice.open(transport.clone())) })
    }

    /// A token for `scope`. Many callers share one request for it.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) async fn token(&self, scope: &str) -> Result<AccessToken, TokenError> {
        self.tokens.get(scope).await
    }

    /// Forgets a token that a service refused.
    pub(crate) fn forget(&self, token: &str) {
        self.tokens.forget(token);
    }
}

#[async_trait]
impl TokenCredential for Identity {
    async fn get_token(&self, scopes: &[&str], _: Option<TokenRequestOptions<'_>>) -> azure_core::Result<AccessToken> {
        let [scope] = scopes else {
            return Err(azure_core::Error::with_message(ErrorKind::Credential, "a token is for one scope"));
        };
        Ok(self.token(scope).await?)
    }
}

/// The HTTP client and the chosen credential, for a command; no token is requested.
///
/// # Errors
/// Why not, in one line.
pub(crate) fn open(choice: Choice) -> Result<(Arc<Identity>, Http), String> {
    let http = Http::new().map_err(|_| "TLS cannot be set up".to_owned())?;
    let identity = Identity::open(choice, &http).map_err(|error| error::describe(&error))?;
    Ok((Arc::new(identity), http))
}
