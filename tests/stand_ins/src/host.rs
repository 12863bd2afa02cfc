//! A small Azure Functions host: it reads the STAGED app, runs its custom handler and feeds it from queues and over HTTP.
//!
//! It follows the real host's source, including its inconvenient parts: it kills without warning, hides messages
//! instead of returning them, drops chunked bodies, and ignores the body of a failed response. It rejects an app that
//! it cannot run completely. Several hosts can share one account; each has its own ports on 127.0.0.1.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>.

mod answer;
mod app;
mod closing;
mod envelope;
mod http_frontend;
mod invocation;
mod invocations;
mod listener;
mod logs;
mod process;
#[cfg(test)]
mod scratch;
mod settings;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::task::JoinSet;
use uuid::Uuid;

use crate::net::Server;
use crate::queue::{self, QueueService};
use app::{App, QueueFunction};
use http_frontend::HttpFrontend;
use invocation::{Runtime, SharedRuntime, Trigger};
use logs::Logs;
use process::{Handler, Program, State};

pub use closing::Closing;
pub use envelope::first_delivery;
pub use invocations::{HostRecords, InvocationRecord, InvocationResult, Stats};
pub use logs::{Category, LogLine, Severity};

/// How long the queue extension hides a message while it is processed.
const INVISIBILITY: Duration = Duration::from_mins(10);

/// What to run, and how.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The staged app: host.json, the executable and every function's folder side by side.
    pub app: PathBuf,
    /// The app settings: the handler's environment and the source of connection strings. With `SSL_CERT_FILE`, the host
    /// trusts that authority for its queues too.
    pub settings: BTreeMap<String, String>,
    /// The host's name in traces.
    pub name: String,
    /// Overrides `maxPollingInterval`.
    pub polling: Option<Duration>,
    /// Overrides `visibilityTimeout`; whole seconds.
    pub visibility_timeout: Option<Duration>,
    /// Overrides `maxDequeueCount`. The handler reads host.json and does not see this value.
    pub max_dequeue_count: Option<u32>,
    /// How long a message is hidden while it is processed, renewed at half of it; default 10 minutes; whole seconds.
    pub invisibility: Option<Duration>,
    /// Overrides `functionTimeout`.
    pub function_timeout: Option<Duration>,
    /// Disables authentication, as `func start` does on a developer's machine. In Azure a function key is needed.
    /// <https://learn.microsoft.com/azure/azure-functions/functions-run-local#authorization-keys>
    pub without_keys: bool,
    /// How many of the newest log lines are kept; default 20,000.
    pub kept_lines: Option<usize>,
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The app is invalid or not supported.
    #[error("the app cannot be run: {problem}")]
    App {
        /// The file and what is wrong with it.
        problem: String,
    },
    /// A connection string is missing or wrong.
    #[error("the connection {name}")]
    Connection {
        /// The app setting.
        name: String,
        /// What is wrong.
        source: queue::Error,
    },
    /// No free port, or a file named by a setting cannot be read.
    #[error("cannot {doing}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The handler did not start.
    #[error("the handler did not start: {why}")]
    Handler {
        /// How it ended.
        why: String,
        /// What it printed.
        logs: Vec<LogLine>,
    },
}

/// A running host; dropping it is [`Host::stop`].
#[derive(Debug)]
pub struct Host {
    runtime: SharedRuntime,
    front: Server,
    key: String,
    listeners: JoinSet<()>,
}

impl Host {
    /// Reads the app, starts its handler, waits until the handler responds, and starts listening.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let app = App::read(&options.app, &options.settings).map_err(|problem| Error::App { problem })?;
        let triggers = triggers(&app, &options.settings)?;
        let port = free_port().await.map_err(|source| Error::Io { doing: "find a free port", source })?;
        let program = Program {
            path: app.root.join(&app.settings.executable),
            arguments: app.settings.arguments.clone(),
            directory: app.root.clone(),
            settings: options.settings.clone(),
        };
        let logs = Logs::new(&options.name, options.kept_lines);
        let handler = Handler::start(program, port, logs.clone());
        match handler.settled().await {
            State::Starting | State::Ready => {}
            State::Down(why) => return Err(Error::Handler { why, logs: logs.lines() }),
            State::Gone | State::Stopping => {
                return Err(Error::Handler { why: "it ended with code 0".to_owned(), logs: logs.lines() });
            }
        }
        Self::run(app, triggers, &options, handler, logs).await
    }

    /// Uses a handler that is already listening; the app's executable is not started.
    #[cfg(test)]
    async fn attach(options: Options, port: u16) -> Result<Self, Error> {
        let app = App::read(&options.app, &options.settings).map_err(|problem| Error::App { problem })?;
        let triggers = triggers(&app, &options.settings)?;
        Self::run(app, triggers, &options, Handler::attach(port), Logs::new(&options.name, None)).await
    }

    /// The origin of the host's HTTP frontend, without a trailing slash; functions are below `/api`.
    pub fn http_url(&self) -> String {
        self.front.url()
    }

    /// The key for functions with authLevel `function`: query `code` or header `x-functions-key`.
    pub fn function_key(&self) -> &str {
        &self.key
    }

    /// The port on which the handler listens.
    pub fn port_of_handler(&self) -> u16 {
        self.runtime.handler.wire().port()
    }

    /// The handler's process id, while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.runtime.handler.pid()
    }

    /// The newest lines of the log, oldest first.
    pub fn logs(&self) -> Vec<LogLine> {
        self.runtime.logs.lines()
    }

    /// All finished invocations, in the order in which they ended.
    pub fn invocations(&self) -> Vec<InvocationRecord> {
        self.runtime.invocations.records()
    }

    /// The host's records, which are updated while it runs and outlive it.
    pub fn records(&self) -> HostRecords {
        HostRecords::new(self.runtime.invocations.clone(), self.runtime.logs.clone())
    }

    /// The counts so far.
    pub fn stats(&self) -> Stats {
        self.runtime.invocations.stats(self.runtime.handler.restarts())
    }

    /// Waits until the handler has started or failed; returns whether it is ready.
    pub async fn ready(&self) -> bool {
        self.runtime.handler.settled().await == State::Ready
    }

    /// Kills the handler and waits until it is gone. The host restarts it, unless this was the third crash.
    pub async fn kill_handler(&self) {
        self.runtime.handler.kill().await;
    }

    /// Stops as Core Tools does on Ctrl-C: takes no new work, sends SIGTERM, and waits for the process to exit. Returns
    /// the exit code; `None` if a signal ended it or it had already exited.
    pub async fn terminate_handler(&self) -> Option<i32> {
        self.runtime.handler.terminate().await
    }

    /// Stops as Azure does: SIGKILL; messages in flight stay hidden in their queue. Waits until the process has exited.
    pub async fn stop(mut self) {
        self.listeners.shutdown().await;
        self.runtime.handler.stop().await;
    }

    async fn run(
        app: App,
        triggers: Vec<Trigger>,
        options: &Options,
        handler: Handler,
        logs: Logs,
    ) -> Result<Self, Error> {
        let mut policy = app.settings.queues;
        policy.max_polling_interval = options.polling.unwrap_or(policy.max_polling_interval);
        policy.visibility_timeout = options.visibility_timeout.unwrap_or(policy.visibility_timeout);
        policy.max_dequeue_count = options.max_dequeue_count.unwrap_or(policy.max_dequeue_count);
        let runtime = Arc::new(Runtime {
            handler,
            invocations: Arc::default(),
            logs,
            policy,
            invisibility: options.invisibility.unwrap_or(INVISIBILITY),
            function_timeout: options.function_timeout.or(app.settings.function_timeout),
        });
        let key = Uuid::new_v4().simple().to_string();
        let (functions, route_prefix) = (app.http_functions, app.settings.route_prefix);
        let without_keys = options.without_keys;
        let front = HttpFrontend { runtime: runtime.clone(), functions, route_prefix, key: key.clone(), without_keys };
        let front = Server::start(front.router(), 0, None)
            .await
            .map_err(|source| Error::Io { doing: "listen for requests", source })?;
        let mut listeners = JoinSet::new();
        for trigger in triggers {
            listeners.spawn(listener::listen(runtime.clone(), Arc::new(trigger)));
        }
        Ok(Self { runtime, front, key, listeners })
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // A keep-alive connection to the frontend may outlive this value and keep the handler alive.
        self.runtime.handler.abandon();
    }
}

/// Binds a port and releases it; the handler binds it afterwards, as with the real host.
async fn free_port() -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    Ok(listener.local_addr()?.port())
}

fn triggers(app: &App, settings: &BTreeMap<String, String>) -> Result<Vec<Trigger>, Error> {
    app.queue_functions.iter().map(|function| trigger(function, settings)).collect()
}

fn trigger(function: &QueueFunction, settings: &BTreeMap<String, String>) -> Result<Trigger, Error> {
    let service = service(&function.trigger.connection, settings)?;
    let outputs: Result<_, Error> = function
        .outputs
        .iter()
        .map(|output| Ok((output.name.clone(), self::service(&output.connection, settings)?.queue(&output.queue))))
        .collect();
    Ok(Trigger {
        function: function.clone(),
        queue: service.queue(&function.trigger.queue),
        poison: service.queue(&format!("{}-poison", function.trigger.queue)),
        outputs: outputs?,
    })
}

fn service(name: &str, settings: &BTreeMap<String, String>) -> Result<QueueService, Error> {
    let Some(text) = settings.get(name) else {
        return Err(Error::App { problem: format!("the app setting {name} is missing") });
    };
    let service = match settings.get("SSL_CERT_FILE") {
        None => QueueService::from_connection_string(text),
        Some(file) => {
            let authority = std::fs::read_to_string(file);
            let authority = authority.map_err(|source| Error::Io { doing: "read SSL_CERT_FILE", source })?;
            QueueService::trusting(text, &authority)
        }
    };
    service.map_err(|source| Error::Connection { name: name.to_owned(), source })
}

#[cfg(all(test, unix))]
mod tests;
