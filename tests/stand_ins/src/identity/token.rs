//! The tokens of the sandbox's tenant: client, audience, expiry, and whether they are revoked.
//!
//! Only registered tokens are valid, whatever their claims, so a token cannot be forged. Invariant: the checks run in
//! this order: known, not revoked, not expired, issued for this audience.
//!
//! The claims are those of <https://learn.microsoft.com/entra/identity-platform/access-token-claims-reference>. The
//! third part is random bytes: resource servers here check the register, and Azurite does not check signatures.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use uuid::Uuid;

/// The register of all issued tokens.
#[derive(Debug)]
pub struct Tokens {
    tenant: String,
    lifetime: Duration,
    register: Mutex<HashMap<String, Registered>>,
}

/// The claims of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The resource that the token is for, as requested.
    pub audience: String,
    /// The client id of the application or managed identity.
    pub application_id: String,
    /// The object id of its service principal; always the same for one application.
    pub object_id: String,
    /// Unix seconds; from then on the token is rejected.
    pub expires_at: i64,
}

/// Why a token is rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is expired.
    #[error("the token is expired")]
    Expired,
    /// It was issued for another resource.
    #[error("the token is for another audience")]
    WrongAudience,
    /// It was revoked by [`Tokens::revoke_all`].
    #[error("the token is revoked")]
    Revoked,
    /// It is not a token of this tenant.
    #[error("the token is malformed")]
    Malformed,
}

#[derive(Debug)]
struct Registered {
    claims: Claims,
    revoked: bool,
}

impl Tokens {
    /// An empty register for `tenant`; tokens are valid for `lifetime`, in whole seconds.
    pub fn new(tenant: String, lifetime: Duration) -> Self {
        Self { tenant, lifetime, register: Mutex::default() }
    }

    /// Issues a token for `application_id` and `audience` (the resource, without `/.default`).
    pub fn issue(&self, audience: &str, application_id: &str) -> (String, Claims) {
        let now = unix_now();
        let claims = Claims {
            audience: audience.to_owned(),
            application_id: application_id.to_owned(),
            object_id: object_id(application_id),
            expires_at: now + i64::try_from(self.lifetime.as_secs()).expect("a lifetime is far below 2^63 seconds"),
        };
        let token = self.encode(&claims, now);
        self.lock().insert(token.clone(), Registered { claims: claims.clone(), revoked: false });
        (token, claims)
    }

    /// Validates a bearer token; `audience` may differ from the token's by a trailing slash.
    pub fn verify(&self, bearer: &str, audience: &str) -> Result<Claims, Refusal> {
        let register = self.lock();
        let Some(Registered { claims, revoked }) = register.get(bearer) else { return Err(Refusal::Malformed) };
        if *revoked {
            return Err(Refusal::Revoked);
        }
        if unix_now() >= claims.expires_at {
            return Err(Refusal::Expired);
        }
        if claims.audience.trim_end_matches('/') != audience.trim_end_matches('/') {
            return Err(Refusal::WrongAudience);
        }
        Ok(claims.clone())
    }

    /// How many tokens have been issued so far.
    pub fn issued(&self) -> usize {
        self.lock().len()
    }

    /// Revokes every token issued so far; tokens issued later are valid.
    pub fn revoke_all(&self) {
        for registered in self.lock().values_mut() {
            registered.revoked = true;
        }
    }

    /// The tenant whose tokens these are.
    pub fn tenant(&self) -> &str {
        &self.tenant
    }

    fn encode(&self, claims: &Claims, now: i64) -> String {
        let header = json!({ "typ": "JWT", "alg": "RS256", "kid": "sandbox" });
        let payload = json!({
            "aud": claims.audience,
            "iss": format!("https://sts.windows.net/{}/", self.tenant),
            "iat": now,
            "nbf": now,
            "exp": claims.expires_at,
            "appid": claims.application_id,
            "oid": claims.object_id,
            "sub": claims.object_id,
            "tid": self.tenant,
            "jti": Uuid::new_v4().to_string(),
            "ver": "1.0",
        });
        let signature =
            BASE64_URL_SAFE_NO_PAD.encode([Uuid::new_v4().into_bytes(), Uuid::new_v4().into_bytes()].concat());
        format!("{}.{}.{signature}", part(&header), part(&payload))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Registered>> {
        self.register.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Seconds since 1970.
pub(super) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    i64::try_from(since.as_secs()).expect("the clock is far below 2^63 seconds")
}

fn part(json: &Value) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(json.to_string())
}

fn object_id(application_id: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, application_id.as_bytes());
    let bytes = digest.as_ref().first_chunk::<16>().expect("SHA-256 gives 32 bytes");
    Uuid::from_bytes(*bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn register(lifetime: u64) -> Tokens {
        Tokens::new("t".to_owned(), Duration::from_secs(lifetime))
    }

    #[test]
    fn a_token_opens_its_own_audience_with_or_without_a_slash() {
        let tokens = register(60);
        let (token, claims) = tokens.issue("https://org.example", "app");
        assert_eq!(tokens.verify(&token, "https://org.example/"), Ok(claims));
        assert_eq!(tokens.verify(&token, "https://other.example"), Err(Refusal::WrongAudience));
    }

    #[test]
    fn expired_revoked_and_unknown_tokens_have_different_errors() {
        let dead = register(0);
        let (token, _) = dead.issue("a", "app");
        assert_eq!(dead.verify(&token, "a"), Err(Refusal::Expired));
        let tokens = register(60);
        let (old, _) = tokens.issue("a", "app");
        tokens.revoke_all();
        let (new, _) = tokens.issue("a", "app");
        assert_eq!(tokens.verify(&old, "a"), Err(Refusal::Revoked));
        assert!(tokens.verify(&new, "a").is_ok());
        assert_eq!(tokens.verify("a.b.c", "a"), Err(Refusal::Malformed));
    }

    #[test]
    fn the_claims_are_those_that_azurite_looks_at() {
        let (token, claims) = register(60).issue("https://storage.azure.com", "app");
        let payload = token.split('.').nth(1).expect("a token has three parts");
        let payload = BASE64_URL_SAFE_NO_PAD.decode(payload).expect("a part is base64url");
        let payload: Value = serde_json::from_slice(&payload).expect("a part is JSON");
        assert_eq!(payload["aud"], "https://storage.azure.com");
        assert_eq!(payload["iss"], "https://sts.windows.net/t/");
        assert_eq!(payload["exp"], claims.expires_at);
        assert!(payload["nbf"].as_i64() <= payload["exp"].as_i64());
    }

    #[test]
    fn an_application_keeps_its_object_id() {
        let tokens = register(60);
        assert_eq!(tokens.issue("a", "app").1.object_id, tokens.issue("b", "app").1.object_id);
        assert_ne!(tokens.issue("a", "app").1.object_id, tokens.issue("a", "other").1.object_id);
    }
}
