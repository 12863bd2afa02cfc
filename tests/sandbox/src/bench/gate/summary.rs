//! Writes and rejections under service protection in a period, from the stand-in's journal.
//!
//! The allowed rate depends on the duration of a write, which is measured in the same period.

use std::time::Duration;

use crate::bench::number;
use stand_ins::dataverse::{Entry, Limits};

/// The figures of a period.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Summary {
    time: Duration,
    requests: usize,
    refused: usize,
    writes: usize,
    /// Execution time of all writes.
    spent: Duration,
}

impl Summary {
    /// Sums up the requests that ended in the `time` after `from`.
    pub(super) fn of(journal: &[Entry], from: Duration, time: Duration) -> Self {
        let mut summary = Self { time, requests: 0, refused: 0, writes: 0, spent: Duration::ZERO };
        for entry in journal.iter().filter(|entry| (from..from + time).contains(&entry.end)) {
            summary.requests += 1;
            if entry.status == Some(429) {
                summary.refused += 1;
            }
            if let Some((began, ended)) = entry.looked_up.zip(entry.commit) {
                summary.writes += 1;
                summary.spent += ended.saturating_sub(began);
            }
        }
        summary
    }

    /// Writes in percent of those that the limits allow. Requests in flight when a limit is reached still finish, so
    /// slightly more than 100 % is possible.
    pub(super) fn used(&self, limits: &Limits) -> f64 {
        100.0 * self.rate() / self.allowed_rate(limits)
    }

    /// Rejections in percent of all requests.
    pub(super) fn refused(&self) -> f64 {
        100.0 * number(self.refused) / number(self.requests)
    }

    /// Writes per second.
    pub(super) fn rate(&self) -> f64 {
        number(self.writes) / self.time.as_secs_f64()
    }

    /// The writes per second that the limits allow at the measured duration of a write.
    pub(super) fn allowed_rate(&self, limits: &Limits) -> f64 {
        let mean = self.spent.as_secs_f64() / number(self.writes);
        let by_requests = number(limits.requests) / limits.window.as_secs_f64();
        let by_execution = limits.execution.div_duration_f64(limits.window) / mean;
        let by_places = number(limits.concurrent) / mean;
        by_requests.min(by_execution).min(by_places)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(writes: usize, millis: u64) -> Summary {
        let spent = Duration::from_millis(millis) * u32::try_from(writes).expect("few writes");
        Summary { time: Duration::from_mins(5), requests: writes + 50, refused: 50, writes, spent }
    }

    fn is(value: f64, wanted: f64) -> bool {
        (value - wanted).abs() < 1e-6
    }

    #[test]
    fn the_tightest_limit_says_what_is_allowed() {
        let documented = Limits::default();
        assert!(is(summary(3_000, 100).allowed_rate(&documented), 20.0));
        assert!(is(summary(3_000, 250).allowed_rate(&documented), 16.0));
        let at_once = Limits { requests: usize::MAX, execution: Duration::MAX, ..documented };
        assert!(is(summary(3_000, 500).allowed_rate(&at_once), 104.0));
    }

    #[test]
    fn shares_are_of_what_is_allowed_and_of_all_requests() {
        let summary = summary(4_950, 100);
        assert!(is(summary.rate(), 16.5) && is(summary.used(&Limits::default()), 82.5) && is(summary.refused(), 1.0));
    }

    #[test]
    fn of_nothing_there_is_no_share() {
        let nothing = Summary { requests: 0, refused: 0, ..summary(0, 100) };
        assert!(nothing.refused().is_nan() && is(nothing.used(&Limits::default()), 0.0));
    }
}
