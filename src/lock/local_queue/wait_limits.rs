//! How long to wait for a lock: in line, for other processes, and in all.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimits {
    /// Behind other work of this process, until then.
    pub in_line_until: Instant,
    /// For a holder in another process at least so long, from the moment when no work of this process is in front.
    pub for_others: Duration,
    /// For a holder in another process at least until then.
    pub for_others_until: Instant,
    /// In any case no longer than until then.
    pub latest: Instant,
}

impl WaitLimits {
    /// At most `wait` in all.
    pub fn new(wait: Duration) -> Self {
        let until = Instant::now() + wait;
        Self { in_line_until: until, for_others: Duration::ZERO, for_others_until: until, latest: until }
    }
}
