//! The state of admission: whether a message may be admitted now, and if not, when.
//!
//! It counts the messages in flight, and combines the concurrency limit, the pause that Dataverse asked for, and the circuit
//! breaker. The results of requests that were sent in an earlier epoch, before the last throttling or outage, neither lower the
//! limit again nor open the circuit again.
//!
//! Pure, no clock: the time is passed in. Invariant: every admitted message leaves once.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::circuit_breaker::{CircuitBreaker, back_off};
use super::concurrency_limit::ConcurrencyLimit;
use super::failing_scopes::FailingScopes;
use super::{LimitKind, OutageCause, RejectReason, Subjects};
use crate::classify::FailureScope;

/// The jitter at the end of a pause is at most this part of it, within the two bounds below.
const JITTER_PART: u32 = 5;
pub(super) const MIN_JITTER: Duration = Duration::from_millis(250);
/// Those that resume first use up what the window gives back, perhaps in seconds.
pub(super) const MAX_JITTER: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct State {
    rng: Rng,
    limit: ConcurrencyLimit,
    pub(super) in_flight: u64,
    /// Rises with each throttling and each outage.
    pub(super) epoch: u64,
    /// How many records a request takes.
    batch_size: u64,
    /// Records that were answered since the limit learned of a request.
    answered: u64,
    pause: Option<Pause>,
    breaker: CircuitBreaker,
    pub(super) failing: FailingScopes,
}

#[derive(Debug)]
struct Pause {
    since: Instant,
    until: Instant,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct SlotToken {
    epoch: u64,
    pub(super) is_probe: bool,
    /// The slot was released while the message waits for something else.
    pub(super) is_released: bool,
}

/// What a message observed while it was admitted.
#[derive(Debug)]
pub(super) enum Observation<'a> {
    Nothing,
    /// With the recommended parallelism.
    Success(Option<u32>, &'a Subjects),
    /// With the delay that was named.
    Throttled(Option<Duration>, LimitKind),
    Failure(&'a OutageCause, &'a Subjects),
}

/// An event for the operator.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// For this long.
    Paused(Duration),
    /// After this time.
    Resumed(Duration),
    CircuitOpened(OutageCause),
    /// After this time.
    CircuitClosed(OutageCause, Duration),
}

impl State {
    pub(super) fn new(ceiling: usize, failing_seats: usize, rng: Rng, now: Instant) -> Self {
        let limit = ConcurrencyLimit::new(u64::try_from(ceiling).unwrap_or(u64::MAX), now);
        let (breaker, failing) = (CircuitBreaker::default(), FailingScopes::new(failing_seats));
        Self { rng, limit, in_flight: 0, epoch: 0, batch_size: 1, answered: 0, pause: None, breaker, failing }
    }

    /// The end of the pause, or the time of the next probe: until then no message is admitted.
    pub(super) fn closed_until(&self, now: Instant) -> Option<Instant> {
        let pause = self.pause.as_ref().map(|pause| pause.until);
        pause.max(self.breaker.next_probe()).filter(|until| *until > now)
    }

    /// Whether another message has to leave first, or the check for an outage has to end.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        !self.is_circuit_open() && (self.in_flight >= self.limit() || self.breaker.checks_until(now).is_some())
    }

    /// Until when a message about these subjects waits outside the queue, because its row or table fails, and whether it needs a
    /// seat meanwhile. In an outage all wait for admission instead.
    pub(super) fn held_back(&mut self, subjects: &Subjects, now: Instant) -> Option<(Instant, bool)> {
        if self.is_circuit_open() {
            return None;
        }
        let until = self.failing.closed_until(subjects, now, &mut self.rng)?;
        let checked = self.breaker.checks_until(now);
        Some((checked.unwrap_or(until), checked.is_none()))
    }

    /// Whether the caller has to send a probe of our own; see [`Self::checked`].
    pub(super) fn begin_check(&mut self, now: Instant) -> bool {
        self.breaker.begin_check(now)
    }

    pub(super) fn reject_reason(&self, now: Instant) -> RejectReason {
        match (self.breaker.cause(), &self.pause) {
            (Some(cause), _) => RejectReason::CircuitOpen(cause.clone()),
            (None, Some(pause)) if pause.until > now => RejectReason::Paused,
            (None, _) => RejectReason::Full,
        }
    }

    /// Admits a message; only while admission is neither closed nor full.
    pub(super) fn admit(&mut self, now: Instant) -> (SlotToken, Option<Event>) {
        let ended = self.pause.take().map(|pause| Event::Resumed(pause.until - pause.since));
        if ended.is_some() {
            self.limit.resumed(now);
        }
        self.breaker.probe_sent(now);
        self.in_flight += 1;
        (SlotToken { epoch: self.epoch, is_probe: self.is_circuit_open(), is_released: false }, ended)
    }

    /// Frees the slot of a message that waits for something else.
    pub(super) fn release_slot(&mut self, token: &mut SlotToken) {
        if !token.is_released {
            token.is_released = true;
            self.in_flight -= 1;
        }
    }

    /// An admitted message leaves; `contended` if others wait.
    pub(super) fn leave(
        &mut self,
        now: Instant,
        token: SlotToken,
        observation: &Observation<'_>,
        contended: bool,
    ) -> Vec<Event> {
        let in_flight = self.in_flight;
        if !token.is_released {
            self.in_flight -= 1;
        }
        match observation {
            Observation::Nothing => {
                if token.is_probe {
                    self.breaker.probe_inconclusive(now);
                }
                Vec::new()
            }
            Observation::Success(hint, _) => {
                self.succeeded(now, token, *hint, contended || in_flight >= self.limit()).into_iter().collect()
            }
            Observation::Throttled(delay, limit) => self.throttled(now, token, *delay, *limit, in_flight),
            Observation::Failure(cause, subjects) => self.failed(now, token, cause, subjects).into_iter().collect(),
        }
    }

    /// How many records may be in flight: with batches, the next one gathers meanwhile.
    pub(super) fn limit(&self) -> u64 {
        match self.batch_size {
            1 => self.limit.limit(),
            size => (self.limit.limit() + 1) * size,
        }
    }

    /// How many requests may be in flight. There is no limit in an outage: one record at a time is admitted, and it is sent at once.
    pub(super) fn request_limit(&self) -> Option<usize> {
        if self.is_circuit_open() { None } else { usize::try_from(self.limit.limit()).ok() }
    }

    pub(super) fn set_batch_size(&mut self, parts: usize) {
        self.batch_size = u64::try_from(parts).unwrap_or(u64::MAX).max(1);
    }

    /// Whether nothing may be sent.
    pub(super) fn is_paused(&self, now: Instant) -> bool {
        self.pause.as_ref().is_some_and(|pause| pause.until > now)
    }

    pub(super) fn is_circuit_open(&self) -> bool {
        self.breaker.cause().is_some()
    }

    /// How long a message backs off after so many failures in a row.
    pub(super) fn back_off_after(&mut self, failures: u32) -> Duration {
        back_off(failures, &mut self.rng)
    }

    fn succeeded(&mut self, now: Instant, token: SlotToken, hint: Option<u32>, full: bool) -> Option<Event> {
        let closed = self.answered(now, token);
        if let Some(hint) = hint {
            self.limit.hinted(hint);
        }
        if token.epoch == self.epoch {
            self.answered += 1;
            // The limit is one of requests.
            if self.answered >= self.batch_size {
                self.answered = 0;
                self.limit.answered(now, full);
            }
        }
        closed
    }

    fn throttled(
        &mut self,
        now: Instant,
        token: SlotToken,
        delay: Option<Duration>,
        limit: LimitKind,
        in_flight: u64,
    ) -> Vec<Event> {
        let closed = self.answered(now, token);
        let mut extra = Duration::ZERO;
        if token.epoch == self.epoch {
            let requests = in_flight.div_ceil(self.batch_size);
            extra = self.limit.throttled(now, limit, requests, delay.unwrap_or_default());
            self.epoch += 1;
        }
        let paused = delay.and_then(|delay| self.pause(now, delay, extra));
        closed.into_iter().chain(paused).collect()
    }

    fn pause(&mut self, now: Instant, delay: Duration, extra: Duration) -> Option<Event> {
        let since = self.pause.as_ref().filter(|pause| pause.until > now).map(|pause| pause.since);
        if self.pause.as_ref().is_none_or(|pause| pause.until < now + delay) {
            let jitter = (delay / JITTER_PART).clamp(MIN_JITTER, MAX_JITTER).mul_f64(self.rng.f64());
            self.pause = Some(Pause { since: since.unwrap_or(now), until: now + delay + jitter + extra });
            self.limit.stopped();
        }
        since.is_none().then_some(Event::Paused(delay))
    }

    fn failed(&mut self, now: Instant, token: SlotToken, cause: &OutageCause, subjects: &Subjects) -> Option<Event> {
        // A table's privileges and keys are checked only where the environment works.
        let works = |outage: &OutageCause| {
            matches!(cause.scope, FailureScope::Table | FailureScope::Key(_))
                && outage.scope == FailureScope::Environment
        };
        let closed = match self.breaker.cause() {
            Some(_) if !token.is_probe => return None,
            Some(outage) if works(outage) => self.answered(now, token),
            Some(_) => {
                self.breaker.probe_failed(cause.clone(), now, &mut self.rng);
                return None;
            }
            None => None,
        };
        if let Some(subject) = subjects.of(cause.scope) {
            self.failing.failed(subject, cause, now, &mut self.rng);
        }
        if token.epoch == self.epoch && self.breaker.is_outage(cause, subjects) {
            return Some(self.open(cause.clone(), now));
        }
        closed
    }

    /// The result of the probe of our own: why everything fails, if it does.
    pub(super) fn checked(&mut self, outage: Option<OutageCause>, now: Instant) -> Option<Event> {
        self.breaker.checked(now);
        let cause = outage.filter(|_| !self.is_circuit_open())?;
        Some(self.open(cause, now))
    }

    fn open(&mut self, cause: OutageCause, now: Instant) -> Event {
        self.breaker.probe_failed(cause.clone(), now, &mut self.rng);
        self.epoch += 1;
        self.limit.stopped();
        Event::CircuitOpened(cause)
    }

    /// Dataverse answered, if only to throttle: the streak of failures ends, and after a probe the outage.
    fn answered(&mut self, now: Instant, token: SlotToken) -> Option<Event> {
        let (cause, since) = self.breaker.answered(token.is_probe)?;
        self.limit.resumed(now);
        Some(Event::CircuitClosed(cause, now - since))
    }
}
