//! Waiting for what shows itself in its own time.

use std::time::{Duration, Instant};

use tokio::time::sleep;

/// Far beyond what anything here takes, also on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// Looks again and again until there is something to see, and gives it.
pub(crate) async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look().await {
            return seen;
        }
        assert!(begun.elapsed() < PATIENCE, "never: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

/// Looks again and again until it is so.
pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    eventually(what, async || holds().await.then_some(())).await;
}
