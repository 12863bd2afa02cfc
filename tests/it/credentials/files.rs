//! Credentials in files: client certificates in every format that the handler reads, and federated tokens. `openssl`
//! makes the certificates.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use stand_ins::identity::Credential;
use tokio::process::Command;

use crate::trust::Folder;

pub(super) const PASSWORD: &str = "open-sesame";

/// A folder with a self-signed certificate `certificate.pem` and its RSA key `key.pem`.
pub(super) struct Certificate {
    folder: Folder,
}

impl Certificate {
    pub(super) async fn new() -> Self {
        let made = Self { folder: Folder::new() };
        let (key, certificate) = (made.folder.path("key.pem"), made.folder.path("certificate.pem"));
        let kind = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=dataverse-sync"];
        openssl(&[&kind[..], &["-keyout", &key, "-out", &certificate]].concat()).await;
        made
    }

    /// The certificate as registered with the tenant.
    pub(super) async fn credential(&self) -> Credential {
        let (key, public) = (self.folder.path("key.pem"), self.folder.path("public.der"));
        openssl(&["rsa", "-in", &key, "-RSAPublicKey_out", "-outform", "DER", "-out", &public]).await;
        Credential::Certificate { public_key: Some(fs::read(public).expect("openssl wrote it")) }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.folder.path(name)).expect("openssl wrote it")
    }

    /// A line of the private key.
    pub(super) fn part_of_the_key(&self) -> String {
        self.read("key.pem").lines().nth(3).expect("a key has many lines").to_owned()
    }

    /// The paths of the certificate and its key in each format, with the password.
    pub(super) async fn every_format(&self) -> [(String, &'static str); 4] {
        [
            (self.pem(), ""),
            (self.traditional_pem().await, ""),
            (self.pkcs12(PASSWORD).await, PASSWORD),
            (self.pkcs12("").await, ""),
        ]
    }

    /// Certificate first, then the key in PKCS #8.
    pub(super) fn pem(&self) -> String {
        self.folder.write("both.pem", format!("{}{}", self.read("certificate.pem"), self.read("key.pem")))
    }

    /// Key first, in the traditional format that names its algorithm.
    async fn traditional_pem(&self) -> String {
        let (key, traditional) = (self.folder.path("key.pem"), self.folder.path("traditional.pem"));
        openssl(&["rsa", "-in", &key, "-traditional", "-out", &traditional]).await;
        self.folder.write("older.pem", format!("{}{}", self.read("traditional.pem"), self.read("certificate.pem")))
    }

    /// The path of each file that cannot be used, and words of the reason.
    pub(super) async fn every_refused_file(&self, other: &Self) -> [(String, &'static str); 4] {
        let (pem, write) =
            (fs::read(self.pem()).expect("it was written"), |name, bytes: &[u8]| self.folder.write(name, bytes));
        let pair = [self.read("certificate.pem"), other.read("key.pem")].concat();
        let (key, sealed) = (self.folder.path("key.pem"), self.folder.path("sealed.pem"));
        openssl(&["pkcs8", "-topk8", "-in", &key, "-out", &sealed, "-passout", "pass:x"]).await;
        let encrypted = [self.read("sealed.pem"), self.read("certificate.pem")].concat();
        let pfx = fs::read(self.pkcs12("").await).expect("openssl wrote it");
        let utf_16: Vec<u8> = pem.iter().flat_map(|byte| u16::from(*byte).to_le_bytes()).collect();
        [
            (write("pair.pem", pair.as_bytes()), "not a pair"),
            (write("encrypted.pem", encrypted.as_bytes()), "private key is encrypted"),
            (write("base64.pfx", STANDARD.encode(pfx).as_bytes()), "still in base64"),
            (write("utf_16.pem", &utf_16), "in UTF-16"),
        ]
    }

    async fn pkcs12(&self, password: &str) -> String {
        let (key, certificate) = (self.folder.path("key.pem"), self.folder.path("certificate.pem"));
        let sealed = self.folder.path(&format!("sealed-{}.pfx", password.len()));
        let pass = format!("pass:{password}");
        let sealing = ["-inkey", &key, "-in", &certificate, "-out", &sealed, "-passout", &pass];
        openssl(&[&["pkcs12", "-export"], &sealing[..]].concat()).await;
        sealed
    }
}

async fn openssl(arguments: &[&str]) {
    let run = Command::new("openssl").args(arguments).output().await.expect("openssl is installed");
    assert!(run.status.success(), "openssl {arguments:?}: {}", String::from_utf8_lossy(&run.stderr));
}

/// A token like the one that Kubernetes mounts into a pod. Its signature is not checked here.
pub(super) fn federated_token(issuer: &str, subject: &str) -> String {
    let part = |json: &Value| URL_SAFE_NO_PAD.encode(json.to_string());
    let header = json!({ "alg": "RS256", "typ": "JWT" });
    let claims =
        json!({ "iss": issuer, "sub": subject, "aud": "api://AzureADTokenExchange", "exp": 32_503_680_000_u64 });
    format!("{}.{}.{}", part(&header), part(&claims), URL_SAFE_NO_PAD.encode("unsigned"))
}
