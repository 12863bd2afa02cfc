//! An executable under measurement: the handler, or the baseline.
//!
//! It is started as the Functions host starts it (a port, the app settings, the app's folder, and nothing else of this process's
//! environment), on the given cores, and its output is discarded. It is not restarted: a process that ends fails the measurement.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use super::cores::{Cores, TASKSET};

/// How long the host waits for the first response.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The interval between two attempts to connect.
const POLL: Duration = Duration::from_millis(2);

/// What the Functions host polls.
pub(super) const READY: &[u8] = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

/// An executable to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name in the results.
    pub(super) name: &'static str,
    /// The executable.
    pub(super) path: PathBuf,
}

/// How it is started.
#[derive(Debug, Clone)]
pub(super) struct Start {
    /// The app settings.
    pub(super) settings: BTreeMap<String, String>,
    /// Its working directory.
    pub(super) folder: PathBuf,
    /// Its cores; `None`: any core, and it is executed directly.
    pub(super) cores: Option<Cores>,
    /// A program that runs it, with arguments.
    pub(super) under: Vec<String>,
}

/// A running target; dropping it kills it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    port: u16,
    begun: std::time::Instant,
}

impl Target {
    /// The handler that is measured.
    pub(super) fn handler(path: &Path) -> Self {
        Self { name: "handler", path: path.to_owned() }
    }

    /// The baseline.
    pub(super) fn baseline(path: &Path) -> Self {
        Self { name: "baseline", path: path.to_owned() }
    }

    /// Starts it on a free port without waiting for it.
    pub(super) async fn exec(&self, start: &Start) -> anyhow::Result<Running> {
        let port = free_port().await.context("looking for a free port")?;
        let mut words: Vec<String> = match start.cores {
            Some(cores) => vec![TASKSET.to_owned(), "--cpu-list".to_owned(), cores.to_string()],
            None => Vec::new(),
        };
        words.extend(start.under.iter().cloned());
        let path = self.path.to_str().context("the executable's path is not UTF-8")?;
        words.push(path.to_owned());
        let (program, arguments) = words.split_first().expect("the executable is among the words");
        let mut command = Command::new(program);
        command.args(arguments).current_dir(&start.folder).env_clear().envs(&start.settings);
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        let port_text = port.to_string();
        command.envs(["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"].map(|name| (name, &port_text)));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let begun = std::time::Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting the {}", self.name))?;
        drain(child.stdout.take());
        drain(child.stderr.take());
        Ok(Running { child, port, begun })
    }

    /// Starts it and waits until it responds.
    pub(super) async fn start(&self, start: &Start) -> anyhow::Result<Running> {
        let mut running = self.exec(start).await?;
        let begun = Instant::now();
        while !running.answers().await {
            running.must_live(self.name)?;
            ensure!(
                begun.elapsed() < START_TIMEOUT,
                "the {} did not answer in {} s",
                self.name,
                START_TIMEOUT.as_secs()
            );
            sleep(POLL).await;
        }
        Ok(running)
    }
}

impl Running {
    /// The process.
    pub(super) fn pid(&self) -> anyhow::Result<u32> {
        self.child.id().context("the process is gone")
    }

    /// Its port.
    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// When it was started.
    pub(super) fn begun(&self) -> std::time::Instant {
        self.begun
    }

    /// Fails if it has exited.
    pub(super) fn must_live(&mut self, name: &str) -> anyhow::Result<()> {
        match self.child.try_wait().context("looking after the process")? {
            Some(status) => bail!("the {name} ended by itself ({status})"),
            None => Ok(()),
        }
    }

    /// Whether `GET /` is answered 200.
    pub(super) async fn answers(&self) -> bool {
        let asked = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).await?;
            stream.write_all(READY).await?;
            let mut head = [0; 12];
            stream.read_exact(&mut head).await?;
            std::io::Result::Ok(head)
        };
        asked.await.is_ok_and(|head| head.ends_with(b" 200"))
    }

    /// Kills it, as Azure does.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing the process")
    }

    /// Returns the child process, to be ended by the caller.
    pub(super) fn into_child(self) -> Child {
        self.child
    }
}

async fn free_port() -> std::io::Result<u16> {
    Ok(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?.port())
}

/// Reads and discards all output, so that the process does not block on a full pipe.
fn drain(output: Option<impl AsyncRead + Unpin + Send + 'static>) {
    let Some(mut output) = output else { return };
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while output.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
    });
}
