//! Reads through a queue, message by message, until its end, the limit, a signal or an error.

use std::io;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::filter::Filter;
use super::progress::Progress;
use super::queue::{Error, MAX_RECEIVE, Received};
use super::queue_scan::QueueScan;
use crate::host::MessageEncoding;

/// Which messages, and how many at most.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) filter: Filter,
    pub(super) max: Option<usize>,
    pub(super) encoding: MessageEncoding,
}

impl Selection {
    /// The entry of a message that matches, at this moment.
    pub(super) fn find(&self, received: &Received, now: OffsetDateTime) -> Option<Entry> {
        let entry = Entry::read(received, self.encoding);
        self.filter.matches(&entry, now).then_some(entry)
    }

    /// Whether `matching` messages are as many as there may be.
    pub(super) fn is_full(&self, matching: usize) -> bool {
        self.max.is_some_and(|max| matching >= max)
    }
}

/// Why reading stopped.
#[derive(Debug)]
pub(super) enum StopReason {
    EndOfQueue,
    LimitReached,
    Interrupted,
    Queue(Error),
    Output(io::Error),
}

/// Passes each matching message to `take`; returns their number.
pub(super) async fn read(
    scan: &mut QueueScan,
    selection: &Selection,
    stop: &CancellationToken,
    progress: &Progress,
    mut take: impl FnMut(&Entry) -> io::Result<()>,
) -> (usize, StopReason) {
    let now = scan.start.now;
    let mut matching = 0;
    loop {
        if selection.is_full(matching) {
            return (matching, StopReason::LimitReached);
        }
        if stop.is_cancelled() {
            return (matching, StopReason::Interrupted);
        }
        let messages = match scan.next(MAX_RECEIVE).await {
            Ok(messages) if messages.is_empty() => return (matching, StopReason::EndOfQueue),
            Ok(messages) => messages,
            Err(error) => return (matching, StopReason::Queue(error)),
        };
        progress.add(messages.len());
        for entry in messages.iter().filter_map(|message| selection.find(message, now)) {
            if selection.is_full(matching) {
                break;
            }
            if let Err(error) = take(&entry) {
                return (matching, StopReason::Output(error));
            }
            matching += 1;
        }
    }
}
