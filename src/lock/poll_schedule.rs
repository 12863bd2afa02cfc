//! When to ask the storage for a lock that somebody else holds: pure, no clock and no I/O of its own.
//!
//! A waiter wants to find a freed lock soon and to ask seldom, and the storage does not say when a lock will be free. Under
//! steady contention, though, the turns of the others have a rhythm: what the last wait took foretells the next. So a waiter
//! that knows the last wait sleeps through most of it, asks when the lock was found held for the last time, and then at short
//! intervals until it is there. Every guess that finds it free makes the next one a little shorter, one after the other more
//! so, until one finds it held and tells where the end really is.
//!
//! Without a past, or when the others take longer than they did, it falls back to exponential intervals. Everything has jitter,
//! so that waiters of several processes do not move in step.

use std::time::Duration;

/// The first interval after a miss. Half of it is what a good guess loses at the median; with turns of 3 s it costs three
/// questions a turn, one a second.
const FIRST: Duration = Duration::from_millis(60);

/// Intervals grow up to this: three questions a second.
const LONGEST: Duration = Duration::from_millis(333);

/// Jitter takes up to this share off an interval, or adds it.
const JITTER: f64 = 0.15;

/// The longest pause between two questions of one waiter.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(383);

/// The first hit takes this part of the wait off the next guess, within [`SHORTEST_STEP`] and [`FIRST`]; each further one in a
/// row takes twice as much.
const STEP: u32 = 50;

/// See [`STEP`].
const SHORTEST_STEP: Duration = Duration::from_millis(10);

/// What one key's waits of this process have taught. Forgotten when nobody works on the key any more.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Rhythm {
    expected: Option<Duration>,
    hits: u32,
}

/// One wait.
#[derive(Debug)]
pub(super) struct Wait {
    expected: Option<Duration>,
    /// When the lock was found held most lately, from the begin of the wait.
    missed: Option<Duration>,
    interval: Duration,
}

impl Rhythm {
    /// Begins a wait.
    pub(super) fn wait(self) -> Wait {
        Wait { expected: self.expected, missed: None, interval: FIRST }
    }

    /// Learns from a wait that ended `after` its begin with the lock.
    pub(super) fn learn(&mut self, wait: &Wait, after: Duration) {
        (self.expected, self.hits) = match (wait.missed, self.expected) {
            // It came free between the last miss and now: the safe guess is the earlier, it tells more when it is wrong.
            (Some(missed), _) => (Some(missed), 0),
            (None, Some(_)) => {
                let step = (after / STEP).clamp(SHORTEST_STEP, FIRST);
                (Some(after.saturating_sub(step * 2u32.pow(self.hits))), (self.hits + 1).min(10))
            }
            (None, None) => (None, 0),
        };
    }
}

impl Wait {
    /// When to ask first, from the begin of the wait. `none` is the pause of a waiter without a past.
    pub(super) fn first(&self, none: Duration) -> Duration {
        self.expected.map_or(none, |expected| expected.max(none))
    }

    /// The lock was found held `after` the begin of the wait: the pause before the next question. `jitter` lies in 0..1.
    pub(super) fn next(&mut self, after: Duration, jitter: f64) -> Duration {
        self.missed = Some(after);
        let pause = self.interval.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter);
        self.interval = self.interval.mul_f64(1.4).min(LONGEST);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// Waits for a lock that comes free at `free`; gives the questions asked and the time lost.
    fn wait_for(rhythm: &mut Rhythm, free: Duration) -> (u32, Duration) {
        let mut wait = rhythm.wait();
        let (mut now, mut questions) = (wait.first(Duration::ZERO), 1);
        while now < free {
            now += wait.next(now, 0.5);
            questions += 1;
        }
        rhythm.learn(&wait, now);
        (questions, now.saturating_sub(free))
    }

    #[test]
    fn without_a_past_it_asks_at_once_and_then_less_and_less_often() {
        let mut wait = Rhythm::default().wait();
        assert_eq!(wait.first(Duration::ZERO), Duration::ZERO);
        let pauses: Vec<_> = (0..8).map(|_| wait.next(Duration::ZERO, 0.5)).collect();
        assert!(pauses.is_sorted());
        assert_eq!((pauses[0], pauses[7]), (FIRST, LONGEST));
    }

    #[test]
    fn no_pause_is_longer_than_the_longest() {
        let mut wait = Rhythm::default().wait();
        let longest = (0..20).map(|_| wait.next(Duration::ZERO, 1.0)).max();
        assert!(longest.is_some_and(|longest| longest <= LONGEST_PAUSE), "{longest:?}");
    }

    #[test]
    fn steady_turns_are_met_within_sixty_milliseconds_by_few_questions() {
        for turn in [ms(300), ms(550), ms(1200), ms(3000)] {
            let mut rhythm = Rhythm::default();
            wait_for(&mut rhythm, turn);
            let waits: Vec<_> = (0..100).map(|_| wait_for(&mut rhythm, turn)).collect();
            let questions: u32 = waits.iter().map(|(questions, _)| questions).sum();
            let mut lost: Vec<_> = waits.iter().map(|(_, lost)| *lost).collect();
            lost.sort_unstable();
            assert!(questions <= 220, "{questions} questions for 100 turns of {turn:?}");
            assert!(lost[50] <= ms(60), "{:?} lost at the median of turns of {turn:?}", lost[50]);
        }
    }

    #[test]
    fn a_key_whose_others_have_gone_is_soon_asked_at_once_again() {
        let mut rhythm = Rhythm::default();
        wait_for(&mut rhythm, ms(2000));
        for _ in 0..10 {
            wait_for(&mut rhythm, Duration::ZERO);
        }
        assert!(rhythm.wait().first(Duration::ZERO) < ms(100));
    }

    #[test]
    fn turns_that_grow_are_followed() {
        let mut rhythm = Rhythm::default();
        wait_for(&mut rhythm, ms(300));
        wait_for(&mut rhythm, ms(3000));
        let (questions, lost) = wait_for(&mut rhythm, ms(3000));
        assert!(questions <= 3 && lost <= ms(250), "{questions} questions, {lost:?} lost");
    }
}
