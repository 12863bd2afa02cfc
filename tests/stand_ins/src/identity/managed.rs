//! The App Service managed-identity endpoint: `GET /msi/token?api-version=2019-08-01&resource=…[&client_id=…]`.
//!
//! It rejects a request without the right `X-IDENTITY-HEADER`, with another API version, or for a user-assigned
//! identity that the app does not have. Mirrors
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>.

use std::collections::HashMap;

use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde_json::json;

use super::{Fault, Realm, json_answer};

/// The only protocol version that App Service currently supports.
const API_VERSION: &str = "2019-08-01";

/// Handles one token request.
pub(super) fn token(realm: &Realm, uri: &Uri, headers: &HeaderMap) -> Response {
    let presented = headers.get("x-identity-header").and_then(|value| value.to_str().ok());
    if presented != Some(realm.header.as_str()) {
        return refuse(StatusCode::UNAUTHORIZED, "The X-IDENTITY-HEADER header is missing or wrong.");
    }
    let query: HashMap<_, _> = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes()).collect();
    if query.get("api-version").map(AsRef::as_ref) != Some(API_VERSION) {
        return refuse(StatusCode::BAD_REQUEST, "The api-version is missing or not supported.");
    }
    let Some(resource) = query.get("resource").filter(|resource| !resource.is_empty()) else {
        return refuse(StatusCode::BAD_REQUEST, "The resource is missing.");
    };
    let client_id = match query.get("client_id").map(AsRef::as_ref) {
        None => realm.options.system_assigned.as_deref(),
        Some(asked) => realm.options.user_assigned.iter().map(String::as_str).find(|id| id.eq_ignore_ascii_case(asked)),
    };
    let Some(client_id) = client_id else {
        let text =
            "No User Assigned or Delegated Managed Identity found for specified ClientId/ResourceId/PrincipalId.";
        return refuse(StatusCode::BAD_REQUEST, text);
    };
    let (token, claims) = realm.issue(resource, client_id);
    let is_number = realm.faults().contains(&Fault::NumericExpiry);
    let expires_on = if is_number { json!(claims.expires_at) } else { json!(claims.expires_at.to_string()) };
    json_answer(
        StatusCode::OK,
        &json!({
            "access_token": token,
            "expires_on": expires_on,
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client_id,
        }),
    )
}

fn refuse(status: StatusCode, message: &str) -> Response {
    json_answer(status, &json!({ "statusCode": status.as_u16(), "message": message }))
}
