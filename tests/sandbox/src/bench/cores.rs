//! Which core runs what: the handler on some, what measures it on others.
//!
//! A [`Lane`] is a thread with a runtime of its own that can be kept on one core. Pinning is done by `taskset` of util-linux:
//! the standard library has no call for it. Without it nothing is pinned, and a room that needs it says so.

use std::fmt;
use std::io;
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context as _, ensure};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;

/// The tool that pins.
pub(super) const TASKSET: &str = "taskset";

/// Some of this machine's cores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cores {
    /// This one alone.
    One(usize),
    /// The first two.
    Both,
    /// All but the first two.
    Rest,
}

impl Cores {
    /// How many they are.
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

/// How many cores there are.
pub(super) fn count() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Fails where the handler and its load cannot be kept apart.
pub(super) fn must_be_apart() -> anyhow::Result<()> {
    ensure!(count() >= 2, "the handler and its load need a core each, and there is one");
    let found = Command::new(TASKSET).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    ensure!(found.is_ok_and(|status| status.success()), "taskset (util-linux) is not installed");
    Ok(())
}

/// A thread with a runtime of its own; dropping it ends both.
#[derive(Debug)]
pub(super) struct Lane {
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

impl Lane {
    /// Starts a thread of this name.
    pub(super) fn start(name: &str) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            // Nobody asks any more when the lane is gone already.
            let _ = tell.send(own_id());
            let _ = runtime.block_on(stopped);
        })?;
        let thread = told.recv().unwrap_or_default();
        Ok(Self { runtime: handle, thread, _stop: stop })
    }

    /// Keeps the thread on these cores.
    pub(super) fn pin(&self, cores: Cores) -> anyhow::Result<()> {
        ensure!(!self.thread.is_empty(), "the thread's number is not known; /proc tells it on Linux");
        let mut command = Command::new(TASKSET);
        command.args(["--pid", "--cpu-list", &cores.to_string(), &self.thread]);
        let status = command.stdout(Stdio::null()).status().context("running taskset")?;
        ensure!(status.success(), "taskset could not pin a thread to core {cores}");
        Ok(())
    }

    /// Runs `work` there; it ends when the caller stops waiting.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl Future<Output = anyhow::Result<T>> + Send + 'static,
    ) -> anyhow::Result<T> {
        let running = self.runtime.spawn(work);
        let _task = Task(running.abort_handle());
        running.await.context("the work broke off")?
    }
}

/// The calling thread's number, where /proc tells it.
fn own_id() -> String {
    let link = std::fs::read_link("/proc/thread-self");
    let id = link.ok().and_then(|path| path.file_name()?.to_str().map(str::to_owned));
    id.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_runs_on_the_lanes_own_thread() {
        let lane = Lane::start("lane").expect("a thread");
        let name = lane.run(async { Ok(thread::current().name().map(str::to_owned)) }).await;
        assert_eq!(name.expect("it ran").as_deref(), Some("lane"));
    }

    #[tokio::test]
    async fn a_lane_is_kept_on_the_core_that_was_named() {
        let lane = Lane::start("kept").expect("a thread");
        lane.pin(Cores::One(0)).expect("taskset is there");
        let status = lane.run(async { Ok(std::fs::read_to_string("/proc/thread-self/status")?) }).await;
        let status = status.expect("/proc is there");
        let allowed = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).map(str::trim);
        assert_eq!(allowed, Some("0"));
    }
}
