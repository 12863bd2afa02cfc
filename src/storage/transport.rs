//! The transport of requests to the storage.
//!
//! The SDK keeps a token of its own, and gets another one after a 401 only if ours is forgotten too. It also reads whatever comes
//! with a 2xx, such as the page of a proxy, as an empty list; so a 2xx counts only when it is the service's.

use std::sync::Arc;

use async_trait::async_trait;
use azure_core::error::ErrorKind;
use azure_core::http::headers::AUTHORIZATION;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, StatusCode};

use crate::http::sdk::SdkTransport;
use crate::identity::Identity;

/// How the service's own headers begin. Emulators may leave out the request id, and in a 201 all of them.
/// <https://learn.microsoft.com/rest/api/storageservices/common-rest-api-response-headers>
const OWN_HEADERS: &str = "x-ms-";

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
        if response.status().is_success() && !is_of_storage(&response) {
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

/// A page comes with 200.
fn is_of_storage(response: &AsyncRawResponse) -> bool {
    response.status() == StatusCode::Created
        || response.headers().iter().any(|(name, _)| name.as_str().starts_with(OWN_HEADERS))
}

#[cfg(test)]
mod tests {
    use azure_core::http::headers::Headers;

    use super::*;

    #[test]
    fn a_success_without_a_header_of_the_service_is_only_a_creation() {
        for (status, name, expected) in [
            (StatusCode::Ok, "content-type", false),
            (StatusCode::NoContent, "etag", false),
            (StatusCode::Ok, "x-ms-request-id", true),
            (StatusCode::Ok, "x-ms-lease-id", true),
            (StatusCode::Created, "etag", true),
        ] {
            let mut headers = Headers::new();
            headers.insert(name, "a");
            let response = AsyncRawResponse::from_bytes(status, headers, "");
            assert_eq!(is_of_storage(&response), expected, "{status} {name}");
        }
    }
}
