//! Reading through a queue, letter by letter, until the end, the bound, a signal or a fault.

use std::io;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::encoding::Encoding;
use super::entry::Found;
use super::filter::Filter;
use super::letter::Letter;
use super::progress::Progress;
use super::queue::{Error, MOST_AT_ONCE, Received};
use super::queue_scan::Sweep;

/// Which letters, and how many at most.
#[derive(Debug)]
pub struct Selection {
    /// Which.
    pub filter: Filter,
    /// How many at most.
    pub max: Option<u64>,
    /// How the host writes messages.
    pub encoding: Encoding,
}

impl Selection {
    /// The letter, if it is meant, at this moment.
    pub fn find(&self, received: &Received, now: OffsetDateTime) -> Option<Found> {
        let found = Found {
            id: received.ticket.id.clone(),
            inserted: received.inserted,
            expires: received.expires,
            dequeued: received.dequeued,
            letter: Letter::read(self.encoding.decode(&received.text)),
        };
        self.filter.matches(&found, now).then_some(found)
    }

    /// Whether `matching` letters are as many as there may be.
    pub fn is_full(&self, matching: u64) -> bool {
        self.max.is_some_and(|max| matching >= max)
    }
}

/// Why a pass ended.
#[derive(Debug)]
pub enum End {
    /// There were no more letters.
    All,
    /// There were as many as were asked for.
    Enough,
    /// Somebody asked us to stop.
    Stopped,
    /// The queue.
    Queue(Error),
    /// What we write to.
    Output(io::Error),
}

/// Reads until there is a reason to end, and hands each letter that is meant to `take`; tells how many those were.
pub async fn read(
    sweep: &mut Sweep,
    selection: &Selection,
    stop: &CancellationToken,
    progress: &mut Progress,
    mut take: impl FnMut(&Found) -> io::Result<()>,
) -> (u64, End) {
    let now = sweep.start().now;
    let mut matching = 0;
    loop {
        if selection.is_full(matching) {
            return (matching, End::Enough);
        }
        if stop.is_cancelled() {
            return (matching, End::Stopped);
        }
        let letters = match sweep.next(MOST_AT_ONCE).await {
            Ok(letters) if letters.is_empty() => return (matching, End::All),
            Ok(letters) => letters,
            Err(error) => return (matching, End::Queue(error)),
        };
        progress.add(letters.len());
        for found in letters.iter().filter_map(|letter| selection.find(letter, now)) {
            if selection.is_full(matching) {
                break;
            }
            if let Err(error) = take(&found) {
                return (matching, End::Output(error));
            }
            matching += 1;
        }
    }
}
