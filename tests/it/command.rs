//! The executable, run once: its exit code and what it printed.

use std::ffi::OsStr;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

/// What a command printed, and its exit code.
#[derive(Debug)]
pub(crate) struct CommandOutput {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl From<std::process::Output> for CommandOutput {
    fn from(output: std::process::Output) -> Self {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Self { code: output.status.code(), stdout: text(&output.stdout), stderr: text(&output.stderr) }
    }
}

impl CommandOutput {
    /// Runs the command until it exits.
    pub(crate) async fn of(mut command: Command) -> Self {
        command.output().await.expect("the handler can be started").into()
    }

    /// The only JSON object on stdout.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

/// The handler with only these settings as its environment; dropping its process kills it.
pub(crate) fn command<K, V>(arguments: &[&str], settings: impl IntoIterator<Item = (K, V)>) -> Command
where
    K: AsRef<OsStr>,
    V: AsRef<OsStr>,
{
    let mut command = Command::new(crate::handler());
    command.args(arguments).env_clear().envs(settings);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}
