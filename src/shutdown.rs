//! Why the process stops serving, how long it then drains, and its exit code.
//!
//! The Functions host never starts a handler again that exited with 0: it stays "Running", and every message ends in the poison
//! queue. So only Ctrl-C ends with 0, which reaches the host as well. A host that is killed, or that stops with work in flight,
//! leaves its handler behind; the change of the parent process reveals that.
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
use tokio::time::sleep;

/// Longest drain after a signal; Azure kills the process some seconds later. Locks that are still held then expire.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(25);

/// How often the parent process is looked at. A signal at the parent's end (`PR_SET_PDEATHSIG`) would come at the end of the thread
/// that started this process.
const PARENT_POLLING: Duration = Duration::from_secs(2);

/// Why the process stops serving.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// SIGTERM.
    Terminated,
    /// SIGINT, or Ctrl-C.
    Interrupted,
    /// The process that started this one is gone.
    HostGone,
    /// No connection can be accepted any more.
    ListenerGone,
}

impl Cause {
    /// Its name in the log.
    pub(crate) fn code(self) -> &'static str {
        match self {
            Self::Terminated => "terminated",
            Self::Interrupted => "interrupted",
            Self::HostGone => "host_gone",
            Self::ListenerGone => "listener_gone",
        }
    }

    /// The exit code of the process; after SIGTERM as a shell reports it, 128 + 15.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Terminated => 143,
            Self::Interrupted => 0,
            Self::HostGone | Self::ListenerGone => 1,
        }
    }

    /// The longest drain, where no invocation lasts longer than `longest_invocation`. Without a host nothing else ends the process,
    /// so what is in flight finishes.
    pub(crate) fn drain_timeout(self, longest_invocation: Duration) -> Duration {
        match self {
            Self::Terminated | Self::Interrupted | Self::ListenerGone => DRAIN_TIMEOUT,
            Self::HostGone => longest_invocation,
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

/// The process that started this one.
#[derive(Debug, Clone, Copy)]
pub struct Parent(u32);

impl Parent {
    /// The parent process as it is now; to be asked for as early as possible.
    #[cfg(unix)]
    pub fn current() -> Self {
        Self(std::os::unix::process::parent_id())
    }

    /// Windows does not replace the parent of a process.
    #[cfg(windows)]
    pub fn current() -> Self {
        Self(0)
    }

    /// Completes some seconds after that process is gone.
    pub async fn gone(self) -> Cause {
        while Self::current().0 == self.0 {
            sleep(PARENT_POLLING).await;
        }
        Cause::HostGone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(590);

    #[test]
    fn only_ctrl_c_ends_with_exit_code_0() {
        let causes = [Cause::Terminated, Cause::Interrupted, Cause::HostGone, Cause::ListenerGone];
        assert_eq!(causes.map(Cause::exit_code), [143, 0, 1, 1]);
    }

    #[test]
    fn without_a_host_the_drain_is_as_long_as_an_invocation() {
        assert_eq!(Cause::HostGone.drain_timeout(LONGEST), LONGEST);
        assert_eq!(Cause::Terminated.drain_timeout(LONGEST), Duration::from_secs(25));
    }

    #[tokio::test(start_paused = true)]
    async fn a_parent_is_gone_once_it_is_another_process() {
        let current = Parent::current();
        tokio::time::timeout(Duration::from_mins(1), current.gone()).await.expect_err("it is still there");
        assert_eq!(Parent(current.0.wrapping_add(1)).gone().await, Cause::HostGone);
    }
}
