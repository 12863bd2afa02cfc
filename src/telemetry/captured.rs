//! The lines of one invocation that travel in its answer: the host files them under the invocation's own operation.
//!
//! To the host every line of an answer is information. So warnings and errors are also written to stderr at once, and DEBUG and TRACE
//! to stdout, for those who look at work that hangs; the copy in the answer says so (`also_on`). INFO lines wait for the answer, so
//! that Application Insights has them once. The ones that no answer takes are written to stdout after all: the caller left, the
//! invocation failed, there were too many, or one was too long. Only a process that is killed loses some.
//!
//! At most [`MAX_LINES`] lines of [`MAX_LINE_BYTES`] each; the newest is always among them.

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{Level, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use super::line::Line;
use super::log_layer::LogLayer;
use super::output::{Sink, escape_warn};

/// Most lines in one answer.
pub(super) const MAX_LINES: usize = 32;

/// Most bytes of a line in an answer.
pub(super) const MAX_LINE_BYTES: usize = 1024;

/// The lines of the events in one span from now on. Dropping it writes those that still wait to the log.
pub(crate) struct CapturedLogs(Option<Buffer>);

/// The lines, shared with the span's extensions.
#[derive(Clone)]
pub(super) struct Buffer {
    state: Arc<Mutex<State>>,
    sink: Sink,
}

#[derive(Default)]
struct State {
    entries: Vec<LogEntry>,
    left_out: usize,
    is_closed: bool,
}

struct LogEntry {
    text: String,
    /// It has not been written to the log.
    is_pending: bool,
}

impl CapturedLogs {
    /// Captures the lines of `span`; without a log there are none.
    pub(crate) fn of(span: &Span) -> Self {
        let buffer = span.with_subscriber(|(id, dispatch)| {
            let sink = dispatch.downcast_ref::<LogLayer>()?.sink.clone();
            let span = dispatch.downcast_ref::<Registry>()?.span(id)?;
            let buffer = Buffer { state: Arc::default(), sink };
            span.extensions_mut().replace(buffer.clone());
            Some(buffer)
        });
        Self(buffer.flatten())
    }

    /// The lines, oldest first, for an answer that is about to be sent.
    pub(crate) fn take(self) -> Vec<String> {
        let Some(buffer) = &self.0 else { return Vec::new() };
        let (entries, left_out) = buffer.close();
        let mut lines: Vec<String> = entries.into_iter().map(|entry| entry.text).collect();
        if left_out > 0 {
            lines.insert(lines.len() - 1, format!("… {left_out} lines were left out here …"));
        }
        lines
    }
}

impl Drop for CapturedLogs {
    fn drop(&mut self) {
        let Some(buffer) = &self.0 else { return };
        for entry in buffer.close().0 {
            buffer.write(&entry);
        }
    }
}

/// The copy in the answer of a line that is also written to a stream: a field that names the stream tells the two apart. It comes
/// right after the message, so it is not cut off.
fn copy(line: &Line, level: Level) -> String {
    let stream = if level <= Level::WARN { "stderr" } else { "stdout" };
    let copy = line.marked("also_on", stream);
    copy.shortened(MAX_LINE_BYTES).unwrap_or_else(|| copy.whole())
}

impl Buffer {
    /// Adds a line; returns whether it waits for the answer and must not be written now.
    pub(super) fn push(&self, line: &Line, level: Level) -> bool {
        let is_pending = level == Level::INFO && line.shortened(MAX_LINE_BYTES).is_none();
        let mut text = if is_pending { line.whole() } else { copy(line, level) };
        if level == Level::ERROR {
            // The same text as on stderr, so that the two can be recognised as one.
            text = escape_warn(&text);
        }
        let entry = LogEntry { text, is_pending };
        let mut state = self.lock();
        if state.is_closed {
            return false;
        }
        if state.entries.len() == MAX_LINES {
            state.left_out += 1;
            if let Some(before) = state.entries.pop() {
                self.write(&before);
            }
        }
        state.entries.push(entry);
        is_pending
    }

    /// Takes the lines and how many were left out; lines that come later are not captured.
    fn close(&self) -> (Vec<LogEntry>, usize) {
        let mut state = self.lock();
        state.is_closed = true;
        (take(&mut state.entries), take(&mut state.left_out))
    }

    fn write(&self, entry: &LogEntry) {
        if entry.is_pending {
            self.sink.write(Level::INFO, &entry.text);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
