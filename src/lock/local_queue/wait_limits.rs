//! How long to wait for a lock: in line, for other processes, and in all.

use std::time::Duration;

use tokio::time::Instant;

/// How long to wait for a lock.
#[derive(Debug, Clone, Copy)]
pub struct WaitLimits {
    /// The end of the wait behind other work of this process.
    pub in_line_until: Instant,
    /// The minimum wait for another process's lock, from the moment when no work of this process is ahead.
    pub for_others: Duration,
    /// The earliest end of the wait for another process's lock.
    pub for_others_until: Instant,
    /// The end of every wait.
    pub latest: Instant,
}

impl WaitLimits {
    /// At most `wait` in all.
    pub fn new(wait: Duration) -> Self {
        let until = Instant::now() + wait;
        Self { in_line_until: until, for_others: Duration::ZERO, for_others_until: until, latest: until }
    }
}
