//! Reads every available message of a queue, 32 at a time, and keeps it hidden until it is given back.
//!
//! A queue cannot be listed beyond its first 32 messages. To see all of them they are received, which hides them from every
//! reader for a time, so that no message comes twice. They are given back at the end. If the process is killed, they reappear
//! when their time is over; a long run extends it. So the time is short, and longer for a fuller queue, because reading and
//! giving back take some milliseconds a message.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/get-messages>

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::progress::Progress;
use super::queue::{Error, Queue, QueueStats, ReceiptStatus, Received};
use super::receipts::{Receipt, Receipts};
use super::scan::StopReason;

/// Messages are hidden for at least this time.
const MIN_HIDDEN: Duration = Duration::from_mins(5);

/// The additional time for each message that the service counts.
const HIDDEN_PER_MESSAGE: Duration = Duration::from_millis(10);

/// Long enough for any queue, because receipts are extended.
const MAX_HIDDEN: Duration = Duration::from_hours(24);

/// Requests in flight while messages are extended, given back or deleted.
const MAX_IN_FLIGHT: usize = 16;

/// The stop signal is checked after this many deletions.
const DELETE_BATCH: usize = 64;

/// The result of deleting messages.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Deleted {
    #[serde(rename = "dropped")]
    pub(super) deleted: usize,
    /// Messages that another reader received or deleted, or that expired.
    pub(super) not_ours: usize,
}

pub(super) struct QueueScan {
    pub(super) queue: Arc<Queue>,
    /// What the queue reported at the beginning.
    pub(super) start: QueueStats,
    /// How long a message stays hidden from the moment it was received.
    pub(super) hidden: Duration,
    /// The messages hidden from other readers.
    pub(super) receipts: Receipts,
    /// The number of messages read so far.
    pub(super) seen: usize,
}

impl QueueScan {
    /// Reads how full the queue is; nothing is received yet.
    pub(super) async fn begin(queue: Arc<Queue>) -> Result<Self, Error> {
        let start = queue.stats().await?;
        Ok(Self { queue, start, hidden: hidden(start.counted), receipts: Receipts::default(), seen: 0 })
    }

    /// The next messages, at most `max`; empty when there are no more.
    pub(super) async fn next(&mut self, max: usize) -> Result<Vec<Received>, Error> {
        loop {
            self.extend_due().await;
            // Taken before the request is sent, so that it is never later than the service's own time.
            let until = Instant::now() + self.hidden;
            let mut messages = self.queue.receive(max, self.hidden).await?;
            let none = messages.is_empty();
            messages.retain(|message| self.receipts.insert(message.receipt.clone(), until));
            self.seen += messages.len();
            if none || !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// Extends what has used half of its time.
    pub(super) async fn extend_due(&mut self) {
        self.extend(Instant::now() + self.hidden / 2).await;
    }

    /// Extends what would reappear before `moment`. What cannot be extended reappears when its time is over.
    async fn extend(&mut self, moment: Instant) {
        let (queue, hidden) = (&self.queue, self.hidden);
        let extend = |receipt: Receipt| async move {
            let until = Instant::now() + hidden;
            (queue.hide(&receipt, hidden).await, receipt, until)
        };
        let ending = self.receipts.ending_before(moment);
        let mut extended = stream::iter(ending).map(extend).buffer_unordered(MAX_IN_FLIGHT);
        while let Some((status, receipt, until)) = extended.next().await {
            match status {
                Ok(ReceiptStatus::Valid(renewed)) => {
                    self.receipts.insert(renewed, until);
                }
                Ok(ReceiptStatus::Invalid) => {
                    self.receipts.remove(&receipt.message_id);
                }
                Err(_) => {}
            }
        }
    }

    /// Deletes the messages of these ids, until all are deleted, a signal, or an error. The others stay held.
    pub(super) async fn delete(
        &mut self,
        ids: &[Arc<str>],
        stop: &CancellationToken,
        progress: &Progress,
    ) -> (Deleted, Option<StopReason>) {
        let mut result = Deleted::default();
        for batch in ids.chunks(DELETE_BATCH) {
            if stop.is_cancelled() {
                return (result, Some(StopReason::Interrupted));
            }
            self.extend_due().await;
            if let Err(error) = self.delete_batch(batch, &mut result).await {
                return (result, Some(StopReason::Queue(error)));
            }
            progress.add(batch.len());
        }
        (result, None)
    }

    async fn delete_batch(&mut self, ids: &[Arc<str>], result: &mut Deleted) -> Result<(), Error> {
        let (queue, mut first_error) = (&self.queue, Ok(()));
        let until = Instant::now() + self.hidden;
        let receipts: Vec<_> = ids.iter().filter_map(|id| self.receipts.remove(id)).collect();
        result.not_ours += ids.len() - receipts.len();
        let delete = |receipt: Receipt| async move { (queue.delete(&receipt).await, receipt) };
        let mut deleted = stream::iter(receipts).map(delete).buffer_unordered(MAX_IN_FLIGHT);
        while let Some((status, receipt)) = deleted.next().await {
            match status {
                Ok(ReceiptStatus::Valid(())) => result.deleted += 1,
                Ok(ReceiptStatus::Invalid) => result.not_ours += 1,
                Err(error) => {
                    self.receipts.insert(receipt, until);
                    first_error = first_error.and(Err(error));
                }
            }
        }
        first_error
    }

    /// Makes all held messages visible again; returns how many could not be given back.
    pub(super) async fn give_back(&mut self, progress: &Progress) -> usize {
        let queue = &self.queue;
        let receipts = self.receipts.take_all();
        let mut left = receipts.len();
        let give = |receipt: Receipt| async move { queue.hide(&receipt, Duration::ZERO).await };
        let mut given = stream::iter(receipts).map(give).buffer_unordered(MAX_IN_FLIGHT);
        let mut failed = 0;
        while let Some(status) = given.next().await {
            left -= 1;
            progress.add(1);
            match status {
                Ok(_) => {}
                Err(error) if error.is_an_answer() => failed += 1,
                // Without a connection the others would fail too, each after its own timeout.
                Err(_) => return failed + 1 + left,
            }
        }
        failed
    }
}

fn hidden(counted: usize) -> Duration {
    let messages = u32::try_from(counted).unwrap_or(u32::MAX);
    (MIN_HIDDEN + HIDDEN_PER_MESSAGE * messages).min(MAX_HIDDEN)
}

#[cfg(test)]
mod tests {
    use sandbox::queue::QueueService;
    use sandbox::storage::{Options, Storage};

    use super::*;
    use crate::dead_letters::account::Account;
    use crate::dead_letters::queue::MAX_RECEIVE;

    #[test]
    fn messages_of_a_fuller_queue_are_hidden_for_longer() {
        assert_eq!(hidden(0), Duration::from_mins(5));
        assert_eq!(hidden(1_000), Duration::from_secs(310));
        assert_eq!(hidden(100_000), Duration::from_secs(1_300));
        assert_eq!(hidden(usize::MAX), Duration::from_hours(24));
    }

    #[tokio::test]
    async fn a_message_that_is_held_for_long_is_extended_and_can_still_be_given_back_and_deleted() {
        // Another test of this process may have installed the same provider already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        let connection = storage.connection_string();
        let poison = QueueService::from_connection_string(&connection).expect("it is valid").queue("poison");
        poison.create_if_missing().await.expect("the storage answers");
        for number in 0..50 {
            poison.put(&number.to_string()).await.expect("the queue takes it");
        }
        let account = Account::open("Storage", &|name| (name == "Storage").then(|| connection.clone())).ok();
        let queue = account.expect("settings").queue("poison").expect("an address");
        let mut scan = QueueScan::begin(queue).await.expect("the queue answers");
        let mut ids = Vec::new();
        loop {
            let messages = scan.next(MAX_RECEIVE).await.expect("the queue answers");
            if messages.is_empty() {
                break;
            }
            ids.extend(messages.into_iter().map(|message| message.receipt.message_id));
        }
        assert_eq!((ids.len(), storage.counts().update_message), (50, 0), "none was due yet");
        scan.extend_due().await;
        assert_eq!(storage.counts().update_message, 0, "none is due in the first half of its time");
        scan.extend(Instant::now() + scan.hidden * 2).await;
        assert_eq!(storage.counts().update_message, 50, "each once");
        let (deleted, end) = scan.delete(&ids[..20], &CancellationToken::new(), &Progress::hidden()).await;
        assert!(end.is_none() && deleted == Deleted { deleted: 20, not_ours: 0 }, "the new receipts are valid");
        assert_eq!(scan.give_back(&Progress::hidden()).await, 0);
        let visible = poison.receive(32, Duration::from_mins(1)).await.expect("the queue answers");
        assert_eq!(visible.len(), 30);
    }
}
