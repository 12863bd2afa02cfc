//! A folder for one test.

use std::fs;
use std::path::PathBuf;

/// Removed when it is dropped.
pub(super) struct Scratch(PathBuf);

impl Scratch {
    pub(super) fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("dataverse-sync-stage-{}", uuid::Uuid::new_v4()));
        fs::create_dir_all(&folder).expect("the temporary folder is writable");
        Self(folder)
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // It lies in the temporary folder; what cannot be removed now is the system's to clear.
        let _ = fs::remove_dir_all(&self.0);
    }
}
