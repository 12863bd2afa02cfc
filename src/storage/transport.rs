//! The transport of requests to the storage.
//!
//! The SDK keeps a token of its own, and gets another one after a 401 only if ours is forgotten too. It also reads whatever comes
//! with a 2xx, such as the page of a proxy, as an empty list; so a 2xx counts only when it is the service's.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::{AUTHORIZATION, HeaderName};
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};

use crate::http::sdk::SdkTransport;
use crate::identity::Identity;

/// In every answer of the service. <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>
const REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-request-id");

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
        if response.status().is_success() && response.headers().get_optional_str(&REQUEST_ID).is_none() {
            return Err(azure_core::Error::with_message(ErrorKind::DataConversion, "not an answer of the storage"));
        }
        if response.status() == StatusCode::Unauthorized {
            let authorization = request.headers().get_optional_str(&AUTHORIZATION);
            if let Some(token) = authorization.and_then(|value| value.strip_prefix("Bearer ")) {
                self.identity.forget(token);
            }
        }
        Ok(response)
    }
}
