//! Authorization: a shared key, a shared access signature or an Entra token, checked as strictly as the service does.
//!
//! It rejects anonymous requests (no container is public), requests without a usable `x-ms-version`, and tokens over
//! plain http. Token signatures and roles are not checked: a valid token permits everything.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/authorize-requests-to-azure-storage> and
//! <https://learn.microsoft.com/rest/api/storageservices/versioning-for-the-azure-storage-services>.

use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use time::Date;
use time::macros::format_description;

use super::call::{Call, Service};
use super::error::{
    AUTHENTICATION_FAILED, INVALID_AUTHORIZATION, INVALID_HEADER_VALUE, MISSING_HEADER, NO_AUTHENTICATION,
    RESOURCE_NOT_FOUND, Result,
};
use super::operation::Operation;
use super::{EMULATOR_ACCOUNT, EMULATOR_KEY, bearer, sas, shared_key};

/// The oldest version that signs an empty body with an empty length; older rules are not supported.
const OLDEST_VERSION: &str = "2015-02-21";
/// From this version on, the response to an anonymous request says where to get a token.
const CHALLENGING_VERSION: &str = "2019-12-12";

/// What an authorized caller may do beyond the operation itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Grant {
    /// Everything.
    Full,
    /// Create blobs but not overwrite them (granted by some signatures).
    CreateOnly,
}

/// The account's name and key.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) name: &'static str,
    key: hmac::Key,
}

impl Default for Account {
    fn default() -> Self {
        let key = STANDARD.decode(EMULATOR_KEY).expect("the key is base64");
        Self { name: EMULATOR_ACCOUNT, key: hmac::Key::new(hmac::HMAC_SHA256, &key) }
    }
}

impl Account {
    /// Whether `signature` (base64) is this account's signature of `text`.
    pub(super) fn signed(&self, text: &str, signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else { return false };
        hmac::verify(&self.key, text.as_bytes(), &signature).is_ok()
    }

    /// Authorizes or rejects the caller of `operation`.
    pub(super) fn authorize(&self, call: &Call, operation: Operation) -> Result<Grant> {
        if let Some(version) = call.header("x-ms-version") {
            check_version(version)?;
        }
        let Some(authorization) = call.header("authorization") else {
            // The signature contains a version, so the header may be missing.
            return if call.query.contains_key("sig") {
                sas::check(self, call, operation)
            } else {
                Err(anonymous(call))
            };
        };
        if call.header("x-ms-version").is_none() {
            return Err(MISSING_HEADER.because("x-ms-version"));
        }
        match authorization.split_once(' ') {
            Some(("SharedKey", credential)) => shared_key::check(self, call, credential)?,
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("Bearer") => bearer::check(self, call, token.trim())?,
            _ => return Err(INVALID_AUTHORIZATION),
        }
        Ok(Grant::Full)
    }
}

fn check_version(version: &str) -> Result<()> {
    let written_right = Date::parse(version, format_description!("[year]-[month]-[day]")).is_ok();
    if written_right && version >= OLDEST_VERSION { Ok(()) } else { Err(INVALID_HEADER_VALUE.because("x-ms-version")) }
}

fn anonymous(call: &Call) -> super::error::Error {
    let reads = matches!(call.method, Method::GET | Method::HEAD);
    match call.header("x-ms-version") {
        Some(version) if version >= CHALLENGING_VERSION => NO_AUTHENTICATION,
        _ if reads && call.service == Service::Blob => RESOURCE_NOT_FOUND,
        _ => AUTHENTICATION_FAILED,
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::json;
    use time::OffsetDateTime;
    use url::Url;

    use super::super::Options;
    use super::super::testing::{Answer, Fixture, VERSION, read, sign, signed};
    use super::*;
    use crate::net::Tls;

    const LATER: &str = "2999-01-01T00:00:00Z";
    const FAILED: (u16, &str) = (403, "AuthenticationFailed");

    #[tokio::test]
    async fn a_changed_byte_voids_a_shared_key_signature() {
        let fixture = Fixture::with_blob().await;
        let url = format!("{}/locks?restype=container&comp=list", fixture.storage.blob_endpoint());
        let good = || signed("GET", &url, &[], "");
        assert_eq!(read(fixture.http.execute(good()).await.expect("an answer")).await.status, 200);
        let mut header = good();
        header.headers_mut().insert("x-ms-client-request-id", "a".parse().expect("a header"));
        let mut query = good();
        query.url_mut().query_pairs_mut().append_pair("prefix", "a");
        let mut method = good();
        *method.method_mut() = reqwest::Method::HEAD;
        let mut date = good();
        date.headers_mut().insert("x-ms-date", "Mon, 23 Nov 2020 10:00:00 GMT".parse().expect("a header"));
        let mut account = good();
        account.headers_mut().insert("authorization", "SharedKey other:AAAA".parse().expect("a header"));
        for request in [header, query, date, account] {
            let answer = read(fixture.http.execute(request).await.expect("an answer")).await;
            assert_eq!(answer.refusal(), FAILED);
        }
    }

    #[tokio::test]
    async fn the_version_must_be_there_and_be_a_date() {
        let fixture = Fixture::with_blob().await;
        let url = format!("{}/locks/one", fixture.storage.blob_endpoint());
        let mut without = signed("GET", &url, &[], "");
        without.headers_mut().remove("x-ms-version");
        let answer = read(fixture.http.execute(without).await.expect("an answer")).await;
        assert_eq!(answer.refusal(), (400, "MissingRequiredHeader"));
        let mut odd = signed("GET", &url, &[], "");
        odd.headers_mut().insert("x-ms-version", "latest".parse().expect("a header"));
        let answer = read(fixture.http.execute(odd).await.expect("an answer")).await;
        assert_eq!(answer.refusal(), (400, "InvalidHeaderValue"));
    }

    #[tokio::test]
    async fn the_response_to_an_anonymous_caller_says_where_to_get_a_token() {
        let fixture = Fixture::with_blob().await;
        let url = format!("{}/locks/one", fixture.storage.blob_endpoint());
        let old = read(fixture.http.get(&url).send().await.expect("an answer")).await;
        assert_eq!(old.refusal(), (404, "ResourceNotFound"));
        let new = fixture.http.get(&url).header("x-ms-version", VERSION).send().await;
        let new = read(new.expect("an answer")).await;
        assert_eq!(new.refusal(), (401, "NoAuthenticationInformation"));
        assert!(new.header("www-authenticate").starts_with("Bearer authorization_uri=https://"));
    }

    /// Sends a request that is signed by its query only.
    async fn with_query(fixture: &Fixture, method: &str, path: &str, query: &[(&str, &str)]) -> Answer {
        let url = format!("{}/{path}", fixture.storage.blob_endpoint());
        let url = Url::parse_with_params(&url, query).expect("a URL");
        let method = reqwest::Method::from_bytes(method.as_bytes()).expect("a method");
        let request = fixture.http.request(method, url).header("x-ms-version", VERSION);
        let request = request.header("x-ms-blob-type", "BlockBlob").header("content-length", 0);
        read(request.send().await.expect("an answer")).await
    }

    #[tokio::test]
    async fn an_account_signature_allows_what_it_names() {
        let fixture = Fixture::with_blob().await;
        for (permissions, services, types, expiry, method, expected) in [
            ("rw", "b", "o", LATER, "GET", (200, "")),
            ("rw", "bq", "sco", LATER, "PUT", (201, "")),
            ("r", "b", "o", LATER, "PUT", (403, "AuthorizationPermissionMismatch")),
            ("c", "b", "o", LATER, "PUT", (403, "AuthorizationPermissionMismatch")),
            ("rw", "q", "o", LATER, "GET", (403, "AuthorizationServiceMismatch")),
            ("rw", "b", "c", LATER, "GET", (403, "AuthorizationResourceTypeMismatch")),
            ("rw", "b", "o", "2020-01-01", "GET", FAILED),
        ] {
            let text = format!("devstoreaccount1\n{permissions}\n{services}\n{types}\n\n{expiry}\n\n\n{VERSION}\n\n");
            let signature = sign(&text);
            let mut query = vec![("sp", permissions), ("ss", services), ("srt", types), ("se", expiry)];
            query.extend([("sv", VERSION), ("sig", signature.as_str())]);
            let answer = with_query(&fixture, method, "locks/one", &query).await;
            assert_eq!(answer.refusal(), expected, "{text:?}");
        }
    }

    #[tokio::test]
    async fn a_service_signature_is_for_its_container_or_blob_alone() {
        let fixture = Fixture::with_blob().await;
        for (signed_resource, resource, path, protocol, expected) in [
            ("c", "/blob/devstoreaccount1/locks", "locks/one", "https,http", (200, "")),
            ("b", "/blob/devstoreaccount1/locks/one", "locks/one", "https,http", (200, "")),
            ("b", "/blob/devstoreaccount1/locks/one", "locks/two", "https,http", FAILED),
            ("c", "/blob/devstoreaccount1/other", "locks/one", "https,http", FAILED),
            ("c", "/blob/devstoreaccount1/locks", "locks/one", "https", (403, "AuthorizationProtocolMismatch")),
        ] {
            let text = format!("r\n\n{LATER}\n{resource}\n\n\n{protocol}\n{VERSION}\n{signed_resource}\n\n\n\n\n\n\n");
            let signature = sign(&text);
            let mut query = vec![("sp", "r"), ("se", LATER), ("spr", protocol), ("sr", signed_resource)];
            query.extend([("sv", VERSION), ("sig", signature.as_str())]);
            assert_eq!(with_query(&fixture, "GET", path, &query).await.refusal(), expected, "{text:?}");
        }
    }

    fn token(audience: &str, issuer: &str, expires_in: i64) -> String {
        let exp = OffsetDateTime::now_utc().unix_timestamp() + expires_in;
        let claims = json!({ "aud": audience, "iss": issuer, "nbf": 0, "exp": exp }).to_string();
        format!("{}.{}.c2ln", URL_SAFE_NO_PAD.encode("{\"alg\":\"RS256\"}"), URL_SAFE_NO_PAD.encode(claims))
    }

    async fn with_token(fixture: &Fixture, token: &str) -> Answer {
        let url = format!("{}/locks?restype=container", fixture.storage.blob_endpoint());
        let request = fixture.http.get(url).header("x-ms-version", VERSION).bearer_auth(token);
        read(request.send().await.expect("an answer")).await
    }

    #[tokio::test]
    async fn a_token_is_checked_for_audience_issuer_and_times() {
        let tls = Some(Tls::generate().expect("a certificate"));
        let fixture = Fixture::start(Options { tls, ..Options::default() }).await;
        assert_eq!(fixture.blob("PUT", "locks?restype=container", &[], "").await.status, 201);
        let issuer = "https://sts.windows.net/tenant/";
        let storage = "https://storage.azure.com/";
        let invalid = (401, "InvalidAuthenticationInfo");
        for (audience, issuer, expires_in, expected) in [
            (storage, issuer, 60, (200, "")),
            ("https://devstoreaccount1.blob.core.windows.net", issuer, 60, (200, "")),
            (storage, "https://login.microsoftonline.com/tenant/v2.0", 60, (200, "")),
            ("https://vault.azure.net", issuer, 60, invalid),
            (storage, "https://example.com/", 60, invalid),
            (storage, issuer, -1, invalid),
        ] {
            let answer = with_token(&fixture, &token(audience, issuer, expires_in)).await;
            assert_eq!(answer.refusal(), expected, "{audience} {issuer} {expires_in}");
            assert_eq!(answer.status == 401, !answer.header("www-authenticate").is_empty());
        }
        assert_eq!(with_token(&fixture, "nonsense").await.refusal(), invalid);
    }

    #[tokio::test]
    async fn a_token_over_plain_http_is_refused() {
        let fixture = Fixture::with_blob().await;
        let answer = with_token(&fixture, &token("https://storage.azure.com", "https://sts.windows.net/t/", 60)).await;
        assert_eq!(answer.refusal(), FAILED);
    }
}
