//! Admission of messages to Dataverse, one per process.
//!
//! A message has an [`Entry`]; it enters for a [`Permit`], and reports what it met: [`Permit::succeeded`],
//! [`Permit::throttled`], [`Permit::failed`]. From the reports follow
//! - the **concurrency limit**: how many requests may be in flight, learned from the answers;
//! - the **pause**: nothing is sent during a `Retry-After`, because that would lengthen it; each process adds its own jitter;
//! - the **circuit breaker**: in an outage messages wait here instead of using up their deliveries, and one at a time is sent
//!   as a probe.
//!
//! After a pause and after an outage the limit grows from one, by one with each answer. A message that fails while others succeed
//! backs off by itself. A waiting message holds neither a slot nor a lock.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/api-limits>

mod circuit_breaker;
mod concurrency_limit;
mod report;
mod state;
mod wait_queue;

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use crate::classify::{FailureScope, LimitKind};
use crate::outcome::Reason;
use state::{Observation, State};
use wait_queue::{QueuePosition, Slot, WaitQueue};

/// Admission to Dataverse. Clones share it.
#[derive(Debug, Clone)]
pub struct Admission {
    queue: Arc<WaitQueue>,
}

/// How long a message may wait, over all its attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitBudget {
    /// Through pauses, outages and its own back-off, until then.
    pub(crate) until: Instant,
    /// For a free slot, while nothing fails, until then.
    pub(crate) queue_until: Instant,
    /// End at once when admission is known to stay closed beyond `until`.
    pub(crate) fail_fast: bool,
}

/// One message, over all its attempts.
#[derive(Debug)]
pub(crate) struct Entry {
    queue: Arc<WaitQueue>,
    budget: WaitBudget,
    position: Option<u64>,
    backs_off_until: Option<Instant>,
    failures: u32,
    /// The count of all successes when this message first failed.
    successes_at_first_failure: Option<u64>,
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
    /// Identifies the failing table or row.
    pub(crate) subject: u64,
    /// The delay that the service named.
    pub(crate) delay: Option<Duration>,
}

/// Not admitted within the budget.
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
    Full,
}

impl Admission {
    /// Admits at most `ceiling` messages at once.
    pub fn new(ceiling: usize) -> Self {
        Self { queue: Arc::new(WaitQueue::new(State::new(ceiling, Rng::new(), Instant::now()))) }
    }

    pub(crate) fn entry(&self, budget: WaitBudget) -> Entry {
        let queue = self.queue.clone();
        Entry { queue, budget, position: None, backs_off_until: None, failures: 0, successes_at_first_failure: None }
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

impl Entry {
    /// Waits until the back-off of the last failure is over, then for a slot.
    pub(crate) async fn enter(&mut self) -> Result<Permit<'_>, NotAdmitted> {
        if let Some(until) = self.backs_off_until {
            self.queue.back_off(until, self.budget).await?;
            self.backs_off_until = None;
        }
        let position = *self.position.get_or_insert_with(|| self.queue.next_position());
        let give_up_if_closed_at = self.budget.fail_fast.then_some(self.budget.until);
        let slot = self.queue.wait(QueuePosition::New(position), self.budget, give_up_if_closed_at).await?;
        Ok(Permit { entry: self, slot })
    }

    fn back_off(&mut self) {
        let pause = self.queue.with_state(|state| state.back_off_after(self.failures));
        self.backs_off_until = Some(Instant::now() + pause);
    }
}

impl Permit<'_> {
    /// Dataverse works. `parallelism` is the hint that it gives to all its clients together, if any.
    pub(crate) fn succeeded(mut self, parallelism: Option<u32>) {
        self.slot.leave(&Observation::Success(parallelism));
    }

    /// Throttled by `limit`; nothing is sent for `delay`. The message keeps its position in the queue.
    pub(crate) fn throttled(mut self, delay: Option<Duration>, limit: LimitKind) {
        self.slot.leave(&Observation::Throttled(delay, limit));
        if delay.is_none() {
            self.entry.failures += 1;
            self.entry.back_off();
        }
    }

    /// Failed. The message goes to the end of the queue, or backs off by itself while others are admitted; in any case it is
    /// not admitted before `not_before`.
    pub(crate) fn failed(mut self, cause: &OutageCause, not_before: Option<Instant>) {
        let entry = &mut *self.entry;
        let successes = entry.queue.with_state(|state| state.successes);
        let isolated = *entry.successes_at_first_failure.get_or_insert(successes) < successes;
        self.slot.leave(&Observation::Failure { cause, isolated });
        entry.position = None;
        entry.failures += 1;
        if !entry.queue.with_state(|state| state.is_circuit_open()) {
            entry.back_off();
            let named = cause.delay.map(|delay| Instant::now() + delay);
            entry.backs_off_until = entry.backs_off_until.max(named);
        }
        entry.backs_off_until = entry.backs_off_until.max(not_before);
    }

    /// Releases the slot while the message waits for something else. A probe keeps it: no other message may be in flight.
    pub(crate) fn release_slot(&mut self) {
        self.slot.release();
    }

    /// Takes a slot again, before all that wait. Fails at once when admission has closed meanwhile.
    pub(crate) async fn reacquire_slot(&mut self) -> Result<(), NotAdmitted> {
        if self.slot.is_released() {
            let queue = &self.entry.queue;
            let position = QueuePosition::Returning(queue.next_position());
            self.slot = queue.wait(position, self.entry.budget, Some(Instant::now())).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
