//! Returns messages to the queue that the handler reads.
//!
//! A message is deleted only after the service has taken its copy. So whenever this ends, each message is on that queue, in the
//! poison queue, or in both, never in neither. It is in both when the process is killed between the two requests, or when an
//! answer is lost; that is counted, and the next replay sends such a message a second time.
//!
//! A message that arrives while this runs is left alone: the handler may have rejected the same message again, and a replay would
//! never end.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::encoding::{NotWritable, encode};
use super::entry::Entry;
use super::progress::Progress;
use super::queue::{Error, MAX_RECEIVE, Queue, ReceiptStatus, Received};
use super::queue_scan::QueueScan;
use super::receipts::Receipt;
use super::scan::{Selection, StopReason};
use crate::host::MessageEncoding;

/// Messages in flight; after a kill as many can be in both queues.
const MAX_IN_FLIGHT: usize = 8;

/// A copy is sent only while its message stays hidden for at least this long: enough for all repetitions of the request, so that
/// no other reader can receive the message before it is deleted.
const MARGIN: Duration = Duration::from_mins(2);

/// How many messages are sent per second or minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    every: Duration,
}

impl Rate {
    /// Parses `50/s` or `30/m`.
    ///
    /// # Errors
    /// How it is written.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
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

    /// How many messages can be received at once, so that each is sent within `time`.
    fn batch(self, time: Duration) -> usize {
        let messages = time.as_micros() / self.every.as_micros().max(1);
        usize::try_from(messages).unwrap_or(MAX_RECEIVE).clamp(1, MAX_RECEIVE)
    }

    fn ticks(self) -> Interval {
        let mut ticks = interval(self.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    }
}

/// The result of a replay.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Replayed {
    /// The queue that messages were returned to.
    pub(super) to: String,
    pub(super) replayed: usize,
    /// Messages that may be on the queue twice, now or after the next replay.
    pub(super) maybe_twice: usize,
    /// Messages that are still in the poison queue because of an error.
    pub(super) failed: usize,
    /// Messages that arrived after the start and were left.
    pub(super) newer: usize,
    #[serde(skip)]
    pub(super) matching: usize,
    /// The first error of a message.
    #[serde(skip)]
    pub(super) problem: Option<String>,
}

impl fmt::Display for Replayed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { to, replayed, maybe_twice, failed, newer, .. } = self;
        writeln!(f, "{replayed} messages returned to {to}; {maybe_twice} may be there twice.")?;
        if *failed > 0 {
            writeln!(f, "{failed} messages are still here because of an error.")?;
        }
        if *newer > 0 {
            writeln!(f, "{newer} messages arrived after the start and were left.")?;
        }
        Ok(())
    }
}

pub(super) struct Replay<'a> {
    to: Arc<Queue>,
    rate: Option<Rate>,
    /// Locked by the one message that waits for its turn.
    ticks: Option<Mutex<Interval>>,
    stop: &'a CancellationToken,
    progress: Progress,
}

/// A message to be returned, and the text of its copy.
struct Outgoing {
    receipt: Receipt,
    text: Result<String, NotWritable>,
}

/// What happened to one message.
struct Forwarded {
    message_id: Arc<str>,
    /// Why it is still in the poison queue.
    problem: Option<String>,
    maybe_twice: bool,
    /// An error that other messages would meet too.
    stop: Option<Error>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(to: Arc<Queue>, rate: Option<Rate>, stop: &'a CancellationToken, progress: Progress) -> Self {
        Self { to, rate, ticks: rate.map(|rate| Mutex::new(rate.ticks())), stop, progress }
    }

    /// Returns all matching messages, until the end, the limit, a signal, or an error that other messages would meet too. What is
    /// in flight is finished in any case.
    pub(super) async fn run(self, scan: &mut QueueScan, selection: &Selection) -> (Replayed, StopReason) {
        let mut result = Replayed { to: self.to.name().to_owned(), ..Replayed::default() };
        let size = self.rate.map_or(MAX_RECEIVE, |rate| rate.batch(scan.hidden / 4));
        let reason = loop {
            if selection.is_full(result.matching) {
                break StopReason::LimitReached;
            }
            if self.stop.is_cancelled() {
                break StopReason::Interrupted;
            }
            let last_start = Instant::now() + scan.hidden.saturating_sub(MARGIN);
            let messages = match scan.next(size).await {
                Ok(messages) if messages.is_empty() => break StopReason::EndOfQueue,
                Ok(messages) => messages,
                Err(error) => break StopReason::Queue(error),
            };
            let copies = self.choose(messages, scan, selection, &mut result);
            if let Err(error) = self.send(copies, scan, last_start, &mut result).await {
                break StopReason::Queue(error);
            }
        };
        (result, reason)
    }

    fn choose(
        &self,
        messages: Vec<Received>,
        scan: &QueueScan,
        selection: &Selection,
        result: &mut Replayed,
    ) -> Vec<Outgoing> {
        let (now, all) = (scan.start.now, messages.len());
        let mut copies = Vec::with_capacity(all);
        for message in messages {
            let Some(entry) = selection.find(&message, now) else { continue };
            if message.inserted > now {
                result.newer += 1;
            } else if !selection.is_full(result.matching) {
                result.matching += 1;
                copies.push(Outgoing { text: text(selection.encoding, &message, &entry), receipt: message.receipt });
            }
        }
        self.progress.add(all - copies.len());
        copies
    }

    /// Sends a batch and waits for all of it that was begun.
    async fn send(
        &self,
        copies: Vec<Outgoing>,
        scan: &mut QueueScan,
        last_start: Instant,
        result: &mut Replayed,
    ) -> Result<(), Error> {
        let (halt, poison, mut first_error) = (self.stop.child_token(), scan.queue.clone(), Ok(()));
        let forwarded = stream::iter(copies)
            .then(async |copy| {
                self.turn().await;
                copy
            })
            .take_until(halt.cancelled())
            .map(|copy| self.forward(&poison, copy, last_start))
            .buffer_unordered(MAX_IN_FLIGHT);
        let mut forwarded = pin!(forwarded);
        while let Some(Forwarded { message_id, problem, maybe_twice, stop }) = forwarded.next().await {
            self.progress.add(1);
            result.maybe_twice += usize::from(maybe_twice);
            match problem {
                None => {
                    scan.receipts.remove(&message_id);
                    result.replayed += 1;
                }
                Some(problem) => {
                    result.failed += 1;
                    result.problem.get_or_insert(problem);
                }
            }
            if let Some(error) = stop {
                halt.cancel();
                first_error = first_error.and(Err(error));
            }
        }
        first_error
    }

    async fn turn(&self) {
        if let Some(ticks) = &self.ticks {
            ticks.lock().await.tick().await;
        }
    }

    /// Sends the copy, then deletes the message; never in the other order.
    async fn forward(&self, poison: &Queue, copy: Outgoing, last_start: Instant) -> Forwarded {
        let message_id = copy.receipt.message_id.clone();
        let failed = |problem: String, maybe_twice, stop| Forwarded {
            message_id: message_id.clone(),
            problem: Some(problem),
            maybe_twice,
            stop,
        };
        let text = match copy.text {
            Ok(text) => text,
            Err(error) => return failed(error.to_string(), false, None),
        };
        if Instant::now() > last_start {
            return failed("its turn came too late".to_owned(), false, None);
        }
        let (sent, is_ambiguous) = self.to.send(&text).await;
        if let Err(error) = sent {
            let stop = (!error.is_about_the_message()).then(|| error.clone());
            return failed(error.to_string(), is_ambiguous, stop);
        }
        match poison.delete(&copy.receipt).await {
            Err(error) => failed(error.to_string(), true, Some(error)),
            // With an invalid receipt another reader has the message, and may send a copy of its own.
            Ok(status) => {
                let maybe_twice = is_ambiguous || status == ReceiptStatus::Invalid;
                Forwarded { message_id, problem: None, maybe_twice, stop: None }
            }
        }
    }
}

/// The text of the copy. A message that the host moved and that cannot be encoded is copied as it is.
fn text(encoding: MessageEncoding, received: &Received, entry: &Entry) -> Result<String, NotWritable> {
    match encode(encoding, &entry.original) {
        Err(NotWritable) if entry.dead_letter.is_none() => Ok(received.text.clone()),
        encoded => encoded,
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_rate_is_a_number_and_a_unit() {
        assert_eq!(Rate::parse("50/s"), Ok(Rate { every: Duration::from_millis(20) }));
        assert_eq!(Rate::parse("30/m"), Ok(Rate { every: Duration::from_secs(2) }));
        for text in ["", "50", "0/s", "1001/s", "-1/s", "1.5/s", "5/h", "/s", "5 /s"] {
            assert!(Rate::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_batch_is_not_larger_than_can_be_sent_in_time() {
        let time = Duration::from_secs(75);
        for (rate, messages) in [("1000/s", 32), ("1/s", 32), ("20/m", 25), ("1/m", 1)] {
            assert_eq!(Rate::parse(rate).expect("a rate").batch(time), messages, "{rate}");
        }
    }

    fn copied(encoding: MessageEncoding, stored: &str) -> Result<String, NotWritable> {
        let received = Received {
            receipt: Receipt { message_id: "1".into(), pop_receipt: "r".into() },
            text: stored.to_owned(),
            inserted: datetime!(2026-11-24 10:00 UTC),
            expires: datetime!(2026-12-01 10:00 UTC),
            dequeued: 1,
        };
        text(encoding, &received, &Entry::read(&received, encoding))
    }

    #[test]
    fn the_copy_is_the_original_as_the_host_reads_it() {
        let record = r#"{"table":"contacts"}"#;
        let letter = serde_json::json!({ "message": record, "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let in_base64 =
            |text: &str| encode(MessageEncoding::Base64, text.as_bytes()).expect("base64 encodes everything");
        for stored in [letter.to_string(), in_base64(&letter.to_string()), record.to_owned(), in_base64(record)] {
            assert_eq!(copied(MessageEncoding::Base64, &stored), Ok(in_base64(record)), "{stored}");
            assert_eq!(copied(MessageEncoding::None, &stored).as_deref(), Ok(record), "{stored}");
        }
    }

    #[test]
    fn content_that_is_not_text_is_copied_byte_for_byte() {
        let stored = encode(MessageEncoding::Base64, b"\xff\x00\x01").expect("base64 encodes everything");
        for encoding in [MessageEncoding::Base64, MessageEncoding::None] {
            assert_eq!(copied(encoding, &stored).as_ref(), Ok(&stored), "{encoding:?}");
        }
        let letter = serde_json::json!({ "message": "\u{0}", "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let wrapped =
            encode(MessageEncoding::Base64, letter.to_string().as_bytes()).expect("base64 encodes everything");
        assert_eq!(copied(MessageEncoding::None, &wrapped), Err(NotWritable), "the wrapping must not be copied");
        assert_eq!(copied(MessageEncoding::Base64, &wrapped).as_deref(), Ok("AA=="));
    }
}
