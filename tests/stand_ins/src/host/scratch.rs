//! A staged app in a directory of its own, for the host's tests; its handler is a shell script.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// Removed on drop.
pub(super) struct StagedApp {
    root: TempDir,
}

impl StagedApp {
    pub(super) const HOST: &str = r#"{"version":"2.0","functionTimeout":"00:00:20",
        "customHandler":{"description":{"defaultExecutablePath":"handler"},"enableForwardingHttpRequest":true},
        "extensionBundle":{"id":"Microsoft.Azure.Functions.ExtensionBundle","version":"[4.*, 5.0.0)"},
        "extensions":{"queues":{"maxDequeueCount":2}}}"#;
    pub(super) const QUEUE_FUNCTION: &str = r#"{"bindings":[
        {"type":"queueTrigger","direction":"in","name":"record","queueName":"sync-records"},
        {"type":"queue","direction":"out","name":"deadLetter","queueName":"sync-records-poison",
         "connection":"AzureWebJobsStorage"}]}"#;
    pub(super) const HTTP_FUNCTION: &str = r#"{"bindings":[
        {"type":"httpTrigger","direction":"in","name":"req","methods":["post"],"authLevel":"function","route":"records"},
        {"type":"http","direction":"out","name":"res"}]}"#;

    /// An app with one function of each kind; `script` is its handler's shell script.
    pub(super) fn new(script: &str) -> Self {
        let app = Self::empty(script);
        app.write("SyncQueue/function.json", Self::QUEUE_FUNCTION);
        app.write("SyncHttp/function.json", Self::HTTP_FUNCTION);
        app
    }

    /// An app without functions.
    pub(super) fn empty(script: &str) -> Self {
        let app = Self { root: tempfile::tempdir().expect("temp is writable") };
        app.write("host.json", Self::HOST);
        app.write("handler", &format!("#!/bin/sh\n{script}\n"));
        make_executable(&app.path().join("handler"));
        app
    }

    pub(super) fn path(&self) -> &Path {
        self.root.path()
    }

    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().expect("it lies below the root")).expect("temp is writable");
        fs::write(path, text).expect("temp is writable");
    }
}

#[cfg(unix)]
fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it was just written");
}

#[cfg(not(unix))]
fn make_executable(_: &Path) {}
