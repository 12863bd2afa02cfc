//! When to request a lock that another process holds: pure, no clock and no I/O.
//!
//! A waiter should find a free lock soon and send few requests, and the storage does not say when a lock will be free. Under steady
//! contention the previous wait predicts the next. So a waiter sleeps for almost as long as the previous wait ([`MAX_EXPECTED`]
//! at most: a lock left by a dead process is an exception), then polls at intervals that grow. Before a long sleep it sends one
//! request. Each prediction that finds the lock free makes the next one shorter, by a step that doubles, until one finds it held and
//! so measures the wait again. Jitter keeps the waiters of several processes from polling in step.

use std::time::Duration;

/// The first interval. Half of it is lost at the median after a good prediction.
const FIRST_INTERVAL: Duration = Duration::from_millis(60);

/// The longest interval: three requests a second.
const MAX_INTERVAL: Duration = Duration::from_millis(333);

/// Jitter adds up to this share to an interval, or takes it off.
const JITTER: f64 = 0.15;

/// The longest interval with its jitter.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(383);

/// The longest prediction: a full session of another process.
const MAX_EXPECTED: Duration = Duration::from_secs(4);

/// A shorter prediction is trusted without a request before.
const MIN_EARLY_REQUEST: Duration = Duration::from_secs(1);

/// The first hit takes this part of the wait off the next prediction, within [`MIN_STEP`] and [`FIRST_INTERVAL`]; each further
/// hit in a row takes twice as much.
const STEP_PART: u32 = 50;

/// See [`STEP_PART`].
const MIN_STEP: Duration = Duration::from_millis(10);

/// The observed waits for one key; dropped when this process has no work for the key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PollSchedule {
    expected: Option<Duration>,
    hits: u32,
}

/// One wait.
#[derive(Debug)]
pub(super) struct Wait {
    /// The prediction, until it is used.
    expected: Option<Duration>,
    has_slept: bool,
    /// When the lock was last found held, from the start of the wait, the early request apart.
    missed: Option<Duration>,
    interval: Duration,
}

impl PollSchedule {
    /// Begins a wait: when to send its first request, from its start.
    pub(super) fn wait(self) -> (Wait, Duration) {
        let first = self.expected.filter(|expected| *expected < MIN_EARLY_REQUEST);
        let expected = self.expected.filter(|_| first.is_none());
        let wait = Wait { expected, has_slept: first.is_some(), missed: None, interval: FIRST_INTERVAL };
        (wait, first.unwrap_or_default())
    }

    /// Learns from a wait that got the lock `after` its start.
    pub(super) fn learn(&mut self, wait: &Wait, after: Duration) {
        if let Some(missed) = wait.missed {
            // The lock became free after the last miss: predicting too early corrects itself, too late does not.
            (self.expected, self.hits) = (Some(missed.min(MAX_EXPECTED)), 0);
        } else if wait.has_slept {
            let step = (after / STEP_PART).clamp(MIN_STEP, FIRST_INTERVAL);
            let expected = after.saturating_sub(step * 2u32.pow(self.hits));
            (self.expected, self.hits) = (Some(expected), (self.hits + 1).min(10));
        }
    }
}

impl Wait {
    /// The lock was found held `after` the start of the wait: the pause before the next request. `jitter` lies in 0..1.
    pub(super) fn next(&mut self, after: Duration, jitter: f64) -> Duration {
        if let Some(rest) = self.expected.take().and_then(|expected| expected.checked_sub(after)) {
            self.has_slept = true;
            return rest;
        }
        self.missed = Some(after);
        let pause = self.interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter);
        self.interval = self.interval.mul_f64(1.4).min(MAX_INTERVAL);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Waits for a lock that becomes free at `free`; returns the number of requests and the time lost.
    fn wait_for(schedule: &mut PollSchedule, free: Duration) -> (u32, Duration) {
        let (mut wait, mut now) = schedule.wait();
        let mut requests = 1;
        while now < free {
            now += wait.next(now, 0.5);
            requests += 1;
        }
        schedule.learn(&wait, now);
        (requests, now.saturating_sub(free))
    }

    #[test]
    fn without_a_prediction_the_pauses_grow_to_the_longest() {
        let (mut wait, first) = PollSchedule::default().wait();
        assert_eq!(first, Duration::ZERO);
        let pauses: Vec<_> = (0..8).map(|_| wait.next(Duration::ZERO, 0.5)).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[7]), (FIRST_INTERVAL, MAX_INTERVAL));
        assert!(wait.next(Duration::ZERO, 1.0) <= MAX_PAUSE);
    }

    #[test]
    fn steady_turns_are_met_within_sixty_milliseconds_by_few_requests() {
        for turn in [ms(300), ms(550), ms(1200), ms(3000)] {
            let mut schedule = PollSchedule::default();
            wait_for(&mut schedule, turn);
            let waits: Vec<_> = (0..100).map(|_| wait_for(&mut schedule, turn)).collect();
            let requests: u32 = waits.iter().map(|(requests, _)| requests).sum();
            let mut lost: Vec<_> = waits.iter().map(|(_, lost)| *lost).collect();
            lost.sort_unstable();
            assert!(requests <= 320, "{requests} requests for 100 turns of {turn:?}");
            assert!(lost[50] <= ms(60), "{:?} lost at the median of turns of {turn:?}", lost[50]);
        }
    }

    #[test]
    fn a_long_wait_behind_a_dead_process_delays_no_later_one_for_long() {
        let mut schedule = PollSchedule::default();
        wait_for(&mut schedule, ms(9_000));
        assert_eq!(wait_for(&mut schedule, Duration::ZERO), (1, Duration::ZERO), "a free lock is found at once");
        let (_, lost) = wait_for(&mut schedule, ms(100));
        assert!(lost < MAX_EXPECTED, "{lost:?}");
    }

    #[test]
    fn a_key_without_other_holders_is_soon_requested_at_once_again() {
        let mut schedule = PollSchedule::default();
        wait_for(&mut schedule, ms(900));
        for _ in 0..10 {
            wait_for(&mut schedule, Duration::ZERO);
        }
        let (_, first) = schedule.wait();
        assert!(first < ms(100), "{first:?}");
    }

    #[test]
    fn longer_holds_are_followed() {
        let mut schedule = PollSchedule::default();
        wait_for(&mut schedule, ms(300));
        wait_for(&mut schedule, ms(3000));
        let (requests, lost) = wait_for(&mut schedule, ms(3000));
        assert!(requests <= 4 && lost <= ms(250), "{requests} requests, {lost:?} lost");
    }
}
