//! Reads every available message of a queue, a few at a time, and keeps it hidden until it is given back.
//!
//! A queue cannot be listed beyond its first 32 messages. To see all of them they are received, which hides them from every
//! reader for a time, so that no message comes twice. They are given back at the end. If the process is killed, they reappear
//! when their time is over; a long run extends it. So the time is short, and longer for a fuller queue, because reading and
//! giving back take some milliseconds a message.
//!
//! Only the ids and receipts of held messages are kept, about 200 bytes each.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/get-messages>

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use time::OffsetDateTime;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::entry::Entry;
use super::filter::Filter;
use super::progress::Progress;
use super::queue::{MAX_RECEIVE, Queue, Receipt, Received, describe};
use super::report::Report;
use crate::host::MessageEncoding;
use crate::storage::Error;
use crate::terminal::{is_closed, say};

/// Messages are hidden for at least this time.
const MIN_HIDDEN: Duration = Duration::from_mins(5);

/// The additional time for each message that the service counts.
const HIDDEN_PER_MESSAGE: Duration = Duration::from_millis(10);

/// Long enough for any queue, because receipts are extended.
const MAX_HIDDEN: Duration = Duration::from_hours(24);

/// Requests in flight while messages are extended, given back or deleted.
const MAX_IN_FLIGHT: usize = 16;

/// The stop signal is checked, and receipts are extended, after this many deletions.
const DELETE_BATCH: usize = 64;

/// Which messages a command takes.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) filter: Filter,
    pub(super) max: Option<usize>,
    pub(super) encoding: MessageEncoding,
    /// Whether the host is known to use this encoding.
    pub(super) is_known: bool,
}

/// Why a command ends early.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stop {
    #[error("interrupted")]
    Interrupted,
    #[error("{}", describe(.0))]
    Queue(#[from] Error),
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
    #[error("it failed by a defect of this program")]
    Panicked,
}

/// The receipt of a message that this process hides from other readers, and until when.
pub(super) struct Held {
    receipt: Receipt,
    until: Instant,
}

pub(super) struct Scan {
    pub(super) queue: Queue,
    pub(super) selection: Selection,
    pub(super) stop: CancellationToken,
    pub(super) progress: Progress,
    pub(super) report: Report,
    /// The most messages that are received at once.
    pub(super) batch: usize,
    /// When the scan began, by the service's clock.
    start: OffsetDateTime,
    pub(super) held: HashMap<Arc<str>, Held>,
}

impl Scan {
    /// Reads how full the queue is; nothing is received yet.
    pub(super) async fn begin(queue: Queue, selection: Selection, stop: CancellationToken) -> Result<Self, Error> {
        let (name, (counted, start)) = (queue.name().to_owned(), queue.stats().await?);
        Ok(Self {
            queue,
            selection,
            stop,
            progress: Progress::new("read", counted),
            report: Report { queue: name, counted, hidden: hidden(counted), ..Report::default() },
            batch: MAX_RECEIVE,
            start,
            held: HashMap::new(),
        })
    }

    /// Passes each selected message to `take`, until the end of the queue or the limit.
    pub(super) async fn read(&mut self, mut take: impl FnMut(Entry) -> io::Result<()>) -> Result<(), Stop> {
        while let Some(entries) = self.next().await? {
            self.progress.add(entries.len());
            entries.into_iter().try_for_each(&mut take)?;
        }
        Ok(())
    }

    /// The selected messages among the next ones; `None` at the end of the queue or the limit.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Entry>>, Stop> {
        if self.is_full() {
            return Ok(None);
        }
        if self.stop.is_cancelled() {
            return Err(Stop::Interrupted);
        }
        let messages = self.receive().await?;
        if messages.is_empty() {
            self.report.complete = true;
            return Ok(None);
        }
        let received = messages.len();
        let entries: Vec<_> = messages.into_iter().filter_map(|message| self.select(message)).collect();
        self.progress.add(received - entries.len());
        Ok(Some(entries))
    }

    fn is_full(&self) -> bool {
        self.selection.max.is_some_and(|max| self.report.matching >= max)
    }

    fn select(&mut self, message: Received) -> Option<Entry> {
        let Selection { encoding, is_known, .. } = self.selection;
        let entry = Entry::read(message, encoding);
        let entry = if is_known { entry.under(encoding) } else { entry };
        if !self.selection.filter.matches(&entry, self.start) {
            return None;
        }
        if let Some(replayed) = self.report.replayed.as_mut().filter(|_| entry.received.inserted > self.start) {
            replayed.newer += 1;
            return None;
        }
        if self.is_full() {
            return None;
        }
        self.report.matching += 1;
        Some(entry)
    }

    /// The next messages that were not received before; empty when there are no more.
    async fn receive(&mut self) -> Result<Vec<Received>, Error> {
        loop {
            self.extend_due().await;
            // Taken before the request is sent, so that it is never later than the service's own time.
            let until = Instant::now() + self.report.hidden;
            let received = self.queue.receive(self.batch, self.report.hidden).await?;
            let is_end = received.is_empty();
            let messages = self.hold_new(received, until)?;
            self.report.seen += messages.len();
            if is_end || !messages.is_empty() {
                return Ok(messages);
            }
        }
    }

    /// Those messages that are new. All that have a receipt are held, also where another one has none.
    fn hold_new(&mut self, received: Vec<Option<Received>>, until: Instant) -> Result<Vec<Received>, Error> {
        let count = received.len();
        let mut messages: Vec<_> = received.into_iter().flatten().collect();
        let is_understood = messages.len() == count;
        messages.retain(|message| self.hold(message.receipt.clone(), until));
        if is_understood { Ok(messages) } else { Err(Error::NotUnderstood) }
    }

    /// Keeps a receipt, or replaces the one of that message; returns whether the message is new.
    fn hold(&mut self, receipt: Receipt, until: Instant) -> bool {
        self.held.insert(receipt.message_id.clone(), Held { receipt, until }).is_none()
    }

    /// Extends what has used half of its time.
    pub(super) async fn extend_due(&mut self) {
        self.extend(Instant::now() + self.report.hidden / 2).await;
    }

    /// Extends what would reappear before `moment`. What cannot be extended reappears when its time is over.
    async fn extend(&mut self, moment: Instant) {
        let (queue, hidden) = (&self.queue, self.report.hidden);
        let extend = async |receipt: Receipt| {
            let until = Instant::now() + hidden;
            (queue.hide(&receipt, hidden).await, receipt, until)
        };
        let due = self.held.values().filter(|held| held.until < moment);
        let due: Vec<_> = due.map(|held| held.receipt.clone()).collect();
        let mut extended = stream::iter(due).map(extend).buffer_unordered(MAX_IN_FLIGHT);
        while let Some((renewed, receipt, until)) = extended.next().await {
            match renewed {
                Ok(Some(receipt)) => drop(self.held.insert(receipt.message_id.clone(), Held { receipt, until })),
                Ok(None) => drop(self.held.remove(&receipt.message_id)),
                Err(_) => {}
            }
        }
    }

    /// Deletes the messages of these ids. After a signal or an error the others stay held.
    pub(super) async fn delete(&mut self, ids: &[Arc<str>]) -> Result<(), Stop> {
        for batch in ids.chunks(DELETE_BATCH) {
            if self.stop.is_cancelled() {
                return Err(Stop::Interrupted);
            }
            self.extend_due().await;
            let delete = async |id| match self.held.get(id) {
                Some(held) => self.queue.delete(&held.receipt).await,
                None => Ok(false),
            };
            let deleted: Vec<_> = stream::iter(batch).map(delete).buffered(MAX_IN_FLIGHT).collect().await;
            let dropped = self.report.dropped.get_or_insert_default();
            let mut end = Ok(());
            for (id, deleted) in batch.iter().zip(deleted) {
                match deleted {
                    Ok(true) => dropped.dropped += 1,
                    Ok(false) => dropped.not_ours += 1,
                    Err(error) => {
                        end = end.and(Err(error));
                        continue;
                    }
                }
                self.held.remove(id);
            }
            end?;
            self.progress.add(batch.len());
        }
        Ok(())
    }

    /// Gives back what is held, and completes the report.
    pub(super) async fn finish(&mut self, end: Result<(), Stop>) -> Report {
        let held = self.held.len();
        self.progress = Progress::new("given back", held);
        self.report.complete &= end.is_ok();
        self.report.interrupted = matches!(end, Err(Stop::Interrupted));
        if self.report.interrupted && held > 0 {
            say(&format!(
                "interrupted: giving {held} messages back; after a second signal they reappear by themselves\n"
            ));
        }
        self.report.is_closed = matches!(&end, Err(Stop::Output(error)) if is_closed(error));
        let is_problem = |_: &Stop| !self.report.interrupted && !self.report.is_closed;
        self.report.problem = end.err().filter(is_problem).map(|stop| stop.to_string());
        self.report.still_hidden = self.give_back().await;
        // The report is printed where the bar is.
        self.progress = Progress::hidden();
        std::mem::take(&mut self.report)
    }

    /// Makes all held messages visible again; returns how many could not be given back.
    async fn give_back(&mut self) -> usize {
        let queue = &self.queue;
        let held: Vec<_> = self.held.drain().collect();
        let mut left = held.len();
        let give = async |(_, held): (_, Held)| queue.hide(&held.receipt, Duration::ZERO).await;
        let mut given = stream::iter(held).map(give).buffer_unordered(MAX_IN_FLIGHT);
        let mut failed = 0;
        while let Some(result) = given.next().await {
            left -= 1;
            self.progress.add(1);
            match result {
                Ok(_) => {}
                Err(Error::Service { .. }) => failed += 1,
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
pub(super) mod tests {
    use stand_ins::queue::{Queue as PoisonQueue, QueueService};
    use stand_ins::storage::{Options, Storage};

    use super::*;
    use crate::dead_letters::account::Account;
    use crate::http::install_tls;
    use crate::settings::lookup_in;

    #[test]
    fn messages_of_a_fuller_queue_are_hidden_for_longer() {
        assert_eq!(hidden(0), Duration::from_mins(5));
        assert_eq!(hidden(1_000), Duration::from_secs(310));
        assert_eq!(hidden(100_000), Duration::from_secs(1_300));
        assert_eq!(hidden(usize::MAX), Duration::from_hours(24));
    }

    /// A scan of a queue with so many messages, in a storage of its own.
    pub(in crate::dead_letters) async fn scan(messages: usize) -> (Storage, PoisonQueue, Account, Scan) {
        install_tls();
        let storage = Storage::start(Options::default()).await.expect("loopback has free ports");
        let connection = storage.connection_string();
        let poison = QueueService::from_connection_string(&connection).expect("it is valid").queue("poison");
        poison.create_if_missing().await.expect("the storage answers");
        for number in 0..messages {
            poison.put(&number.to_string()).await.expect("the queue takes it");
        }
        let account = Account::open("Storage", &lookup_in(&[("Storage", &connection)])).expect("settings");
        let queue = account.queue("poison").expect("an address");
        let selection =
            Selection { filter: Filter::default(), max: None, encoding: MessageEncoding::None, is_known: true };
        let scan = Scan::begin(queue, selection, CancellationToken::new()).await.expect("the queue answers");
        (storage, poison, account, scan)
    }

    #[tokio::test]
    async fn a_message_that_reappears_is_not_new_and_its_newer_receipt_counts() {
        let (_storage, _, _, mut scan) = scan(0).await;
        let receipt = |pop: &str| Receipt { message_id: "1".into(), pop_receipt: pop.into() };
        assert!(scan.hold(receipt("first"), Instant::now()));
        assert!(!scan.hold(receipt("second"), Instant::now()));
        assert_eq!(&*scan.held["1"].receipt.pop_receipt, "second");
    }

    #[tokio::test]
    async fn what_was_received_is_held_also_beside_a_message_without_a_receipt() {
        let (_storage, _, _, mut scan) = scan(0).await;
        let messages = vec![Some(Entry::example(b"{}").received), None];
        assert_eq!(scan.hold_new(messages, Instant::now()).map(|new| new.len()), Err(Error::NotUnderstood));
        assert!(scan.held.contains_key("5f0c"));
    }

    #[tokio::test]
    async fn a_message_that_is_held_for_long_is_extended_and_can_still_be_given_back_and_deleted() {
        let (storage, poison, _, mut scan) = scan(50).await;
        let mut ids = Vec::new();
        let read = scan.read(|entry| {
            ids.push(entry.received.receipt.message_id);
            Ok(())
        });
        read.await.expect("the queue answers");
        assert_eq!((ids.len(), storage.counts().update_message), (50, 0), "none was due yet");
        scan.extend_due().await;
        assert_eq!(storage.counts().update_message, 0, "none is due in the first half of its time");
        scan.extend(Instant::now() + scan.report.hidden * 2).await;
        assert_eq!(storage.counts().update_message, 50, "each once");
        scan.delete(&ids[..20]).await.expect("the queue answers");
        let dropped = scan.report.dropped.as_ref().map(|dropped| (dropped.dropped, dropped.not_ours));
        assert_eq!(dropped, Some((20, 0)), "the new receipts are valid");
        assert_eq!(scan.give_back().await, 0);
        let visible = poison.receive(32, Duration::from_mins(1)).await.expect("the queue answers");
        assert_eq!(visible.len(), 30);
    }
}
