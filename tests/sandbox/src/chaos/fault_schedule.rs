//! The fault schedule of a seed: which faults, when, where and for how long.
//!
//! Pure: everything is drawn before the run begins. Each kind of fault occurs once before any occurs twice; a host has one fault at
//! a time; all faults end before the recovery phase.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::faults::{self, Injection, KINDS};

/// Minimum distance of two events: closer together, one would hide the other.
const MIN_GAP: Duration = Duration::from_millis(700);

/// The size of a schedule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// The end of the last fault.
    pub(super) lasts: Duration,
    /// The number of hosts.
    pub(super) instances: usize,
    /// The number of messages whose first write is never answered.
    pub(super) silent: usize,
}

/// One scheduled fault.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// From the beginning of the run.
    pub(super) at: Duration,
    /// Zero for faults without a duration, or with a number of requests.
    pub(super) lasts: Duration,
    pub(super) injection: Injection,
}

/// All faults of a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FaultSchedule {
    pub(super) seed: u64,
    /// In the order in which they begin.
    pub(super) events: Vec<Event>,
}

impl FaultSchedule {
    /// Draws the schedule of a seed.
    pub(super) fn draw(seed: u64, extent: Extent) -> Self {
        // Independent of the workload's random numbers.
        let mut rng = Rng::with_seed(seed ^ 0x5707_1234_5678_9ABC);
        let mut remaining = Remaining::default();
        let gap = (extent.lasts / u32::try_from(KINDS.len()).unwrap_or(u32::MAX)).max(MIN_GAP);
        let mut free = vec![Duration::ZERO; extent.instances];
        let mut events = Vec::new();
        if extent.silent > 0 {
            let injection = faults::silent_writes(extent.silent);
            events.push(Event { at: Duration::ZERO, lasts: Duration::ZERO, injection });
        }
        let mut at = gap.mul_f64(rng.f64());
        while at < extent.lasts {
            let left = extent.lasts.saturating_sub(at);
            if let Some(event) = remaining.next(&mut rng, at, left, &mut free) {
                events.push(event);
            }
            at += gap.mul_f64(0.5 + rng.f64());
        }
        Self { seed, events }
    }
}

/// The kinds of faults that have not occurred in this round.
#[derive(Default)]
struct Remaining(Vec<faults::Kind>);

impl Remaining {
    /// The next event; `None` if there is not enough time or no idle host for it.
    fn next(&mut self, rng: &mut Rng, at: Duration, left: Duration, free: &mut [Duration]) -> Option<Event> {
        if self.0.is_empty() {
            self.0 = KINDS.to_vec();
            rng.shuffle(&mut self.0);
        }
        let kind = self.0.pop()?;
        let lasts = kind.lasts(rng, left);
        if lasts > left {
            return None;
        }
        let slot = if kind.targets_a_host() {
            let idle: Vec<usize> = (0..free.len()).filter(|slot| free[*slot] <= at).collect();
            let slot = *idle.get(rng.usize(..idle.len().max(1)))?;
            free[slot] = at + lasts.max(MIN_GAP);
            slot
        } else {
            0
        };
        Some(Event { at, lasts, injection: kind.injection(rng, slot) })
    }
}

impl fmt::Display for FaultSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            let (place, what) = event.injection.shown();
            let lasts = match event.lasts {
                Duration::ZERO => String::new(),
                lasts => format!(", {:.1} s", lasts.as_secs_f64()),
            };
            writeln!(f, "  {:>6.1} s  {place:<11} {what}{lasts}", event.at.as_secs_f64())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXTENT: Extent = Extent { lasts: Duration::from_secs(90), instances: 4, silent: 0 };

    #[test]
    fn the_same_seed_gives_the_same_schedule_and_another_seed_another_one() {
        assert_eq!(FaultSchedule::draw(7, EXTENT).to_string(), FaultSchedule::draw(7, EXTENT).to_string());
        assert_ne!(FaultSchedule::draw(7, EXTENT).to_string(), FaultSchedule::draw(8, EXTENT).to_string());
    }

    #[test]
    fn all_faults_end_before_the_recovery_phase() {
        for seed in 0..200 {
            for event in FaultSchedule::draw(seed, EXTENT).events {
                assert!(event.at + event.lasts <= EXTENT.lasts, "{event:?}");
            }
        }
    }

    #[test]
    fn a_host_has_one_fault_at_a_time() {
        for seed in 0..200 {
            let mut busy = [Duration::ZERO; EXTENT.instances];
            for event in FaultSchedule::draw(seed, EXTENT).events {
                let Some(slot) = event.injection.slot() else { continue };
                assert!(busy[slot] <= event.at, "seed {seed}: {event:?}");
                busy[slot] = event.at + event.lasts;
            }
        }
    }

    #[test]
    fn ten_seeds_include_every_kind_of_fault() {
        let seen: Vec<Injection> =
            (0..10).flat_map(|seed| FaultSchedule::draw(seed, EXTENT).events).map(|event| event.injection).collect();
        for kind in KINDS {
            let (_, name) = kind.injection(&mut Rng::with_seed(0), 0).shown();
            let stem = name.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or_default().to_owned();
            assert!(seen.iter().any(|injection| injection.shown().1.starts_with(&stem)), "{name}");
        }
    }
}
