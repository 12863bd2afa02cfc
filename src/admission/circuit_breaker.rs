//! The circuit breaker: closed while Dataverse works, open in an outage, half-open while a probe is in flight.
//!
//! A failure that affects every write (no token, no lock storage) opens it at once, and so do failures of [`SYSTEMIC`] different
//! tables without a success in between. [`SYSTEMIC`] different rows of fewer tables make an outage only suspected: a probe of our
//! own, which writes nothing, then decides. So failing rows, or one table without a privilege, never stop the others.
//!
//! While it is open, one message at a time is admitted as a probe. A failed probe doubles the pause before the next, up to
//! [`MAX_BACK_OFF`]; a probe without an answer after [`PROBE_TIMEOUT`] does not keep the next from being sent.
//!
//! Pure, no clock: the time and the random numbers are passed in.
//! <https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker>

use std::collections::BTreeSet;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::{OutageCause, Subjects};
use crate::classify::FailureScope;

/// So many different tables that fail in a row are an outage, and so many different rows may be one.
const SYSTEMIC: usize = 3;

/// The shortest time between two probes of our own.
const MIN_CHECK_INTERVAL: Duration = Duration::from_secs(10);

/// The pause before the first probe, and before the first retry of a message that fails by itself.
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest pause between probes, and between the attempts of a message that fails by itself.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// A streak of failures is remembered up to this length.
const MAX_STREAK: usize = 64;

/// The time limit of a probe of our own.
pub(crate) const CHECK_TIMEOUT: Duration = Duration::from_secs(15);

/// After this time without an answer the next probe may be sent. Plug-ins may run longer, so a late answer still counts.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Closed without an outage.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    /// The rows that have failed since the last success, and their tables.
    failure_streak: Vec<Subjects>,
    outage: Option<Outage>,
    /// The earliest time for the next probe of our own, or the end of the one that is under way.
    next_check: Option<Instant>,
    is_checking: bool,
}

#[derive(Debug)]
struct Outage {
    cause: OutageCause,
    since: Instant,
    next_probe: Instant,
    failed_probes: u32,
}

impl CircuitBreaker {
    pub(super) fn cause(&self) -> Option<&OutageCause> {
        self.outage.as_ref().map(|outage| &outage.cause)
    }

    /// When the next probe may be sent, while it is open.
    pub(super) fn next_probe(&self) -> Option<Instant> {
        self.outage.as_ref().map(|outage| outage.next_probe)
    }

    /// Counts a failure; whether it shows an outage. A missing key does not: the environment works, however many tables refer to it.
    pub(super) fn is_outage(&mut self, cause: &OutageCause, subjects: &Subjects) -> bool {
        if matches!(cause.scope, FailureScope::Key(_)) {
            return false;
        }
        let streak = &mut self.failure_streak;
        if streak.len() < MAX_STREAK && !streak.contains(subjects) {
            streak.push(subjects.clone());
        }
        let tables: BTreeSet<u64> = streak.iter().map(|subjects| subjects.table).collect();
        cause.scope == FailureScope::Environment || tables.len() >= SYSTEMIC
    }

    /// Whether a probe of our own is due; then it is under way.
    pub(super) fn begin_check(&mut self, now: Instant) -> bool {
        let is_due = self.outage.is_none()
            && self.failure_streak.len() >= SYSTEMIC
            && self.next_check.is_none_or(|next| next <= now);
        if is_due {
            self.next_check = Some(now + CHECK_TIMEOUT);
            self.is_checking = true;
        }
        is_due
    }

    /// Until when a probe of our own is under way.
    pub(super) fn checks_until(&self, now: Instant) -> Option<Instant> {
        self.next_check.filter(|until| self.is_checking && *until > now)
    }

    /// The probe of our own has ended; without an outage the failures so far prove nothing.
    pub(super) fn checked(&mut self, now: Instant) {
        self.failure_streak.clear();
        self.is_checking = false;
        self.next_check = Some(now + MIN_CHECK_INTERVAL);
    }

    /// A message is admitted: while the circuit is open, as a probe.
    pub(super) fn probe_sent(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            outage.next_probe = now + PROBE_TIMEOUT;
        }
    }

    /// A probe ended without an observation: the next may be sent at once.
    pub(super) fn probe_inconclusive(&mut self, now: Instant) {
        if let Some(outage) = &mut self.outage {
            outage.next_probe = now;
        }
    }

    /// Opens the circuit, or keeps it open after a failed probe, whose cause waiting messages then return.
    pub(super) fn probe_failed(&mut self, cause: OutageCause, now: Instant, rng: &mut Rng) {
        let (since, failed_probes) = match &self.outage {
            Some(outage) => (outage.since, outage.failed_probes + 1),
            None => (now, 1),
        };
        let next_probe = now + back_off(failed_probes, rng).max(cause.delay.unwrap_or_default());
        self.outage = Some(Outage { cause, since, next_probe, failed_probes });
    }

    /// Dataverse has answered. An answer to a probe closes the circuit: returns the cause and the start of the outage.
    pub(super) fn answered(&mut self, is_probe: bool) -> Option<(OutageCause, Instant)> {
        self.failure_streak.clear();
        self.outage.take_if(|_| is_probe).map(|outage| (outage.cause, outage.since))
    }
}

/// The pause after so many failures in a row: doubles with each, with jitter between half of it and all of it.
pub(super) fn back_off(failures: u32, rng: &mut Rng) -> Duration {
    let doubled = FIRST_BACK_OFF * 2u32.pow(failures.saturating_sub(1).min(8));
    doubled.min(MAX_BACK_OFF).mul_f64(0.5 + rng.f64() / 2.0)
}
