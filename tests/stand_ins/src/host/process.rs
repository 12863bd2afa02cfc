//! The handler's process: started, waited for, restarted and stopped as the real host does it.
//!
//! After exit code 0 while it serves, it is not restarted (newer hosts do restart it); 200 requests a restart; anything else (a
//! signal, no response in time) is a crash, and the third crash in a row ends the host ([`crashes`]). The process gets PATH, HOME,
//! the app settings and its port, and nothing else of this process's environment. It is killed without warning, except by
//! [`Handler::terminate`].
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>; the exit codes are read from the
//! source of <https://github.com/Azure/azure-functions-host>.

mod crashes;
mod supervisor;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::logs::Logs;
use super::wire::Wire;
use supervisor::Supervisor;

/// What the host knows about its handler.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It was started and has not answered yet.
    Starting,
    /// It has answered.
    Ready,
    /// It exited with code 0: the host keeps running and every call fails.
    Gone,
    /// It is stopping: the host takes no new work.
    Stopping,
    /// The host has given up; the text says why.
    Down(String),
}

/// How to run the handler.
#[derive(Debug, Clone)]
pub(super) struct Program {
    /// The executable.
    pub(super) path: PathBuf,
    /// Its arguments.
    pub(super) arguments: Vec<String>,
    /// Its working directory.
    pub(super) directory: PathBuf,
    /// The app settings.
    pub(super) settings: BTreeMap<String, String>,
    /// How long it may take to respond after its start.
    pub(super) ready_limit: Duration,
    /// Exit code 0 requests a restart, as newer hosts take it.
    pub(super) restarts_after_0: bool,
}

/// The handler; dropping it kills the process.
#[derive(Debug)]
pub(super) struct Handler {
    wire: Wire,
    status: watch::Receiver<Status>,
    orders: mpsc::Sender<Order>,
    supervisor: AbortHandle,
}

#[derive(Debug, Clone)]
struct Status {
    state: State,
    pid: Option<u32>,
    restarts: u32,
}

#[derive(Debug)]
enum Order {
    /// SIGKILL, treated as a crash; answered once the process has exited.
    Kill(oneshot::Sender<()>),
    /// SIGKILL and a restart that does not count as a crash, if this is still the process.
    Restart(Option<u32>),
    /// SIGKILL without a restart; answered once the process has exited.
    Stop(oneshot::Sender<()>),
    /// SIGTERM; answered with the exit code once the process has exited.
    Terminate(oneshot::Sender<Option<i32>>),
}

impl Handler {
    /// Starts the program with this port; [`Self::settled`] waits for the outcome.
    pub(super) fn start(program: Program, port: u16, logs: Logs) -> Self {
        Self::supervised(port, |status, orders| tokio::spawn(Supervisor::new(program, port, logs, status).run(orders)))
    }

    /// Uses a handler that is already listening.
    #[cfg(test)]
    pub(super) fn attach(port: u16) -> Self {
        Self::supervised(port, |status, _orders| {
            tokio::spawn(async move {
                status.send_modify(|status| status.state = State::Ready);
                status.closed().await;
            })
        })
    }

    /// The handler's port, to send requests to.
    pub(super) fn wire(&self) -> &Wire {
        &self.wire
    }

    /// The process id, while there is a process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.status.borrow().pid
    }

    /// How often the process was restarted.
    pub(super) fn restarts(&self) -> u32 {
        self.status.borrow().restarts
    }

    /// Waits while the handler is starting; returns the resulting state.
    pub(super) async fn settled(&self) -> State {
        let mut status = self.status.clone();
        let settled = status.wait_for(|status| status.state != State::Starting).await;
        settled.map_or_else(|_| State::Down("the host has stopped".to_owned()), |status| status.state.clone())
    }

    /// Waits until no new work may be taken, and returns why, if the host has given up.
    pub(super) fn closing(&self) -> impl Future<Output = Option<String>> + use<> {
        let mut status = self.status.clone();
        async move {
            // A closed channel means the same.
            let closing = status.wait_for(|status| matches!(status.state, State::Stopping | State::Down(_))).await;
            if let State::Down(why) = &closing.ok()?.state { Some(why.clone()) } else { None }
        }
    }

    /// Kills the process and waits until it is gone; the host then treats it as a crash.
    pub(super) async fn kill(&self) {
        let (done, gone) = oneshot::channel();
        if self.orders.send(Order::Kill(done)).await.is_ok() {
            let _ = gone.await;
        }
    }

    /// Kills the process for good, without waiting: the child belongs to the task and is killed with it.
    pub(super) fn abandon(&self) {
        self.supervisor.abort();
    }

    /// Kills the process for good and waits until it is gone.
    pub(super) async fn stop(&self) {
        let (done, gone) = oneshot::channel();
        if self.orders.send(Order::Stop(done)).await.is_ok() {
            let _ = gone.await;
        }
    }

    /// Restarts the process, as the host does after an invocation timed out. `pid` is the process that the invocation
    /// used; any other process is left running.
    pub(super) async fn restart(&self, pid: Option<u32>) {
        let _ = self.orders.send(Order::Restart(pid)).await;
    }

    /// Sends SIGTERM and waits for the exit; returns the exit code, `None` if a signal ended it or there was no
    /// process.
    pub(super) async fn terminate(&self) -> Option<i32> {
        let (done, ended) = oneshot::channel();
        self.orders.send(Order::Terminate(done)).await.ok()?;
        ended.await.ok().flatten()
    }

    fn supervised(
        port: u16,
        start: impl FnOnce(watch::Sender<Status>, mpsc::Receiver<Order>) -> JoinHandle<()>,
    ) -> Self {
        let (sender, status) = watch::channel(Status { state: State::Starting, pid: None, restarts: 0 });
        let (orders, receiver) = mpsc::channel(1);
        let supervisor = start(sender, receiver).abort_handle();
        Self { wire: Wire::new(port), status, orders, supervisor }
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        self.abandon();
    }
}

#[cfg(all(test, unix))]
mod tests;
