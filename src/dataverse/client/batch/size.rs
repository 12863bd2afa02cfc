//! How many parts a batch has: learned from how long the service takes for one.
//!
//! The service executes the parts of a batch one after the other, and the lock of each record is held until the whole is answered. So
//! the aim is [`TARGET`] a batch; more parts would buy nothing, because execution time is limited as well as requests. Half of the
//! shortest lease is fifteen times as long.
//!
//! Pure, no clock.
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits#how-service-protection-api-limits-are-enforced>

use std::time::Duration;

/// How long a batch should take.
const TARGET: Duration = Duration::from_millis(500);

/// From 200 ms a part on, single requests use all execution time that the limits allow; a little less, as it is measured.
const NO_GAIN: Duration = Duration::from_millis(180);

/// A batch never has more parts; the service allows 1,000.
pub(super) const MAX_PARTS: usize = 100;

/// A measurement moves the estimate by this fraction of the difference; one that is more than twice as slow replaces it.
const SMOOTHING: u32 = 8;

#[derive(Debug)]
pub(super) struct BatchSize {
    parts: usize,
    /// The estimated time of one part.
    part_time: Option<Duration>,
}

impl BatchSize {
    /// Nothing is known: a batch is one request.
    pub(super) fn new() -> Self {
        Self { parts: 1, part_time: None }
    }

    pub(super) fn parts(&self) -> usize {
        self.parts
    }

    /// So many parts were answered together after `took`. The size at most doubles, and only when a batch had that size.
    pub(super) fn answered(&mut self, parts: usize, took: Duration) {
        let measured = took / u32::try_from(parts.max(1)).unwrap_or(u32::MAX);
        let part_time = match self.part_time {
            Some(estimate) if measured <= 2 * estimate => (estimate * (SMOOTHING - 1) + measured) / SMOOTHING,
            _ => measured,
        };
        self.part_time = Some(part_time);
        let wanted = if part_time < NO_GAIN { TARGET.as_nanos() / part_time.as_nanos().max(1) } else { 1 };
        let most = if parts >= self.parts { self.parts * 2 } else { self.parts };
        self.parts = usize::try_from(wanted).unwrap_or(usize::MAX).clamp(1, most.min(MAX_PARTS));
    }

    /// So many parts were too many, or the service has trouble.
    pub(super) fn halve(&mut self, parts: usize) {
        self.parts = (parts.min(self.parts) / 2).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    /// The size after `rounds` full batches of parts that take `part` each.
    fn after(rounds: usize, part: Duration) -> usize {
        let mut size = BatchSize::new();
        for _ in 0..rounds {
            let parts = size.parts();
            size.answered(parts, part * u32::try_from(parts).expect("a few"));
        }
        size.parts()
    }

    #[test]
    fn it_doubles_up_to_half_a_second_and_a_hundred_parts() {
        for (part, sizes) in [
            (millis(1), [1, 2, 4, 8, 16, 32, 64, 100, 100]),
            (millis(20), [1, 2, 4, 8, 16, 25, 25, 25, 25]),
            (millis(40), [1, 2, 4, 8, 12, 12, 12, 12, 12]),
            (millis(100), [1, 2, 4, 5, 5, 5, 5, 5, 5]),
            (millis(180), [1; 9]),
            (millis(900), [1; 9]),
        ] {
            for (rounds, expected) in sizes.into_iter().enumerate() {
                assert_eq!(after(rounds, part), expected, "{part:?} after {rounds}");
            }
        }
    }

    #[test]
    fn it_does_not_grow_while_batches_are_smaller() {
        let mut size = BatchSize::new();
        size.answered(1, millis(20));
        assert_eq!(size.parts(), 2);
        for _ in 0..9 {
            size.answered(1, millis(20));
        }
        assert_eq!(size.parts(), 2);
    }

    #[test]
    fn parts_that_are_much_slower_count_at_once_and_others_slowly() {
        let mut size = BatchSize { parts: 25, part_time: Some(millis(20)) };
        size.answered(25, millis(1_000));
        assert_eq!(size.parts(), 22, "an estimate of 22.5 ms");
        size.answered(22, millis(2_200));
        assert_eq!(size.parts(), 5, "an estimate of 100 ms");
        size.answered(5, millis(100));
        assert_eq!(size.parts(), 5, "an estimate of 90 ms");
    }

    #[test]
    fn it_is_halved_and_stays_one_at_least() {
        let mut size = BatchSize { parts: 25, part_time: None };
        for (parts, expected) in [(25, 12), (25, 6), (4, 2), (9, 1), (9, 1)] {
            size.halve(parts);
            assert_eq!(size.parts(), expected);
        }
    }
}
