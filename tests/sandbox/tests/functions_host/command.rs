//! `cargo sandbox …` as a process with a temporary folder of its own.

use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sandbox::stage::{self, Build};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::host::{eventually, signal};

/// How long a command may take to end: longer than the drain of a handler.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The handler, built once.
pub(crate) async fn handler() -> PathBuf {
    static HANDLER: std::sync::LazyLock<PathBuf> =
        std::sync::LazyLock::new(|| stage::build(&Build::default()).expect("it builds"));
    tokio::task::spawn_blocking(|| HANDLER.clone()).await.expect("it does not panic")
}

/// SIGHUP has its default: tests that are started with nohup inherit that it is ignored, and so would the command.
#[cfg(target_os = "linux")]
fn sandbox() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", env!("CARGO_BIN_EXE_sandbox")]);
    command
}

#[cfg(not(target_os = "linux"))]
fn sandbox() -> Command {
    Command::new(env!("CARGO_BIN_EXE_sandbox"))
}

/// A running command; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    reading: JoinSet<()>,
    temporary: TempDir,
}

impl Running {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let temporary = tempfile::tempdir().expect("temp is writable");
        let mut child = sandbox()
            .args(arguments)
            .env("TMPDIR", temporary.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cargo has built it");
        let (lines, mut reading) = (Arc::default(), JoinSet::new());
        reading.spawn(follow(child.stdout.take().expect("it is piped"), Arc::clone(&lines)));
        reading.spawn(follow(child.stderr.take().expect("it is piped"), Arc::clone(&lines)));
        Self { child, lines, reading, temporary }
    }

    /// `cargo sandbox up` with our handler and its log.
    pub(crate) async fn up(arguments: &[&str]) -> Self {
        let handler = handler().await;
        let handler = handler.to_str().expect("it is text");
        Self::start(&[&["up", "--log", "--handler", handler][..], arguments].concat())
    }

    /// Everything that it has printed.
    pub(crate) fn printed(&self) -> String {
        self.lines.lock().expect("no holder panics").join("\n")
    }

    /// The rest of each line that has this in it.
    pub(crate) fn after(&self, text: &str) -> Vec<String> {
        let lines = self.lines.lock().expect("no holder panics");
        lines.iter().filter_map(|line| Some(line.split_once(text)?.1.to_owned())).collect()
    }

    /// Waits for a line with this text; gives the rest of it.
    pub(crate) async fn line(&self, text: &str) -> String {
        eventually(text, async || self.after(text).first().cloned()).await
    }

    /// The names in its temporary folder.
    pub(crate) fn left_behind(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.temporary.path()).expect("it is there").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The process ids of the handlers that it has started.
    pub(crate) fn handlers(&self) -> Vec<u32> {
        self.after("Starting the handler: process ").iter().filter_map(|id| id.parse().ok()).collect()
    }

    /// Sends a signal, named without SIG.
    pub(crate) async fn signal(&self, name: &str) {
        signal(self.child.id().expect("it runs"), name).await;
    }

    /// Waits until it has ended; its streams may be held open by others.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(TIMEOUT, self.child.wait()).await.expect("it ends in time").expect("it is a child")
    }

    /// Waits until it has ended and everything is read.
    pub(crate) async fn read_to_the_end(&mut self) -> (ExitStatus, String) {
        let ended = self.ended().await;
        while self.reading.join_next().await.is_some() {}
        (ended, self.printed())
    }
}

async fn follow(stream: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        lines.lock().expect("no holder panics").push(line);
    }
}
