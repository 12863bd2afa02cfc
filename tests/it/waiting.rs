//! Polling for a condition.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Far longer than any event takes, even on a busy machine.
pub(crate) const TIMEOUT: Duration = Duration::from_mins(2);

/// Polls until there is a value, and returns it.
pub(crate) async fn eventually<T>(what: &str, mut poll: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(value) = poll().await {
            return value;
        }
        assert!(begun.elapsed() < TIMEOUT, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Polls until the condition holds.
pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}
