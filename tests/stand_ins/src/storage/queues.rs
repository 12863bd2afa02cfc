//! The state of the queue service: queues and their messages, with visibility, receipts and expiry.
//!
//! Independent of HTTP except for its errors. Invariants: a message is delivered to one caller at a time; every
//! delivery and every update creates a new pop receipt and invalidates the previous one; a message's dequeue count
//! never decreases.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/operations-on-messages>.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::blobs::DELETION;
use super::call::Metadata;
use super::error::{
    MESSAGE_NOT_FOUND, POP_RECEIPT_MISMATCH, QUEUE_ALREADY_EXISTS, QUEUE_BEING_DELETED, QUEUE_NOT_FOUND, Result,
};
use super::reply::Now;

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    pub(super) queues: BTreeMap<String, Queue>,
    deleted: HashMap<String, Instant>,
}

/// A queue; its messages are in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) metadata: Metadata,
    messages: VecDeque<Message>,
    /// No message expires before this, so most requests need not check.
    first_end: Option<Instant>,
}

/// A message.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: Uuid,
    /// Base64, as in the service.
    pub(super) receipt: String,
    pub(super) text: String,
    pub(super) dequeued: u64,
    pub(super) inserted: OffsetDateTime,
    /// `None`: never.
    pub(super) expires: Option<OffsetDateTime>,
    /// When it can be delivered next.
    pub(super) visible: Instant,
    ends: Option<Instant>,
}

/// A message as an operator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageView {
    /// The service's own id.
    pub id: String,
    /// The text as it is stored.
    pub text: String,
    /// How often it has been received.
    pub dequeued: u64,
    /// Whether it can be received now.
    pub visible: bool,
}

impl Queues {
    /// Creates a queue; returns whether it is new. An existing one with other metadata is a conflict.
    pub(super) fn create(&mut self, name: &str, metadata: Metadata, now: Now) -> Result<bool> {
        self.deleted.retain(|_, until| *until > now.instant);
        if self.deleted.contains_key(name) {
            return Err(QUEUE_BEING_DELETED);
        }
        match self.queues.get(name) {
            Some(queue) if queue.metadata == metadata => Ok(false),
            Some(_) => Err(QUEUE_ALREADY_EXISTS),
            None => {
                self.queues.insert(name.to_owned(), Queue { metadata, ..Queue::default() });
                Ok(true)
            }
        }
    }

    /// Deletes a queue with its messages; its name stays reserved for 30 seconds.
    pub(super) fn delete(&mut self, name: &str, now: Now) -> Result<()> {
        self.queues.remove(name).ok_or(QUEUE_NOT_FOUND)?;
        self.deleted.insert(name.to_owned(), now.instant + DELETION);
        Ok(())
    }

    /// A queue without its expired messages, or the error that it does not exist.
    pub(super) fn queue(&mut self, name: &str, now: Now) -> Result<&mut Queue> {
        let queue = self.queues.get_mut(name).ok_or(QUEUE_NOT_FOUND)?;
        queue.expire(now);
        Ok(queue)
    }
}

impl Queue {
    /// How many messages there are, visible or not.
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Puts a message that becomes visible after `delay` and expires after `ttl` (`None`: never).
    pub(super) fn put(&mut self, text: String, delay: Duration, ttl: Option<Duration>, now: Now) -> Message {
        let message = Message {
            id: Uuid::new_v4(),
            receipt: new_receipt(),
            text,
            dequeued: 0,
            inserted: now.utc,
            expires: ttl.map(|ttl| now.utc + ttl),
            visible: now.instant + delay,
            ends: ttl.map(|ttl| now.instant + ttl),
        };
        self.first_end = self.first_end.into_iter().chain(message.ends).min();
        self.messages.push_back(message.clone());
        message
    }

    /// Delivers up to `count` visible messages and hides them for `hidden`.
    pub(super) fn get(&mut self, count: usize, hidden: Duration, now: Now) -> Vec<Message> {
        let visible = self.messages.iter_mut().filter(|message| message.visible <= now.instant);
        visible
            .take(count)
            .map(|message| {
                message.dequeued += 1;
                message.receipt = new_receipt();
                message.visible = now.instant + hidden;
                message.clone()
            })
            .collect()
    }

    /// Returns up to `count` visible messages and changes nothing.
    pub(super) fn peek(&self, count: usize, now: Now) -> Vec<Message> {
        self.messages.iter().filter(|message| message.visible <= now.instant).take(count).cloned().collect()
    }

    /// Every message in its current state.
    pub(super) fn views(&self, now: Now) -> Vec<MessageView> {
        let view = |message: &Message| MessageView {
            id: message.id.to_string(),
            text: message.text.clone(),
            dequeued: message.dequeued,
            visible: message.visible <= now.instant,
        };
        self.messages.iter().map(view).collect()
    }

    /// Makes up to `most` hidden messages visible. Their receipts stay valid until the next delivery, as after a
    /// visibility timeout.
    pub(super) fn redeliver(&mut self, most: usize, now: Now) -> usize {
        let hidden = self.messages.iter_mut().filter(|message| message.visible > now.instant);
        hidden.take(most).map(|message| message.visible = now.instant).count()
    }

    /// Hides up to `most` visible messages for `by`.
    pub(super) fn postpone(&mut self, most: usize, by: Duration, now: Now) -> usize {
        let visible = self.messages.iter_mut().filter(|message| message.visible <= now.instant);
        visible.take(most).map(|message| message.visible = now.instant + by).count()
    }

    /// Hides a delivered message for `hidden` from now on, and replaces its text if one is given.
    pub(super) fn update(
        &mut self,
        id: &str,
        receipt: &str,
        text: Option<String>,
        hidden: Duration,
        now: Now,
    ) -> Result<Message> {
        let index = self.find(id, receipt)?;
        let message = &mut self.messages[index];
        message.receipt = new_receipt();
        message.visible = now.instant + hidden;
        if let Some(text) = text {
            message.text = text;
        }
        Ok(message.clone())
    }

    /// Deletes a delivered message.
    pub(super) fn delete(&mut self, id: &str, receipt: &str) -> Result<()> {
        let index = self.find(id, receipt)?;
        self.messages.remove(index);
        Ok(())
    }

    /// Deletes all messages.
    pub(super) fn clear(&mut self) {
        self.messages.clear();
    }

    fn expire(&mut self, now: Now) {
        if self.first_end.is_some_and(|end| end <= now.instant) {
            self.messages.retain(|message| message.ends.is_none_or(|ends| ends > now.instant));
            self.first_end = self.messages.iter().filter_map(|message| message.ends).min();
        }
    }

    fn find(&self, id: &str, receipt: &str) -> Result<usize> {
        let id = Uuid::parse_str(id).map_err(|_| MESSAGE_NOT_FOUND)?;
        let index = self.messages.iter().position(|message| message.id == id).ok_or(MESSAGE_NOT_FOUND)?;
        if self.messages[index].receipt == receipt { Ok(index) } else { Err(POP_RECEIPT_MISMATCH) }
    }
}

/// Always contains a `+`, so that tests catch clients that do not percent-encode receipts.
fn new_receipt() -> String {
    let mut bytes = vec![0x02, 0x00, 0x00, 0xFB, 0xEF, 0xBE];
    bytes.extend(Uuid::new_v4().into_bytes());
    STANDARD.encode(bytes)
}
