//! A certificate authority of the sandbox as a client of this process, or a handler, has to be shown it.

use std::path::PathBuf;
use std::{env, fs};

use sandbox::net::Tls;
use uuid::Uuid;

/// A fresh authority with a certificate for this machine.
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

/// A folder of a test's own, removed with its value.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// An empty one in the temporary folder.
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(format!("dataverse-sync-it-{}", Uuid::new_v4()));
        fs::create_dir(&path).expect("the temporary folder is writable");
        Self(path)
    }

    /// Where a file of that name is, or would be.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the temporary folder's name is text").to_owned()
    }

    /// Writes a file and gives its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It lies in the temporary folder; what cannot be removed now is the system's to clear.
        let _ = fs::remove_dir_all(&self.0);
    }
}
