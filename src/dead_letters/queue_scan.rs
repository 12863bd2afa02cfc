//! One way through a queue: every letter that can be had, 32 at a time, kept hidden until it is given back.
//!
//! A queue cannot be listed beyond its first 32 messages. To see all of them they are received, which hides them from
//! everybody for a time; so no letter comes twice. They are given back at the end. A process that is killed gives nothing
//! back, and the time does it; a run that takes long extends it for what it still holds. So the time is short, and longer for
//! a fuller queue: reading and giving back take some milliseconds a letter.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/get-messages>

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::queue::{Error, Fate, Look, Queue, Received};
use super::receipts::{Holds, Ticket};
use crate::storage;

/// How long letters are hidden at least.
pub const HIDDEN: Duration = Duration::from_mins(5);

/// How much longer for each letter that the service counts.
const HIDDEN_PER_LETTER: Duration = Duration::from_millis(10);

/// A day is enough for any queue, and what is held longer is extended.
const HIDDEN_AT_MOST: Duration = Duration::from_hours(24);

/// So many letters are extended or given back at the same time.
const SIDE_BY_SIDE: usize = 16;

/// What became of letters that were to be deleted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Deleted {
    /// They are gone.
    pub deleted: u64,
    /// Somebody else received or deleted them, or they expired.
    pub not_ours: u64,
}

/// A way through a queue, begun.
#[derive(Debug)]
pub struct Sweep {
    queue: Arc<Queue>,
    start: Look,
    hidden: Duration,
    holds: Holds,
    seen: u64,
}

impl Sweep {
    /// Looks how full the queue is; nothing is received yet.
    pub async fn begin(queue: Arc<Queue>) -> Result<Self, Error> {
        let start = queue.look().await?;
        Ok(Self { queue, start, hidden: hidden(start.counted), holds: Holds::default(), seen: 0 })
    }

    /// What the queue said at the beginning.
    pub fn start(&self) -> Look {
        self.start
    }

    /// The queue.
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    /// How long a letter stays hidden from the moment it was received.
    pub fn hidden(&self) -> Duration {
        self.hidden
    }

    /// How many letters came so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many are held.
    pub fn held(&self) -> usize {
        self.holds.len()
    }

    /// The next letters, at most `most`, none when there are no more.
    pub async fn next(&mut self, most: usize) -> Result<Vec<Received>, Error> {
        loop {
            self.extend(Instant::now() + self.hidden / 2).await;
            // Before the request is sent: the service's time begins later, if anything.
            let until = Instant::now() + self.hidden;
            let mut letters = self.queue.receive(most, self.hidden).await?;
            let none = letters.is_empty();
            letters.retain(|letter| self.holds.hold(letter.ticket.clone(), until));
            self.seen += u64::try_from(letters.len()).expect("at most 32");
            if none || !letters.is_empty() {
                return Ok(letters);
            }
        }
    }

    /// Extends what would show itself before `moment`. What cannot be extended shows itself when its time is over.
    pub async fn extend(&mut self, moment: Instant) {
        let (queue, hidden) = (&self.queue, self.hidden);
        let extend = |ticket: Ticket| async move {
            let until = Instant::now() + hidden;
            (queue.hide(&ticket, hidden).await, ticket, until)
        };
        let ending = self.holds.ending_before(moment);
        let mut extended = stream::iter(ending).map(extend).buffer_unordered(SIDE_BY_SIDE);
        while let Some((fate, ticket, until)) = extended.next().await {
            match fate {
                Ok(Fate::Ours(ticket)) => {
                    self.holds.hold(ticket, until);
                }
                Ok(Fate::NotOurs) => self.holds.release(&ticket.id),
                Err(_) => {}
            }
        }
    }

    /// Lets go of a letter that is not in the queue any more.
    pub fn release(&mut self, id: &str) {
        self.holds.release(id);
    }

    /// Deletes letters that are held, side by side; those that could not be deleted stay held. `each` is called for each
    /// one. The result is the first fault.
    pub async fn delete(&mut self, ids: &[Arc<str>], mut each: impl FnMut()) -> (Deleted, Result<(), Error>) {
        let (queue, mut result, mut fault) = (&self.queue, Deleted::default(), Ok(()));
        let until = Instant::now() + self.hidden;
        let tickets: Vec<_> = ids.iter().filter_map(|id| self.holds.take(id)).collect();
        result.not_ours = u64::try_from(ids.len() - tickets.len()).expect("usize fits u64");
        let delete = |ticket: Ticket| async move { (queue.delete(&ticket).await, ticket) };
        let mut deleted = stream::iter(tickets).map(delete).buffer_unordered(SIDE_BY_SIDE);
        while let Some((fate, ticket)) = deleted.next().await {
            each();
            match fate {
                Ok(Fate::Ours(())) => result.deleted += 1,
                Ok(Fate::NotOurs) => result.not_ours += 1,
                Err(error) => {
                    self.holds.hold(ticket, until);
                    fault = fault.and(Err(error));
                }
            }
        }
        (result, fault)
    }

    /// Shows all that is held to everybody again, and tells how many could not be shown. `each` is called for each one.
    pub async fn give_back(&mut self, mut each: impl FnMut()) -> u64 {
        let queue = &self.queue;
        let tickets = self.holds.take_all();
        let mut left = tickets.len();
        let give = |ticket: Ticket| async move { queue.hide(&ticket, Duration::ZERO).await };
        let mut given = stream::iter(tickets).map(give).buffer_unordered(SIDE_BY_SIDE);
        let mut failed = 0;
        while let Some(fate) = given.next().await {
            left -= 1;
            each();
            match fate {
                Ok(Fate::Ours(_) | Fate::NotOurs) => {}
                Err(Error::Storage(storage::Error::Service { .. })) => failed += 1,
                // Nobody there: the others would fare no better, and each would take its time.
                Err(_) => return failed + 1 + u64::try_from(left).expect("usize fits u64"),
            }
        }
        failed
    }
}

fn hidden(counted: u64) -> Duration {
    let letters = u32::try_from(counted).unwrap_or(u32::MAX);
    (HIDDEN + HIDDEN_PER_LETTER * letters).min(HIDDEN_AT_MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fuller_queue_is_hidden_for_longer() {
        assert_eq!(hidden(0), Duration::from_mins(5));
        assert_eq!(hidden(1_000), Duration::from_secs(310));
        assert_eq!(hidden(100_000), Duration::from_secs(1_300));
        assert_eq!(hidden(u64::MAX), Duration::from_hours(24));
    }
}
