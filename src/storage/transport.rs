//! The transport of requests to the storage: the SDK keeps a token of its own, and gets another one after a 401 only if ours is
//! forgotten too.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};

use crate::http::sdk::SdkTransport;
use crate::identity::Identity;

/// Sends requests, and forgets a token that the service refuses.
#[derive(Debug)]
pub(super) struct StorageTransport {
    pub(super) inner: SdkTransport,
    pub(super) identity: Arc<Identity>,
}

#[async_trait]
impl HttpClient for StorageTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let response = self.inner.execute_request(request).await?;
        if response.status() == StatusCode::Unauthorized {
            let authorization = request.headers().get_optional_str(&AUTHORIZATION);
            if let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) {
                self.identity.forget(token);
            }
        }
        Ok(response)
    }
}
