//! Entra tokens: issuer, audience and validity period of a JSON web token, read without verifying the signature.
//!
//! It rejects tokens over plain http, for another audience, or outside their validity period. Roles are not modelled.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/authorize-with-azure-active-directory>.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use time::OffsetDateTime;

use super::auth::Account;
use super::call::Call;
use super::error::{AUTHENTICATION_FAILED, INVALID_TOKEN, Result};

const ISSUERS: [&str; 2] = ["https://sts.windows.net/", "https://login.microsoftonline.com/"];

#[derive(Deserialize)]
struct Claims {
    aud: String,
    iss: String,
    #[serde(default)]
    nbf: i64,
    exp: i64,
}

/// Checks a token.
pub(super) fn check(account: &Account, call: &Call, token: &str) -> Result<()> {
    if !call.secure {
        return Err(AUTHENTICATION_FAILED.because("A bearer token is accepted over https only."));
    }
    let Some(claims) = claims(token) else { return Err(INVALID_TOKEN.because("The token is not a JSON web token.")) };
    if !ISSUERS.iter().any(|issuer| claims.iss.starts_with(issuer)) {
        return Err(INVALID_TOKEN.because("Issuer validation failed."));
    }
    let own = format!("https://{}.{}.core.windows.net", account.name, call.service.as_str());
    let audience = claims.aud.strip_suffix('/').unwrap_or(&claims.aud);
    if audience != "https://storage.azure.com" && audience != own {
        return Err(INVALID_TOKEN.because("Audience validation failed. Audience did not match."));
    }
    let now = OffsetDateTime::now_utc().unix_timestamp();
    if now < claims.nbf || now >= claims.exp {
        return Err(INVALID_TOKEN.because("Lifetime validation failed. The token is expired or not yet valid."));
    }
    Ok(())
}

fn claims(token: &str) -> Option<Claims> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}
