//! An executable under measurement (the handler, or the baseline) against a null server and an identity stand-in.
//!
//! It is started as the Functions host starts it (a port, the app settings, the app's folder, and nothing else of this process's
//! environment), and its output is discarded. It is not restarted: a process that ends fails the measurement.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tokio::process::{Child, Command};

use super::driver::{Answers, Load};
use super::message::Message;
use super::meter::Cpu;
use super::null_server::NullServer;
use crate::world::Folder;
use stand_ins::identity::{self, Identity};
use stand_ins::net::Tls;

/// How long the host waits for the first response.
const START_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest number of messages in flight.
pub(super) const MAX_IN_FLIGHT: u64 = 256;

/// An executable to start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// Its name in the results.
    pub(super) name: &'static str,
    /// The executable.
    pub(super) path: PathBuf,
}

impl Target {
    /// An executable with a name for the results.
    pub(super) fn new(name: &'static str, path: &Path) -> Self {
        Self { name, path: path.to_owned() }
    }
}

/// The services and the app of one target.
#[derive(Debug)]
pub(super) struct Services {
    pub(super) null_server: NullServer,
    /// The app settings.
    pub(super) settings: BTreeMap<String, String>,
    path: PathBuf,
    identity: Identity,
    app: Folder,
}

/// A running target; dropping it kills it.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    pub(super) port: u16,
    pub(super) pid: u32,
    /// From before the exec to the first `GET /` that is answered 200, polled without a pause.
    pub(super) ready_after: Duration,
}

impl Services {
    /// Starts the services for one target, optionally with TLS.
    pub(super) async fn prepare(target: &Target, tls: bool) -> anyhow::Result<Self> {
        let app = Folder::staged(&target.path)?;
        let tls = tls.then(Tls::generate).transpose().context("making a certificate")?;
        let identity = Identity::start(identity::Options::default()).await.context("starting the identity stand-in")?;
        let null_server = NullServer::start(tls.as_ref()).await.context("starting the null server")?;
        let mut settings = BTreeMap::from([
            ("FUNCTIONS_WORKER_RUNTIME".to_owned(), "custom".to_owned()),
            ("IDENTITY_ENDPOINT".to_owned(), identity.endpoint()),
            ("IDENTITY_HEADER".to_owned(), identity.header().to_owned()),
            ("SYNC_MAX_CONCURRENCY".to_owned(), MAX_IN_FLIGHT.to_string()),
            // What one message costs; the null server reads no batches.
            ("SYNC_BATCH".to_owned(), "off".to_owned()),
            ("DATAVERSE_URL".to_owned(), null_server.url()),
            ("AzureWebJobsStorage".to_owned(), null_server.connection_string()),
        ]);
        if let Some(tls) = &tls {
            let path = app.path().join("authority.pem");
            fs::write(&path, tls.ca_pem()).context("writing the certificate to trust")?;
            settings.insert("SSL_CERT_FILE".to_owned(), path.display().to_string());
        }
        Ok(Self { null_server, settings, path: target.path.clone(), identity, app })
    }

    /// Connections to the services and issued tokens so far.
    pub(super) fn calls(&self) -> u64 {
        let tokens = u64::try_from(self.identity.tokens_issued()).unwrap_or(u64::MAX);
        self.null_server.state().connections.saturating_add(tokens)
    }

    /// Sets the latency of storage and Dataverse, and forgets the delays so far.
    pub(super) fn delay(&self, [storage, dataverse]: [Duration; 2]) {
        let mut state = self.null_server.state();
        (state.storage_delay, state.dataverse_delay) = (storage, dataverse);
        (state.acquires, state.writes) = (Vec::new(), Vec::new());
    }

    /// Starts the target and waits until it answers.
    pub(super) async fn start(&self) -> anyhow::Result<Running> {
        Launch::new(&self.path, self.app.path(), &self.settings).start().await
    }

    /// Starts the target and sends its first messages, which request the token and raise the concurrency limit.
    pub(super) async fn warm(&self, message: &Message) -> anyhow::Result<Running> {
        let running = self.start().await?;
        running.load(message, 1, 20).send().await?;
        Ok(running)
    }
}

/// How a process is started.
#[derive(Debug)]
pub(super) struct Launch<'a> {
    pub(super) path: &'a Path,
    pub(super) folder: &'a Path,
    pub(super) settings: &'a BTreeMap<String, String>,
    /// A limit of the process, as a shell's `ulimit` takes it.
    pub(super) limit: Option<&'static str>,
    /// Its output goes into pipes that are never read; otherwise it is discarded.
    pub(super) unread: bool,
    /// How long it may take to its first response.
    pub(super) time_limit: Duration,
}

impl<'a> Launch<'a> {
    /// An executable in an app's folder, with these settings and no limit.
    pub(super) fn new(path: &'a Path, folder: &'a Path, settings: &'a BTreeMap<String, String>) -> Self {
        Self { path, folder, settings, limit: None, unread: false, time_limit: START_TIMEOUT }
    }

    /// The process, killed on drop. It gets PATH, HOME and the settings, and nothing else of this process's environment.
    pub(super) fn command(&self) -> Command {
        let mut command = match self.limit {
            None => Command::new(self.path),
            Some(limit) => {
                let mut shell = Command::new("sh");
                shell.args(["-c", "ulimit $0 && exec \"$1\"", limit]).arg(self.path);
                shell
            }
        };
        let output = || if self.unread { Stdio::piped() } else { Stdio::null() };
        command.current_dir(self.folder).env_clear().envs(self.settings);
        command.envs(["PATH", "HOME"].into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        command.stdin(Stdio::null()).stdout(output()).stderr(output()).kill_on_drop(true);
        command
    }

    /// Starts it and waits until it answers.
    pub(super) async fn start(self) -> anyhow::Result<Running> {
        let port = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let (mut command, port_text) = (self.command(), port.to_string());
        command.envs(["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"].map(|name| (name, &port_text)));
        let (begun, time_limit) = (Instant::now(), self.time_limit);
        let mut child = command.spawn().with_context(|| format!("starting {}", self.path.display()))?;
        let ready = tokio::task::spawn_blocking(move || poll(begun, port, time_limit));
        let ready = ready.await.context("the client panicked")?;
        let ended = child.try_wait().context("looking after the process")?;
        ensure!(ended.is_none(), "the process ended by itself ({ended:?})");
        let pid = child.id().context("the process is gone")?;
        Ok(Running { child, port, pid, ready_after: ready? })
    }
}

impl Running {
    /// A load for it.
    pub(super) fn load(&self, message: &Message, in_flight: u64, messages: u64) -> Load {
        Load::to(self.port, message, in_flight, messages)
    }

    /// Sends this load; returns the CPU time of the process meanwhile.
    pub(super) async fn measure(&self, load: Load) -> anyhow::Result<(Answers, Duration)> {
        let before = Cpu::of(self.pid)?;
        Ok((load.send().await?, Cpu::of(self.pid)?.since(&before)))
    }

    /// Whether it still runs.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends SIGTERM and waits for the end; the exit code is `None` if it took longer than `time_limit` or a signal ended it.
    pub(super) async fn terminate(mut self, time_limit: Duration) -> anyhow::Result<Option<i32>> {
        Command::new("kill").arg(self.pid.to_string()).status().await.context("sending SIGTERM")?;
        let ended = tokio::time::timeout(time_limit, self.child.wait()).await;
        Ok(ended.ok().and_then(Result::ok).and_then(|status| status.code()))
    }

    /// Kills it, as Azure does.
    pub(super) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("killing the process")
    }
}

/// Asks without a pause until `GET /` is answered 200.
fn poll(begun: Instant, port: u16, time_limit: Duration) -> anyhow::Result<Duration> {
    loop {
        if first_line(port, time_limit).is_ok_and(|head| head.ends_with(b" 200")) {
            return Ok(begun.elapsed());
        }
        ensure!(begun.elapsed() < time_limit, "GET / was not answered 200 in {} s", time_limit.as_secs());
    }
}

fn first_line(port: u16, time_limit: Duration) -> std::io::Result<[u8; 12]> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(time_limit))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")?;
    let mut head = [0; 12];
    stream.read_exact(&mut head)?;
    Ok(head)
}
