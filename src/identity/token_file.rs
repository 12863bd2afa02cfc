//! A federated token in a file, as in Kubernetes.

use std::path::PathBuf;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;

use crate::files;

/// The file. The token is replaced from time to time, so it is read again for each request.
#[derive(Debug)]
pub(super) struct TokenFile(pub(super) PathBuf);

#[async_trait]
impl ClientAssertion for TokenFile {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        let unreadable =
            |error| azure_core::Error::with_error(ErrorKind::Credential, error, "the federated token cannot be read");
        files::read_text(&self.0).map_err(unreadable)
    }
}
