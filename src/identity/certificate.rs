//! A client certificate, and the assertions that are signed with its key.
//!
//! Reads PEM (certificate and RSA key in one file) and PKCS#12, as other SDKs do for `AZURE_CLIENT_CERTIFICATE_PATH`.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p12_keystore::{KeyStore, Pkcs12ImportPolicy};
use ring::rand::SystemRandom;
use ring::{digest, rsa, signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Application;

/// Each assertion is used once, immediately. Entra accepts up to 24 hours.
const LIFETIME_SECONDS: i64 = 300;

const NO_CERTIFICATE: &str = "names a file without a certificate; it must hold certificate and key, as PEM or PKCS#12";
const NO_KEY: &str = "names a file without a private key; it must hold certificate and key, as PEM or PKCS#12";
const NOT_RSA: &str = "names a file whose key is not a usable RSA key of 2048 to 4096 bits";
const SEALED: &str = "names a PKCS#12 file that does not open; is AZURE_CLIENT_CERTIFICATE_PASSWORD right?";

/// A certificate with its private key, which `ring` shows in no Debug output.
#[derive(Debug)]
pub struct Certificate {
    thumbprint: String,
    key: rsa::KeyPair,
}

impl Certificate {
    /// Reads a PEM or PKCS#12 file.
    ///
    /// # Errors
    /// Why it cannot be used, as a clause that follows the variable; contains nothing of the file.
    pub(crate) fn read(path: &Path, password: Option<&str>) -> Result<Self, String> {
        let bytes = std::fs::read(path).map_err(|problem| format!("names a file that cannot be read: {problem}"))?;
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        Ok(if is_pem { from_pem(&bytes)? } else { from_pkcs12(&bytes, password)? })
    }

    fn new(certificate: &[u8], key: &PrivateKeyDer<'_>) -> Result<Self, &'static str> {
        let key = match key {
            PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()),
            _ => return Err(NOT_RSA),
        };
        let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate));
        Ok(Self { thumbprint, key: key.map_err(|_| NOT_RSA)? })
    }

    fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&signature::RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("the buffer has the length of the modulus");
        URL_SAFE_NO_PAD.encode(signature)
    }
}

fn from_pem(bytes: &[u8]) -> Result<Certificate, &'static str> {
    let certificate = CertificateDer::from_pem_slice(bytes).map_err(|_| NO_CERTIFICATE)?;
    let key = PrivateKeyDer::from_pem_slice(bytes).map_err(|_| NO_KEY)?;
    Certificate::new(&certificate, &key)
}

fn from_pkcs12(bytes: &[u8], password: Option<&str>) -> Result<Certificate, &'static str> {
    let store =
        KeyStore::from_pkcs12(bytes, password.unwrap_or_default(), Pkcs12ImportPolicy::Relaxed).map_err(|_| SEALED)?;
    let (_, chain) = store.private_key_chain().ok_or(NO_KEY)?;
    let certificate = chain.certs().first().ok_or(NO_CERTIFICATE)?;
    let key = PrivateKeyDer::Pkcs8(chain.key().as_der().into());
    Certificate::new(certificate.as_der(), &key)
}

/// Signs an assertion for each token request.
#[derive(Debug)]
pub(super) struct Assertion {
    client: String,
    audience: String,
    certificate: Arc<Certificate>,
}

impl Assertion {
    pub(super) fn new(application: &Application, certificate: Arc<Certificate>) -> Self {
        let Application { tenant, client, authority } = application;
        let audience = format!("{}/{tenant}/oauth2/v2.0/token", authority.trim_end_matches('/'));
        Self { client: client.clone(), audience, certificate }
    }

    fn make(&self, now: OffsetDateTime) -> String {
        let now = now.unix_timestamp();
        let header = serde_json::json!({ "alg": "PS256", "typ": "JWT", "x5t#S256": self.certificate.thumbprint });
        let claims = serde_json::json!({
            "aud": self.audience, "iss": self.client, "sub": self.client, "jti": Uuid::new_v4().to_string(),
            "nbf": now, "iat": now, "exp": now + LIFETIME_SECONDS,
        });
        let part = |value: &serde_json::Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&header), part(&claims));
        let signature = self.certificate.sign(&text);
        format!("{text}.{signature}")
    }
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.make(OffsetDateTime::now_utc()))
    }
}
