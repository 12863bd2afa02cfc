//! A folder for one test.

use std::fs;
use std::path::PathBuf;

/// Removed on drop.
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
        // It is in the temporary folder, which the system cleans up.
        let _ = fs::remove_dir_all(&self.0);
    }
}
