//! The signals that end a command: Ctrl-C, SIGTERM, and SIGHUP, which comes when the terminal is closed.
//!
//! Without a handler they end this process alone: the handlers that it started live on for some seconds, and its folders stay. So a
//! command that starts something runs [`until_stopped`]: its future is dropped, and with it its folders and servers; the processes
//! are killed when the runtime ends. SIGHUP stays ignored where it was ignored at the start, as under `nohup`.

use std::io;
use std::process::ExitCode;

use anyhow::Context as _;
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Receives the signals that end a command.
#[derive(Debug)]
pub struct StopSignal {
    #[cfg(unix)]
    signals: Vec<(u8, Signal)>,
    #[cfg(windows)]
    interrupt: tokio::signal::windows::CtrlC,
}

#[cfg(unix)]
impl StopSignal {
    /// From here on the signals do not end the process.
    pub fn new() -> io::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !ignores_hangup() {
            kinds.push(SignalKind::hangup());
        }
        let signals = kinds.into_iter().map(|kind| {
            let number = u8::try_from(kind.as_raw_value()).expect("signals have small numbers");
            Ok::<_, io::Error>((number, signal(kind)?))
        });
        Ok(Self { signals: signals.collect::<io::Result<_>>()? })
    }

    /// Waits for a signal, and gives its number.
    pub async fn recv(&mut self) -> u8 {
        let waiting = self.signals.iter_mut().map(|(number, signal)| {
            Box::pin(async move {
                signal.recv().await;
                *number
            })
        });
        futures::future::select_all(waiting).await.0
    }
}

#[cfg(windows)]
impl StopSignal {
    /// From here on Ctrl-C does not end the process.
    pub fn new() -> io::Result<Self> {
        Ok(Self { interrupt: tokio::signal::windows::ctrl_c()? })
    }

    /// Waits for Ctrl-C, and gives the number of SIGINT.
    pub async fn recv(&mut self) -> u8 {
        self.interrupt.recv().await;
        2
    }
}

/// Linux lists the ignored signals as the bits of a hexadecimal number, the first of them SIGHUP.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// Runs a command until it or a signal ends it. True and false become 0 and 1; a signal becomes 128 and its number, as in a shell.
pub async fn until_stopped(work: impl Future<Output = anyhow::Result<bool>>) -> anyhow::Result<ExitCode> {
    let mut stop = StopSignal::new().context("watching for signals")?;
    tokio::select! {
        held = work => Ok(if held? { ExitCode::SUCCESS } else { ExitCode::FAILURE }),
        signal = stop.recv() => Ok(ExitCode::from(128 + signal)),
    }
}
