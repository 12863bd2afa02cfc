//! What the gate knows, and what follows from it: may somebody pass now, and if not, when.
//!
//! It counts who is inside, and puts three things together: the width, the pause that Dataverse asked for, and the hold that an
//! outage leads to. Answers to requests that were sent before the last turn of events are old news: they neither narrow the
//! width a second time nor close the gate again.
//!
//! Pure, no clock: the time is passed in, and the dice are its own. Invariant: everybody who was let in leaves once.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::Instant;

use super::circuit_breaker::{Hold, Streak, pause_after};
use super::concurrency_limit::Width;
use super::{LimitKind, Trouble, Why};

/// The jitter at the end of a pause is this part of it, within the two bounds below.
const JITTER_PART: u32 = 5;
pub(super) const LEAST_JITTER: Duration = Duration::from_millis(250);
pub(super) const MOST_JITTER: Duration = Duration::from_secs(10);

/// The gate's mind.
#[derive(Debug)]
pub(super) struct State {
    dice: Rng,
    width: Width,
    inside: u64,
    /// Rises with each turn of events: throttled, closed.
    epoch: u64,
    successes: u64,
    streak: Streak,
    pause: Option<Pause>,
    hold: Option<Hold>,
}

#[derive(Debug)]
struct Pause {
    since: Instant,
    until: Instant,
}

/// As what somebody was let in.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pass {
    epoch: u64,
    pub(super) probe: bool,
    /// Its place is lent to others.
    pub(super) aside: bool,
}

/// Whether somebody may pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// Now.
    Now,
    /// When somebody has left.
    Full,
    /// Not before then.
    From(Instant),
}

/// What somebody has learnt inside.
#[derive(Debug)]
pub(super) enum Report<'a> {
    /// Nothing.
    Nothing,
    /// It works; the parallelism that is recommended.
    Works(Option<u32>),
    /// Too much; the delay that was named, and what there was too much of.
    Throttled(Option<Duration>, LimitKind),
    /// It fails; `alone` says that others have succeeded since this message first failed.
    Fails { trouble: &'a Trouble, alone: bool },
}

/// What an operator should know.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A pause of this length has begun.
    Paused(Duration),
    /// A pause has ended after this time.
    Resumed(Duration),
    /// Messages wait in place because of this.
    Held(Trouble),
    /// What made them wait is over, after this time.
    Released(Trouble, Duration),
}

impl State {
    pub(super) fn new(ceiling: usize, dice: Rng, now: Instant) -> Self {
        let width = Width::new(u64::try_from(ceiling).unwrap_or(u64::MAX), now);
        let streak = Streak::default();
        Self { dice, width, inside: 0, epoch: 0, successes: 0, streak, pause: None, hold: None }
    }

    /// Whether somebody may pass now.
    pub(super) fn entry(&self, now: Instant) -> Entry {
        let closed_until = [self.pause.as_ref().map(|pause| pause.until), self.hold.as_ref().map(Hold::next_probe)];
        match closed_until.into_iter().flatten().max() {
            Some(until) if until > now => Entry::From(until),
            _ if self.hold.is_none() && self.inside >= self.width.limit() => Entry::Full,
            _ => Entry::Now,
        }
    }

    /// Why nobody may pass.
    pub(super) fn why(&self, now: Instant) -> Why {
        match (&self.hold, &self.pause) {
            (Some(hold), _) => Why::Held(hold.trouble.clone()),
            (None, Some(pause)) if pause.until > now => Why::Paused,
            (None, _) => Why::Full,
        }
    }

    /// Lets somebody in, where [`State::entry`] says that this may be.
    pub(super) fn let_in(&mut self, now: Instant) -> (Pass, Option<Event>) {
        let over = self.pause.take();
        if over.is_some() {
            self.width.opened(now);
        }
        if let Some(hold) = &mut self.hold {
            hold.probing(now);
        }
        self.inside += 1;
        let pass = Pass { epoch: self.epoch, probe: self.hold.is_some(), aside: false };
        (pass, over.map(|pause| Event::Resumed(pause.until - pause.since)))
    }

    /// Lends the place of somebody who waits for something else.
    pub(super) fn step_aside(&mut self, pass: &mut Pass) {
        if !pass.aside {
            pass.aside = true;
            self.inside -= 1;
        }
    }

    /// Somebody leaves who was let in; `crowded` says that others wait.
    pub(super) fn left(&mut self, now: Instant, pass: Pass, report: &Report<'_>, crowded: bool) -> Vec<Event> {
        let inside = self.inside;
        if !pass.aside {
            self.inside -= 1;
        }
        match report {
            Report::Nothing => self.learnt_nothing(now, pass),
            Report::Works(hint) => self.works(now, pass, *hint, crowded || inside >= self.width.limit()),
            Report::Throttled(delay, excess) => self.throttled(now, pass, *delay, *excess, inside),
            Report::Fails { trouble, alone } => self.fails(now, pass, trouble, *alone),
        }
    }

    /// How often something has worked so far.
    pub(super) fn successes(&self) -> u64 {
        self.successes
    }

    /// How many may be inside, while nothing keeps the gate closed.
    pub(super) fn width(&self) -> u64 {
        self.width.limit()
    }

    /// How many are inside.
    pub(super) fn inside(&self) -> u64 {
        self.inside
    }

    /// Whether an outage keeps the gate closed.
    pub(super) fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// How long a message that failed so often in a row keeps out of the others' way.
    pub(super) fn rest_after(&mut self, failures: u32) -> Duration {
        pause_after(failures, &mut self.dice)
    }

    fn learnt_nothing(&mut self, now: Instant, pass: Pass) -> Vec<Event> {
        if let Some(hold) = self.hold.as_mut().filter(|_| pass.probe) {
            hold.learnt_nothing(now);
        }
        Vec::new()
    }

    fn works(&mut self, now: Instant, pass: Pass, hint: Option<u32>, full: bool) -> Vec<Event> {
        let released = self.release(now, pass);
        self.successes += 1;
        self.streak.end();
        if let Some(hint) = hint {
            self.width.hinted(hint);
        }
        if pass.epoch == self.epoch {
            self.width.answered(now, full);
        }
        released.into_iter().collect()
    }

    /// Whoever refuses for being asked too much is there and knows us: a hold is over.
    fn throttled(
        &mut self,
        now: Instant,
        pass: Pass,
        delay: Option<Duration>,
        excess: LimitKind,
        inside: u64,
    ) -> Vec<Event> {
        let mut events: Vec<_> = self.release(now, pass).into_iter().collect();
        self.streak.end();
        let mut extra = Duration::ZERO;
        if pass.epoch == self.epoch {
            extra = self.width.throttled(now, excess, inside, delay.unwrap_or_default());
            self.epoch += 1;
        }
        if let Some(delay) = delay {
            events.extend(self.pause(now, delay, extra));
        }
        events
    }

    fn pause(&mut self, now: Instant, delay: Duration, extra: Duration) -> Option<Event> {
        let begun = self.pause.as_ref().filter(|pause| pause.until > now).map(|pause| pause.since);
        let is_longer = self.pause.as_ref().is_none_or(|pause| pause.until < now + delay);
        if is_longer {
            let jitter = (delay / JITTER_PART).clamp(LEAST_JITTER, MOST_JITTER).mul_f64(self.dice.f64());
            self.pause = Some(Pause { since: begun.unwrap_or(now), until: now + delay + jitter + extra });
            self.width.closed();
        }
        begun.is_none().then_some(Event::Paused(delay))
    }

    fn fails(&mut self, now: Instant, pass: Pass, trouble: &Trouble, alone: bool) -> Vec<Event> {
        if let Some(hold) = &mut self.hold {
            if pass.probe {
                hold.failed(trouble.clone(), now, &mut self.dice);
            }
            return Vec::new();
        }
        if alone || pass.epoch != self.epoch || !self.streak.is_everybodys(trouble.scope) {
            return Vec::new();
        }
        self.hold = Some(Hold::new(trouble.clone(), now, &mut self.dice));
        self.epoch += 1;
        self.width.closed();
        vec![Event::Held(trouble.clone())]
    }

    /// Ends a hold, if this was a probe.
    fn release(&mut self, now: Instant, pass: Pass) -> Option<Event> {
        let hold = self.hold.take_if(|_| pass.probe)?;
        self.streak.end();
        self.width.opened(now);
        Some(Event::Released(hold.trouble, now - hold.since))
    }
}
