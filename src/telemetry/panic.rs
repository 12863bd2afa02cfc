//! A panic as one line of the log.
//!
//! Rust's own message spans several lines, each a separate entry to the host, and may quote data. This one has the source location,
//! and the message only if it is a literal in the source.

use std::any::Any;
use std::panic::{PanicHookInfo, set_hook};

use tracing::error;

/// Logs the panics of all threads from now on.
pub(super) fn install() {
    set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let place = info.location().map(tracing::field::display);
    error!(place, said = literal(info.payload()), "the handler panicked, which is a defect");
}

/// The message, unless it was formatted at run time.
fn literal(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn quotes_a_literal_message_and_no_formatted_one() {
        let payload = catch_unwind(|| panic!("a lock was poisoned")).expect_err("it panics");
        assert_eq!(literal(&*payload), Some("a lock was poisoned"));
        let data = "canary".to_owned();
        let payload = catch_unwind(|| panic!("no such column: {data}")).expect_err("it panics");
        assert_eq!(literal(&*payload), None);
    }
}
