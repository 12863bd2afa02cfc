//! How many at once: learned from answers, within a ceiling.
//!
//! - It starts low. The hint that Dataverse gives (`x-ms-dop-hint`) is for all clients of an environment together, and nobody
//!   knows how many those are. So **the first hint seeds half of it**: two clients that start at the same moment make the whole
//!   of it. All beyond is earned, one more per round of answers.
//! - Throttling narrows the width, once per event, and leaves a **crest**: what was in flight, times the share of the time
//!   that was not spent waiting. Had we been slower by that share there would have been nothing to wait for. Up to just below
//!   the crest the width grows by one per round again. Where **requests at once** are the limit, pace does not matter and nothing
//!   is saved up in a pause: the crest is a sixteenth below what was in flight, and the width is there again after the return.
//! - To go beyond a crest is a **bet**, which costs a refusal and a pause when it is lost. So there are [`ANSWERS_PER_BET`]
//!   answers and some minutes between bets; bets that are won double the stake.
//! - Who is throttled too soon is more **cautious** next time: fewer bets, and where nothing can be narrowed, longer pauses.
//!
//! Pure, no clock: the time is passed in. Widths are counted in thousandths, so that a round adds up to one; a part of one is
//! spread over the answers.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/send-parallel-requests>

use std::time::Duration;

use tokio::time::Instant;

use super::LimitKind;

/// One request, in the unit of this module.
const ONE: u64 = 1_000;

/// The golden ratio's part of one: its multiples spread evenly. A width of 3.85 is four for 85 of a hundred answers.
const GOLDEN: u64 = 618;

/// The width before anything is known.
const START: u64 = 4 * ONE;

/// A lost bet costs a refusal or two; that is about one in a hundred answers, and caution makes it fewer.
pub(super) const ANSWERS_PER_BET: u64 = 150;

/// A lost bet costs a pause as well; one in so many is five percent of the time.
const PAUSES_PER_BET: u32 = 20;

/// Where requests at once are the limit, what a pause costs cannot be made up for later.
const PAUSES_PER_BET_AT_ONCE: u32 = 2 * PAUSES_PER_BET;

/// Bets are not made more often than this, however short the pauses are.
const SHORTEST_BET: Duration = Duration::from_mins(1);

/// Nor less often than this, however long: the limits that name long pauses have a memory, and what is not used in a pause is
/// there after it.
const LONGEST_BET: Duration = Duration::from_mins(3);

/// A run this short says nothing about the pace that would have been right.
const SHORTEST_RUN: Duration = Duration::from_secs(10);

/// The most that is added to a pause at a width of one.
const MOST_CAUTION: u32 = 64;

/// The width.
#[derive(Debug)]
pub(super) struct Width {
    ceiling: u64,
    /// The width, without what a return takes from it.
    present: u64,
    /// After a closure: so many at once, one more with each answer, until the width is reached.
    ramp: Option<u64>,
    crest: Option<Crest>,
    /// The largest hint so far.
    hint: u32,
    /// Answers since the last throttling.
    answers: u64,
    caution: u32,
    /// When the present run began.
    since: Instant,
}

/// Just below where throttling was met.
#[derive(Debug)]
struct Crest {
    width: u64,
    stake: u64,
    between_bets: Duration,
    next_bet: Instant,
    next_bet_answers: u64,
}

impl Width {
    /// A width that never exceeds `ceiling`.
    pub(super) fn new(ceiling: u64, now: Instant) -> Self {
        let ceiling = ceiling.max(1).saturating_mul(ONE);
        Self {
            ceiling,
            present: START.min(ceiling),
            ramp: None,
            crest: None,
            hint: 0,
            answers: 0,
            caution: 1,
            since: now,
        }
    }

    /// How many may be in flight now.
    pub(super) fn limit(&self) -> u64 {
        let width = self.ramp.map_or(self.present, |ramp| ramp.min(self.present));
        (width + self.answers * GOLDEN % ONE) / ONE
    }

    /// An answer came; `full` says that others would have been sent as well, had there been room.
    pub(super) fn answered(&mut self, now: Instant, full: bool) {
        self.answers += 1;
        if let Some(ramp) = self.ramp {
            self.ramp = Some(ramp + ONE).filter(|ramp| *ramp < self.present);
        } else if full {
            self.grow(now);
        }
    }

    fn grow(&mut self, now: Instant) {
        let top = self.crest.as_ref().map_or(self.ceiling, |crest| crest.width).min(self.ceiling);
        if self.present < top {
            self.present = (self.present + ONE * ONE / self.present).min(top);
        } else if let Some(crest) = &mut self.crest
            && crest.width < self.ceiling
            && crest.next_bet <= now
            && crest.next_bet_answers <= self.answers
        {
            crest.width += crest.stake;
            crest.stake *= 2;
            crest.next_bet = now + crest.between_bets;
            crest.next_bet_answers = self.answers + ANSWERS_PER_BET;
        }
    }

    /// Dataverse recommends so many for all its clients. A hint that grows says that the environment did: what was learned
    /// in the smaller one is void. One that shrinks is left to the throttling that would follow from it.
    pub(super) fn hinted(&mut self, hint: u32) {
        if hint <= self.hint {
            return;
        }
        let half = (u64::from(hint) * ONE / 2).clamp(ONE, self.ceiling);
        self.present = if self.hint == 0 { half } else { half.max(self.present) };
        self.hint = hint;
        self.crest = None;
    }

    /// Throttled with `running` in flight, and asked to wait for `delay`. Gives what caution adds to that.
    pub(super) fn throttled(&mut self, now: Instant, excess: LimitKind, running: u64, delay: Duration) -> Duration {
        self.caution = match u32::try_from(self.answers / (ANSWERS_PER_BET / 2)).unwrap_or(u32::MAX) {
            0 if self.crest.is_some() => (self.caution * 2).min(MOST_CAUTION),
            0 => self.caution,
            halves => (self.caution / halves.div_ceil(2)).max(1),
        };
        self.answers = 0;
        let met = (running * ONE).min(self.present).max(ONE);
        // Right after a return it is not the width that was wrong, the pause was too short.
        let too_early = self.ramp.is_some_and(|ramp| ramp <= 2 * ONE);
        if !too_early {
            self.narrow(now, excess, met, delay);
        }
        if too_early || met == ONE { Duration::from_secs(1) * (self.caution - 1) } else { Duration::ZERO }
    }

    fn narrow(&mut self, now: Instant, excess: LimitKind, met: u64, delay: Duration) {
        let (crest, present, pauses) = match excess {
            LimitKind::Rate => (slower(met, now - self.since, delay), met * 7 / 10, PAUSES_PER_BET),
            LimitKind::Concurrency => (met - met / 16, met, PAUSES_PER_BET_AT_ONCE),
        };
        let crest = crest.max(ONE);
        let between_bets = (delay * pauses).clamp(SHORTEST_BET, LONGEST_BET);
        self.crest = Some(Crest {
            width: crest,
            stake: ONE / 2,
            between_bets,
            next_bet: now + delay + between_bets,
            next_bet_answers: ANSWERS_PER_BET * u64::from(self.caution.min(8)),
        });
        self.present = present.clamp(ONE, crest);
    }

    /// The gate closes: the return will be gentle.
    pub(super) fn closed(&mut self) {
        self.ramp = Some(ONE);
    }

    /// The gate is open again.
    pub(super) fn opened(&mut self, now: Instant) {
        self.since = now;
    }
}

/// The width that would have lasted through the run and the pause that it led to.
fn slower(met: u64, run: Duration, pause: Duration) -> u64 {
    let share = met * millis(run) / millis(run + pause).max(1);
    let least = if run < SHORTEST_RUN { met / 2 } else { 0 };
    share.min(met - met / 32).max(least)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 1_000_000)
}
