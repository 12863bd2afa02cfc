//! A certificate authority of the sandbox, in the forms that a client of this process or a handler needs.

use std::fs;

use stand_ins::net::Tls;
use tempfile::TempDir;

/// A new authority with a certificate for this machine.
pub(crate) fn authority() -> Tls {
    Tls::generate().expect("a key pair can always be made")
}

/// A client that trusts `tls` only.
pub(crate) fn client(tls: &Tls) -> reqwest::Client {
    // Another test of this process may have installed the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let authority = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).expect("the authority is PEM");
    reqwest::Client::builder().tls_certs_only([authority]).build().expect("the settings are valid")
}

/// A test's own folder, removed on drop.
#[derive(Debug)]
pub(crate) struct Folder(TempDir);

impl Folder {
    /// An empty folder.
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().expect("the temporary folder is writable"))
    }

    /// The path of a file with that name.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().expect("the temporary folder's name is text").to_owned()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder is writable");
        path
    }
}
