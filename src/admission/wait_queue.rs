//! The messages that wait for admission, in order of arrival.
//!
//! A throttled message keeps its position; one that failed gets a new one, so that another message is the next probe; one that
//! released its slot to wait for a lock returns before all others.
//!
//! Cancellation loses nothing: a slot that was sent to a waiter that has left is returned by its `Drop`. No wakeup is missed:
//! a waiter listens for changes before it checks, and every change admits the messages that may pass.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::report::report;
use super::state::{Event, Observation, SlotToken, State};
use super::{NotAdmitted, OutageCause, RejectReason, Subjects, WaitBudget};

/// A position in the queue: messages that return with a lock go first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum QueuePosition {
    Returning(u64),
    New(u64),
}

#[derive(Debug)]
pub(super) struct WaitQueue {
    inner: Mutex<Inner>,
    /// A pause or an outage began or ended, or waiting was stopped.
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    waiting: BTreeMap<QueuePosition, oneshot::Sender<Slot>>,
    positions: u64,
    stopping: bool,
}

/// A slot in flight, until it is dropped.
#[derive(Debug)]
pub(super) struct Slot {
    queue: Arc<WaitQueue>,
    /// `None` when the message has left.
    token: Option<SlotToken>,
}

/// A message in the queue; dropping it leaves the queue.
struct Waiter<'a> {
    queue: &'a WaitQueue,
    position: QueuePosition,
    slot: oneshot::Receiver<Slot>,
}

impl WaitQueue {
    pub(super) fn new(state: State) -> Self {
        let inner = Inner { state, waiting: BTreeMap::new(), positions: 0, stopping: false };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    pub(super) fn next_position(&self) -> u64 {
        let mut inner = self.inner();
        inner.positions += 1;
        inner.positions
    }

    pub(super) fn figures(&self) -> [u64; 3] {
        let inner = self.inner();
        let waiting = u64::try_from(inner.waiting.len()).unwrap_or(u64::MAX);
        [inner.state.limit(), inner.state.in_flight, waiting]
    }

    /// Waits for a slot; gives up at once when admission is known to stay closed beyond `give_up_if_closed_at`.
    pub(super) async fn wait(
        self: &Arc<Self>,
        position: QueuePosition,
        budget: WaitBudget,
        give_up_if_closed_at: Option<Instant>,
    ) -> Result<Slot, NotAdmitted> {
        let mut waiter = self.join(position);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            self.admit_waiting();
            if let Ok(slot) = waiter.slot.try_recv() {
                return Ok(slot);
            }
            let closed_until = self.inner().state.closed_until(Instant::now());
            let too_long = give_up_if_closed_at.zip(closed_until).is_some_and(|(at, until)| until > at);
            let end = if closed_until.is_some() { budget.until } else { budget.queue_until };
            if too_long || self.is_over(end) {
                self.inner().waiting.remove(&position);
                // The slot may have arrived at this moment.
                return waiter.slot.try_recv().map_err(|_| self.not_admitted());
            }
            tokio::select! {
                biased;
                slot = &mut waiter.slot => return Ok(slot.expect("a waiter is removed or gets a slot")),
                () = changed => {}
                () = sleep_until(closed_until.map_or(end, |until| until.min(end))) => {}
            }
        }
    }

    /// Waits until `end` outside the queue, or until something changes; fails when the budget does not last so long.
    pub(super) async fn back_off(&self, end: Instant, budget: WaitBudget) -> Result<(), NotAdmitted> {
        let mut changed = pin!(self.changed.notified());
        changed.as_mut().enable();
        if (budget.fail_fast && end > budget.until) || self.is_over(budget.until) {
            return Err(self.not_admitted());
        }
        tokio::select! {
            () = changed => {}
            () = sleep_until(end.min(budget.until)) => {}
        }
        Ok(())
    }

    /// Completes once sending has stopped more often than `stops`.
    pub(super) async fn stopped(&self, stops: u64) {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.with_state(|state| state.epoch > stops || state.is_paused(Instant::now())) {
                return;
            }
            changed.await;
        }
    }

    /// A request takes so many records.
    pub(super) fn set_batch_size(self: &Arc<Self>, parts: usize) {
        self.with_state(|state| state.set_batch_size(parts));
        self.admit_waiting();
    }

    /// The result of a probe of our own: why everything fails, if it does.
    pub(super) fn checked(self: &Arc<Self>, outage: Option<OutageCause>) {
        let (event, waiting) = {
            let mut inner = self.inner();
            (inner.state.checked(outage, Instant::now()), inner.waiting.len())
        };
        self.changed.notify_waiters();
        if let Some(event) = event {
            report(&event, waiting);
        }
        self.admit_waiting();
    }

    /// A message about these subjects is not admitted, because others about them have failed.
    pub(super) fn rejected_as_failing(&self, subjects: &Subjects) -> NotAdmitted {
        // Not in the `match`: that would hold the mutex.
        let cause = self.inner().state.failing.cause(subjects).cloned();
        match cause {
            Some(cause) => NotAdmitted { reason: RejectReason::Failing(cause), retry_after: None },
            None => self.not_admitted(),
        }
    }

    /// Ends all waiting, now and later.
    pub(super) fn stop(&self) {
        self.inner().stopping = true;
        self.changed.notify_waiters();
    }

    /// Reads the state, or changes something that admits no message.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.inner().state)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, position: QueuePosition) -> Waiter<'_> {
        let (sender, slot) = oneshot::channel();
        self.inner().waiting.insert(position, sender);
        Waiter { queue: self, position, slot }
    }

    fn is_over(&self, end: Instant) -> bool {
        end <= Instant::now() || self.inner().stopping
    }

    /// Why a message is not admitted now.
    pub(super) fn not_admitted(&self) -> NotAdmitted {
        let (inner, now) = (self.inner(), Instant::now());
        let retry_after = inner.state.closed_until(now).map(|until| until.saturating_duration_since(now));
        NotAdmitted { reason: inner.state.reject_reason(now), retry_after }
    }

    /// Admits all messages that may pass now, in order.
    fn admit_waiting(self: &Arc<Self>) {
        loop {
            // Not `while let`: that would hold the mutex, and the drop of a slot takes it.
            let Some((sender, token, event, waiting)) = self.inner().admit_next() else { return };
            if let Some(event) = event {
                report(&event, waiting);
            }
            // If the waiter has left, the slot is returned by its drop.
            drop(sender.send(Slot { queue: self.clone(), token: Some(token) }));
        }
    }

    /// Returns whether the caller is to check for an outage.
    fn leave(self: &Arc<Self>, token: SlotToken, observation: &Observation<'_>) -> bool {
        let (events, recovered, check, waiting) = {
            let (mut inner, now) = (self.inner(), Instant::now());
            let waiting = inner.waiting.len();
            let events = inner.state.leave(now, token, observation, waiting > 0);
            let (recovered, check) = match observation {
                Observation::Success(_, subjects) => (inner.state.failing.succeeded(subjects), false),
                // Before others are admitted: they wait for its result.
                Observation::Failure(..) => (false, inner.state.begin_check(now)),
                Observation::Nothing | Observation::Throttled(..) => (false, false),
            };
            (events, recovered, check, waiting)
        };
        self.admit_waiting();
        if token.is_probe || recovered || !events.is_empty() {
            self.changed.notify_waiters();
        }
        for event in &events {
            report(event, waiting);
        }
        check
    }
}

impl Inner {
    fn admit_next(&mut self) -> Option<(oneshot::Sender<Slot>, SlotToken, Option<Event>, usize)> {
        let (now, waiting) = (Instant::now(), self.waiting.len());
        if self.state.closed_until(now).is_some() || self.state.is_full(now) {
            return None;
        }
        let (_, sender) = self.waiting.pop_first()?;
        let (token, event) = self.state.admit(now);
        Some((sender, token, event, waiting))
    }
}

impl Slot {
    /// Returns whether the caller is to check for an outage.
    pub(super) fn leave(&mut self, observation: &Observation<'_>) -> bool {
        self.token.take().is_some_and(|token| self.queue.leave(token, observation))
    }

    /// Frees the slot for other messages. A probe keeps it: no other message may be in flight.
    pub(super) fn release(&mut self) {
        if let Some(token) = self.token.as_mut().filter(|token| !token.is_probe) {
            self.queue.inner().state.release_slot(token);
            self.queue.admit_waiting();
        }
    }

    pub(super) fn is_released(&self) -> bool {
        self.token.is_some_and(|token| token.is_released)
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leave(&Observation::Nothing);
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.queue.inner().waiting.remove(&self.position);
    }
}
