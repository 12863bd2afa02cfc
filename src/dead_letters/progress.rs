//! The progress of a long command, on stderr: a bar on a terminal, else a line now and then.

use std::fmt;

use indicatif::{ProgressBar, ProgressFinish, ProgressState, ProgressStyle};

use crate::terminal::say;

/// Without a terminal a line is printed for each of this many messages.
const LINE_EVERY: u64 = 1_000;

/// A count that grows. Dropping it removes the bar.
#[derive(Debug)]
pub(crate) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows how many of about `total` messages are `done`, a participle, and the time that remains.
    pub(crate) fn new(done: &'static str, total: impl Into<Option<usize>>) -> Self {
        let total = total.into();
        let template = match total {
            Some(_) => "{msg} {wide_bar} {pos} of about {len}, {per_sec}, {eta} left",
            None => "{msg} {pos}, {per_sec}, {elapsed}",
        };
        let style = ProgressStyle::with_template(template).expect("the template is well-formed");
        let style = style.with_key("per_sec", |state: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = write!(out, "{:.0}/s", state.per_sec());
        });
        let bar = total.map_or_else(ProgressBar::no_length, |total| ProgressBar::new(count(total)));
        let bar = bar.with_style(style).with_message(done);
        Self(Some(bar.with_finish(ProgressFinish::AndClear)))
    }

    /// Shows nothing, because the messages themselves are printed to the same terminal.
    pub(super) fn hidden() -> Self {
        Self(None)
    }

    /// Counts `messages` more.
    pub(crate) fn add(&self, messages: usize) {
        let Some(bar) = &self.0 else { return };
        let before = bar.position();
        bar.inc(count(messages));
        let done = bar.position();
        if bar.is_hidden() && done / LINE_EVERY > before / LINE_EVERY {
            let total = bar.length().map(|total| format!(" of about {total}")).unwrap_or_default();
            say(&format!("{}: {done}{total}\n", bar.message()));
        }
    }
}

fn count(messages: usize) -> u64 {
    u64::try_from(messages).expect("usize fits u64")
}
