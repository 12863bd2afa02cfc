//! Azurite, Microsoft's storage emulator, started for one test on its own ports and stopped at its end.
//!
//! `npx` installs it once; `node` then runs its JavaScript directly, so that there is one process to kill. It stores
//! everything in its own directory, which is deleted on drop. It does not use in-memory storage: there each message is
//! an extent, and once a minute Azurite removes the extents of deleted messages one by one, sorting the whole index for
//! each (`LokiExtentMetadataStore.deleteExtent`), so after a few thousand messages it does not respond for 90 seconds;
//! on disk messages share an extent. The API version check stays enabled: a client that is too new for Azurite must
//! fail. Only starting is retried, on other ports, in case a port is taken.
//!
//! Contract: <https://learn.microsoft.com/azure/storage/common/storage-use-azurite>.

use std::collections::VecDeque;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

use crate::net::Tls;
use crate::storage::{EMULATOR_ACCOUNT as ACCOUNT, EMULATOR_KEY as KEY};

/// The version that the tests were written against.
const PACKAGE: &str = "azurite@3.37.0";

/// The first run downloads several hundred packages.
const INSTALL_TIMEOUT: Duration = Duration::from_mins(5);

/// A small machine that is also building needs several seconds.
const START_TIMEOUT: Duration = Duration::from_mins(1);

/// It prints a line per request; the reason for a failed start is among the first lines.
const KEPT_LINES: usize = 100;

/// How to start Azurite.
#[derive(Debug, Clone, Default)]
pub struct AzuriteOptions {
    /// Serve https with this certificate instead of plain http.
    pub tls: Option<Tls>,
    /// Accept Entra tokens (`--oauth basic`: issuer, audience and times, not the signature); needs `tls`.
    pub oauth: bool,
}

/// Why Azurite did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `npx` or `node` could not be run, or a file could not be written.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// `npx` did not install the package.
    #[error("npx gave no {PACKAGE}: {output}")]
    Install {
        /// What npx printed.
        output: String,
    },
    /// The process exited, or did not respond on both ports in time.
    #[error("azurite did not start: {output}")]
    Start {
        /// What it printed.
        output: String,
    },
    /// The options contradict each other.
    #[error("azurite accepts tokens over https only: oauth needs tls")]
    TokensWithoutTls,
}

/// A running Azurite; dropping it kills it.
#[derive(Debug)]
pub struct Azurite {
    scheme: &'static str,
    blob_port: u16,
    queue_port: u16,
    // Killed on drop, before the files that it reads are removed.
    _process: Child,
    _files: TempDir,
}

impl Azurite {
    /// Installs Azurite (the first time), starts it, and waits until blobs and queues respond.
    pub async fn start(options: AzuriteOptions) -> Result<Self, Error> {
        if options.oauth && options.tls.is_none() {
            return Err(Error::TokensWithoutTls);
        }
        let script = installed_script().await?;
        let mut last = Self::start_once(&script, &options).await;
        for _ in 0..2 {
            match last {
                Err(Error::Start { ref output }) if output.contains("EADDRINUSE") => {}
                settled => return settled,
            }
            last = Self::start_once(&script, &options).await;
        }
        last
    }

    /// A storage connection string with both endpoints.
    pub fn connection_string(&self) -> String {
        let (scheme, blob, queue) = (self.scheme, self.blob_endpoint(), self.queue_endpoint());
        format!(
            "DefaultEndpointsProtocol={scheme};AccountName={ACCOUNT};AccountKey={KEY};\
             BlobEndpoint={blob};QueueEndpoint={queue};"
        )
    }

    /// The blob endpoint, account included, without a trailing slash.
    pub fn blob_endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}/{ACCOUNT}", self.scheme, self.blob_port)
    }

    /// The queue endpoint, account included, without a trailing slash.
    pub fn queue_endpoint(&self) -> String {
        format!("{}://127.0.0.1:{}/{ACCOUNT}", self.scheme, self.queue_port)
    }

    async fn start_once(script: &Path, options: &AzuriteOptions) -> Result<Self, Error> {
        let files = tempfile::tempdir().map_err(|source| Error::Io { doing: "make a directory", source })?;
        let [blob_port, queue_port, table_port] =
            free_ports().await.map_err(|source| Error::Io { doing: "find a free port", source })?;
        let mut command = Command::new("node");
        command.arg(script).arg("--disableTelemetry").arg("--location").arg(files.path());
        for (service, port) in [("blob", blob_port), ("queue", queue_port), ("table", table_port)] {
            command.args([format!("--{service}Host"), "127.0.0.1".to_owned()]);
            command.args([format!("--{service}Port"), port.to_string()]);
        }
        if let Some(tls) = &options.tls {
            let (certificate, key) = write_certificate(tls, files.path())
                .map_err(|source| Error::Io { doing: "write the certificate", source })?;
            command.arg("--cert").arg(certificate).arg("--key").arg(key);
        }
        if options.oauth {
            command.args(["--oauth", "basic"]);
        }
        command.current_dir(files.path()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command
            .kill_on_drop(true)
            .spawn()
            .map_err(|source| Error::Io { doing: "run node (is Node.js installed?)", source })?;
        let output = Output::follow(&mut process);
        wait_for_ports(&mut process, &output, [blob_port, queue_port]).await?;
        let scheme = if options.tls.is_some() { "https" } else { "http" };
        Ok(Self { scheme, blob_port, queue_port, _process: process, _files: files })
    }
}

/// The path of Azurite's script: `npx` installs the package if needed and prints the command's path, a link to the
/// script.
async fn installed_script() -> Result<PathBuf, Error> {
    let mut npx = Command::new("npx");
    npx.args(["--yes", "--package", PACKAGE, "-c", "command -v azurite"]);
    npx.stdin(Stdio::null()).kill_on_drop(true);
    let Ok(run) = timeout(INSTALL_TIMEOUT, npx.output()).await else {
        return Err(Error::Install { output: format!("no answer within {} s", INSTALL_TIMEOUT.as_secs()) });
    };
    let run = run.map_err(|source| Error::Io { doing: "run npx (is Node.js installed?)", source })?;
    let link = String::from_utf8_lossy(&run.stdout);
    let Some(link) = link.lines().next().filter(|_| run.status.success()) else {
        return Err(Error::Install { output: String::from_utf8_lossy(&run.stderr).into_owned() });
    };
    std::fs::canonicalize(link.trim()).map_err(|source| Error::Io { doing: "find the installed azurite", source })
}

async fn wait_for_ports(process: &mut Child, output: &Output, ports: [u16; 2]) -> Result<(), Error> {
    let deadline = Instant::now() + START_TIMEOUT;
    for port in ports {
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            let ended = process.try_wait().is_ok_and(|status| status.is_some());
            if ended || Instant::now() > deadline {
                // The last output may still be in the pipe.
                sleep(Duration::from_millis(100)).await;
                return Err(Error::Start { output: output.text() });
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
    Ok(())
}

/// All three are bound at the same time, so they differ.
async fn free_ports() -> io::Result<[u16; 3]> {
    let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let second = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let third = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok([first.local_addr()?.port(), second.local_addr()?.port(), third.local_addr()?.port()])
}

/// The last lines that the process printed. The output is read to the end, so the process never blocks on a full pipe.
#[derive(Debug, Clone, Default)]
struct Output {
    lines: Arc<Mutex<VecDeque<String>>>,
}

impl Output {
    fn follow(process: &mut Child) -> Self {
        let output = Self::default();
        if let Some(stdout) = process.stdout.take() {
            tokio::spawn(output.clone().read(stdout));
        }
        if let Some(stderr) = process.stderr.take() {
            tokio::spawn(output.clone().read(stderr));
        }
        output
    }

    async fn read(self, stream: impl AsyncRead + Unpin) {
        let mut lines = BufReader::new(stream).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            let mut kept = self.lines.lock().expect("no holder panics");
            if kept.len() == KEPT_LINES {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    }

    fn text(&self) -> String {
        self.lines.lock().expect("no holder panics").make_contiguous().join("\n")
    }
}

/// The paths of certificate and key in this folder.
fn write_certificate(tls: &Tls, folder: &Path) -> io::Result<(PathBuf, PathBuf)> {
    let (certificate, key) = (folder.join("certificate.pem"), folder.join("key.pem"));
    std::fs::write(&certificate, tls.certificate_pem())?;
    std::fs::write(&key, tls.key_pem())?;
    Ok((certificate, key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn tokens_without_tls_are_refused_before_anything_is_started() {
        let options = AzuriteOptions { tls: None, oauth: true };
        assert!(matches!(Azurite::start(options).await, Err(Error::TokensWithoutTls)));
    }
}
