//! The progress of a long command, on stderr: a bar on a terminal, else a line now and then.

use indicatif::{ProgressBar, ProgressFinish, ProgressStyle};

use crate::terminal::say;

/// Without a terminal a line is printed for each of this many messages.
const LINE_EVERY: u64 = 1_000;

/// A count that grows. Dropping it removes the bar.
#[derive(Debug)]
pub(super) struct Progress(Option<ProgressBar>);

impl Progress {
    /// Shows how many of about `total` messages are `done`, a participle.
    pub(super) fn new(done: &'static str, total: usize) -> Self {
        let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of about {len}, {elapsed}");
        let style = style.expect("the template is well-formed");
        let bar = ProgressBar::new(count(total)).with_style(style).with_message(done);
        Self(Some(bar.with_finish(ProgressFinish::AndClear)))
    }

    /// Shows nothing, because the messages themselves are printed to the same terminal.
    pub(super) fn hidden() -> Self {
        Self(None)
    }

    /// Counts `messages` more.
    pub(super) fn add(&self, messages: usize) {
        let Some(bar) = &self.0 else { return };
        let before = bar.position();
        bar.inc(count(messages));
        let done = bar.position();
        if bar.is_hidden() && done / LINE_EVERY > before / LINE_EVERY {
            say(&format!("{}: {done} of about {}\n", bar.message(), bar.length().unwrap_or_default()));
        }
    }
}

fn count(messages: usize) -> u64 {
    u64::try_from(messages).expect("usize fits u64")
}
