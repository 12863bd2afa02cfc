//! What a host runs, and why it does not start.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use super::logs::{LogLine, Print};
use crate::queue;

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
    /// The port of the HTTP frontend; 0 chooses one.
    pub port: u16,
    /// The key of all functions; a new one by default.
    pub function_key: Option<String>,
    /// The host runs with Application Insights or OpenTelemetry: calls for queue messages carry a `traceparent`.
    pub traces: bool,
    /// A host of 2026: it knows `enableProxyingHttpRequest`, and starts a handler again that ended with code 0.
    pub newer: bool,
    /// Shows every line of the log.
    pub print: Option<Print>,
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
    /// The storage of a trigger does not answer, or refuses the account.
    #[error("the queue {queue} of the connection {connection} at {url}")]
    Storage {
        /// The queue's name.
        queue: String,
        /// The app setting.
        connection: String,
        /// The queue's address.
        url: String,
        /// Why it failed.
        source: queue::Error,
    },
    /// The port of the HTTP frontend cannot be used.
    #[error("cannot listen on 127.0.0.1:{port}")]
    Port {
        /// The port.
        port: u16,
        /// Why not.
        source: io::Error,
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
