//! A small Azure Functions host: it reads a staged app, runs its custom handler, and invokes it for queue messages and HTTP calls.
//!
//! It behaves as captured runs and the source of the real host show, also where that is inconvenient: it kills without warning, hides messages instead of returning them, answers chunked bodies with an empty 500, ignores the body of a failed
//! response, and reads and writes JSON as Newtonsoft.Json. It rejects an app that it cannot run completely. Several hosts can share
//! one account; each has its own ports on 127.0.0.1. The captured runs are in `tests/stand_ins/data`; `tests/sandbox/tests`
//! replays them.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>.

mod answer;
mod app;
mod closing;
mod encoding;
mod envelope;
mod http1;
mod http_frontend;
mod invocation;
mod invocations;
mod kestrel;
mod listener;
mod logs;
mod newtonsoft;
mod options;
mod output;
mod process;
#[cfg(test)]
mod scratch;
mod settings;
mod wire;

use std::collections::BTreeMap;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;

use crate::queue::QueueService;
use app::{App, QueueFunction};
use http_frontend::HttpFrontend;
use invocation::{Runtime, SharedRuntime, Trigger};
use logs::Logs;
use process::{Handler, Program, State};

pub use closing::Closing;
pub use envelope::first_delivery;
pub use invocations::{HostRecords, InvocationRecord, InvocationResult, Stats};
pub use logs::{Category, LogLine, Print, Severity};
pub use options::{Error, Options};
pub use settings::QueuePolicy;

/// How long the queue extension hides a message while it is processed.
const INVISIBILITY: Duration = Duration::from_mins(10);

/// A running host; dropping it is [`Host::stop`].
#[derive(Debug)]
pub struct Host {
    runtime: SharedRuntime,
    port: u16,
    key: String,
    functions: Vec<String>,
    /// Whether new work is taken.
    open: watch::Sender<bool>,
    /// The listeners of queues and HTTP. They end when no new work is taken and the work in flight is done.
    listeners: JoinSet<()>,
    /// Closes [`Self::open`] when the handler will not be started again.
    _closing: JoinSet<()>,
}

impl Host {
    /// Like [`Self::launch`], and waits until the handler responds.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let host = Self::launch(options).await?;
        let why = match host.runtime.handler.settled().await {
            State::Starting | State::Ready => return Ok(host),
            State::Down(why) => why,
            State::Gone | State::Stopping => "it ended with code 0".to_owned(),
        };
        Err(Error::Handler { why, logs: host.logs() })
    }

    /// Reads the app, starts listening, and starts its handler.
    pub async fn launch(options: Options) -> Result<Self, Error> {
        let app = App::read(&options.app, &options.settings).map_err(|problem| Error::App { problem })?;
        let triggers = triggers(&app, &options.settings)?;
        let free = free_port().await.map_err(|source| Error::Io { doing: "find a free port", source })?;
        let program = Program {
            path: app.root.join(&app.settings.executable),
            arguments: app.settings.arguments.clone(),
            directory: app.root.clone(),
            settings: options.settings.clone(),
            ready_limit: app.settings.initialization_timeout,
            restarts_after_0: options.newer,
        };
        let logs = Logs::new(&options.name, options.kept_lines).printing(options.print);
        let port = app.settings.port.unwrap_or(free);
        Self::run(app, triggers, &options, logs, |logs| Handler::start(program, port, logs)).await
    }

    /// Uses a handler that is already listening; the app's executable is not started.
    #[cfg(test)]
    async fn attach(options: Options, port: u16) -> Result<Self, Error> {
        let app = App::read(&options.app, &options.settings).map_err(|problem| Error::App { problem })?;
        let triggers = triggers(&app, &options.settings)?;
        Self::run(app, triggers, &options, Logs::new(&options.name, None), |_| Handler::attach(port)).await
    }

    /// Asks the storage for every queue that the app reads. Returns the names of those that do not exist: the host polls them
    /// silently.
    pub async fn missing_queues(options: &Options) -> Result<Vec<String>, Error> {
        let app = App::read(&options.app, &options.settings).map_err(|problem| Error::App { problem })?;
        let mut missing = Vec::new();
        for trigger in triggers(&app, &options.settings)? {
            match trigger.queue.peek(1).await {
                Ok(_) => {}
                Err(error) if error.is("QueueNotFound") => missing.push(trigger.queue.name().to_owned()),
                Err(source) => {
                    let connection = trigger.function.trigger.connection;
                    return Err(Error::Storage {
                        queue: trigger.queue.name().to_owned(),
                        connection,
                        url: trigger.queue.address(),
                        source,
                    });
                }
            }
        }
        Ok(missing)
    }

    /// One line for every function, as `func start` lists them.
    pub fn functions(&self) -> &[String] {
        &self.functions
    }

    /// The redelivery policy in force: that of host.json, where the options do not override it.
    pub fn queue_policy(&self) -> &QueuePolicy {
        &self.runtime.policy
    }

    /// Waits until the host has given up on its handler, and returns why; never returns otherwise.
    pub async fn given_up(&self) -> String {
        match self.runtime.handler.closing().await {
            Some(why) => why,
            None => std::future::pending().await,
        }
    }

    /// Takes no new work and waits for the work in flight, at most `limit`. Returns whether it was done in time: then the handler
    /// is killed. Otherwise it still runs: a real host that gets SIGTERM ends after 10 s and leaves it behind.
    pub async fn drain(&mut self, limit: Duration) -> bool {
        self.open.send_replace(false);
        let done = async { while self.listeners.join_next().await.is_some() {} };
        let drained = timeout(limit, done).await.is_ok();
        if drained {
            self.runtime.handler.stop().await;
        }
        drained
    }

    /// The origin of the host's HTTP frontend, without a trailing slash; functions are below `/api`.
    pub fn http_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
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
        logs: Logs,
        handler: impl FnOnce(Logs) -> Handler,
    ) -> Result<Self, Error> {
        let port = options.port;
        let listener = kestrel::bind(port).await.map_err(|source| Error::Port { port, source })?;
        let port = listener.local_addr().map_err(|source| Error::Port { port, source })?.port();
        let mut policy = app.settings.queues.clone();
        policy.max_polling_interval = options.polling.unwrap_or(policy.max_polling_interval);
        policy.visibility_timeout = options.visibility_timeout.unwrap_or(policy.visibility_timeout);
        policy.max_dequeue_count = options.max_dequeue_count.unwrap_or(policy.max_dequeue_count);
        let runtime = Arc::new(Runtime {
            handler: handler(logs.clone()),
            invocations: Arc::default(),
            logs,
            policy,
            invisibility: options.invisibility.unwrap_or(INVISIBILITY),
            function_timeout: options.function_timeout.or(app.settings.function_timeout),
            traces: options.traces,
        });
        let key = options.function_key.clone().unwrap_or_else(|| Uuid::new_v4().simple().to_string());
        let functions = listed(&app, port);
        let front = HttpFrontend {
            runtime: runtime.clone(),
            functions: app.http_functions,
            route_prefix: app.settings.route_prefix,
            key: key.clone(),
            without_keys: options.without_keys,
            proxies: options.newer && app.settings.proxies_http,
        };
        let open = watch::Sender::new(true);
        let mut listeners = JoinSet::new();
        listeners.spawn(kestrel::serve(listener, front, open.subscribe()));
        for trigger in triggers {
            listeners.spawn(listener::listen(runtime.clone(), Arc::new(trigger), open.subscribe()));
        }
        let (mut closing, no_more_starts, gate) = (JoinSet::new(), runtime.handler.closing(), open.clone());
        closing.spawn(async move {
            no_more_starts.await;
            gate.send_replace(false);
        });
        Ok(Self { runtime, port, key, functions, open, listeners, _closing: closing })
    }
}

/// As `func start` lists the functions.
fn listed(app: &App, port: u16) -> Vec<String> {
    let prefix = app.settings.route_prefix.trim_matches('/');
    let http = app.http_functions.iter().map(|function| {
        let methods = if function.methods.is_empty() { "ALL".to_owned() } else { function.methods.join(",") };
        format!("{}: [{methods}] http://127.0.0.1:{port}/{prefix}/{}", function.name, function.route)
    });
    let queues = app.queue_functions.iter().map(|function| {
        format!(
            "{}: queueTrigger, the queue {} of {}",
            function.name, function.trigger.queue, function.trigger.connection
        )
    });
    http.chain(queues).collect()
}

impl Drop for Host {
    fn drop(&mut self) {
        // A keep-alive connection to the frontend may outlive this value and keep the handler alive.
        self.runtime.handler.abandon();
    }
}

/// Binds a port and releases it; the handler binds it afterwards, as with the real host. Many hosts start at once in tests, so each
/// gets a port of its own, below those that systems give to connections.
async fn free_port() -> io::Result<u16> {
    const PORTS: Range<u16> = 15_000..32_000;
    static GIVEN: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(fastrand::u16(PORTS)));
    for _ in 0..100 {
        let port = PORTS.start + GIVEN.fetch_add(1, Ordering::Relaxed) % (PORTS.end - PORTS.start);
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.is_ok() {
            return Ok(port);
        }
    }
    Err(io::ErrorKind::AddrInUse.into())
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
