//! A client certificate, and the assertions that are signed with its key.
//!
//! Reads PEM and PKCS#12, as other SDKs do for `AZURE_CLIENT_CERTIFICATE_PATH`. The file may hold other certificates too, in any
//! order: the certificate is the one with the public key of the RSA key.
//! <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>

mod pkcs12;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use azure_core::http::ClientMethodOptions;
use azure_identity::ClientAssertion;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::rand::SystemRandom;
use ring::{digest, rsa, signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use time::OffsetDateTime;
use uuid::Uuid;

use super::Application;
use crate::files::{self, MAX_SMALL_FILE};

/// Each assertion is used once, immediately. Entra accepts up to 24 hours.
const LIFETIME_SECONDS: i64 = 300;

const NEITHER: &str = "names a file that is neither PEM nor PKCS#12; it must hold certificate and key";
const NO_CERTIFICATE: &str = "names a file without a certificate; it must hold certificate and key, as PEM or PKCS#12";
const NO_KEY: &str = "names a file without a private key; it must hold certificate and key, as PEM or PKCS#12";
const NOT_RSA: &str = "names a file whose key is not a usable RSA key of 2048 to 4096 bits";
const NO_PAIR: &str = "names a file in which no certificate has the public key of the private key; they are not a pair";
const SEALED: &str = "names a PKCS#12 file that does not open; is AZURE_CLIENT_CERTIFICATE_PASSWORD right?";
const UNSUPPORTED: &str =
    "names a PKCS#12 file with an encryption that is not supported; export it with AES-256 and SHA-256, or Triple DES";
const SEALED_PEM: &str = "names a PEM file whose private key is encrypted; remove its passphrase (`openssl pkey`), or use PKCS#12 \
                          with AZURE_CLIENT_CERTIFICATE_PASSWORD";
const IN_BASE64: &str = "names a PKCS#12 file that is still in base64; decode it (`base64 -d`)";
const IN_UTF_16: &str = "names a text file in UTF-16; save it in ASCII or UTF-8";

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
        let bytes = files::read(path, MAX_SMALL_FILE)
            .map_err(|problem| format!("names a file that cannot be read: {problem}"))?;
        Ok(from_bytes(&bytes, password)?)
    }

    /// The pair among these keys and certificates, in DER.
    fn from_parts<'a>(
        keys: impl Iterator<Item = PrivateKeyDer<'a>>,
        certificates: &[impl AsRef<[u8]>],
    ) -> Result<Self, &'static str> {
        let mut keys = keys.peekable();
        keys.peek().ok_or(NO_KEY)?;
        certificates.first().ok_or(NO_CERTIFICATE)?;
        let mut usable = keys.filter_map(|key| rsa_key(&key)).peekable();
        usable.peek().ok_or(NOT_RSA)?;
        let pair = |key: rsa::KeyPair| {
            let certificate =
                certificates.iter().find(|certificate| holds(certificate.as_ref(), key.public().as_ref()))?;
            let thumbprint = URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, certificate.as_ref()));
            Some(Self { thumbprint, key })
        };
        usable.find_map(pair).ok_or(NO_PAIR)
    }

    fn sign(&self, text: &str) -> String {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&signature::RSA_PSS_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature)
            .expect("the buffer has the length of the modulus");
        URL_SAFE_NO_PAD.encode(signature)
    }
}

fn from_bytes(bytes: &[u8], password: Option<&str>) -> Result<Certificate, &'static str> {
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) || holds(bytes, b"-\0-\0-\0B\0E\0G\0I\0N\0")
    {
        return Err(IN_UTF_16);
    }
    let bytes = bytes.strip_prefix("\u{feff}".as_bytes()).unwrap_or(bytes);
    if holds(bytes, b"-----BEGIN ") {
        return from_pem(bytes);
    }
    match pkcs12::read(bytes, password) {
        Ok(pkcs12::Contents { keys, certificates }) => {
            Certificate::from_parts(keys.into_iter().map(|key| PrivateKeyDer::Pkcs8(key.into())), &certificates)
        }
        Err(pkcs12::Error::Sealed) => Err(SEALED),
        Err(pkcs12::Error::Unsupported) => Err(UNSUPPORTED),
        Err(pkcs12::Error::Malformed) if is_base64_of_der(bytes) => Err(IN_BASE64),
        Err(pkcs12::Error::Malformed) => Err(NEITHER),
    }
}

fn from_pem(bytes: &[u8]) -> Result<Certificate, &'static str> {
    if holds(bytes, b"-----BEGIN ENCRYPTED PRIVATE KEY-----") || holds(bytes, b"Proc-Type: 4,ENCRYPTED") {
        return Err(SEALED_PEM);
    }
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(bytes).flatten().collect();
    Certificate::from_parts(PrivateKeyDer::pem_slice_iter(bytes).flatten(), &certificates)
}

fn rsa_key(key: &PrivateKeyDer<'_>) -> Option<rsa::KeyPair> {
    match key {
        PrivateKeyDer::Pkcs8(key) => rsa::KeyPair::from_pkcs8(key.secret_pkcs8_der()).ok(),
        PrivateKeyDer::Pkcs1(key) => rsa::KeyPair::from_der(key.secret_pkcs1_der()).ok(),
        _ => None,
    }
}

/// Whether `bytes` hold `part`. A certificate holds the whole `RSAPublicKey` of its key, as `ring` writes it.
fn holds(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

fn is_base64_of_der(text: &[u8]) -> bool {
    const SEQUENCE: u8 = 0x30;
    let text: Vec<u8> = text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect();
    STANDARD.decode(text).is_ok_and(|bytes| bytes.first() == Some(&SEQUENCE))
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

#[cfg(test)]
mod tests;
