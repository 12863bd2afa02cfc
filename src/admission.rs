//! The gate in front of Dataverse, one per process: so many at once, none during a pause, one at a time in an outage.
//!
//! A message is a [`Visit`]; it enters for a [`Permit`] and says at the end what it has learnt: [`Permit::succeeded`],
//! [`Permit::throttled`], [`Permit::failed`]. From that the gate knows
//! - the **width**: how many may be inside at once, grown and halved as answers come (`gate/width.rs`);
//! - the **pause**: sending on during a `Retry-After` lengthens it, so one answer that names a delay keeps everybody out, and
//!   a little longer, each process by another jitter;
//! - the **hold**: when nothing works for anybody, messages wait here rather than go back to the host, which would count their
//!   deliveries. One at a time is let in to test the water (`gate/hold.rs`).
//!
//! After a pause and after a hold the return is gentle: one at first, one more with each answer. A message that fails while
//! others succeed rests by itself, out of their way, with a back-off of its own.
//!
//! It refuses to know what a record, a lock or an error code is; which reasons are worth waiting for says
//! [`crate::classify::news`]. Who waits here holds neither a place nor a lock.
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

use crate::classify::LimitKind;
use crate::outcome::Reason;
use state::{Report, State};
use wait_queue::{Line, Place, Ticket};

/// The gate. Its clones are one and the same.
#[derive(Debug, Clone)]
pub struct Gate {
    line: Arc<Line>,
}

/// How long a message may wait here, over all its tries.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Through a pause, a hold, and the rests between its own tries, until then.
    pub until: Instant,
    /// For others to leave, while all goes well, until then.
    pub in_line_until: Instant,
    /// Whether to go at once where it is known that nobody gets in before `until`.
    pub leaves_early: bool,
}

/// One message's way through the gate, over all its tries.
#[derive(Debug)]
pub struct Visit {
    line: Arc<Line>,
    patience: Patience,
    ticket: Option<u64>,
    /// Keeps out of the others' way until then.
    rests_until: Option<Instant>,
    failures: u32,
    /// How often anything had succeeded when this message first failed.
    failed_at: Option<u64>,
}

/// The right to talk to Dataverse, until it is dropped. Dropped without a word, nothing was learnt.
#[derive(Debug)]
pub struct Permit<'a> {
    visit: &'a mut Visit,
    place: Place,
}

/// Something that keeps a message from being written, and may be over later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What a message that waits for its end is told.
    pub reason: Reason,
    /// What was answered, for the log: no data of a record.
    pub said: String,
    /// Whose trouble it may be.
    pub scope: Scope,
    /// How long to stay away, where that was named.
    pub delay: Option<Duration>,
}

/// Whose trouble it may be, as far as one failure can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Everybody's.
    Everybody,
    /// That of one row, table or the like; the number tells them apart.
    One(u64),
}

/// Nobody could be let in within the patience given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// What stood in the way.
    pub why: Why,
    /// When to try again, where the gate knows: the rest of a pause, or the time to the next probe.
    pub retry_after: Option<Duration>,
}

/// What stands in the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Dataverse asked for a pause that is not over.
    Paused,
    /// Nothing works at present.
    Held(Trouble),
    /// Others are inside.
    Full,
}

impl Gate {
    /// A gate that lets at most `ceiling` in at once.
    pub fn new(ceiling: usize) -> Self {
        Self { line: Arc::new(Line::new(State::new(ceiling, Rng::new(), Instant::now()))) }
    }

    /// A message has come.
    pub fn visit(&self, patience: Patience) -> Visit {
        Visit { line: self.line.clone(), patience, ticket: None, rests_until: None, failures: 0, failed_at: None }
    }

    /// How many wait before the gate; those who rest by themselves are not counted.
    pub fn waiting(&self) -> usize {
        self.line.length()
    }

    /// How many may be inside, how many are, and how many wait.
    pub fn figures(&self) -> [u64; 3] {
        self.line.figures()
    }

    /// From now on nobody waits: who is not let in at once is told so. Who is inside stays.
    pub fn stop(&self) {
        self.line.stop();
    }
}

impl Visit {
    /// Waits for a place: through the rest that a failure led to, then in line.
    ///
    /// # Errors
    /// When there is none in time.
    pub async fn enter(&mut self) -> Result<Permit<'_>, Closed> {
        if let Some(from) = self.rests_until {
            if !self.line.rest(from, self.patience).await {
                return Err(self.line.closed());
            }
            self.rests_until = None;
        }
        let ticket = *self.ticket.get_or_insert_with(|| self.line.number());
        let leaves_if_closed_at = self.patience.leaves_early.then_some(self.patience.until);
        let place = self.line.wait(Ticket::New(ticket), self.patience, leaves_if_closed_at).await?;
        Ok(Permit { visit: self, place })
    }
}

impl Permit<'_> {
    /// It works. `parallelism` is what Dataverse recommends to all its clients together, where it says so.
    pub fn succeeded(mut self, parallelism: Option<u32>) {
        self.place.leave(&Report::Works(parallelism));
    }

    /// Too much was asked, and `excess` of what; nobody is let in for `delay`. The message keeps its place in the line.
    pub fn throttled(mut self, delay: Option<Duration>, excess: LimitKind) {
        self.place.leave(&Report::Throttled(delay, excess));
        if delay.is_none() {
            self.visit.failures += 1;
            self.visit.rest();
        }
    }

    /// It fails. The message goes to the end of the line, or rests by itself where others may pass; not before `not_before` in
    /// any case.
    pub fn failed(mut self, trouble: &Trouble, not_before: Option<Instant>) {
        let successes = self.visit.line.with_state(|state| state.successes());
        let alone = *self.visit.failed_at.get_or_insert(successes) < successes;
        self.place.leave(&Report::Fails { trouble, alone });
        self.visit.ticket = None;
        self.visit.failures += 1;
        if !self.visit.line.with_state(|state| state.is_held()) {
            self.visit.rest();
            let named = trouble.delay.map(|delay| Instant::now() + delay);
            self.visit.rests_until = self.visit.rests_until.max(named);
        }
        self.visit.rests_until = self.visit.rests_until.max(not_before);
    }

    /// Gives the place to others while the holder waits for something else. A probe keeps its place: nobody else may be inside.
    pub fn step_aside(&mut self) {
        self.place.step_aside();
    }

    /// Takes a place again, before all who wait; nothing to do for who has one.
    ///
    /// # Errors
    /// When the gate has closed meanwhile, at once; or when no place became free in time.
    pub async fn step_back(&mut self) -> Result<(), Closed> {
        if self.place.is_lent() {
            let line = &self.visit.line;
            self.place = line.wait(Ticket::Back(line.number()), self.visit.patience, Some(Instant::now())).await?;
        }
        Ok(())
    }
}

impl Visit {
    fn rest(&mut self) {
        let failures = self.failures;
        let rest = self.line.with_state(|state| state.rest_after(failures));
        self.rests_until = Some(Instant::now() + rest);
    }
}

#[cfg(test)]
mod tests;
