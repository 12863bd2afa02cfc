//! Returns messages to the queue that the handler reads.
//!
//! A message is deleted only after the service has taken its copy. So whenever this ends, each message is on that queue, in the
//! poison queue, or in both, never in neither. It is in both when the process is killed between the two requests, or when an
//! answer is lost; that is counted, and the next replay sends such a message a second time.
//!
//! A message that arrives while this runs is left alone: the handler may have rejected the same message again, and a replay would
//! never end.

use std::pin::pin;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream;
use tokio::time::Instant;

use super::encoding::encode;
use super::entry::Entry;
use super::queue::{MAX_RECEIVE, Queue, describe};
use super::rate::Rate;
use super::scan::{Scan, Stop};
use crate::host::MessageEncoding;
use crate::storage::Error;

/// Messages in flight; after a kill as many can be in both queues.
const MAX_IN_FLIGHT: usize = 8;

/// A copy is sent only while its message stays hidden for at least this long: enough for all repetitions of the request, so that
/// no other reader can receive the message before it is deleted.
const MARGIN: Duration = Duration::from_mins(2);

/// How many messages can be received at once, so that each is sent within `time`.
fn batch(pause: Duration, time: Duration) -> usize {
    let messages = time.as_micros() / pause.as_micros();
    usize::try_from(messages).unwrap_or(MAX_RECEIVE).clamp(1, MAX_RECEIVE)
}

/// Returns all selected messages to the queue `to`, with this pause between two of them, until the end, the limit, a signal, or an
/// error that other messages would meet too. What is in flight is finished in any case.
pub(super) async fn replay(to: Queue, pause: Option<Duration>, scan: &mut Scan) -> Result<(), Stop> {
    scan.batch = pause.map_or(MAX_RECEIVE, |pause| batch(pause, scan.report.hidden / 4));
    let replay = Replay { to, encoding: scan.selection.encoding, rate: Rate::new(pause) };
    loop {
        let last_start = Instant::now() + scan.report.hidden.saturating_sub(MARGIN);
        let Some(entries) = scan.next().await? else { return Ok(()) };
        replay.send(entries, scan, last_start).await?;
    }
}

struct Replay {
    to: Queue,
    encoding: MessageEncoding,
    rate: Rate,
}

/// Why a message is still in the poison queue.
#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error("{0}")]
    Message(String),
    /// Other messages would meet it too.
    #[error("{}", describe(.0))]
    Queue(Error),
}

impl Replay {
    /// Sends a batch and waits for all of it that was begun.
    async fn send(&self, entries: Vec<Entry>, scan: &mut Scan, last_start: Instant) -> Result<(), Error> {
        let (halt, mut end, poison) = (scan.stop.child_token(), Ok(()), &scan.queue);
        let replayed = scan.report.replayed.get_or_insert_default();
        let forwarded = stream::iter(entries)
            .then(async |entry| {
                self.rate.turn().await;
                entry
            })
            .take_until(halt.cancelled())
            .map(async |entry| (self.copy_and_delete(poison, &entry, last_start).await, entry))
            .buffer_unordered(MAX_IN_FLIGHT);
        let mut forwarded = pin!(forwarded);
        while let Some(((maybe_twice, result), entry)) = forwarded.next().await {
            scan.progress.add(1);
            replayed.maybe_twice += usize::from(maybe_twice);
            let Err(problem) = result else {
                scan.held.remove(&entry.received.receipt.message_id);
                replayed.returned += 1;
                continue;
            };
            replayed.failed += 1;
            replayed.problem.get_or_insert_with(|| problem.to_string());
            if let Problem::Queue(error) = problem {
                halt.cancel();
                end = end.and(Err(error));
            }
        }
        end
    }

    /// Sends the copy, then deletes the message; never in the other order. Also returns whether it may be there twice.
    async fn copy_and_delete(&self, poison: &Queue, entry: &Entry, last_start: Instant) -> (bool, Result<(), Problem>) {
        let unsent = |problem: &str| (false, Err(Problem::Message(problem.to_owned())));
        let Some(text) = copy_text(self.encoding, entry) else {
            return unsent("the content has characters that a message cannot hold without base64");
        };
        if Instant::now() > last_start {
            return unsent("its turn came too late");
        }
        let (sent, is_ambiguous) = self.to.send(&text).await;
        match sent {
            Ok(()) => {}
            // Only this message is refused.
            Err(error @ Error::Service { status: 400 | 413, .. }) => {
                return (is_ambiguous, Err(Problem::Message(error.to_string())));
            }
            Err(error) => return (is_ambiguous, Err(Problem::Queue(error))),
        }
        match poison.delete(&entry.received.receipt).await {
            // With an invalid receipt another reader has the message, and may send a copy of its own.
            Ok(is_ours) => (is_ambiguous || !is_ours, Ok(())),
            Err(error) => (true, Err(Problem::Queue(error))),
        }
    }
}

/// The text of the copy, if it can be encoded. A message that the host moved and that cannot be encoded is copied as it is.
pub(super) fn copy_text(encoding: MessageEncoding, entry: &Entry) -> Option<String> {
    let as_it_is = || entry.dead_letter.is_none().then(|| entry.received.text.clone());
    encode(encoding, &entry.original).or_else(as_it_is)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dead_letters::rate::parse_rate;

    #[test]
    fn a_batch_is_not_larger_than_can_be_sent_in_time() {
        let time = Duration::from_secs(75);
        for (rate, messages) in [("1000/s", 10), ("1/s", 10), ("6/m", 7), ("1/m", 1)] {
            assert_eq!(batch(parse_rate(rate).expect("a rate"), time), messages, "{rate}");
        }
    }

    fn copied(encoding: MessageEncoding, stored: &str) -> Option<String> {
        copy_text(encoding, &Entry::example_stored_as(stored.to_owned(), encoding))
    }

    #[test]
    fn the_copy_is_the_original_as_the_host_reads_it() {
        let record = r#"{"table":"contacts"}"#;
        let letter = serde_json::json!({ "message": record, "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let in_base64 =
            |text: &str| encode(MessageEncoding::Base64, text.as_bytes()).expect("base64 encodes everything");
        for stored in [letter.to_string(), in_base64(&letter.to_string()), record.to_owned(), in_base64(record)] {
            assert_eq!(copied(MessageEncoding::Base64, &stored), Some(in_base64(record)), "{stored}");
            assert_eq!(copied(MessageEncoding::None, &stored).as_deref(), Some(record), "{stored}");
        }
    }

    #[test]
    fn content_that_is_not_text_is_copied_byte_for_byte() {
        let stored = encode(MessageEncoding::Base64, b"\xff\x00\x01").expect("base64 encodes everything");
        for encoding in [MessageEncoding::Base64, MessageEncoding::None] {
            assert_eq!(copied(encoding, &stored).as_ref(), Some(&stored), "{encoding:?}");
        }
        let letter = serde_json::json!({ "message": "\u{0}", "reason": "exists", "at": "2026-11-24T09:00:00Z" });
        let wrapped =
            encode(MessageEncoding::Base64, letter.to_string().as_bytes()).expect("base64 encodes everything");
        assert_eq!(copied(MessageEncoding::None, &wrapped), None, "the wrapping must not be copied");
        assert_eq!(copied(MessageEncoding::Base64, &wrapped).as_deref(), Some("AA=="));
    }
}
