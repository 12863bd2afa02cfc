//! Puts messages on the queue: several at once, those of one key one after the other, in the order of the file.
//!
//! An error that other messages would meet too ends it. What is in flight is finished in any case, so that the offset that is kept
//! says what has been put.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, FuturesUnordered};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::source::{Message, Position, WrongLine};
use super::state::{Checkpoint, StateError};
use crate::dead_letters::Rate;
use crate::dead_letters::queue::Queue;
use crate::storage::Error;

/// Messages in flight.
const MAX_IN_FLIGHT: usize = 16;

/// The state is saved after so many messages; after a kill as many may be put again, and those that are in flight.
const SAVE_EVERY: u64 = 100;

/// The pause before a put is tried once more, after the queue client's own repetitions, which take some seconds.
const PAUSE: Duration = Duration::from_secs(2);

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
    pub(super) rate: Option<Rate>,
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
    /// Those of them that lie behind the offset, and will be put again.
    pub(super) again: u64,
    pub(super) checkpoint: Checkpoint,
    pub(super) end: Result<(), Stop>,
}

impl Sender<'_> {
    /// Puts what is read, beginning at this checkpoint. `save` keeps one now and then, and `count` sees each message.
    pub(super) async fn run(
        &self,
        records: mpsc::Receiver<Read>,
        begin: Checkpoint,
        mut save: impl FnMut(Checkpoint) -> Result<(), StateError>,
        count: impl Fn(),
    ) -> Sent {
        let (mut done, mut keys, mut running) = (Done::new(begin), Keys::default(), FuturesUnordered::new());
        let (mut end, mut is_reading, mut is_broken) = (Ok(()), true, false);
        let (mut put, mut maybe_twice) = (0, 0);
        let records = stream::unfold(records, async |mut records| Some((records.recv().await?, records)));
        let mut records = pin!(records.then(async |record| self.in_turn(record).await));
        loop {
            tokio::select! {
                biased;
                Some((message, is_ambiguous, result)) = running.next(), if !running.is_empty() => {
                    let Message { position, key, .. } = message;
                    maybe_twice += u64::from(is_ambiguous);
                    match result {
                        Ok(()) => {
                            put += 1;
                            count();
                            done.finish(position);
                            if put % SAVE_EVERY == 0 && let Err(error) = save(done.checkpoint()) {
                                (is_broken, end) = (true, end.and(Err(Stop::State(error))));
                            }
                        }
                        Err(error) => {
                            (is_broken, end) = (true, end.and(Err(Stop::Queue { error, line: position.line })));
                        }
                    }
                    is_reading &= !is_broken;
                    let next = keys.leave(&key);
                    running.extend(next.filter(|_| !is_broken).map(|next| self.put(next)));
                }
                () = self.stop.cancelled(), if is_reading => {
                    is_reading = false;
                    end = end.and(Err(Stop::Interrupted));
                }
                record = records.next(), if is_reading && done.pending.len() < MAX_IN_FLIGHT => match record {
                    Some(Ok(message)) => {
                        done.begin(message.position);
                        running.extend(keys.enter(message).map(|message| self.put(message)));
                    }
                    Some(Err(stop)) => (is_reading, end) = (false, end.and(Err(stop))),
                    None => is_reading = false,
                },
                else => break,
            }
        }
        let checkpoint = done.checkpoint();
        let end = end.and(save(checkpoint).map_err(Stop::State));
        Sent { put, maybe_twice, again: put - (checkpoint.records - begin.records), checkpoint, end }
    }

    async fn in_turn(&self, record: Read) -> Read {
        if let Some(rate) = &self.rate {
            rate.turn().await;
        }
        record
    }

    /// Puts a message, and tries for a while. Also returns whether it may be there once more than the result says.
    async fn put(&self, message: Message) -> (Message, bool, Result<(), Error>) {
        let (begun, mut may_be_there) = (Instant::now(), false);
        loop {
            let (result, is_ambiguous) = self.queue.send(&message.text).await;
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

/// Which records have been put, in the order of the file.
struct Done {
    /// By the byte where it ends, each one that is begun and not put, with what lies before it.
    pending: BTreeMap<u64, Checkpoint>,
    /// What follows the last one that was begun.
    next: Checkpoint,
}

impl Done {
    fn new(next: Checkpoint) -> Self {
        Self { pending: BTreeMap::new(), next }
    }

    fn begin(&mut self, position: Position) {
        self.pending.insert(position.end, self.next);
        self.next = Checkpoint { offset: position.end, records: self.next.records + 1 };
    }

    fn finish(&mut self, position: Position) {
        self.pending.remove(&position.end);
    }

    /// Everything before it is put.
    fn checkpoint(&self) -> Checkpoint {
        self.pending.first_key_value().map_or(self.next, |(_, begin)| *begin)
    }
}

/// The keys of which a message is in flight, and the messages that wait for it.
#[derive(Default)]
struct Keys(HashMap<String, VecDeque<Message>>);

impl Keys {
    /// Returns the message if it can be put now.
    fn enter(&mut self, message: Message) -> Option<Message> {
        if let Some(waiting) = self.0.get_mut(&message.key) {
            waiting.push_back(message);
            return None;
        }
        self.0.insert(message.key.clone(), VecDeque::new());
        Some(message)
    }

    /// The message of this key is put; returns the next one.
    fn leave(&mut self, key: &str) -> Option<Message> {
        let next = self.0.get_mut(key).and_then(VecDeque::pop_front);
        if next.is_none() {
            self.0.remove(key);
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(key: &str, end: u64) -> Message {
        Message { position: Position { line: end, end }, key: key.to_owned(), text: String::new() }
    }

    #[test]
    fn the_offset_is_that_of_the_first_record_that_is_not_put() {
        let at = |offset, records| Checkpoint { offset, records };
        let mut done = Done::new(at(10, 1));
        for end in [20, 30, 40] {
            done.begin(message("", end).position);
        }
        for (end, checkpoint) in [(30, at(10, 1)), (20, at(30, 3)), (40, at(40, 4))] {
            done.finish(message("", end).position);
            assert_eq!(done.checkpoint(), checkpoint);
        }
    }

    #[test]
    fn messages_of_one_key_leave_one_after_the_other_in_their_order() {
        let mut keys = Keys::default();
        let end = |message: Option<Message>| message.map(|message| message.position.end);
        let entered =
            [("a", 1), ("b", 2), ("a", 3), ("a", 4), ("b", 5)].map(|(key, at)| end(keys.enter(message(key, at))));
        assert_eq!(entered, [Some(1), Some(2), None, None, None]);
        assert_eq!(["a", "b", "a", "b", "a"].map(|key| end(keys.leave(key))), [Some(3), Some(5), Some(4), None, None]);
        assert_eq!(end(keys.enter(message("a", 6))), Some(6), "nothing is kept of a key that is done");
        assert_eq!(keys.0.len(), 1);
    }
}
