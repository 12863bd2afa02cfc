//! Letters put back on the queue that the handler reads.
//!
//! The order of things is the whole of it: a letter is deleted only after the service has taken its copy. So whenever this
//! ends, each message is on the queue, or its letter is in the poison queue, or both, and never neither. Both happens when the
//! process is killed between the two requests, or when an answer was lost; it is counted, and a replay after that puts such a
//! message there a second time.
//!
//! A letter that comes while this runs is left alone: the handler may have rejected the same message again, and the two would
//! play ball for ever.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::encoding::{Encoding, NotWritable};
use super::entry::Found;
use super::progress::Progress;
use super::queue::{Error, Fate, MOST_AT_ONCE, Put, Queue, Received};
use super::queue_scan::Sweep;
use super::receipts::Ticket;
use super::scan::{End, Selection};

/// So many letters are under way at the same time; as many can be there twice after a kill.
pub const UNDER_WAY: usize = 8;

/// A copy is put only while its letter stays hidden for at least this long: long enough for the put and all its repetitions,
/// so that nobody else can have received the letter before it is deleted.
const MARGIN: Duration = Duration::from_mins(2);

/// How many letters are put back in a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    every: Duration,
}

impl Rate {
    /// Reads `50/s` or `30/m`.
    ///
    /// # Errors
    /// How it is to be written.
    pub fn parse(text: &str) -> Result<Self, String> {
        const WRONG: &str = "a rate is a whole number from 1 to 1000 and a unit, such as 50/s or 30/m";
        let (number, unit) = text.split_once('/').ok_or(WRONG)?;
        let number: u32 = number.parse().ok().filter(|number| (1..=1000).contains(number)).ok_or(WRONG)?;
        let unit = match unit {
            "s" => Duration::from_secs(1),
            "m" => Duration::from_mins(1),
            _ => return Err(WRONG.to_owned()),
        };
        Ok(Self { every: unit / number })
    }

    /// How many letters can be taken at once, so that each has its turn within `time`.
    fn batch(self, time: Duration) -> usize {
        let letters = time.as_micros() / self.every.as_micros().max(1);
        usize::try_from(letters).unwrap_or(MOST_AT_ONCE).clamp(1, MOST_AT_ONCE)
    }

    fn ticks(self) -> Interval {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// What became of the letters that were meant.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Letters that were meant.
    pub matching: u64,
    /// On the queue, and no letter any more.
    pub replayed: u64,
    /// Messages that may be on the queue twice, now or after the next replay.
    pub maybe_twice: u64,
    /// Letters that are still there because something went wrong.
    pub failed: u64,
    /// Letters that were left because they came after the start.
    pub newer: u64,
    /// The first thing that went wrong with a letter.
    pub problem: Option<String>,
}

/// A replay under way.
#[derive(Debug)]
pub struct Replay {
    to: Arc<Queue>,
    rate: Option<Rate>,
    stop: CancellationToken,
    progress: Progress,
    tasks: JoinSet<(Arc<str>, Outcome)>,
    result: Replayed,
    fault: Option<Error>,
}

/// What became of one letter.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    /// The copy is there and the letter is gone.
    Replayed { twice: bool },
    /// The copy is there, and so is the letter, as far as we know.
    NotDeleted { error: Error },
    /// The letter is there; `twice` when the copy may be there too.
    NotPut { error: Error, twice: bool },
}

impl Replay {
    /// To `to`; nothing is put yet.
    pub fn new(to: Arc<Queue>, rate: Option<Rate>, stop: CancellationToken, progress: Progress) -> Self {
        Self { to, rate, stop, progress, tasks: JoinSet::new(), result: Replayed::default(), fault: None }
    }

    /// Puts all letters back that are meant, until the end, the bound, a signal, or a fault that would meet every letter.
    /// What is under way is finished in any case.
    pub async fn run(mut self, sweep: &mut Sweep, selection: &Selection) -> (Replayed, End) {
        let size = self.rate.map_or(MOST_AT_ONCE, |rate| rate.batch(sweep.hidden() / 4));
        let mut ticks = self.rate.map(Rate::ticks);
        let end = loop {
            if let Some(error) = self.fault.take() {
                break End::Queue(error);
            }
            if selection.is_full(self.result.matching) {
                break End::Enough;
            }
            if self.stop.is_cancelled() {
                break End::Stopped;
            }
            let last_start = Instant::now() + sweep.hidden().saturating_sub(MARGIN);
            let letters = match sweep.next(size).await {
                Ok(letters) if letters.is_empty() => break End::All,
                Ok(letters) => letters,
                Err(error) => break End::Queue(error),
            };
            let chosen = self.choose(letters, sweep, selection);
            self.send(chosen, sweep, ticks.as_mut(), last_start).await;
        };
        (self.result, end)
    }

    fn choose(&mut self, letters: Vec<Received>, sweep: &Sweep, selection: &Selection) -> Vec<Copying> {
        let (now, all) = (sweep.start().now, letters.len());
        let mut chosen = Vec::with_capacity(all);
        for letter in letters {
            let Some(found) = selection.find(&letter, now) else { continue };
            if letter.inserted > now {
                self.result.newer += 1;
            } else if !selection.is_full(self.result.matching) {
                self.result.matching += 1;
                chosen.push(Copying { text: text(selection.encoding, &letter, &found), ticket: letter.ticket });
            }
        }
        self.progress.add(all - chosen.len());
        chosen
    }

    /// Sends one batch and waits until all of it that was begun is done with.
    async fn send(
        &mut self,
        chosen: Vec<Copying>,
        sweep: &mut Sweep,
        ticks: Option<&mut Interval>,
        last_start: Instant,
    ) {
        let mut ticks = ticks;
        for Copying { ticket, text } in chosen {
            while self.tasks.len() >= UNDER_WAY {
                self.settle(sweep).await;
            }
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                () = tick(ticks.as_deref_mut()) => {}
            }
            if self.fault.is_some() {
                break;
            }
            match text {
                Err(problem) => self.fail(problem.to_string()),
                Ok(_) if Instant::now() > last_start => self.fail("its turn came too late".to_owned()),
                Ok(text) => {
                    let id = ticket.id.clone();
                    let forwarded = forward(sweep.queue().clone(), self.to.clone(), ticket, text);
                    self.tasks.spawn(async move { (id, forwarded.await) });
                }
            }
        }
        while !self.tasks.is_empty() {
            self.settle(sweep).await;
        }
    }

    /// Waits for one that is under way.
    async fn settle(&mut self, sweep: &mut Sweep) {
        let Some(settled) = self.tasks.join_next().await else { return };
        let (id, outcome) = settled.expect("it is not cancelled and does not panic");
        match outcome {
            Outcome::Replayed { twice } => {
                sweep.release(&id);
                self.progress.add(1);
                self.result.replayed += 1;
                self.result.maybe_twice += u64::from(twice);
            }
            Outcome::NotDeleted { error } => {
                self.result.maybe_twice += 1;
                self.fail(error.to_string());
                self.fault.get_or_insert(error);
            }
            Outcome::NotPut { error, twice } => {
                self.result.maybe_twice += u64::from(twice);
                self.fail(error.to_string());
                if !error.is_about_the_message() {
                    self.fault.get_or_insert(error);
                }
            }
        }
    }

    fn fail(&mut self, problem: String) {
        self.progress.add(1);
        self.result.failed += 1;
        self.result.problem.get_or_insert(problem);
    }
}

/// A letter that is to be put back, or why it cannot be.
struct Copying {
    ticket: Ticket,
    text: Result<String, NotWritable>,
}

/// What is put. A message that the host moved and that cannot be written as the host would is put as it lies there.
fn text(encoding: Encoding, received: &Received, found: &Found) -> Result<String, NotWritable> {
    match encoding.encode(&found.letter.original) {
        Err(NotWritable) if found.letter.why.is_none() => Ok(received.text.clone()),
        written => written,
    }
}

async fn tick(ticks: Option<&mut Interval>) {
    if let Some(ticks) = ticks {
        ticks.tick().await;
    }
}

/// Copy, then delete; never the other way round.
async fn forward(poison: Arc<Queue>, to: Arc<Queue>, letter: Ticket, text: String) -> Outcome {
    let Put { result, in_doubt } = to.put(&text).await;
    if let Err(error) = result {
        return Outcome::NotPut { error, twice: in_doubt };
    }
    match poison.delete(&letter).await {
        Ok(Fate::Ours(())) => Outcome::Replayed { twice: in_doubt },
        // Whoever has the letter now may put a copy of their own.
        Ok(Fate::NotOurs) => Outcome::Replayed { twice: true },
        Err(error) => Outcome::NotDeleted { error },
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::dead_letters::letter::Letter;

    #[test]
    fn a_rate_is_a_number_in_a_time() {
        assert_eq!(Rate::parse("50/s"), Ok(Rate { every: Duration::from_millis(20) }));
        assert_eq!(Rate::parse("30/m"), Ok(Rate { every: Duration::from_secs(2) }));
        for text in ["", "50", "0/s", "1001/s", "-1/s", "1.5/s", "5/h", "/s", "5 /s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn no_more_letters_are_taken_than_have_their_turn_in_time() {
        let time = Duration::from_secs(75);
        for (rate, letters) in [("1000/s", 32), ("1/s", 32), ("20/m", 25), ("1/m", 1)] {
            assert_eq!(Rate::parse(rate).expect("a rate").batch(time), letters, "{rate}");
        }
    }

    fn put_back(encoding: Encoding, lying: &str) -> Result<String, NotWritable> {
        let (inserted, expires) = (datetime!(2026-11-24 10:00 UTC), datetime!(2026-12-01 10:00 UTC));
        let ticket = Ticket { id: "1".into(), receipt: "r".into() };
        let letter = Letter::read(encoding.decode(lying));
        let found = Found { id: "1".into(), inserted, expires, dequeued: 1, letter };
        text(encoding, &Received { ticket, text: lying.to_owned(), inserted, expires, dequeued: 1 }, &found)
    }

    #[test]
    fn what_is_put_back_is_the_original_as_the_host_reads_it() {
        let record = r#"{"table":"contacts"}"#;
        let letter = serde_json::json!({ "message": record, "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let in_base64 = |text: &str| Encoding::Base64.encode(text.as_bytes()).expect("base64 carries all");
        for lying in [letter.to_string(), in_base64(&letter.to_string()), record.to_owned(), in_base64(record)] {
            assert_eq!(put_back(Encoding::Base64, &lying), Ok(in_base64(record)), "{lying}");
            assert_eq!(put_back(Encoding::None, &lying).as_deref(), Ok(record), "{lying}");
        }
    }

    #[test]
    fn what_is_no_text_is_put_back_byte_for_byte() {
        let lying = Encoding::Base64.encode(b"\xff\x00\x01").expect("base64 carries all");
        for encoding in [Encoding::Base64, Encoding::None] {
            assert_eq!(put_back(encoding, &lying).as_ref(), Ok(&lying), "{encoding:?}");
        }
        let letter = serde_json::json!({ "message": "\u{0}", "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let wrapped = Encoding::Base64.encode(letter.to_string().as_bytes()).expect("base64 carries all");
        assert_eq!(put_back(Encoding::None, &wrapped), Err(NotWritable), "the wrapping must not go along");
        assert_eq!(put_back(Encoding::Base64, &wrapped).as_deref(), Ok("AA=="));
    }
}
