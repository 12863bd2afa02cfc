//! A handler process without a host: its port, signals, exit code and output.

use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use sandbox::world::World;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use crate::command::command;
use crate::waiting::eventually;

/// A running handler; dropping it kills it.
pub(crate) struct Running {
    child: Child,
    lines: Arc<Mutex<Vec<String>>>,
    readers: JoinSet<()>,
    address: SocketAddr,
}

impl Running {
    /// Starts a handler on a free port and waits until it listens.
    pub(crate) async fn start(settings: &[(&str, &str)]) -> Self {
        Self::spawned(command(&[], settings.iter().copied())).await
    }

    /// Like `in_world`, as the child of a shell: signals go to the shell.
    pub(crate) async fn under_a_shell(world: &World) -> Self {
        Self::in_shell(world, r#""$0" & wait"#, &[]).await
    }

    /// Like `in_world`, started by a shell's script as `$0`, with `arguments` behind it.
    pub(super) async fn in_shell(world: &World, script: &str, arguments: &[&str]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(script).arg(crate::handler()).args(arguments).env_clear().envs(&world.settings);
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self::spawned(shell).await
    }

    /// Like `in_world`, with a memory limit in KiB.
    pub(crate) async fn limited(world: &World, data_kib: u32, settings: &[(&str, &str)]) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!(r#"ulimit -d {data_kib} && exec "$0""#)).arg(crate::handler());
        shell.env_clear().envs(&world.settings).envs(settings.iter().copied());
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        Self::spawned(shell).await
    }

    /// The system's figures: peak and current resident memory, and allocated memory.
    pub(crate) fn memory(&self) -> String {
        let id = self.child.id().expect("it is running");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).expect("it is running");
        let lines =
            status.lines().filter(|line| ["VmHWM", "VmRSS", "VmData"].iter().any(|name| line.starts_with(name)));
        lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect::<Vec<_>>().join(", ")
    }

    async fn spawned(mut command: Command) -> Self {
        let mut child = command.env("FUNCTIONS_CUSTOMHANDLER_PORT", "0").spawn().expect("the handler can be started");
        let (lines, mut readers) = (Arc::default(), JoinSet::new());
        readers.spawn(follow(child.stdout.take().expect("it is piped"), Arc::clone(&lines)));
        readers.spawn(follow(child.stderr.take().expect("it is piped"), Arc::clone(&lines)));
        let address = eventually("the line that says where it listens", async || {
            let lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().find_map(|line| listening(line))
        })
        .await;
        Self { child, lines, readers, address }
    }

    /// Like `start`, with the world's settings, overridden by `settings`.
    pub(crate) async fn in_world(world: &World, settings: &[(&str, &str)]) -> Self {
        let mut all = world.settings.clone();
        all.extend(settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let all: Vec<_> = all.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        Self::start(&all).await
    }

    /// The process's id.
    pub(super) fn id(&self) -> u32 {
        self.child.id().expect("it is running")
    }

    pub(crate) fn port(&self) -> u16 {
        self.address.port()
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its output so far, stdout and stderr together.
    pub(crate) fn printed(&self) -> String {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).join("\n")
    }

    /// Sends a signal, named without SIG.
    pub(crate) async fn signal(&self, name: &str) {
        signal(name, self.id()).await;
    }

    /// Waits until every process has closed its streams; returns its output.
    pub(crate) async fn silent(mut self) -> String {
        while self.readers.join_next().await.is_some() {}
        self.printed()
    }

    /// Waits until the process exits.
    pub(crate) async fn ended(mut self) -> ExitStatus {
        let ended =
            eventually("the end of the process", async || self.child.try_wait().expect("it is our child")).await;
        self.readers.join_all().await;
        ended
    }
}

/// Sends a signal, named without SIG, to a process.
pub(crate) async fn signal(name: &str, id: u32) {
    let sent = Command::new("/bin/sh").arg("-c").arg(format!("kill -{name} {id}")).status().await;
    assert!(sent.is_ok_and(|status| status.success()), "SIG{name} was not sent");
}

/// The address in `… listening=127.0.0.1:4711 …`.
pub(super) fn listening(line: &str) -> Option<SocketAddr> {
    let (_, rest) = line.split_once("listening=")?;
    rest.split(' ').next()?.parse().ok()
}

async fn follow(stream: impl AsyncRead + Unpin, lines: Arc<Mutex<Vec<String>>>) {
    let mut stream = BufReader::new(stream).lines();
    while let Ok(Some(line)) = stream.next_line().await {
        lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
    }
}
