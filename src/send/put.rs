//! Puts messages on the queue: several at once, those of one key one after the other, in the order of the file.
//!
//! An error that other messages would meet too ends it. What is in flight is finished in any case, so that the number that is kept
//! says what has been put.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::source::{Message, WrongLine};
use super::state::StateError;
use crate::dead_letters::Rate;
use crate::dead_letters::queue::Queue;
use crate::storage::Error;

/// Messages in flight.
const MAX_IN_FLIGHT: usize = 16;

/// The state is saved after so many messages; after a kill as many may be put again, and those that are in flight.
const SAVE_EVERY: u64 = 100;

/// The pause before a put is tried once more, after the queue client's own repetitions, which take some seconds.
const PAUSE: Duration = Duration::from_secs(2);

/// A message and how many are put before it.
type Numbered = (u64, Message);

/// A record that was read, or why there is no further one.
pub(super) type Read = Result<Message, Stop>;

/// Why not everything is put.
#[derive(Debug)]
pub(super) enum Stop {
    Interrupted,
    /// Only where the input could not be checked first.
    Line(WrongLine),
    Input(std::io::Error),
    Queue {
        error: Error,
        line: u64,
    },
    State(StateError),
}

/// How messages are put.
pub(super) struct Sender<'a> {
    pub(super) queue: &'a Queue,
    pub(super) rate: Rate,
    pub(super) retry_for: Duration,
    pub(super) stop: CancellationToken,
}

/// What has been put.
#[derive(Debug)]
pub(super) struct Sent {
    /// Messages of this run.
    pub(super) put: u64,
    /// Those of them that may be there twice, because an answer was lost.
    pub(super) maybe_twice: u64,
    /// Those of them that follow one that is not put, and will be put again.
    pub(super) again: u64,
    /// The records before the first one that is not put, those of earlier runs included.
    pub(super) done: u64,
    pub(super) end: Result<(), Stop>,
}

impl Sender<'_> {
    /// Puts what is read, which follows this many records. `save` keeps that number now and then, and `count` sees each message.
    pub(super) async fn run(
        &self,
        records: mpsc::Receiver<Read>,
        begin: u64,
        mut save: impl FnMut(u64) -> Result<(), StateError>,
        count: impl Fn(),
    ) -> Sent {
        let (mut done, mut keys, mut running) = (Done::new(begin), Keys::default(), FuturesUnordered::new());
        let (mut end, mut is_reading, mut is_broken) = (Ok(()), true, false);
        let (mut put, mut maybe_twice) = (0, 0);
        let records = stream::unfold(records, async |mut records| Some((records.recv().await?, records)));
        let mut records = pin!(records.then(async |record| {
            self.rate.turn().await;
            record
        }));
        loop {
            tokio::select! {
                biased;
                Some(((number, message), is_ambiguous, result)) = running.next(), if !running.is_empty() => {
                    let Message { line, links, .. } = message;
                    maybe_twice += u64::from(is_ambiguous);
                    match result {
                        Ok(()) => {
                            put += 1;
                            count();
                            done.finish(number);
                            if put % SAVE_EVERY == 0 && let Err(error) = save(done.count()) {
                                (is_broken, end) = (true, end.and(Err(Stop::State(error))));
                            }
                        }
                        Err(error) => {
                            (is_broken, end) = (true, end.and(Err(Stop::Queue { error, line })));
                        }
                    }
                    is_reading &= !is_broken;
                    let next = keys.leave(links.key());
                    running.extend(next.filter(|_| !is_broken).map(|next| self.put(next)));
                }
                () = self.stop.cancelled(), if is_reading => {
                    is_reading = false;
                    end = end.and(Err(Stop::Interrupted));
                }
                record = records.next(), if is_reading && done.pending.len() < MAX_IN_FLIGHT => match record {
                    Some(Ok(message)) => {
                        running.extend(keys.enter((done.begin(), message)).map(|message| self.put(message)));
                    }
                    Some(Err(stop)) => (is_reading, end) = (false, end.and(Err(stop))),
                    None => is_reading = false,
                },
                else => break,
            }
        }
        let done = done.count();
        let end = end.and(save(done).map_err(Stop::State));
        Sent { put, maybe_twice, again: put - (done - begin), done, end }
    }

    /// Puts a message, and tries for a while. Also returns whether it may be there once more than the result says.
    async fn put(&self, message: Numbered) -> (Numbered, bool, Result<(), Error>) {
        let (begun, mut may_be_there) = (Instant::now(), false);
        loop {
            let (result, is_ambiguous) = self.queue.send(&message.1.text).await;
            may_be_there |= is_ambiguous;
            let is_last = begun.elapsed() + PAUSE > self.retry_for || self.stop.is_cancelled();
            match result {
                Err(error) if error.is_transient() && !is_last => {
                    may_be_there |= error.is_ambiguous();
                    tokio::select! { () = sleep(PAUSE) => {}, () = self.stop.cancelled() => {} }
                }
                result => return (message, may_be_there, result),
            }
        }
    }
}

/// Which records have been put, by their numbers.
struct Done {
    /// Those that are begun and not put.
    pending: BTreeSet<u64>,
    /// The next one that begins.
    next: u64,
}

impl Done {
    fn new(next: u64) -> Self {
        Self { pending: BTreeSet::new(), next }
    }

    fn begin(&mut self) -> u64 {
        let number = self.next;
        self.pending.insert(number);
        self.next += 1;
        number
    }

    fn finish(&mut self, number: u64) {
        self.pending.remove(&number);
    }

    /// The records before the first one that is not put.
    fn count(&self) -> u64 {
        self.pending.first().copied().unwrap_or(self.next)
    }
}

/// The keys of which a message is in flight, and the messages that wait for it.
#[derive(Default)]
struct Keys(HashMap<u64, VecDeque<Numbered>>);

impl Keys {
    /// Returns the message if it can be put now.
    fn enter(&mut self, message: Numbered) -> Option<Numbered> {
        let key = message.1.links.key();
        if let Some(waiting) = self.0.get_mut(&key) {
            waiting.push_back(message);
            return None;
        }
        self.0.insert(key, VecDeque::new());
        Some(message)
    }

    /// The message of this key is put; returns the next one.
    fn leave(&mut self, key: u64) -> Option<Numbered> {
        let next = self.0.get_mut(&key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.0.remove(&key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::RandomState;

    use super::*;
    use crate::record::{Links, decode};

    #[test]
    fn what_is_done_ends_at_the_first_record_that_is_not_put() {
        let mut done = Done::new(1);
        let numbers = [(); 3].map(|()| done.begin());
        assert_eq!(numbers, [1, 2, 3]);
        for (number, count) in [(2, 1), (1, 3), (3, 4)] {
            done.finish(number);
            assert_eq!(done.count(), count);
        }
    }

    #[test]
    fn messages_of_one_key_leave_one_after_the_other_in_their_order() {
        let hasher = RandomState::new();
        let links = |key: &str| {
            let record = format!(r#"{{"table":"contacts","key":{{"k":"{key}"}},"columns":{{}}}}"#);
            Links::of(&decode(&record.into()).expect("a record"), &hasher)
        };
        let message = |key: &str, number| {
            (number, Message { line: 0, links: links(key), has_version: false, text: String::new() })
        };
        let mut keys = Keys::default();
        let number = |message: Option<Numbered>| message.map(|(number, _)| number);
        let entered =
            [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)].map(|(key, at)| number(keys.enter(message(key, at))));
        assert_eq!(entered, [Some(1), Some(2), None, None, None]);
        let left = ["a", "b", "a", "b", "a"].map(|key| number(keys.leave(links(key).key())));
        assert_eq!(left, [Some(3), Some(5), Some(4), None, None]);
        assert_eq!(number(keys.enter(message("a", 6))), Some(6), "nothing is kept of a key that is done");
        assert_eq!(keys.0.len(), 1);
    }
}
