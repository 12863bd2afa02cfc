//! When trouble is everybody's, and how the water is tested then.
//!
//! A failure that can only be everybody's (no token at all) closes the gate at once. Any other is first taken for its own row's
//! or table's: [`ENOUGH`] of different ones, with no success in between, are everybody's. So one sick row, or one table without a
//! privilege, never closes the gate for the others.
//!
//! While it is closed one message at a time is let in as a probe. A probe that fails makes the next pause twice as long, up to
//! [`LONGEST_PAUSE`]; one that has no answer after [`PROBE_PATIENCE`] does not keep the next from being sent.
//!
//! Pure, no clock: the time and the dice are passed in. Pattern:
//! <https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker>

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{Scope, Trouble};

/// Failures of so many different rows or tables are everybody's.
pub(super) const ENOUGH: usize = 3;

/// The pause before the first probe.
pub(super) const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between probes, and between the tries of a message that fails by itself.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// A probe without an answer for this long is taken for lost; plug-ins may run longer, so its answer still counts.
pub(super) const PROBE_PATIENCE: Duration = Duration::from_secs(20);

/// Failures since the last success, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Streak {
    subjects: Vec<u64>,
}

impl Streak {
    /// Counts a failure; whether it is everybody's now.
    pub(super) fn is_everybodys(&mut self, scope: Scope) -> bool {
        let Scope::One(subject) = scope else { return true };
        if !self.subjects.contains(&subject) {
            self.subjects.push(subject);
        }
        self.subjects.len() >= ENOUGH
    }

    /// Something works.
    pub(super) fn end(&mut self) {
        self.subjects.clear();
    }
}

/// The gate is closed until a probe succeeds.
#[derive(Debug)]
pub(super) struct Hold {
    pub(super) trouble: Trouble,
    pub(super) since: Instant,
    next_probe: Instant,
    failed_probes: u32,
}

impl Hold {
    pub(super) fn new(trouble: Trouble, now: Instant, dice: &mut Rng) -> Self {
        let pause = pause_after(1, dice).max(trouble.delay.unwrap_or_default());
        Self { trouble, since: now, next_probe: now + pause, failed_probes: 1 }
    }

    /// When somebody may be let in again.
    pub(super) fn next_probe(&self) -> Instant {
        self.next_probe
    }

    /// A probe was let in.
    pub(super) fn probing(&mut self, now: Instant) {
        self.next_probe = now + PROBE_PATIENCE;
    }

    /// A probe failed; what it met is what the others are told.
    pub(super) fn failed(&mut self, trouble: Trouble, now: Instant, dice: &mut Rng) {
        self.failed_probes += 1;
        self.next_probe = now + pause_after(self.failed_probes, dice).max(trouble.delay.unwrap_or_default());
        self.trouble = trouble;
    }

    /// A probe ended without having learnt anything: the next may go at once.
    pub(super) fn learnt_nothing(&mut self, now: Instant) {
        self.next_probe = now;
    }
}

/// The pause after so many failures in a row: twice as long each time, between half of that and all of it.
pub(super) fn pause_after(failures: u32, dice: &mut Rng) -> Duration {
    let doubled = FIRST_PAUSE * 2u32.pow(failures.saturating_sub(1).min(8));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + dice.f64() / 2.0)
}
