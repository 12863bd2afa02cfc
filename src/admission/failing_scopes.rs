//! The rows, keys and tables whose writes fail although others succeed.
//!
//! One message at a time tries a failing row, key or table again, after a pause that doubles. Those behind it wait in place while
//! they find a seat, or go back at once: all of them together hold only a part of what the host keeps in flight, so that one
//! refused table does not starve the others.
//!
//! Pure, no clock: the time and the random numbers are passed in.

use std::collections::HashMap;

use fastrand::Rng;
use tokio::time::Instant;

use super::circuit_breaker::back_off;
use super::{OutageCause, Subjects};
use crate::classify::FailureScope;

/// Subjects come from messages, so their number is bounded; beyond it the one that is due first is forgotten.
const MAX_SCOPES: usize = 1_024;

#[derive(Debug)]
pub(super) struct FailingScopes {
    scopes: HashMap<u64, Failing>,
    free_seats: usize,
}

#[derive(Debug)]
struct Failing {
    cause: OutageCause,
    failures: u32,
    last_failure: Instant,
    next_try: Instant,
}

impl FailingScopes {
    pub(super) fn new(seats: usize) -> Self {
        Self { scopes: HashMap::new(), free_seats: seats }
    }

    /// A write failed; the next is tried after a pause, or after the delay that the service named.
    pub(super) fn failed(&mut self, subject: u64, cause: &OutageCause, now: Instant, rng: &mut Rng) {
        if self.scopes.len() >= MAX_SCOPES && !self.scopes.contains_key(&subject) {
            let oldest = self.scopes.iter().min_by_key(|(_, failing)| failing.next_try).map(|(subject, _)| *subject);
            oldest.and_then(|subject| self.scopes.remove(&subject));
        }
        let failures = self.scopes.get(&subject).map_or(1, |failing| failing.failures + 1);
        let next_try = now + back_off(failures, rng).max(cause.delay.unwrap_or_default());
        self.scopes.insert(subject, Failing { cause: cause.clone(), failures, last_failure: now, next_try });
    }

    /// A write succeeded. Whether any of its subjects was a failing one.
    pub(super) fn succeeded(&mut self, subjects: &Subjects) -> bool {
        let failing = self.scopes.len();
        subjects.all().for_each(|subject| drop(self.scopes.remove(&subject)));
        self.scopes.len() < failing
    }

    /// Until when a message about these subjects has to wait; `None` if it may try now, and then others wait for its answer.
    pub(super) fn closed_until(&mut self, subjects: &Subjects, now: Instant, rng: &mut Rng) -> Option<Instant> {
        let waits_until = self.failing(subjects).map(|failing| failing.next_try);
        if let Some(until) = waits_until.max().filter(|until| *until > now) {
            return Some(until);
        }
        for subject in subjects.all() {
            if let Some(failing) = self.scopes.get_mut(&subject) {
                failing.next_try = now + back_off(failing.failures, rng);
            }
        }
        None
    }

    /// Whether a write about these subjects has failed after `since`.
    pub(super) fn failed_since(&self, subjects: &Subjects, since: Instant) -> bool {
        self.failing(subjects).any(|failing| failing.last_failure > since)
    }

    /// Why messages about these subjects wait.
    pub(super) fn cause(&self, subjects: &Subjects) -> Option<&OutageCause> {
        self.failing(subjects).next().map(|failing| &failing.cause)
    }

    fn failing(&self, subjects: &Subjects) -> impl Iterator<Item = &Failing> {
        subjects.all().filter_map(|subject| self.scopes.get(&subject))
    }

    /// Takes a seat, if one is free.
    pub(super) fn take_seat(&mut self) -> bool {
        let is_free = self.free_seats > 0;
        self.free_seats -= usize::from(is_free);
        is_free
    }

    pub(super) fn give_seat_back(&mut self) {
        self.free_seats += 1;
    }
}

impl Subjects {
    fn all(&self) -> impl Iterator<Item = u64> {
        [self.table, self.row].into_iter().chain(self.keys.iter().copied())
    }

    /// What a failure of this scope is about; `None` if it is about everything.
    pub(super) fn of(&self, scope: FailureScope) -> Option<u64> {
        match scope {
            FailureScope::Environment => None,
            FailureScope::Table => Some(self.table),
            FailureScope::Key(position) => self.keys.get(position).copied().or(Some(self.table)),
            FailureScope::Row => Some(self.row),
        }
    }
}
