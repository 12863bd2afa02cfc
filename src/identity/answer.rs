//! The answers of Entra ID and of managed-identity endpoints, read before the SDK reads them.
//!
//! The SDK takes `expires_on` as text only, an empty object for a token, and no refusal whose text has a JSON escape. So a success
//! is written anew in the SDK's form, and every other answer becomes a [`TokenError`]: a refusal is Entra ID's or the endpoint's
//! own JSON; a proxy's page is an outage.
//!
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::fmt;

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::error::{TokenError, code_in, is_transient, quote};
use crate::http::sdk::SdkTransport;

/// The service that a token is requested from.
#[derive(Debug, Clone, Copy)]
pub(super) enum Service {
    Entra,
    ManagedIdentity,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Entra => "Entra ID",
            Self::ManagedIdentity => "the identity endpoint",
        })
    }
}

/// The longest lifetime that a token is believed to have, in seconds; Entra ID gives at most 28 hours. The SDK adds what it reads to
/// the time of day, and panics where the sum is not a time.
/// <https://learn.microsoft.com/entra/identity-platform/configurable-token-lifetimes>
const MAX_LIFETIME: i64 = 7 * 24 * 60 * 60;

/// Sends the SDK's token requests and reads their answers.
#[derive(Debug)]
pub(super) struct TokenTransport {
    pub(super) service: Service,
    pub(super) inner: SdkTransport,
}

#[async_trait]
impl HttpClient for TokenTransport {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, body) = self.inner.execute_request(request).await?.deconstruct();
        let body = body.collect().await?;
        let token = read(self.service, u16::from(status), &body, OffsetDateTime::now_utc())?;
        Ok(AsyncRawResponse::from_bytes(status, headers, token))
    }
}

/// The token in an answer, as the SDK reads it.
fn read(service: Service, status: u16, body: &[u8], now: OffsetDateTime) -> Result<String, TokenError> {
    let not_understood = || TokenError::outage(format!("{service} answered {status}, which is not understood"));
    let answer: Value = serde_json::from_slice(body).map_err(|_| not_understood())?;
    if (200..300).contains(&status) {
        return granted(&answer, now).ok_or_else(not_understood);
    }
    let text = |name: &str| answer[name].as_str().filter(|text| !text.is_empty());
    let said = text("error_description").or(text("message")).or(text("error")).ok_or_else(not_understood)?;
    let first = answer["error_codes"][0].as_u64().and_then(|code| u32::try_from(code).ok());
    let code = first.or_else(|| code_in(said));
    let refused = code.is_none_or(|code| !is_transient(code))
        && !matches!(text("error"), Some("temporarily_unavailable" | "server_error"))
        && is_final(service, status);
    let said = quote(said);
    let problem = if refused {
        format!("{service} refuses this identity: {said}")
    } else {
        format!("{service} answered {status}: {said}")
    };
    Err(TokenError { refused, code, problem, sources: Vec::new() })
}

/// Whether this status can be a verdict about the identity. Managed-identity endpoints answer 404 and 410 while they are updated.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#error-handling>
fn is_final(service: Service, status: u16) -> bool {
    let is_updating = matches!(service, Service::ManagedIdentity) && matches!(status, 404 | 410);
    (400..500).contains(&status) && !matches!(status, 408 | 429) && !is_updating
}

fn granted(answer: &Value, now: OffsetDateTime) -> Option<String> {
    let token = answer["access_token"].as_str().filter(|token| !token.is_empty())?;
    let now = now.unix_timestamp();
    let within = match seconds(&answer["expires_on"]) {
        Some(on) => on.saturating_sub(now),
        None => seconds(&answer["expires_in"])?,
    };
    let within = within.clamp(0, MAX_LIFETIME);
    let on = (now + within).to_string();
    let token = json!({
        "access_token": token, "token_type": "Bearer", "resource": "", "expires_in": within, "expires_on": on,
    });
    Some(token.to_string())
}

/// A number of seconds, as a number or as text.
fn seconds(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000;

    fn read_at(service: Service, status: u16, body: &str) -> Result<Value, TokenError> {
        let now = OffsetDateTime::from_unix_timestamp(NOW).expect("a time");
        read(service, status, body.as_bytes(), now).map(|token| serde_json::from_str(&token).expect("JSON"))
    }

    #[test]
    fn a_tokens_end_is_a_number_or_text_and_absolute_or_relative() {
        for (end, on) in [
            (r#""expires_on":"1700003600""#, NOW + 3_600),
            (r#""expires_on":1700003600"#, NOW + 3_600),
            (r#""expires_in":60"#, NOW + 60),
            (r#""expires_in":"60""#, NOW + 60),
            (r#""expires_on":"soon","expires_in":60"#, NOW + 60),
            (r#""expires_on":1700003600,"expires_in":60"#, NOW + 3_600),
            (r#""expires_on":9223372036854775807"#, NOW + MAX_LIFETIME),
            (r#""expires_in":9223372036854775807"#, NOW + MAX_LIFETIME),
            (r#""expires_in":"-9223372036854775808""#, NOW),
            (r#""expires_on":-9223372036854775808"#, NOW),
            (r#""expires_on":0"#, NOW),
        ] {
            let token = read_at(Service::Entra, 200, &format!(r#"{{"access_token":"a",{end}}}"#)).expect(end);
            assert_eq!((&token["access_token"], &token["expires_on"]), (&json!("a"), &json!(on.to_string())), "{end}");
            assert_eq!(token["expires_in"], json!(on - NOW), "{end}");
        }
    }

    #[test]
    fn an_identity_endpoint_refuses_in_its_own_form_and_may_be_updating() {
        let refused = r#"{"statusCode":400,"message":"No User Assigned or Delegated Managed Identity found"}"#;
        for (status, body, refused, problem) in [
            (400, refused, true, "the identity endpoint refuses this identity: No User Assigned or"),
            (404, refused, false, "the identity endpoint answered 404: No User"),
            (410, refused, false, "answered 410"),
            (429, refused, false, "answered 429"),
            (500, refused, false, "answered 500"),
            (
                400,
                r#"{"error":"invalid_request","error_description":"Identity not found"}"#,
                true,
                "Identity not found",
            ),
            (400, r#"{"statusCode":400}"#, false, "answered 400, which is not understood"),
        ] {
            let error = read_at(Service::ManagedIdentity, status, body).expect_err(body);
            assert_eq!(error.refused, refused, "{status} {body}");
            assert!(error.problem.contains(problem), "{error}");
        }
        let error = read_at(Service::Entra, 404, r#"{"error":"invalid_request"}"#).expect_err("a refusal");
        assert!(error.refused, "Entra ID is not being updated: {error}");
    }
}
