//! How many requests may be in flight: learned from the answers, within a ceiling.
//!
//! - It starts low. The hint that Dataverse gives (`x-ms-dop-hint`) is for all clients of an environment together, and their
//!   number is unknown, so **half of the first hint** is the start: two clients that start together make the whole of it. From
//!   there the limit grows by one per round of answers.
//! - Throttling lowers the limit, once per event, and leaves an **observed ceiling**: the requests in flight, times the share of
//!   the time that was not spent waiting; a client slower by that share would not have had to wait. The limit grows back to just
//!   below it. Where the **concurrency** is limited, the rate does not matter and waiting saves nothing: the ceiling is a
//!   sixteenth below the requests in flight, and the limit returns to it at once.
//! - A **probe** raises the observed ceiling. A lost probe costs a refusal and a pause, so there are [`ANSWERS_PER_PROBE`]
//!   answers and some minutes between probes. A probe that is not throttled doubles the step of the next.
//! - Throttling that comes soon doubles the **backoff factor**: fewer probes, and longer pauses where the limit cannot be lowered.
//!
//! Pure, no clock: the time is passed in. Limits are in thousandths, so that a round of answers adds up to one; a fraction is
//! spread over the answers.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/send-parallel-requests>

use std::time::Duration;

use tokio::time::Instant;

use super::LimitKind;

/// One request, in the unit of this module.
const ONE: u64 = 1_000;

/// The fraction of the golden ratio, whose multiples are spread evenly: a limit of 3.85 is four for 85 of a hundred answers.
const GOLDEN: u64 = 618;

/// The limit before anything is known.
const START: u64 = 4 * ONE;

/// A lost probe costs a refusal or two: about one in a hundred answers, and fewer with a higher backoff factor.
pub(super) const ANSWERS_PER_PROBE: u64 = 150;

/// A lost probe costs a pause as well; one in so many is five percent of the time.
const PAUSES_PER_PROBE: u32 = 20;

/// Where the concurrency is limited, the requests that a pause prevents cannot be sent later.
const PAUSES_PER_CONCURRENCY_PROBE: u32 = 2 * PAUSES_PER_PROBE;

/// The shortest time between probes, however short the pauses are.
const MIN_PROBE_INTERVAL: Duration = Duration::from_mins(1);

/// The longest time between probes: limits with long pauses count over a window, so what a pause leaves unused is available
/// afterwards.
const MAX_PROBE_INTERVAL: Duration = Duration::from_mins(3);

/// A run with fewer answers does not show the rate that would have been right: others may have used up what was allowed.
const MIN_ANSWERS: u64 = ANSWERS_PER_PROBE / 2;

/// Bounds what is added to a pause, in seconds, at a limit of one. Those that resume first use up what the window gives back, so a
/// process that always waits much longer than the others would get nothing.
const MAX_BACKOFF_FACTOR: u32 = 8;

#[derive(Debug)]
pub(super) struct ConcurrencyLimit {
    ceiling: u64,
    /// The limit, without the ramp.
    current: u64,
    /// After a stop: starts at one and grows with each answer until the limit is reached.
    ramp: Option<u64>,
    observed_ceiling: Option<ObservedCeiling>,
    /// The largest hint so far.
    hint: u32,
    /// Answers since the last throttling.
    answers: u64,
    backoff_factor: u32,
    /// When the current run began.
    since: Instant,
}

/// Just below where throttling was met.
#[derive(Debug)]
struct ObservedCeiling {
    limit: u64,
    probe_step: u64,
    probe_interval: Duration,
    next_probe: Instant,
    next_probe_answers: u64,
}

impl ConcurrencyLimit {
    pub(super) fn new(ceiling: u64, now: Instant) -> Self {
        let ceiling = ceiling.max(1).saturating_mul(ONE);
        Self {
            ceiling,
            current: START.min(ceiling),
            ramp: None,
            observed_ceiling: None,
            hint: 0,
            answers: 0,
            backoff_factor: 1,
            since: now,
        }
    }

    pub(super) fn limit(&self) -> u64 {
        let limit = self.ramp.map_or(self.current, |ramp| ramp.min(self.current));
        (limit + self.answers * GOLDEN % ONE) / ONE
    }

    /// An answer came; `full` if more requests would have been sent without the limit.
    pub(super) fn answered(&mut self, now: Instant, full: bool) {
        self.answers += 1;
        if let Some(ramp) = self.ramp {
            self.ramp = Some(ramp + ONE).filter(|ramp| *ramp < self.current);
        } else if full {
            self.grow(now);
        }
    }

    fn grow(&mut self, now: Instant) {
        let observed = self.observed_ceiling.as_ref().map_or(self.ceiling, |observed| observed.limit);
        let top = observed.min(self.ceiling);
        if self.current < top {
            self.current = (self.current + ONE * ONE / self.current).min(top);
        } else if let Some(observed) = &mut self.observed_ceiling
            && observed.limit < self.ceiling
            && observed.next_probe <= now
            && observed.next_probe_answers <= self.answers
        {
            observed.limit += observed.probe_step;
            observed.probe_step *= 2;
            observed.next_probe = now + observed.probe_interval;
            observed.next_probe_answers = self.answers + ANSWERS_PER_PROBE;
        }
    }

    /// Dataverse recommends so many requests in flight, for all its clients. A hint that grows shows that the environment did, so
    /// what was learned before is void. A smaller hint is ignored: throttling would follow if it mattered.
    pub(super) fn hinted(&mut self, hint: u32) {
        if hint <= self.hint {
            return;
        }
        let half = (u64::from(hint) * ONE / 2).clamp(ONE, self.ceiling);
        self.current = if self.hint == 0 { half } else { half.max(self.current) };
        self.hint = hint;
        self.observed_ceiling = None;
    }

    /// Throttled by `kind` with so many `in_flight`, and asked to wait for `delay`. Returns what to add to that.
    pub(super) fn throttled(&mut self, now: Instant, kind: LimitKind, in_flight: u64, delay: Duration) -> Duration {
        self.backoff_factor = match u32::try_from(self.answers / MIN_ANSWERS).unwrap_or(u32::MAX) {
            0 if self.observed_ceiling.is_some() => (self.backoff_factor * 2).min(MAX_BACKOFF_FACTOR),
            0 => self.backoff_factor,
            halves => (self.backoff_factor / halves.div_ceil(2)).max(1),
        };
        let met = (in_flight * ONE).min(self.current).max(ONE);
        // Right after a pause the limit was not too high, the pause was too short.
        let too_early = self.ramp.is_some_and(|ramp| ramp <= 2 * ONE);
        if !too_early {
            self.lower(now, kind, met, delay);
        }
        self.answers = 0;
        if too_early || met == ONE { Duration::from_secs(1) * (self.backoff_factor - 1) } else { Duration::ZERO }
    }

    fn lower(&mut self, now: Instant, kind: LimitKind, met: u64, delay: Duration) {
        let (observed, current, pauses) = match kind {
            LimitKind::Rate => {
                let least = if self.answers < MIN_ANSWERS { met / 2 } else { 0 };
                (sustainable(met, now - self.since, delay).max(least), met * 7 / 10, PAUSES_PER_PROBE)
            }
            LimitKind::Concurrency => (met - met / 16, met, PAUSES_PER_CONCURRENCY_PROBE),
        };
        let observed = observed.max(ONE);
        let probe_interval = (delay * pauses).clamp(MIN_PROBE_INTERVAL, MAX_PROBE_INTERVAL);
        self.observed_ceiling = Some(ObservedCeiling {
            limit: observed,
            probe_step: ONE / 2,
            probe_interval,
            next_probe: now + delay + probe_interval,
            next_probe_answers: ANSWERS_PER_PROBE * u64::from(self.backoff_factor),
        });
        self.current = current.clamp(ONE, observed);
    }

    /// Sending stops for a pause or an outage: it will ramp up from one.
    pub(super) fn stopped(&mut self) {
        self.ramp = Some(ONE);
    }

    pub(super) fn resumed(&mut self, now: Instant) {
        self.since = now;
    }
}

/// The limit that would have lasted through the run and the pause that it led to.
fn sustainable(met: u64, run: Duration, pause: Duration) -> u64 {
    (met * millis(run) / millis(run + pause).max(1)).min(met - met / 32)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 1_000_000)
}
