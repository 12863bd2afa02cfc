//! Who waits before the gate, in what order, and how their turn comes.
//!
//! First come, first served, by ticket. A message that was throttled keeps its ticket; one that failed gets a new one, so that
//! another is the next probe; one that stepped aside for a lock goes first when it has it.
//!
//! Nothing is lost by cancellation: a place on its way to somebody who no longer waits comes back by its own drop. Nobody
//! sleeps through a change: whoever waits listens for changes before looking, and whoever changes something lets in who may pass.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::report::log;
use super::state::{Entry, Event, Pass, Report, State};
use super::{Closed, Patience};

/// A position in the line: those who come back with a lock go before all others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ticket {
    /// Comes back.
    Back(u64),
    /// Has come.
    New(u64),
}

/// What all messages share.
#[derive(Debug)]
pub(super) struct Line {
    inner: Mutex<Inner>,
    /// The gate closed, opened, or nobody shall wait any more.
    changed: Notify,
}

#[derive(Debug)]
struct Inner {
    state: State,
    waiting: BTreeMap<Ticket, oneshot::Sender<Place>>,
    tickets: u64,
    stopping: bool,
}

/// A place inside, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    line: Arc<Line>,
    /// `None` when its holder has left.
    pass: Option<Pass>,
}

/// Somebody in the line; dropped, it leaves the line.
struct Waiter<'a> {
    line: &'a Line,
    ticket: Ticket,
    turn: oneshot::Receiver<Place>,
}

impl Line {
    pub(super) fn new(state: State) -> Self {
        let inner = Inner { state, waiting: BTreeMap::new(), tickets: 0, stopping: false };
        Self { inner: Mutex::new(inner), changed: Notify::new() }
    }

    /// The next number.
    pub(super) fn number(&self) -> u64 {
        let mut inner = self.inner();
        inner.tickets += 1;
        inner.tickets
    }

    /// How many wait.
    pub(super) fn length(&self) -> usize {
        self.inner().waiting.len()
    }

    /// How many may be inside, how many are, and how many wait.
    pub(super) fn figures(&self) -> [u64; 3] {
        let inner = self.inner();
        let waiting = u64::try_from(inner.waiting.len()).unwrap_or(u64::MAX);
        [inner.state.width(), inner.state.inside(), waiting]
    }

    /// Waits for a place; not at all while it is known that the gate stays closed beyond `leaves_if_closed_at`.
    pub(super) async fn wait(
        self: &Arc<Self>,
        ticket: Ticket,
        patience: Patience,
        leaves_if_closed_at: Option<Instant>,
    ) -> Result<Place, Closed> {
        let mut waiter = self.join(ticket);
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            self.let_in();
            if let Ok(place) = waiter.turn.try_recv() {
                return Ok(place);
            }
            let closed_until = self.closed_until();
            let too_long = leaves_if_closed_at.zip(closed_until).is_some_and(|(at, closed_until)| closed_until > at);
            let end = if closed_until.is_some() { patience.until } else { patience.in_line_until };
            if too_long || self.is_over(end) {
                return waiter.leave();
            }
            tokio::select! {
                biased;
                place = &mut waiter.turn => return Ok(place.expect("a turn is sent or stays in the line")),
                () = changed => {}
                () = sleep_until(closed_until.map_or(end, |until| until.min(end))) => {}
            }
        }
    }

    /// Keeps out of the others' way until then; whether patience lasts so long.
    pub(super) async fn rest(&self, from: Instant, patience: Patience) -> bool {
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if from <= Instant::now() {
                return true;
            }
            let too_long = patience.leaves_early && from > patience.until;
            if too_long || self.is_over(patience.until) {
                return false;
            }
            tokio::select! {
                () = changed => {}
                () = sleep_until(from.min(patience.until)) => {}
            }
        }
    }

    /// From now on nobody waits.
    pub(super) fn stop(&self) {
        self.inner().stopping = true;
        self.changed.notify_waiters();
    }

    /// What somebody is told who does not get in.
    pub(super) fn closed(&self) -> Closed {
        let (inner, now) = (self.inner(), Instant::now());
        let retry_after = match inner.state.entry(now) {
            Entry::From(until) => Some(until - now),
            Entry::Now | Entry::Full => None,
        };
        Closed { why: inner.state.why(now), retry_after }
    }

    /// Looks at the gate's mind, or changes what does not let anybody in.
    pub(super) fn with_state<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.inner().state)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join(&self, ticket: Ticket) -> Waiter<'_> {
        let (turn, wait) = oneshot::channel();
        self.inner().waiting.insert(ticket, turn);
        Waiter { line: self, ticket, turn: wait }
    }

    fn is_over(&self, end: Instant) -> bool {
        end <= Instant::now() || self.inner().stopping
    }

    fn closed_until(&self) -> Option<Instant> {
        match self.inner().state.entry(Instant::now()) {
            Entry::From(until) => Some(until),
            Entry::Now | Entry::Full => None,
        }
    }

    /// Lets in whoever may pass now, first come, first served.
    fn let_in(self: &Arc<Self>) {
        while let Some((turn, pass, event, waiting)) = self.next() {
            if let Some(event) = event {
                log(&event, waiting);
            }
            // To somebody who has left meanwhile it does not arrive, and comes back by its drop.
            drop(turn.send(Place { line: self.clone(), pass: Some(pass) }));
        }
    }

    fn next(&self) -> Option<(oneshot::Sender<Place>, Pass, Option<Event>, usize)> {
        let (mut inner, now) = (self.inner(), Instant::now());
        if inner.waiting.is_empty() || inner.state.entry(now) != Entry::Now {
            return None;
        }
        let waiting = inner.waiting.len();
        let (_, turn) = inner.waiting.pop_first()?;
        let (pass, event) = inner.state.let_in(now);
        Some((turn, pass, event, waiting))
    }

    fn left(self: &Arc<Self>, pass: Pass, report: &Report<'_>) {
        let (events, waiting) = {
            let mut inner = self.inner();
            let waiting = inner.waiting.len();
            (inner.state.left(Instant::now(), pass, report, waiting > 0), waiting)
        };
        self.let_in();
        if pass.probe || !events.is_empty() {
            self.changed.notify_waiters();
        }
        for event in &events {
            log(event, waiting);
        }
    }
}

impl Place {
    /// Leaves, with what was learnt.
    pub(super) fn leave(&mut self, report: &Report<'_>) {
        if let Some(pass) = self.pass.take() {
            self.line.left(pass, report);
        }
    }

    /// Lends the place to others. A probe keeps it: nobody else may be inside.
    pub(super) fn step_aside(&mut self) {
        if let Some(pass) = self.pass.as_mut().filter(|pass| !pass.probe) {
            self.line.inner().state.step_aside(pass);
            self.line.let_in();
        }
    }

    /// Whether it is lent to others.
    pub(super) fn is_lent(&self) -> bool {
        self.pass.is_some_and(|pass| pass.aside)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave(&Report::Nothing);
    }
}

impl Waiter<'_> {
    fn leave(mut self) -> Result<Place, Closed> {
        self.line.inner().waiting.remove(&self.ticket);
        // The turn may have come in this very moment.
        self.turn.try_recv().map_err(|_| self.line.closed())
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.line.inner().waiting.remove(&self.ticket);
    }
}
