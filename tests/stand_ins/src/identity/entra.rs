//! The Entra token endpoint: `POST /<tenant>/oauth2/v2.0/token` with the client-credentials grant.
//!
//! It rejects what Entra rejects, with Entra's codes and statuses: unknown tenants and applications, wrong secrets,
//! wrong scopes, invalid assertions. Users and other grants are not supported. Mirrors
//! <https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow>; codes:
//! <https://learn.microsoft.com/entra/identity-platform/reference-error-codes>.

use std::borrow::Cow;
use std::collections::HashMap;

use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;
use uuid::Uuid;

use super::assertion;
use super::token::unix_now;
use super::{App, Credential, Realm, json_answer};

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

type Form<'a> = HashMap<Cow<'a, str>, Cow<'a, str>>;

/// An error in Entra's format.
#[derive(Debug)]
pub(super) struct Denied {
    pub(super) status: StatusCode,
    pub(super) error: &'static str,
    pub(super) code: u32,
    pub(super) text: String,
}

impl Denied {
    /// 401: the application failed to authenticate.
    pub(super) fn client(code: u32, text: impl Into<String>) -> Self {
        Self { status: StatusCode::UNAUTHORIZED, error: "invalid_client", code, text: text.into() }
    }

    /// 400: the request is invalid for every caller.
    pub(super) fn request(error: &'static str, code: u32, text: impl Into<String>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, error, code, text: text.into() }
    }

    fn answer(&self) -> Response {
        let trace = Uuid::new_v4().to_string();
        let description = format!("AADSTS{}: {} Trace ID: {trace}", self.code, self.text);
        let body = json!({
            "error": self.error,
            "error_description": description,
            "error_codes": [self.code],
            "trace_id": trace,
            "correlation_id": Uuid::new_v4().to_string(),
        });
        json_answer(self.status, &body)
    }
}

/// Handles one token request; `tenant` is from the path, `body` is the form.
pub(super) fn token(realm: &Realm, tenant: &str, body: &[u8]) -> Response {
    let form: Form<'_> = url::form_urlencoded::parse(body).collect();
    match grant(realm, tenant, &form) {
        Ok(answer) => answer,
        Err(denied) => denied.answer(),
    }
}

/// Handles `GET /<tenant>/v2.0/.well-known/openid-configuration`.
pub(super) fn discovery(realm: &Realm, tenant: &str) -> Response {
    if let Err(denied) = check_tenant(realm, tenant) {
        return denied.answer();
    }
    let authority = realm.authority();
    json_answer(
        StatusCode::OK,
        &json!({
            "token_endpoint": realm.token_url(),
            "authorization_endpoint": format!("{authority}/{tenant}/oauth2/v2.0/authorize"),
            "issuer": format!("https://sts.windows.net/{tenant}/"),
            "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
            "response_types_supported": ["code"],
        }),
    )
}

/// Handles `GET /common/discovery/instance`.
pub(super) fn instance(realm: &Realm) -> Response {
    let endpoint = format!("{}/{}/v2.0/.well-known/openid-configuration", realm.authority(), realm.options.tenant);
    json_answer(StatusCode::OK, &json!({ "tenant_discovery_endpoint": endpoint, "api-version": "1.1", "metadata": [] }))
}

fn grant(realm: &Realm, tenant: &str, form: &Form<'_>) -> Result<Response, Denied> {
    check_tenant(realm, tenant)?;
    if required(form, "grant_type")? != "client_credentials" {
        return Err(Denied::request("unsupported_grant_type", 70003, "The app requested an unsupported grant type."));
    }
    let client_id = required(form, "client_id")?;
    let Some(app) = realm.options.apps.iter().find(|app| app.client_id.eq_ignore_ascii_case(client_id)) else {
        let text = format!("Application with identifier '{client_id}' was not found in the directory.");
        return Err(Denied::request("unauthorized_client", 700_016, text));
    };
    authenticate(realm, app, form)?;
    let scope = required(form, "scope")?;
    let Some(resource) = scope.strip_suffix("/.default").filter(|resource| !resource.is_empty()) else {
        let text = format!("The provided value for the input parameter 'scope' is not valid: {scope}");
        return Err(Denied::request("invalid_scope", 70011, text));
    };
    let (token, claims) = realm.issue(resource, &app.client_id);
    let seconds = claims.expires_at - unix_now();
    let body =
        json!({ "token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token });
    Ok(json_answer(StatusCode::OK, &body))
}

fn check_tenant(realm: &Realm, tenant: &str) -> Result<(), Denied> {
    if realm.options.tenant.eq_ignore_ascii_case(tenant) {
        return Ok(());
    }
    Err(Denied::request("invalid_request", 90002, format!("Tenant '{tenant}' not found.")))
}

fn authenticate(realm: &Realm, app: &App, form: &Form<'_>) -> Result<(), Denied> {
    if let Some(presented) = form.get("client_secret") {
        let known = |credential: &Credential| matches!(credential, Credential::Secret(secret) if secret == presented);
        if app.credentials.iter().any(known) {
            return Ok(());
        }
        return Err(Denied::client(7_000_215, "Invalid client secret provided."));
    }
    let Some(presented) = form.get("client_assertion") else {
        return Err(Denied::client(7_000_218, "The request body must contain 'client_assertion' or 'client_secret'."));
    };
    if form.get("client_assertion_type").map(AsRef::as_ref) != Some(ASSERTION_TYPE) {
        return Err(Denied::request("invalid_request", 50027, "The client_assertion_type is missing or unknown."));
    }
    assertion::check(presented, app, &realm.token_url(), unix_now())
}

fn required<'a>(form: &'a Form<'_>, name: &str) -> Result<&'a str, Denied> {
    form.get(name).map(AsRef::as_ref).ok_or_else(|| {
        let text = format!("The request body must contain the following parameter: '{name}'.");
        Denied::request("invalid_request", 900_144, text)
    })
}
