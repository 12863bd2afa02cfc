//! The lifecycle of the handler's process: one task starts, watches and kills it.
//!
//! It holds no lock and publishes the state in a watch channel. A process that is stopping is never restarted.
//!
//! Contract: the exit codes and limits are read from the source of <https://github.com/Azure/azure-functions-host>.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use super::crashes::Crashes;
use super::{Order, Program, State, Status};
use crate::host::logs::{Category, Logs, Severity};
use crate::host::wire::{Request, Wire};

/// The interval between two readiness checks.
const READY_POLLING: Duration = Duration::from_millis(25);

/// The exit code of a handler that wants to be restarted.
const WANTED_RESTART: i32 = 200;

/// How long an executable may be busy: far longer than a fork takes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);

/// How long to wait for the last output of a process that has exited; a grandchild may hold the pipe open.
const LAST_LINES_TIMEOUT: Duration = Duration::from_millis(500);

/// Runs the program and restarts it until it must not be restarted.
pub(super) struct Supervisor {
    program: Program,
    port: u16,
    logs: Logs,
    status: watch::Sender<Status>,
    crashes: Crashes,
}

/// How one run of the process ended.
enum End {
    Exited(ExitStatus),
    Restarted,
    Stopped,
    /// After SIGTERM: the exit code, and who waits for it.
    Terminated(Option<i32>, Terminated),
    Silent,
}

/// Receives the exit code of a process that got SIGTERM.
type Terminated = oneshot::Sender<Option<i32>>;

impl Supervisor {
    pub(super) fn new(program: Program, port: u16, logs: Logs, status: watch::Sender<Status>) -> Self {
        Self { program, port, logs, status, crashes: Crashes::default() }
    }

    pub(super) async fn run(mut self, mut orders: mpsc::Receiver<Order>) {
        loop {
            let (child, lines) = match self.spawn_with_retry().await {
                Ok(spawned) => spawned,
                Err(error) => return self.give_up(format!("the handler cannot be started: {error}")),
            };
            let end = self.watch(child, &mut orders).await;
            self.leave_ready();
            let _ = timeout(LAST_LINES_TIMEOUT, lines.join_all()).await;
            let next = self.next(&end);
            if let End::Terminated(code, done) = end {
                let _ = done.send(code);
            }
            match next {
                State::Starting => self.status.send_modify(|status| status.restarts += 1),
                State::Down(why) => return self.give_up(why),
                rest => {
                    self.enter(rest);
                    // Orders for a process that has exited are dropped, which answers them.
                    while orders.recv().await.is_some() {}
                    return;
                }
            }
        }
    }

    /// Retries while the executable is busy: a child that another thread is forking may still hold the new file open
    /// for writing.
    async fn spawn_with_retry(&self) -> io::Result<(Child, JoinSet<()>)> {
        let deadline = Instant::now() + BUSY_TIMEOUT;
        loop {
            match self.spawn() {
                Err(error) if error.kind() == io::ErrorKind::ExecutableFileBusy && Instant::now() < deadline => {
                    sleep(READY_POLLING).await;
                }
                settled => return settled,
            }
        }
    }

    fn spawn(&self) -> io::Result<(Child, JoinSet<()>)> {
        let mut command = Command::new(&self.program.path);
        command.args(&self.program.arguments).current_dir(&self.program.directory).env_clear();
        for name in ["PATH", "HOME"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command.envs(&self.program.settings);
        let worker = Uuid::new_v4().to_string();
        for prefix in ["FUNCTIONS_CUSTOMHANDLER", "FUNCTIONS_HTTPWORKER"] {
            command.env(format!("{prefix}_PORT"), self.port.to_string()).env(format!("{prefix}_WORKER_ID"), &worker);
        }
        command.env("FUNCTIONS_APP_ROOT_PATH", &self.program.directory);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let pid = child.id().unwrap_or_default();
        self.logs.add(Severity::Information, Category::Host, format!("Starting the handler: process {pid}"));
        let mut lines = JoinSet::new();
        if let Some(stdout) = child.stdout.take() {
            lines.spawn(self.logs.clone().follow_stdout(stdout));
        }
        if let Some(stderr) = child.stderr.take() {
            lines.spawn(self.logs.clone().follow_stderr(stderr));
        }
        Ok((child, lines))
    }

    async fn watch(&self, mut child: Child, orders: &mut mpsc::Receiver<Order>) -> End {
        self.status.send_modify(|status| status.pid = child.id());
        let mut ready = std::pin::pin!(timeout(self.program.ready_limit, answers(self.port)));
        let (mut waiting, mut ended_with_0, mut terminated) = (true, false, None);
        loop {
            tokio::select! {
                status = child.wait(), if !ended_with_0 || terminated.is_some() => {
                    // Before the first response the host takes no notice, and goes on waiting for one.
                    let unnoticed = waiting && !self.program.restarts_after_0 && terminated.is_none();
                    ended_with_0 = unnoticed && status.as_ref().is_ok_and(ExitStatus::success);
                    if !ended_with_0 {
                        return ended(status, terminated);
                    }
                }
                answer = &mut ready, if waiting => {
                    waiting = false;
                    match answer {
                        Ok(()) => self.enter_ready(),
                        Err(_) => return End::Silent,
                    }
                }
                Some(order) = orders.recv() => {
                    if let Some(end) = self.handle_order(order, &mut child, &mut terminated).await {
                        return end;
                    }
                }
            }
        }
    }

    async fn handle_order(&self, order: Order, child: &mut Child, terminated: &mut Option<Terminated>) -> Option<End> {
        match order {
            Order::Kill(done) => {
                // The state changes first, so that a request whose connection breaks waits for the new process.
                self.enter(State::Starting);
                let status = kill(child).await;
                let _ = done.send(());
                Some(ended(status, None))
            }
            Order::Stop(done) => {
                self.enter(State::Stopping);
                let _ = kill(child).await;
                let _ = done.send(());
                Some(End::Stopped)
            }
            // When several invocations time out together, the first one has already restarted the process.
            Order::Restart(pid) if pid != child.id() => None,
            Order::Restart(_) => {
                self.enter(State::Starting);
                let _ = kill(child).await;
                Some(End::Restarted)
            }
            Order::Terminate(done) => {
                self.enter(State::Stopping);
                send_sigterm(child).await;
                *terminated = Some(done);
                None
            }
        }
    }

    /// The state after this end; all rules about exit codes are here.
    fn next(&mut self, end: &End) -> State {
        let (text, code) = match end {
            End::Stopped | End::Terminated(..) => return State::Stopping,
            End::Restarted => return State::Starting,
            End::Silent => (format!("the handler did not answer in {} s", self.program.ready_limit.as_secs()), None),
            End::Exited(status) => (format!("the handler ended: {status}"), status.code()),
        };
        match code {
            Some(0) => {
                self.logs.add(Severity::Information, Category::Host, text);
                if self.program.restarts_after_0 { State::Starting } else { State::Gone }
            }
            Some(WANTED_RESTART) => State::Starting,
            _ => {
                self.logs.add(Severity::Error, Category::Host, text.as_str());
                if self.crashes.end_the_host(Instant::now()) {
                    State::Down(format!("{text}, once too often"))
                } else {
                    State::Starting
                }
            }
        }
    }

    /// The process is gone: requests whose connections break wait for the next state.
    fn leave_ready(&self) {
        self.status.send_modify(|status| {
            status.pid = None;
            if status.state == State::Ready {
                status.state = State::Starting;
            }
        });
    }

    fn give_up(&self, why: String) {
        self.logs.add(Severity::Error, Category::Host, why.as_str());
        self.enter(State::Down(why));
    }

    fn enter(&self, state: State) {
        self.status.send_modify(|status| status.state = state);
    }

    /// Leaves a process that is stopping as it is.
    fn enter_ready(&self) {
        self.status.send_if_modified(|status| {
            let starting = status.state == State::Starting;
            if starting {
                status.state = State::Ready;
            }
            starting
        });
    }
}

fn ended(status: io::Result<ExitStatus>, terminated: Option<Terminated>) -> End {
    if let Some(done) = terminated {
        return End::Terminated(status.ok().and_then(|status| status.code()), done);
    }
    status.map_or(End::Restarted, End::Exited)
}

async fn kill(child: &mut Child) -> io::Result<ExitStatus> {
    child.start_kill()?;
    child.wait().await
}

/// Uses the shell's `kill`: the standard library supports SIGKILL only.
async fn send_sigterm(child: &Child) {
    if let Some(pid) = child.id() {
        let _ = Command::new("/bin/sh").arg("-c").arg(format!("kill -TERM {pid}")).status().await;
    }
}

/// Returns once the handler gives any HTTP response.
async fn answers(port: u16) {
    let wire = Wire::new(port);
    let headers = vec![("Host".to_owned(), format!("127.0.0.1:{port}").into_bytes())];
    let request =
        Request { method: "GET".to_owned(), target: "/".to_owned(), headers, body: Vec::new(), chunked: false };
    while wire.send(&request).await.is_err() {
        sleep(READY_POLLING).await;
    }
}
