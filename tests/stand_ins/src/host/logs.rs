//! The host's log: the handler's output, the logs in its responses, and the host's own messages.
//!
//! JSON lines are not parsed, as in the real host. The newest lines are kept, [`KEPT_LINES`] by default.
//!
//! Contract: <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers#logging>.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tracing::{error, info, warn};
use uuid::Uuid;

/// Enough for tests; limited so that a benchmark does not fill the memory.
const KEPT_LINES: usize = 20_000;

/// The severity that the host gives a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// A line of stdout, or a log in a response.
    Information,
    /// A line of stderr that contains "warn".
    Warning,
    /// Any other line of stderr, or a failed invocation.
    Error,
}

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// The handler's stdout or stderr.
    Handler,
    /// The host.
    Host,
    /// This invocation; in Azure the line would have its operation id.
    Invocation(Uuid),
}

/// A log line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Its severity.
    pub severity: Severity,
    /// Where it comes from.
    pub category: Category,
    /// The line, without its end.
    pub text: String,
}

/// Shows a line of the host of this name where the host runs.
pub type Print = fn(&str, &LogLine);

/// The log of one host; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Logs {
    host: Arc<str>,
    kept: usize,
    print: Option<Print>,
    lines: Arc<Mutex<VecDeque<LogLine>>>,
}

impl Logs {
    /// An empty log that keeps the newest `kept` lines; `host` is the name in this process's own traces.
    pub(super) fn new(host: &str, kept: Option<usize>) -> Self {
        Self { host: host.into(), kept: kept.unwrap_or(KEPT_LINES), print: None, lines: Arc::default() }
    }

    /// The same, and every line is also shown.
    pub(super) fn printing(self, print: Option<Print>) -> Self {
        Self { print, ..self }
    }

    /// Whether the lines are shown.
    pub(super) fn prints(&self) -> bool {
        self.print.is_some()
    }

    /// The host's name.
    pub(super) fn host(&self) -> &str {
        &self.host
    }

    /// All lines kept, oldest first.
    pub(super) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().expect("no holder panics").iter().cloned().collect()
    }

    /// Adds a line.
    pub(super) fn add(&self, severity: Severity, category: Category, text: impl Into<String>) {
        let (text, host) = (text.into(), &*self.host);
        match severity {
            Severity::Information => info!(host, "{text}"),
            Severity::Warning => warn!(host, "{text}"),
            Severity::Error => error!(host, "{text}"),
        }
        let mut lines = self.lines.lock().expect("no holder panics");
        if lines.len() == self.kept {
            lines.pop_front();
        }
        let line = LogLine { severity, category, text };
        if let Some(print) = self.print {
            print(host, &line);
        }
        lines.push_back(line);
    }

    /// Adds the handler's stdout until it ends.
    pub(super) async fn follow_stdout(self, stream: impl AsyncRead + Unpin) {
        self.follow(stream, |_| Severity::Information).await;
    }

    /// Adds the handler's stderr until it ends.
    pub(super) async fn follow_stderr(self, stream: impl AsyncRead + Unpin) {
        self.follow(stream, severity_of_stderr).await;
    }

    async fn follow(self, stream: impl AsyncRead + Unpin, severity: fn(&str) -> Severity) {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        while stream.read_until(b'\n', &mut line).await.is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end_matches(['\r', '\n']);
            if !text.is_empty() {
                self.add(severity(text), Category::Handler, text);
            }
            line.clear();
        }
    }
}

fn severity_of_stderr(line: &str) -> Severity {
    if line.to_ascii_lowercase().contains("warn") { Severity::Warning } else { Severity::Error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filed(logs: &Logs) -> Vec<(Severity, String)> {
        logs.lines().into_iter().map(|line| (line.severity, line.text)).collect()
    }

    #[tokio::test]
    async fn stdout_is_information_whatever_it_says() {
        let logs = Logs::new("a", None);
        logs.clone().follow_stdout(&b"{\"level\":\"ERROR\"}\r\nwarning\n\nlast"[..]).await;
        let expected = ["{\"level\":\"ERROR\"}", "warning", "last"];
        assert_eq!(filed(&logs), expected.map(|text| (Severity::Information, text.to_owned())));
    }

    #[tokio::test]
    async fn stderr_is_a_warning_when_it_says_warn_anywhere_and_else_an_error() {
        let logs = Logs::new("a", None);
        logs.clone().follow_stderr(&b"2026 WARN slow\nforeWarned\nINFO all is well\n"[..]).await;
        let severities: Vec<_> = filed(&logs).into_iter().map(|(severity, _)| severity).collect();
        assert_eq!(severities, [Severity::Warning, Severity::Warning, Severity::Error]);
    }

    #[test]
    fn the_oldest_lines_make_room() {
        let logs = Logs::new("a", None);
        for number in 0..=KEPT_LINES {
            logs.add(Severity::Information, Category::Host, number.to_string());
        }
        let lines = logs.lines();
        assert_eq!((lines.len(), lines[0].text.as_str()), (KEPT_LINES, "1"));
    }
}
