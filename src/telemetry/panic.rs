//! A panic as one line of the log.
//!
//! Rust's own message spans several lines, each an entry of its own to the host, and quotes what the panic was about, which
//! may be data. Here the place is named, and the words if they stand like that in the source.

use std::any::Any;
use std::panic::{PanicHookInfo, set_hook};

use tracing::error;

/// From now on a panic of any thread is logged.
pub(super) fn install() {
    set_hook(Box::new(log));
}

fn log(info: &PanicHookInfo<'_>) {
    let place = info.location().map(tracing::field::display);
    error!(place, said = literal(info.payload()), "the handler panicked, which is a defect");
}

/// The words, unless they were put together at run time.
fn literal(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn words_of_the_source_are_told_and_words_with_data_are_not() {
        let payload = catch_unwind(|| panic!("a lock was poisoned")).expect_err("it panics");
        assert_eq!(literal(&*payload), Some("a lock was poisoned"));
        let data = "canary".to_owned();
        let payload = catch_unwind(|| panic!("no such column: {data}")).expect_err("it panics");
        assert_eq!(literal(&*payload), None);
    }
}
