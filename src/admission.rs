//! Admission of messages to Dataverse, one per process.
//!
//! A message has an [`Entry`], gets a [`Permit`] from it, and reports its result: [`Permit::succeeded`], [`Permit::throttled`],
//! [`Permit::failed`]. From the reports follow
//! - the **concurrency limit**: how many requests may be in flight, learned from the answers;
//! - the **pause**: nothing is sent during a `Retry-After`, because that would lengthen it; each process adds its own jitter;
//! - the **circuit breaker**: in an outage messages wait here instead of using up their deliveries, and one at a time is sent
//!   as a probe;
//! - the **failing rows and tables**: one message at a time tries each again, and all that wait for them hold only a part of what
//!   the host keeps in flight; the rest goes back at once. Messages that miss a row to which they refer are counted there too, but
//!   each is sent at least once.
//!
//! After a pause and after an outage the limit grows from one, by one with each answer. A waiting message holds neither a slot nor
//! a lock.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits>

mod circuit_breaker;
mod concurrency_limit;
mod failing_scopes;
mod report;
mod state;
mod wait_queue;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fastrand::Rng;
use tokio::time::Instant;

use crate::classify::{FailureScope, LimitKind};
use crate::dataverse::client::Gate;
use crate::outcome::Reason;
pub(crate) use circuit_breaker::CHECK_TIMEOUT;
use state::{Observation, State};
use wait_queue::{QueuePosition, Slot, WaitQueue};

/// Admission to Dataverse. Clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    queue: Arc<WaitQueue>,
    ceiling: usize,
}

/// How long a message may wait, over all its attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitBudget {
    /// The end of the wait through pauses, outages and its own back-off.
    pub(crate) until: Instant,
    /// The end of the wait for a free slot while nothing fails.
    pub(crate) queue_until: Instant,
    /// Whether to give up at once when admission is known to stay closed beyond `until`.
    pub(crate) fail_fast: bool,
}

/// One message, over all its attempts.
#[derive(Debug)]
pub(crate) struct Entry {
    queue: Arc<WaitQueue>,
    budget: WaitBudget,
    subjects: Subjects,
    position: Option<u64>,
    backs_off_until: Option<Instant>,
    /// When it was last admitted.
    entered_at: Instant,
    /// How often it was throttled without a delay.
    throttled: u32,
    /// Whether it has failed itself.
    has_failed: bool,
    /// How often a row that it refers to was missing.
    parent_missing: u32,
    /// Whether it is one of those that may wait in place for a failing row or table.
    has_seat: bool,
}

/// The table, row and keys of a message: the scopes in which it can fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Subjects {
    /// Identifies its table.
    pub(crate) table: u64,
    /// Identifies its row.
    pub(crate) row: u64,
    /// Identify the alternate keys that it uses.
    pub(crate) keys: Box<[u64]>,
}

/// The right to send requests to Dataverse, until it is dropped. Dropped without a report, nothing is learned.
#[derive(Debug)]
pub(crate) struct Permit<'a> {
    entry: &'a mut Entry,
    slot: Slot,
}

/// Why writes fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutageCause {
    /// The reason that waiting messages return when their budget is spent.
    pub(crate) reason: Reason,
    /// The error, for the log: no data of a record.
    pub(crate) message: String,
    pub(crate) scope: FailureScope,
    /// The delay that the service named.
    pub(crate) delay: Option<Duration>,
}

/// The message was not admitted within its budget.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NotAdmitted {
    pub(crate) reason: RejectReason,
    /// When to try again, if known: the rest of the pause, or the time to the next probe.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum RejectReason {
    /// Dataverse asked for a pause that is not over.
    Paused,
    CircuitOpen(OutageCause),
    /// Others about the same row or table have failed, and enough messages wait for that already.
    Failing(OutageCause),
    Full,
}

impl Admission {
    /// Admits at most `ceiling` messages at once, and lets at most `failing_seats` wait in place for rows and tables that fail.
    pub fn new(ceiling: usize, failing_seats: usize) -> Self {
        let state = State::new(ceiling, failing_seats.max(1), Rng::new(), Instant::now());
        Self { queue: Arc::new(WaitQueue::new(state)), ceiling }
    }

    pub(crate) fn entry(&self, subjects: Subjects, budget: WaitBudget) -> Entry {
        let queue = self.queue.clone();
        Entry {
            queue,
            budget,
            subjects,
            position: None,
            backs_off_until: None,
            entered_at: Instant::now(),
            throttled: 0,
            has_failed: false,
            parent_missing: 0,
            has_seat: false,
        }
    }

    /// How many messages are admitted at once at most.
    pub(crate) fn ceiling(&self) -> usize {
        self.ceiling
    }

    /// Why a message is not admitted that has no time left to wait.
    pub(crate) fn rejected(&self) -> NotAdmitted {
        self.queue.not_admitted()
    }

    /// The result of the check that [`Permit::failed`] asked for: why everything fails, if it does.
    pub(crate) fn checked(&self, outage: Option<OutageCause>) {
        self.queue.checked(outage);
    }

    /// The concurrency limit, the messages in flight, and the messages that wait for admission.
    pub fn figures(&self) -> [u64; 3] {
        self.queue.figures()
    }

    /// Stops all waiting: messages that are not admitted at once are rejected. Those in flight continue.
    pub(crate) fn stop(&self) {
        self.queue.stop();
    }
}

/// The records that are admitted share the requests: see [`crate::dataverse::client`].
#[async_trait]
impl Gate for Admission {
    fn request_limit(&self) -> Option<usize> {
        self.queue.with_state(|state| state.request_limit())
    }

    fn admitted(&self) -> usize {
        usize::try_from(self.queue.with_state(|state| state.in_flight)).unwrap_or(usize::MAX)
    }

    fn is_paused(&self) -> bool {
        self.queue.with_state(|state| state.is_paused(Instant::now()))
    }

    fn stops(&self) -> u64 {
        self.queue.with_state(|state| state.epoch)
    }

    async fn stopped(&self, stops: u64) {
        self.queue.stopped(stops).await;
    }

    fn set_batch_size(&self, parts: usize) {
        self.queue.set_batch_size(parts);
    }
}

impl Entry {
    /// Waits until the back-off of the last failure is over and its row and table may be tried, then for a slot.
    pub(crate) async fn enter(&mut self) -> Result<Permit<'_>, NotAdmitted> {
        while let Some(until) = self.backs_off_until.filter(|until| *until > Instant::now()) {
            self.queue.back_off(until, self.budget).await?;
        }
        while let Some((until, needs_seat)) = self.held_back() {
            if needs_seat && !self.take_seat() {
                return Err(self.queue.rejected_as_failing(&self.subjects));
            }
            self.queue
                .back_off(until, self.budget)
                .await
                .map_err(|_| self.queue.rejected_as_failing(&self.subjects))?;
        }
        let position = *self.position.get_or_insert_with(|| self.queue.next_position());
        let give_up_if_closed_at = self.budget.fail_fast.then_some(self.budget.until);
        let slot = self.queue.wait(QueuePosition::New(position), self.budget, give_up_if_closed_at).await?;
        self.entered_at = Instant::now();
        Ok(Permit { entry: self, slot })
    }

    /// See [`State::held_back`]. A message that must not wait is tried once: then the host spaces its deliveries.
    fn held_back(&self) -> Option<(Instant, bool)> {
        if self.budget.until <= Instant::now() && !self.has_failed {
            return None;
        }
        self.queue.with_state(|state| state.held_back(&self.subjects, Instant::now()))
    }

    fn take_seat(&mut self) -> bool {
        self.has_seat = self.has_seat || self.queue.with_state(|state| state.failing.take_seat());
        self.has_seat
    }
}

impl Drop for Entry {
    /// Gives its seat back.
    fn drop(&mut self) {
        if self.has_seat {
            self.queue.with_state(|state| state.failing.give_seat_back());
        }
    }
}

impl Permit<'_> {
    /// Dataverse works. `parallelism` is the hint that it gives to all its clients together, if any.
    pub(crate) fn succeeded(mut self, parallelism: Option<u32>) {
        self.slot.leave(&Observation::Success(parallelism, &self.entry.subjects));
    }

    /// Throttled by `limit`; nothing is sent for `delay`. The message keeps its position in the queue.
    pub(crate) fn throttled(mut self, delay: Option<Duration>, limit: LimitKind) {
        self.slot.leave(&Observation::Throttled(delay, limit));
        if delay.is_none() {
            let entry = &mut *self.entry;
            entry.throttled += 1;
            let pause = entry.queue.with_state(|state| state.back_off_after(entry.throttled));
            entry.backs_off_until = Some(Instant::now() + pause);
        }
    }

    /// Failed. The message goes to the end of the queue, and is not admitted before `not_before`. If this returns true, perhaps
    /// everything fails: the caller is to check that, and to report what it found with [`Admission::checked`].
    #[must_use]
    pub(crate) fn failed(mut self, cause: &OutageCause, not_before: Option<Instant>) -> bool {
        let is_check_due = self.slot.leave(&Observation::Failure(cause, &self.entry.subjects));
        self.entry.position = None;
        self.entry.has_failed = true;
        self.entry.backs_off_until = not_before;
        is_check_due
    }

    /// Dataverse works, but a row that the message refers to is missing. Whether the message is to be tried again: it waits in place
    /// until `until` at most, while it finds a seat. No other message is held back, whatever its row or table.
    #[must_use]
    pub(crate) fn parent_missing(mut self, parallelism: Option<u32>, until: Instant) -> bool {
        self.slot.leave(&Observation::Success(parallelism, &self.entry.subjects));
        let (entry, now) = (&mut *self.entry, Instant::now());
        if now >= until || !entry.take_seat() {
            return false;
        }
        entry.position = None;
        entry.parent_missing += 1;
        let pause = entry.queue.with_state(|state| state.back_off_after(entry.parent_missing));
        entry.backs_off_until = Some((now + pause).min(until));
        true
    }

    /// Releases the slot while the message waits for something else. A probe keeps it: no other message may be in flight.
    pub(crate) fn release_slot(&mut self) {
        self.slot.release();
    }

    /// Takes a slot again, before all that wait. Fails at once when admission has closed meanwhile, or its row or table failed.
    pub(crate) async fn reacquire_slot(&mut self) -> Result<(), NotAdmitted> {
        if self.slot.is_released() {
            let Entry { queue, subjects, entered_at, .. } = &*self.entry;
            if queue.with_state(|state| state.failing.failed_since(subjects, *entered_at)) {
                return Err(queue.rejected_as_failing(subjects));
            }
            let position = QueuePosition::Returning(queue.next_position());
            self.slot = queue.wait(position, self.entry.budget, Some(Instant::now())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
