//! CPU affinity: the handler runs on some cores, the load on others.
//!
//! A [`PinnedRuntime`] is a thread with its own tokio runtime that can be pinned to cores, by `taskset` of util-linux, as the
//! standard library does not support it. A benchmark that needs `taskset` fails without it.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// The program that pins processes and threads.
pub(super) const TASKSET: &str = "taskset";

/// A set of cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// One core.
    One(usize),
    /// The first two cores.
    Both,
    /// All but the first two.
    Rest,
}

impl Cores {
    /// The number of cores in the set.
    pub(super) fn count(self) -> u32 {
        match self {
            Self::One(_) => 1,
            Self::Both => 2,
            Self::Rest => u32::try_from(count()).unwrap_or(u32::MAX).saturating_sub(2),
        }
    }
}

impl fmt::Display for Cores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(core) => write!(f, "{core}"),
            Self::Both => f.write_str("0-1"),
            Self::Rest => write!(f, "2-{}", count().saturating_sub(1)),
        }
    }
}

/// The number of cores of this machine.
pub(super) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Fails if the handler and its load cannot run on separate cores.
pub(super) fn must_be_apart() -> anyhow::Result<()> {
    ensure!(count() >= 2, "the handler and its load need a core each, and there is one");
    let found = Command::new(TASKSET).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(found.is_ok_and(|status| status.success()), "taskset (util-linux) is not installed");
    Ok(())
}

/// A thread with its own runtime; dropping it ends both.
#[derive(Debug)]
pub(super) struct PinnedRuntime {
    runtime: Handle,
    thread: String,
    _stop: oneshot::Sender<()>,
}

/// Ends its task when it is dropped.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl PinnedRuntime {
    /// Starts a thread of this name.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (sender, receiver) = std::sync::mpsc::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // The receiver is gone if `start` failed meanwhile.
            let _ = sender.send(own_id());
            let _ = runtime.block_on(stopped);
        })?;
        let thread = receiver.recv().unwrap_or_default();
        Ok(Self { runtime: handle, thread, _stop: stop })
    }

    /// Pins the thread to these cores.
    pub(super) fn pin(&self, cores: Cores) -> anyhow::Result<()> {
        ensure!(!self.thread.is_empty(), "the thread id is unknown; it needs /proc");
        let mut command = Command::new(TASKSET);
        command.args(["--pid", "--cpu-list", &cores.to_string(), &self.thread]);
        let status = command.stdout(Stdio::null()).status().context("running taskset")?;
        ensure!(status.success(), "taskset could not pin a thread to core {cores}");
        Ok(())
    }

    /// Runs `work` on the thread; it is cancelled when the caller is.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let running = self.runtime.spawn(work);
        let _task = Task(running.abort_handle());
        running.await.context("the task was cancelled or panicked")?
    }
}

/// The calling thread's id from /proc; empty where that does not exist.
fn own_id() -> String {
    let link = std::fs::read_link("/proc/thread-self");
    let id = link.ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    id.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_the_runtimes_own_thread() {
        let pinned = PinnedRuntime::start("pinned").expect("a thread");
        let name = pinned.run(async { Ok(thread::current().name().map(str::to_owned)) }).await;
        assert_eq!(name.expect("it ran").as_deref(), Some("pinned"));
    }

    #[tokio::test]
    async fn a_runtime_is_pinned_to_the_named_core() {
        let pinned = PinnedRuntime::start("kept").expect("a thread");
        pinned.pin(Cores::One(0)).expect("taskset is there");
        let status = pinned.run(async { Ok(std::fs::read_to_string("/proc/thread-self/status")?) }).await;
        let status = status.expect("/proc is there");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim);
        assert_eq!(allowed, Some("0"));
    }
}
