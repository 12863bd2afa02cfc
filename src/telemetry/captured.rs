//! The lines of one invocation, for its answer: there the host writes them under the invocation's own operation.
//!
//! Warnings and errors are on stderr already, for a line of an answer is information to the host whatever it says; DEBUG and
//! TRACE are on stdout already, for whoever looks at work that hangs. INFO lines wait for the answer, so that Application
//! Insights has them once. Those that no answer takes are printed after all: the caller left, the invocation failed, there
//! were too many, or one was too long. Only a process that is killed takes some along, and with it went its stdout.
//!
//! At most [`MOST_LINES`] lines of [`MOST_SHORTENED`] bytes are kept; the newest is always among them.
//!
//! [`MOST_SHORTENED`]: super::line::MOST_SHORTENED

use std::mem::take;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{Level, Span};
use tracing_subscriber::Registry;
use tracing_subscriber::registry::LookupSpan as _;

use super::layer::{Out, Stream};
use super::line::Line;

/// Most lines that an answer takes.
pub(super) const MOST_LINES: usize = 32;

/// The lines of the events in one span, from now on. Dropping it prints those that still wait.
#[derive(Debug, Default)]
pub struct CapturedLogs(Shared);

/// What the span knows of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Shared(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    lines: Vec<Told>,
    left_out: usize,
    over: bool,
    out: Option<Out>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("lines", &self.lines.len()).finish_non_exhaustive()
    }
}

struct Told {
    text: String,
    /// Nobody has printed it.
    waits: bool,
}

impl CapturedLogs {
    /// Keeps the lines of `span`. Without a log there are none.
    pub fn of(span: &Span) -> Self {
        let kept = Self::default();
        span.with_subscriber(|(id, dispatch)| {
            if let Some(span) = dispatch.downcast_ref::<Registry>().and_then(|registry| registry.span(id)) {
                span.extensions_mut().replace(kept.0.clone());
            }
        });
        kept
    }

    /// The lines, oldest first, for an answer that is on its way.
    pub fn take(self) -> Vec<String> {
        let mut state = self.0.state();
        state.over = true;
        let mut lines: Vec<String> = take(&mut state.lines).into_iter().map(|line| line.text).collect();
        if let (Some(last), 1..) = (lines.len().checked_sub(1), state.left_out) {
            lines.insert(last, format!("… {} lines were left out here …", state.left_out));
        }
        lines
    }
}

impl Drop for CapturedLogs {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.over = true;
        let (lines, out) = (take(&mut state.lines), state.out.take());
        drop(state);
        for line in lines {
            print(&line, out.as_ref());
        }
    }
}

impl Shared {
    /// Takes a line; gives whether it waits for the answer, and need not be printed now.
    pub(super) fn offer(&self, line: &Line, level: Level, out: &Out) -> bool {
        let text = line.shortened();
        let waits = level == Level::INFO && text.len() + 1 == line.whole().len();
        let mut state = self.state();
        if state.over {
            return false;
        }
        state.out.get_or_insert_with(|| out.clone());
        let told = Told { text: text.into_owned(), waits };
        if state.lines.len() < MOST_LINES {
            state.lines.push(told);
            return waits;
        }
        state.left_out += 1;
        let before = state.lines.pop();
        state.lines.push(told);
        drop(state);
        if let Some(before) = before {
            print(&before, Some(out));
        }
        waits
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn print(line: &Told, out: Option<&Out>) {
    if let (true, Some(out)) = (line.waits, out) {
        out(Stream::Out, &format!("{}\n", line.text));
    }
}
