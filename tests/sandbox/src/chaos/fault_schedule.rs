//! The storm of a seed: what goes wrong, when, where and for how long.
//!
//! Pure: everything is drawn before the run begins. What the system makes of it (who had the processor when the signal came)
//! no seed decides. Each kind of trouble is dealt once before any is dealt twice; a host is struck by one thing at a time; all is over
//! before the calm begins.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;

use super::faults::{self, KINDS, Trouble};

/// Closer together, one event hides the other.
const CLOSEST: Duration = Duration::from_millis(700);

/// How large a storm is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    /// Nothing happens after this time.
    pub(super) lasts: Duration,
    /// How many hosts there are to strike.
    pub(super) instances: usize,
    /// How many messages have their first write never answered.
    pub(super) silent: usize,
}

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Event {
    /// From the beginning of the run.
    pub(super) at: Duration,
    /// Zero for what is over at once, or strikes a number of requests.
    pub(super) lasts: Duration,
    pub(super) trouble: Trouble,
}

/// All that goes wrong in a run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Storm {
    pub(super) seed: u64,
    /// In the order in which they begin.
    pub(super) events: Vec<Event>,
}

impl Storm {
    /// Draws the storm of a seed.
    pub(super) fn draw(seed: u64, extent: Extent) -> Self {
        // Not the ledger's own numbers.
        let mut rng = Rng::with_seed(seed ^ 0x5707_1234_5678_9ABC);
        let mut deck = Deck::default();
        let gap = (extent.lasts / u32::try_from(KINDS.len()).unwrap_or(u32::MAX)).max(CLOSEST);
        let mut free = vec![Duration::ZERO; extent.instances];
        let mut events = Vec::new();
        if extent.silent > 0 {
            let trouble = faults::silent_writes(extent.silent);
            events.push(Event { at: Duration::ZERO, lasts: Duration::ZERO, trouble });
        }
        let mut at = gap.mul_f64(rng.f64());
        while at < extent.lasts {
            let left = extent.lasts.saturating_sub(at);
            if let Some(event) = deck.deal(&mut rng, at, left, &mut free) {
                events.push(event);
            }
            at += gap.mul_f64(0.5 + rng.f64());
        }
        Self { seed, events }
    }
}

/// The kinds of trouble that are left of this round.
#[derive(Default)]
struct Deck(Vec<faults::Kind>);

impl Deck {
    /// The next event, unless what is dealt has no time or no host left.
    fn deal(&mut self, rng: &mut Rng, at: Duration, left: Duration, free: &mut [Duration]) -> Option<Event> {
        if self.0.is_empty() {
            self.0 = KINDS.to_vec();
            rng.shuffle(&mut self.0);
        }
        let kind = self.0.pop()?;
        let lasts = kind.lasts(rng, left);
        if lasts > left {
            return None;
        }
        let slot = if kind.strikes_a_host() {
            let idle: Vec<usize> = (0..free.len()).filter(|slot| free[*slot] <= at).collect();
            let slot = *idle.get(rng.usize(..idle.len().max(1)))?;
            free[slot] = at + lasts.max(CLOSEST);
            slot
        } else {
            0
        };
        Some(Event { at, lasts, trouble: kind.trouble(rng, slot) })
    }
}

impl fmt::Display for Storm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.events {
            let (place, what) = event.trouble.shown();
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
    fn a_seed_draws_the_same_storm_again_and_another_seed_another_one() {
        assert_eq!(Storm::draw(7, EXTENT).to_string(), Storm::draw(7, EXTENT).to_string());
        assert_ne!(Storm::draw(7, EXTENT).to_string(), Storm::draw(8, EXTENT).to_string());
    }

    #[test]
    fn all_is_over_before_the_calm() {
        for seed in 0..200 {
            for event in Storm::draw(seed, EXTENT).events {
                assert!(event.at + event.lasts <= EXTENT.lasts, "{event:?}");
            }
        }
    }

    #[test]
    fn a_host_is_struck_by_one_thing_at_a_time() {
        for seed in 0..200 {
            let mut busy = [Duration::ZERO; EXTENT.instances];
            for event in Storm::draw(seed, EXTENT).events {
                let Some(slot) = event.trouble.slot() else { continue };
                assert!(busy[slot] <= event.at, "seed {seed}: {event:?}");
                busy[slot] = event.at + event.lasts;
            }
        }
    }

    #[test]
    fn ten_seeds_bring_every_kind_of_trouble() {
        let seen: Vec<Trouble> =
            (0..10).flat_map(|seed| Storm::draw(seed, EXTENT).events).map(|event| event.trouble).collect();
        for kind in KINDS {
            let (_, name) = kind.trouble(&mut Rng::with_seed(0), 0).shown();
            let stem = name.split(|letter: char| letter.is_ascii_digit()).next().unwrap_or_default().to_owned();
            assert!(seen.iter().any(|trouble| trouble.shown().1.starts_with(&stem)), "{name}");
        }
    }
}
