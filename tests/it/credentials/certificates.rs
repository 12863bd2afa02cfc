//! Client certificates in every file format that the handler reads; the tenant verifies their signatures.

use std::fs;

use stand_ins::identity::Credential;
use tokio::process::Command;

use super::tenant::Tenant;
use crate::one_contact::{UPSERTED, printed, send};
use crate::trust::Folder;

const PASSWORD: &str = "open-sesame";

/// A folder with a self-signed certificate `certificate.pem` and its RSA key `key.pem`.
pub(super) struct Made {
    folder: Folder,
}

impl Made {
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

    pub(super) async fn pkcs12(&self, password: &str) -> String {
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

#[tokio::test]
async fn a_client_certificate_opens_dataverse_from_every_form_of_file() {
    let made = Made::new().await;
    let tenant = Tenant::start(vec![made.credential().await]).await;
    let files = [
        (made.pem(), ""),
        (made.traditional_pem().await, ""),
        (made.pkcs12(PASSWORD).await, PASSWORD),
        (made.pkcs12("").await, ""),
    ];
    // A handler that is killed right after its answer may leave its lease held, so each host gets its own key.
    for (key, (file, password)) in ["C-1", "C-2", "C-3", "C-4"].into_iter().zip(files) {
        let settings = [("AZURE_CLIENT_CERTIFICATE_PATH", &*file), ("AZURE_CLIENT_CERTIFICATE_PASSWORD", password)];
        let host = tenant.host(&settings).await;
        let answer = send(&host, key).await;
        assert_eq!(answer.verdict(), UPSERTED, "{file}: {answer:?}");
        assert!(printed(&host, "credential=client_certificate"), "{:?}", host.logs());
        assert!(password.is_empty() || !printed(&host, password), "the password is in no log");
        host.stop().await;
    }
}

#[tokio::test]
async fn a_certificate_that_the_tenant_does_not_know_is_refused_and_costs_no_message() {
    let (known, stranger) = (Made::new().await, Made::new().await);
    let tenant = Tenant::start(vec![known.credential().await]).await;
    let host = tenant.host(&[("AZURE_CLIENT_CERTIFICATE_PATH", &stranger.pem()), crate::AT_ONCE]).await;
    let answer = send(&host, "C-2").await;
    assert_eq!(answer.verdict(), (503, "retry", "unauthorized"), "{answer:?}");
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("AADSTS700027")), "{answer:?}");
}
