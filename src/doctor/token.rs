//! Whom a token is for: those claims, and nothing else of the token. Pure.
//!
//! The token is not verified; only the service can do that.
//! <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::record::guid;

#[derive(Default, Deserialize)]
struct Claims {
    /// The application, or the managed identity's client id.
    appid: Option<String>,
    /// As `appid`, in a token of version 2.
    azp: Option<String>,
    /// The service principal or user.
    oid: Option<String>,
    /// The directory.
    tid: Option<String>,
}

/// The identity in a JWT. A claim that is not a GUID is left out, so that nothing unexpected is printed.
pub(super) fn identity(token: &str) -> String {
    let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
    let claims: Claims = payload.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default();
    let claims = [("appid", claims.appid.or(claims.azp)), ("oid", claims.oid), ("tid", claims.tid)];
    let known = claims.into_iter().filter_map(|(name, id)| guid(&id?).map(|id| format!("{name} {id}")));
    let known = known.collect::<Vec<_>>().join(", ");
    if known.is_empty() { "it does not say for whom".to_owned() } else { known }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn token(payload: &str) -> String {
        format!("canary.{}.canary", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn shows_the_identity_and_nothing_else() {
        let [app, object, tenant] = [1, 2, 3].map(Uuid::from_u128);
        let payload = format!(
            r#"{{"aud":"canary","appid":"{app}","oid":"{object}","tid":"{tenant}","name":"canary","roles":["canary"]}}"#
        );
        assert_eq!(identity(&token(&payload)), format!("appid {app}, oid {object}, tid {tenant}"));
        assert_eq!(identity(&token(&format!(r#"{{"azp":"{app}"}}"#))), format!("appid {app}"));
    }

    #[test]
    fn a_text_that_is_not_such_a_token_has_no_claims() {
        for text in ["canary", "", "a.b.c", &token("[]"), &token(r#"{"appid":"canary"}"#), &token("{}")] {
            assert_eq!(identity(text), "it does not say for whom");
        }
    }
}
