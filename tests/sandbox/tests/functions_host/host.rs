//! `cargo sandbox host` as a process, on an app of its own and a storage of its own.

use std::any::Any;
use std::fs;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use stand_ins::queue::{Queue, QueueService};
use stand_ins::storage::{self, Storage};

use crate::recorder::{REQUESTS, Request, SCRIPT, STARTS, Script};

/// The function key.
const KEY: &str = "FK";

/// The longest wait for any event.
const TIMEOUT: Duration = Duration::from_mins(1);

/// The polling interval.
const POLL: Duration = Duration::from_millis(50);

/// The process of a host; dropping it kills it.
pub(crate) struct Process {
    child: Child,
    port: u16,
    lines: Arc<Mutex<Vec<String>>>,
    _reading: JoinSet<()>,
}

/// A host whose handler is the recorder, and its storage. Dropping it ends all their processes.
pub(crate) struct Host {
    process: Process,
    app: TempDir,
    pub(crate) queue: Queue,
    pub(crate) poison: Queue,
    _storage: Box<dyn Any + Send>,
}

impl Process {
    /// Runs an app on a storage, with more arguments and environment.
    pub(crate) async fn start(
        app: &Path,
        connection: &str,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (&String, &String)>,
    ) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_sandbox"))
            .args(["host", "--port", "0", "--storage", connection, "--app"])
            .arg(app)
            .args(arguments)
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("cargo has built it");
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut reading = JoinSet::new();
        let mut printed = BufReader::new(child.stdout.take().expect("it is piped")).lines();
        let kept = lines.clone();
        reading.spawn(async move {
            while let Ok(Some(line)) = printed.next_line().await {
                kept.lock().expect("no holder panics").push(line);
            }
        });
        let mut host = Self { child, port: 0, lines, _reading: reading };
        let port = async || host.printed("Listening on http://127.0.0.1:").first()?.parse().ok();
        host.port = eventually("its port", port).await;
        host
    }

    /// What it has printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines.lock().expect("no holder panics").clone()
    }

    /// The rest of every line that has this in it.
    pub(crate) fn printed(&self, before: &str) -> Vec<String> {
        self.lines().iter().filter_map(|line| Some(line.split_once(before)?.1.to_owned())).collect()
    }

    /// The process id of the handler that was started last.
    pub(crate) async fn handler(&self) -> u32 {
        eventually("a handler", async || self.printed("Starting the handler: process ").last()?.parse().ok()).await
    }

    /// Sends a signal to the host.
    pub(crate) async fn signal(&self, name: &str) {
        signal(self.child.id().expect("it runs"), name).await;
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        timeout(TIMEOUT, self.child.wait()).await.expect("it ends in time").expect("it is a child")
    }
}

impl Host {
    /// host.json of the captured runs.
    pub(crate) fn settings() -> Value {
        json!({
            "version": "2.0",
            "functionTimeout": "00:00:20",
            "extensionBundle": { "id": "Microsoft.Azure.Functions.ExtensionBundle", "version": "[4.*, 5.0.0)" },
            "customHandler": {
                "description": { "defaultExecutablePath": "handler" },
                "enableForwardingHttpRequest": true,
            },
            "extensions": { "queues": {
                "batchSize": 16,
                "newBatchThreshold": 32,
                "maxDequeueCount": 3,
                "visibilityTimeout": "00:00:01",
                "maxPollingInterval": "00:00:01",
            } },
        })
    }

    /// A host with the recorder as its handler, on the embedded storage.
    pub(crate) async fn start(settings: &Value, script: &Script) -> Self {
        let storage = Storage::start(storage::Options::default()).await.expect("loopback has free ports");
        let connection = storage.connection_string();
        Self::on(Box::new(storage), &connection, settings, script).await
    }

    /// A host with the recorder as its handler, on this storage.
    pub(crate) async fn on(storage: Box<dyn Any + Send>, connection: &str, settings: &Value, script: &Script) -> Self {
        let service = QueueService::from_connection_string(connection).expect("it is valid");
        let (queue, poison) = (service.queue("sync-records"), service.queue("sync-records-poison"));
        queue.create_if_missing().await.expect("the storage works");
        poison.create_if_missing().await.expect("the storage works");
        let app = lay_out(settings, script);
        let process = Process::start(app.path(), connection, &["--key", KEY], []).await;
        Self { process, app, queue, poison, _storage: storage }
    }

    pub(crate) fn port(&self) -> u16 {
        self.process.port
    }

    /// What it has printed.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.process.lines()
    }

    /// All requests that the handler got.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let text = fs::read_to_string(self.app.path().join(REQUESTS)).unwrap_or_default();
        // The last line may be half written.
        text.lines().map_while(|line| serde_json::from_str(line).ok()).collect()
    }

    /// The process ids of the handler, one for each start.
    pub(crate) fn handlers(&self) -> Vec<u32> {
        let text = fs::read_to_string(self.app.path().join(STARTS)).unwrap_or_default();
        text.lines().map_while(|line| line.parse().ok()).collect()
    }

    /// The texts of the poison queue as they lie there, and the number of messages left in the other one.
    pub(crate) async fn left(&self) -> (Vec<String>, u64) {
        let poison = self.poison.peek(32).await.expect("the storage works");
        let left = self.queue.approximate_count().await.expect("the storage works");
        (poison.into_iter().map(|message| message.text).collect(), left)
    }

    /// Sends bytes to the frontend and reads until it closes the connection; `None` if it refuses it.
    pub(crate) async fn call(&self, bytes: &[u8]) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port())).await.ok()?;
        stream.write_all(bytes).await.expect("the frontend reads");
        let mut answer = Vec::new();
        let read = timeout(TIMEOUT, stream.read_to_end(&mut answer)).await;
        read.expect("the frontend answers in time").expect("the frontend answers");
        Some(String::from_utf8_lossy(&answer).into_owned())
    }

    /// A call of the HTTP function: status and body, `None` if the connection is refused.
    pub(crate) async fn post(&self, body: &str) -> Option<(u16, String)> {
        let length = body.len();
        let head = format!(
            "POST /api/records?code={KEY} HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: {length}"
        );
        let answer = self.call(format!("{head}\r\n\r\n{body}").as_bytes()).await?;
        let (head, body) = answer.split_once("\r\n\r\n").expect("it is an answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Some((status.expect("it has a status"), body.to_owned()))
    }

    /// Sends a signal to the host.
    pub(crate) async fn signal(&self, name: &str) {
        self.process.signal(name).await;
    }

    /// Waits until it has ended.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        self.process.ended().await
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.process.child.start_kill();
        // A host that is killed leaves its handler behind.
        for pid in self.handlers() {
            let kill =
                std::process::Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status();
            kill.expect("there is a kill");
        }
    }
}

/// Whether the process runs.
pub(crate) fn runs(pid: u32) -> bool {
    let found = std::process::Command::new("kill").args(["-0", &pid.to_string()]).stderr(Stdio::null()).status();
    found.expect("there is a kill").success()
}

/// Sends a signal.
pub(crate) async fn signal(pid: u32, name: &str) {
    let sent = Command::new("kill").args([format!("-{name}"), pid.to_string()]).stderr(Stdio::null()).status().await;
    sent.expect("there is a kill");
}

/// Polls until there is a value.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            match look().await {
                Some(value) => return value,
                None => sleep(POLL).await,
            }
        }
    };
    timeout(TIMEOUT, looking).await.unwrap_or_else(|_| panic!("never: {what}"))
}

/// An app whose handler is the recorder.
pub(crate) fn lay_out(settings: &Value, script: &Script) -> TempDir {
    let folder = tempfile::tempdir().expect("temp is writable");
    let app = folder.path();
    let functions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../functions");
    for function in ["SyncQueue", "SyncHttp"] {
        fs::create_dir_all(app.join(function)).expect("temp is writable");
        let name = Path::new(function).join("function.json");
        fs::copy(functions.join(&name), app.join(&name)).expect("the repository has it");
    }
    let mut settings = settings.clone();
    settings["customHandler"]["port"] = handler_port().into();
    fs::write(app.join("host.json"), settings.to_string()).expect("temp is writable");
    fs::write(app.join(SCRIPT), serde_json::to_string(script).expect("it is text")).expect("temp is writable");
    let recorder = std::env::current_exe().expect("it runs");
    let handler =
        format!("#!/bin/sh\nexec '{}' --exact recorder::recorder --ignored --nocapture\n", recorder.display());
    fs::write(app.join("handler"), handler).expect("temp is writable");
    make_executable(&app.join("handler"));
    folder
}

/// A port that no other app gets: a handler that has ended leaves its own free, and its host still calls it. It lies below those that
/// hosts choose.
fn handler_port() -> u16 {
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let first = 10_000 + (std::process::id() % 30) * 160;
    let first = u16::try_from(first).expect("it is less than 15,000");
    let mut ports = std::iter::repeat_with(|| first + TAKEN.fetch_add(1, Ordering::Relaxed));
    ports.find(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("it does not end")
}

fn make_executable(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("it was just written");
}
