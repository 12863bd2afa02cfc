//! How far a long command is: a bar on a terminal, a line now and then where there is none. On stderr, always.
//!
//! That nobody reads it any more is no reason to stop in the middle.

use std::io::{IsTerminal as _, Write as _, stderr};

use indicatif::{ProgressBar, ProgressStyle};

/// Without a terminal there is a line for every so many letters.
const LINE_EVERY: u64 = 1_000;

/// A count that grows.
#[derive(Debug)]
pub struct Progress {
    doing: &'static str,
    total: u64,
    done: u64,
    shown: Shown,
}

#[derive(Debug)]
enum Shown {
    Bar(ProgressBar),
    Lines,
    Nothing,
}

impl Progress {
    /// Begins to show how `doing` goes on, up to about `total`.
    pub fn begin(doing: &'static str, total: u64) -> Self {
        let shown = if stderr().is_terminal() { Shown::Bar(bar(doing, total)) } else { Shown::Lines };
        Self { doing, total, done: 0, shown }
    }

    /// Shows nothing: the letters themselves are being printed to the same terminal.
    pub fn nothing() -> Self {
        Self { doing: "", total: 0, done: 0, shown: Shown::Nothing }
    }

    /// So many more are done.
    pub fn add(&mut self, letters: usize) {
        let before = self.done / LINE_EVERY;
        self.done += u64::try_from(letters).expect("usize fits u64");
        match &self.shown {
            Shown::Bar(bar) => bar.set_position(self.done),
            Shown::Lines if self.done / LINE_EVERY > before => {
                say(&format!("{}: {} of about {}\n", self.doing, self.done, self.total));
            }
            Shown::Lines | Shown::Nothing => {}
        }
    }

    /// Takes the bar away.
    pub fn end(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end();
    }
}

/// Words for the operator, to stderr; a stderr that is gone is passed over.
pub fn say(words: &str) {
    let mut out = stderr().lock();
    let _ = out.write_all(words.as_bytes()).and_then(|()| out.flush());
}

fn bar(doing: &'static str, total: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos} of about {len}, {elapsed}");
    let style = style.expect("the template is well-formed");
    ProgressBar::new(total).with_style(style).with_message(doing)
}
