//! One queue of a storage account. Only this module uses `azure_storage_queue`.
//!
//! A request without a usable answer is repeated for some seconds, as no host calls the command again. If a repetition may have
//! done a thing twice, the result says so.
//!
//! Addresses, receipts and messages are in no error.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>

use std::fmt;
use std::time::Duration;

use azure_core::http::headers::HeaderName;
use azure_core::http::{RequestContent, XmlFormat};
use azure_storage_queue::models::{
    QueueClientGetPropertiesResultHeaders as _, QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions,
    QueueMessage, ReceivedMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use bytes::Bytes;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use super::receipts::Ticket;
use crate::storage::{self, Connection, Retried, RetryPolicy};

/// The most that the service gives at once.
pub const MOST_AT_ONCE: usize = 32;

const POP_RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");
const DATE: HeaderName = HeaderName::from_static("date");

static RETRIES: RetryPolicy =
    RetryPolicy { request_timeout: Duration::from_secs(15), max_retries: 4, first_pause: Duration::from_millis(200) };

/// The bytes of an answer that are read: 32 messages of 64 KiB, every character of which may be escaped as `&quot;`.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// Why a request to a queue failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There is no such queue.
    #[error("there is no such queue in this storage account")]
    NoQueue,
    /// Our identity, key or signature is refused.
    #[error("{0}; an identity needs the role Storage Queue Data Contributor")]
    Refused(storage::Error),
    /// Any other failure.
    #[error(transparent)]
    Storage(storage::Error),
}

impl Error {
    /// Whether only this one message is refused, so that others may succeed.
    pub fn is_about_the_message(&self) -> bool {
        matches!(self, Self::Storage(storage::Error::Service { status: 400 | 413, .. }))
    }
}

impl From<storage::Error> for Error {
    fn from(error: storage::Error) -> Self {
        match error {
            storage::Error::Service { status: 404, code } if code == "QueueNotFound" => Self::NoQueue,
            storage::Error::Refused { .. } => Self::Refused(error),
            error => Self::Storage(error),
        }
    }
}

/// Makes a request until there is an answer.
async fn retried<T, F>(mut request: impl FnMut() -> F) -> Retried<T>
where
    F: Future<Output = azure_core::Result<T>>,
{
    RETRIES.run(|| RETRIES.once(request())).await
}

/// A queue.
pub struct Queue {
    client: QueueClient,
    name: String,
}

impl fmt::Debug for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Queue").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What a queue says of itself.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// How many messages there are, hidden ones included; never less than there are.
    pub counted: u64,
    /// The time by the service's clock.
    pub now: OffsetDateTime,
}

/// A message that was received.
#[derive(Debug)]
pub struct Received {
    /// The right to update or delete it.
    pub ticket: Ticket,
    /// Its text as it lies there.
    pub text: String,
    /// When it was put.
    pub inserted: OffsetDateTime,
    /// When the queue forgets it.
    pub expires: OffsetDateTime,
    /// How often it has been received, this time included.
    pub dequeued: i64,
}

/// A message that was put, or not.
#[derive(Debug)]
pub struct Put {
    /// Whether the service took it.
    pub result: Result<(), Error>,
    /// Whether a request without an answer may have put it once more than `result` says.
    pub in_doubt: bool,
}

/// What became of a message that we had received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate<T> {
    /// It was ours.
    Ours(T),
    /// It is not ours any more: somebody else received or deleted it, or it expired.
    NotOurs,
}

impl Queue {
    /// The queue of that name; it need not exist.
    ///
    /// # Errors
    /// When no client can be made for that address.
    pub fn open(connection: &Connection, name: &str) -> azure_core::Result<Self> {
        let options =
            QueueClientOptions { client_options: connection.client_options(MAX_BODY_BYTES), ..Default::default() };
        let client = QueueClient::new(connection.url(name), connection.credential(), Some(options))?;
        Ok(Self { client, name: name.to_owned() })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How full it is.
    pub async fn look(&self) -> Result<Look, Error> {
        let answer = retried(|| self.client.get_properties(None)).await.result?;
        let counted = answer.approximate_messages_count().ok().flatten().unwrap_or_default();
        let date = answer.headers().get_optional_str(&DATE);
        let now = date.and_then(|date| OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822).ok());
        let counted = u64::try_from(counted).unwrap_or_default();
        Ok(Look { counted, now: now.unwrap_or_else(OffsetDateTime::now_utc) })
    }

    /// Receives up to `most` messages (32 at once) and hides them for `time`, in whole seconds.
    pub async fn receive(&self, most: usize, time: Duration) -> Result<Vec<Received>, Error> {
        let count = i32::try_from(most.clamp(1, MOST_AT_ONCE)).expect("at most 32");
        let request = || {
            let options = QueueClientReceiveMessagesOptions {
                number_of_messages: Some(count),
                visibility_timeout: Some(seconds(time)),
                ..Default::default()
            };
            self.client.receive_messages(Some(options))
        };
        let answer = retried(request).await.result?;
        let messages = answer.into_model().map_err(|_| NOT_UNDERSTOOD)?.items.unwrap_or_default();
        messages.into_iter().map(|message| received(message).ok_or(NOT_UNDERSTOOD)).collect()
    }

    /// Hides a received message for `time` from now on, in whole seconds; at once visible again with none.
    pub async fn hide(&self, ticket: &Ticket, time: Duration) -> Result<Fate<Ticket>, Error> {
        let request = || self.client.update_message(&ticket.id, &ticket.receipt, seconds(time), None);
        let Retried { result, .. } = retried(request).await;
        Ok(match fate(result)? {
            Fate::NotOurs => Fate::NotOurs,
            Fate::Ours(answer) => {
                let receipt = answer.headers().get_optional_str(&POP_RECEIPT).ok_or(NOT_UNDERSTOOD)?;
                Fate::Ours(Ticket { id: ticket.id.clone(), receipt: receipt.into() })
            }
        })
    }

    /// Puts a message that never expires.
    pub async fn put(&self, text: &str) -> Put {
        let body: Bytes = body(text).into();
        let request = || {
            let options = QueueClientSendMessageOptions { message_time_to_live: Some(-1), ..Default::default() };
            let message: RequestContent<QueueMessage, XmlFormat> = body.clone().into();
            self.client.send_message(message, Some(options))
        };
        let Retried { result, is_ambiguous: in_doubt } = retried(request).await;
        Put { result: result.map(drop).map_err(Error::from), in_doubt }
    }

    /// Deletes a received message.
    pub async fn delete(&self, ticket: &Ticket) -> Result<Fate<()>, Error> {
        let Retried { result, is_ambiguous: in_doubt } =
            retried(|| self.client.delete_message(&ticket.id, &ticket.receipt, None)).await;
        Ok(match fate(result)? {
            // The request whose answer was lost has deleted it.
            Fate::NotOurs if in_doubt => Fate::Ours(()),
            Fate::NotOurs => Fate::NotOurs,
            Fate::Ours(_) => Fate::Ours(()),
        })
    }
}

const NOT_UNDERSTOOD: Error = Error::Storage(storage::Error::NotUnderstood);

/// <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes>
fn fate<T>(result: Result<T, storage::Error>) -> Result<Fate<T>, Error> {
    match result {
        Ok(answer) => Ok(Fate::Ours(answer)),
        Err(storage::Error::Service { status: 404, code }) if code == "MessageNotFound" => Ok(Fate::NotOurs),
        Err(storage::Error::Service { status: 400, code }) if code == "PopReceiptMismatch" => Ok(Fate::NotOurs),
        Err(error) => Err(error.into()),
    }
}

fn received(message: ReceivedMessage) -> Option<Received> {
    let ticket = Ticket { id: message.message_id?.into(), receipt: message.pop_receipt?.into() };
    Some(Received {
        ticket,
        text: message.message_text.unwrap_or_default(),
        inserted: message.insertion_time?,
        expires: message.expiration_time?,
        dequeued: message.dequeue_count.unwrap_or_default(),
    })
}

/// At most seven days, the most that the service hides for.
fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs().min(7 * 24 * 60 * 60)).expect("a week has fewer seconds")
}

/// The SDK would leave a carriage return as it is, and XML readers turn it into a line feed.
fn body(text: &str) -> Vec<u8> {
    let mut xml = String::with_capacity(text.len() + 128);
    xml.push_str(r#"<?xml version="1.0" encoding="utf-8"?><QueueMessage><MessageText>"#);
    for c in text.chars() {
        match c {
            '&' => xml.push_str("&amp;"),
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '\r' => xml.push_str("&#13;"),
            c => xml.push(c),
        }
    }
    xml.push_str("</MessageText></QueueMessage>");
    xml.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_so_that_every_xml_reader_gives_it_back() {
        let xml = String::from_utf8(body("<a>&\r\n ]]>")).expect("text");
        assert!(xml.ends_with("<MessageText>&lt;a&gt;&amp;&#13;\n ]]&gt;</MessageText></QueueMessage>"), "{xml}");
    }

    #[test]
    fn a_receipt_that_is_not_good_any_more_is_an_answer_and_no_error() {
        let refused = |status, code: &str| fate::<()>(Err(storage::Error::Service { status, code: code.to_owned() }));
        assert_eq!(refused(404, "MessageNotFound"), Ok(Fate::NotOurs));
        assert_eq!(refused(400, "PopReceiptMismatch"), Ok(Fate::NotOurs));
        assert!(refused(400, "InvalidXmlDocument").is_err() && refused(409, "").is_err());
    }

    #[test]
    fn a_refusal_names_the_role_and_a_missing_queue_is_an_error_of_its_own() {
        let error = |status, code: &str| Error::from(storage::Error::Service { status, code: code.to_owned() });
        assert_eq!(error(404, "QueueNotFound"), Error::NoQueue);
        assert!(matches!(error(404, ""), Error::Storage(_)));
        let refused = Error::from(storage::Error::Refused { status: 403, code: "AuthorizationFailure".to_owned() });
        assert!(refused.to_string().ends_with("the role Storage Queue Data Contributor"), "{refused}");
    }

    #[test]
    fn nothing_is_hidden_for_longer_than_the_service_allows() {
        assert_eq!((seconds(Duration::from_millis(2500)), seconds(Duration::MAX)), (2, 604_800));
    }
}
