//! A certificate authority of the sandbox, in the forms that a client of this process or a handler needs.

use std::path::PathBuf;
use std::{env, fs};

use stand_ins::net::Tls;
use uuid::Uuid;

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
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// Creates an empty folder in the temporary folder.
    pub(crate) fn new() -> Self {
        let path = env::temp_dir().join(format!("dataverse-sync-it-{}", Uuid::new_v4()));
        fs::create_dir(&path).expect("the temporary folder is writable");
        Self(path)
    }

    /// The path of a file with that name.
    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().expect("the temporary folder's name is text").to_owned()
    }

    /// Writes a file and returns its path.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, content).expect("the temporary folder is writable");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // On failure the folder is left to the system's cleanup.
        let _ = fs::remove_dir_all(&self.0);
    }
}
