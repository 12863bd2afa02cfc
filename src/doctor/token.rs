//! For whom a token is: the claims that tell it, and nothing else of the token. Pure.
//!
//! The token is not checked, that is the service's business.
//! <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use uuid::Uuid;

use crate::record::guid;

/// Who a token says we are. What is no GUID is left out: nobody knows what else could stand there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Claims {
    /// The application, or the managed identity's client id.
    pub application: Option<Uuid>,
    /// The service principal or user.
    pub object: Option<Uuid>,
    /// The directory.
    pub tenant: Option<Uuid>,
}

#[derive(Deserialize)]
struct Payload {
    appid: Option<String>,
    /// The same in a token of version 2.
    azp: Option<String>,
    oid: Option<String>,
    tid: Option<String>,
}

impl Claims {
    /// Those of a JWT; none of what is no JWT.
    pub fn of(token: &str) -> Self {
        let payload = token.split('.').nth(1).and_then(|part| URL_SAFE_NO_PAD.decode(part.trim_end_matches('=')).ok());
        let Some(payload) = payload.and_then(|json| serde_json::from_slice::<Payload>(&json).ok()) else {
            return Self::default();
        };
        let id = |text: Option<String>| text.as_deref().and_then(guid);
        Self { application: id(payload.appid.or(payload.azp)), object: id(payload.oid), tenant: id(payload.tid) }
    }
}

impl fmt::Display for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let claims = [("appid", self.application), ("oid", self.object), ("tid", self.tenant)];
        let known: Vec<_> = claims.iter().filter_map(|(name, id)| id.map(|id| format!("{name} {id}"))).collect();
        if known.is_empty() { f.write_str("for whom, it does not say") } else { f.write_str(&known.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(payload: &str) -> String {
        format!("canary.{}.canary", URL_SAFE_NO_PAD.encode(payload))
    }

    #[test]
    fn it_tells_who_and_nothing_else() {
        let [app, object, tenant] = [1, 2, 3].map(Uuid::from_u128);
        let payload = format!(
            r#"{{"aud":"canary","appid":"{app}","oid":"{object}","tid":"{tenant}","name":"canary","roles":["canary"]}}"#
        );
        let claims = Claims::of(&token(&payload));
        assert_eq!(claims.to_string(), format!("appid {app}, oid {object}, tid {tenant}"));
        assert_eq!(Claims::of(&token(&format!(r#"{{"azp":"{app}"}}"#))).to_string(), format!("appid {app}"));
    }

    #[test]
    fn what_is_no_such_token_tells_nothing() {
        for text in ["canary", "", "a.b.c", &token("[]"), &token(r#"{"appid":"canary"}"#), &token("{}")] {
            assert_eq!(Claims::of(text), Claims::default());
            assert_eq!(Claims::of(text).to_string(), "for whom, it does not say");
        }
    }
}
