//! Progress bars of demonstration, chaos and benchmarks.
//!
//! They are drawn only by the command `cargo sandbox`, and only in a terminal: the same code runs in tests, whose output is not theirs.

use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::{ProgressBar, ProgressStyle};

static SHOWN: AtomicBool = AtomicBool::new(false);

/// Shows the bars of this process.
pub fn show() {
    SHOWN.store(true, Ordering::Relaxed);
}

/// A bar that counts to `total`; `template` is its layout.
pub(crate) fn bar(total: u64, template: &str) -> ProgressBar {
    if !SHOWN.load(Ordering::Relaxed) {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template).expect("the templates are well-formed");
    ProgressBar::new(total).with_style(style)
}

/// A bar that counts messages to `total`, with a text before it.
pub(crate) fn messages(total: usize, message: &str) -> ProgressBar {
    let bar = bar(u64::try_from(total).unwrap_or(u64::MAX), "    {msg} {wide_bar} {pos}/{len}");
    bar.with_message(message.to_owned())
}
