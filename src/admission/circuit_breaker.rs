//! The circuit breaker: closed while Dataverse works, open in an outage, half-open while a probe is in flight.
//!
//! A failure that affects every write (no token) opens it at once. Any other failure counts for its own row or table first:
//! [`SYSTEMIC`] different ones without a success in between open it. So one failing row, or one table without a privilege, never
//! stops the others.
//!
//! While it is open, one message at a time is admitted as a probe. A failed probe doubles the pause before the next, up to
//! [`MAX_BACK_OFF`]; a probe without an answer after [`PROBE_TIMEOUT`] does not keep the next from being sent.
//!
//! Pure, no clock: the time and the random numbers are passed in.
//! <https://learn.microsoft.com/azure/architecture/patterns/circuit-breaker>

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::OutageCause;
use crate::classify::FailureScope;

/// So many different rows or tables that fail in a row are an outage.
const SYSTEMIC: usize = 3;

/// The pause before the first probe, and before the first retry of a message that fails by itself.
pub(super) const FIRST_BACK_OFF: Duration = Duration::from_secs(1);

/// The longest pause between probes, and between the attempts of a message that fails by itself.
const MAX_BACK_OFF: Duration = Duration::from_secs(30);

/// After this time the next probe may be sent; plug-ins may run longer, so a late answer still counts.
pub(super) const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// Closed without an outage.
#[derive(Debug, Default)]
pub(super) struct CircuitBreaker {
    /// The rows and tables that have failed since the last success.
    failure_streak: Vec<u64>,
    outage: Option<Outage>,
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

    /// Counts a failure; whether it shows an outage.
    pub(super) fn is_systemic(&mut self, cause: &OutageCause) -> bool {
        if !self.failure_streak.contains(&cause.subject) {
            self.failure_streak.push(cause.subject);
        }
        cause.scope == FailureScope::Environment || self.failure_streak.len() >= SYSTEMIC
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
