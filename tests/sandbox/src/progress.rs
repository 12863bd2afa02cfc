//! The progress bar of the demonstration and of chaos runs.

use indicatif::{ProgressBar, ProgressStyle};

/// A bar that counts to `total`, with a message before it; hidden without a terminal.
pub(crate) fn bar(total: usize, message: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("    {msg} {wide_bar} {pos}/{len}").expect("the template is well-formed");
    let bar = ProgressBar::new(u64::try_from(total).unwrap_or(u64::MAX)).with_style(style);
    bar.with_message(message.to_owned())
}
