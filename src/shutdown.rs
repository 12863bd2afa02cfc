//! Why the process stops serving, how long it then drains, and its exit code.
//!
//! The Functions host never starts a handler again that exited with 0: it stays "Running", and every message ends in the poison
//! queue. So only Ctrl-C ends with 0, which reaches the host as well.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

use std::io;
use std::pin::pin;
use std::time::Duration;

use futures::future::{Either, select};
#[cfg(unix)]
use tokio::signal::unix::{SignalKind, signal};
#[cfg(windows)]
use tokio::signal::windows::ctrl_c;

/// Longest drain after a signal; Azure kills the process some seconds later. Locks that are still held then expire.
pub(crate) const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// Why the process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM.
    Terminated,
    /// SIGINT, or Ctrl-C.
    Interrupted,
    /// No connection can be accepted any more.
    ListenerGone,
}

impl Cause {
    /// Its name in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupted",
            Self::ListenerGone => "listener_gone",
        }
    }

    /// The exit code of the process; after SIGTERM as a shell reports it, 128 + 15.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminated => 143,
            Self::Interrupted => 0,
            Self::ListenerGone => 1,
        }
    }
}

/// Completes on SIGTERM or Ctrl-C. The Functions host in Azure sends neither: it kills the process.
///
/// # Errors
/// When the signals cannot be received.
#[cfg(unix)]
pub fn signalled() -> io::Result<impl Future<Output = Cause> + Send + 'static> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        match select(pin!(terminate.recv()), pin!(interrupt.recv())).await {
            Either::Left(_) => Cause::Terminated,
            Either::Right(_) => Cause::Interrupted,
        }
    })
}

/// Completes on Ctrl-C.
///
/// # Errors
/// When it cannot be received.
#[cfg(windows)]
pub fn signalled() -> io::Result<impl Future<Output = Cause> + Send + 'static> {
    let mut interrupt = ctrl_c()?;
    Ok(async move {
        interrupt.recv().await;
        Cause::Interrupted
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ctrl_c_ends_with_exit_code_0() {
        let causes = [Cause::Terminated, Cause::Interrupted, Cause::ListenerGone];
        assert_eq!(causes.map(Cause::exit_code), [143, 0, 1]);
    }
}
