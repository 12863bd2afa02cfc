//! When to request a lock that another holder has: pure, no clock and no I/O.
//!
//! A waiter should find a free lock soon and send few requests, and the storage does not say when a lock will be free. Under
//! steady contention the previous wait predicts the next. So a waiter sleeps for almost as long as the previous wait, then
//! polls at short intervals. Each prediction that finds the lock free makes the next one shorter, by a step that doubles, until
//! one finds it held and so measures the wait again.
//!
//! Without a previous wait, or when this one takes longer, the intervals grow exponentially. All have jitter, so that the waiters
//! of several processes do not poll in step.

use std::time::Duration;

/// The first interval. Half of it is lost at the median after a good prediction; with holders of 3 s it costs one request a
/// second.
const FIRST_INTERVAL: Duration = Duration::from_millis(60);

/// The longest interval: three requests a second.
const MAX_INTERVAL: Duration = Duration::from_millis(333);

/// Jitter adds up to this share to an interval, or takes it off.
const JITTER: f64 = 0.15;

/// The longest pause between two requests of one waiter: [`MAX_INTERVAL`] with jitter.
pub(super) const MAX_PAUSE: Duration = Duration::from_millis(383);

/// The first hit takes this part of the wait off the next prediction, within [`MIN_STEP`] and [`FIRST_INTERVAL`]; each further
/// hit in a row takes twice as much.
const STEP_PART: u32 = 50;

/// See [`STEP_PART`].
const MIN_STEP: Duration = Duration::from_millis(10);

/// What the waits for one key have taught. Forgotten when this process has no work for the key.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PollSchedule {
    expected: Option<Duration>,
    hits: u32,
}

/// One wait.
#[derive(Debug)]
pub(super) struct Wait {
    expected: Option<Duration>,
    /// When the lock was last found held, from the start of the wait.
    missed: Option<Duration>,
    interval: Duration,
}

impl PollSchedule {
    /// Begins a wait.
    pub(super) fn wait(self) -> Wait {
        Wait { expected: self.expected, missed: None, interval: FIRST_INTERVAL }
    }

    /// Learns from a wait that got the lock `after` its start.
    pub(super) fn learn(&mut self, wait: &Wait, after: Duration) {
        (self.expected, self.hits) = match (wait.missed, self.expected) {
            // The lock became free after the last miss: predicting too early corrects itself, too late does not.
            (Some(missed), _) => (Some(missed), 0),
            (None, Some(_)) => {
                let step = (after / STEP_PART).clamp(MIN_STEP, FIRST_INTERVAL);
                (Some(after.saturating_sub(step * 2u32.pow(self.hits))), (self.hits + 1).min(10))
            }
            (None, None) => (None, 0),
        };
    }
}

impl Wait {
    /// When to send the first request, from the start of the wait; not before `earliest`.
    pub(super) fn first(&self, earliest: Duration) -> Duration {
        self.expected.unwrap_or_default().max(earliest)
    }

    /// The lock was found held `after` the start of the wait: the pause before the next request. `jitter` lies in 0..1.
    pub(super) fn next(&mut self, after: Duration, jitter: f64) -> Duration {
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
        let mut wait = schedule.wait();
        let (mut now, mut requests) = (wait.first(Duration::ZERO), 1);
        while now < free {
            now += wait.next(now, 0.5);
            requests += 1;
        }
        schedule.learn(&wait, now);
        (requests, now.saturating_sub(free))
    }

    #[test]
    fn the_first_wait_polls_at_once_and_then_less_and_less_often() {
        let mut wait = PollSchedule::default().wait();
        assert_eq!(wait.first(Duration::ZERO), Duration::ZERO);
        let pauses: Vec<_> = (0..8).map(|_| wait.next(Duration::ZERO, 0.5)).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[7]), (FIRST_INTERVAL, MAX_INTERVAL));
    }

    #[test]
    fn no_pause_exceeds_the_maximum() {
        let mut wait = PollSchedule::default().wait();
        let longest = (0..20).map(|_| wait.next(Duration::ZERO, 1.0)).max();
        assert!(longest.is_some_and(|longest| longest <= MAX_PAUSE), "{longest:?}");
    }

    #[test]
    fn steady_turns_are_met_within_sixty_milliseconds_by_few_questions() {
        for turn in [ms(300), ms(550), ms(1200), ms(3000)] {
            let mut schedule = PollSchedule::default();
            wait_for(&mut schedule, turn);
            let waits: Vec<_> = (0..100).map(|_| wait_for(&mut schedule, turn)).collect();
            let requests: u32 = waits.iter().map(|(requests, _)| requests).sum();
            let mut lost: Vec<_> = waits.iter().map(|(_, lost)| *lost).collect();
            lost.sort_unstable();
            assert!(requests <= 220, "{requests} requests for 100 turns of {turn:?}");
            assert!(lost[50] <= ms(60), "{:?} lost at the median of turns of {turn:?}", lost[50]);
        }
    }

    #[test]
    fn a_key_without_other_holders_is_soon_requested_at_once_again() {
        let mut schedule = PollSchedule::default();
        wait_for(&mut schedule, ms(2000));
        for _ in 0..10 {
            wait_for(&mut schedule, Duration::ZERO);
        }
        assert!(schedule.wait().first(Duration::ZERO) < ms(100));
    }

    #[test]
    fn longer_holds_are_followed() {
        let mut schedule = PollSchedule::default();
        wait_for(&mut schedule, ms(300));
        wait_for(&mut schedule, ms(3000));
        let (requests, lost) = wait_for(&mut schedule, ms(3000));
        assert!(requests <= 3 && lost <= ms(250), "{requests} requests, {lost:?} lost");
    }
}
