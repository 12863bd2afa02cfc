//! One queue of a storage account. Only this module uses `azure_storage_queue`.
//!
//! No host retries a command, so a request without a usable answer is repeated for some seconds. The result says whether a
//! repetition may have had its effect twice.
//!
//! Errors contain no address, receipt or message.
//!
//! <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>

use std::sync::Arc;
use std::time::Duration;

use azure_core::http::headers::HeaderName;
use azure_core::http::{RequestContent, XmlFormat};
use azure_storage_queue::models::{
    PeekedMessage, QueueClientGetPropertiesResultHeaders as _, QueueClientPeekMessagesOptions,
    QueueClientReceiveMessagesOptions, QueueClientSendMessageOptions, QueueMessage, ReceivedMessage,
};
use azure_storage_queue::{QueueClient, QueueClientOptions};
use bytes::Bytes;
use httpdate::parse_http_date;
use time::OffsetDateTime;

use crate::storage::{Connection, Error, OLD_DATE, Retried, RetryPolicy, WRONG_NETWORK};

/// The messages that are received at once. The service gives up to 32, but so many fit [`MAX_BODY_BYTES`] whatever they hold.
pub(super) const MAX_RECEIVE: usize = 10;

/// The most messages that a peek returns.
/// <https://learn.microsoft.com/rest/api/storageservices/peek-messages>
pub(crate) const MAX_PEEK: usize = 32;

const POP_RECEIPT: HeaderName = HeaderName::from_static("x-ms-popreceipt");
const DATE: HeaderName = HeaderName::from_static("date");

static RETRIES: RetryPolicy =
    RetryPolicy { request_timeout: Duration::from_secs(15), max_retries: 4, first_pause: Duration::from_millis(200) };

/// The bytes of an answer that are read.
const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// The most bytes that a message takes in an answer: its text of 64 KiB, every character of which may be escaped as `&quot;`, and
/// its other elements.
const MAX_MESSAGE_BYTES: usize = 6 * 64 * 1024 + 2 * 1024;

const _: () = assert!(MAX_RECEIVE * MAX_MESSAGE_BYTES <= MAX_BODY_BYTES);

/// The text of an error about a queue.
pub(crate) fn describe(error: &Error) -> String {
    if error.is_missing() {
        return "there is no such queue in this storage account".to_owned();
    }
    describe_access(error, "Storage Queue Data Contributor")
}

/// The text of an error about a storage account; `role` is what an identity needs.
pub(crate) fn describe_access(error: &Error, role: &str) -> String {
    match error {
        Error::Refused { code, .. } if code == OLD_DATE => format!("{error}; set this machine's clock"),
        Error::Refused { code, .. } if code == WRONG_NETWORK => {
            format!("{error}; the account's firewall or private endpoint does not admit this machine")
        }
        Error::Refused { .. } => format!("{error}; an identity needs the role {role}"),
        _ => error.to_string(),
    }
}

/// Repeats a request until there is an answer.
async fn retried<T, F>(mut request: impl FnMut() -> F) -> Retried<T>
where
    F: Future<Output = azure_core::Result<T>>,
{
    RETRIES.run(|| RETRIES.once(request())).await
}

pub(crate) struct Queue {
    client: QueueClient,
    name: String,
}

/// Permits to update or delete a message that was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Receipt {
    pub(super) message_id: Arc<str>,
    /// Each update replaces it.
    pub(super) pop_receipt: Arc<str>,
}

#[derive(Debug)]
pub(crate) struct Received {
    pub(super) receipt: Receipt,
    /// As it is in the queue.
    pub(super) text: String,
    pub(crate) inserted: OffsetDateTime,
    /// When the queue deletes it.
    pub(super) expires: OffsetDateTime,
    /// How often it has been received, this time included.
    pub(super) dequeued: i64,
}

impl Queue {
    /// The queue of that name; it need not exist.
    ///
    /// # Errors
    /// When no client can be made for that address.
    pub(super) fn open(connection: &Connection, name: &str) -> azure_core::Result<Self> {
        let options =
            QueueClientOptions { client_options: connection.client_options(MAX_BODY_BYTES), ..Default::default() };
        let client = QueueClient::new(connection.url(name), connection.credential(), Some(options))?;
        Ok(Self { client, name: name.to_owned() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many messages it has, hidden ones included and never too low, and the time by the service's clock.
    pub(crate) async fn stats(&self) -> Result<(usize, OffsetDateTime), Error> {
        let answer = retried(|| self.client.get_properties(None)).await.result?;
        let counted = answer.approximate_messages_count().ok().flatten().ok_or(Error::NotUnderstood)?;
        let date = answer.headers().get_optional_str(&DATE);
        let now = date.and_then(|date| parse_http_date(date).ok()).map(OffsetDateTime::from);
        let counted = usize::try_from(counted).map_err(|_| Error::NotUnderstood)?;
        Ok((counted, now.unwrap_or_else(OffsetDateTime::now_utc)))
    }

    /// Creates the queue; returns false where it exists.
    pub(crate) async fn create_if_missing(&self) -> Result<bool, Error> {
        match self.stats().await {
            Ok(_) => Ok(false),
            Err(error) if error.is_missing() => retried(|| self.client.create(None)).await.result.map(|_| true),
            Err(error) => Err(error),
        }
    }

    /// Receives up to `max` messages ([`MAX_RECEIVE`] at most) and hides them for `time`, in whole seconds. `None` is one that the service sent
    /// without a part of it.
    pub(super) async fn receive(&self, max: usize, time: Duration) -> Result<Vec<Option<Received>>, Error> {
        let count = i32::try_from(max.clamp(1, MAX_RECEIVE)).expect("at most 10");
        let request = || {
            let options = QueueClientReceiveMessagesOptions {
                number_of_messages: Some(count),
                visibility_timeout: Some(seconds(time)),
                ..Default::default()
            };
            self.client.receive_messages(Some(options))
        };
        let answer = retried(request).await.result?;
        let messages = answer.into_model().map_err(|_| Error::NotUnderstood)?.items.unwrap_or_default();
        Ok(messages.into_iter().map(received).collect())
    }

    /// The first visible messages, which stay visible, and how many could have come: [`MAX_PEEK`], or [`MAX_RECEIVE`] where more are
    /// too large. Their receipts permit nothing.
    pub(crate) async fn peek(&self) -> Result<(Vec<Received>, usize), Error> {
        match self.peek_at(MAX_PEEK).await {
            Err(Error::NotUnderstood) => Ok((self.peek_at(MAX_RECEIVE).await?, MAX_RECEIVE)),
            messages => Ok((messages?, MAX_PEEK)),
        }
    }

    async fn peek_at(&self, most: usize) -> Result<Vec<Received>, Error> {
        let request = || {
            let number_of_messages = i32::try_from(most).ok();
            let options = QueueClientPeekMessagesOptions { number_of_messages, ..Default::default() };
            self.client.peek_messages(Some(options))
        };
        let answer = retried(request).await.result?;
        let messages = answer.into_model().map_err(|_| Error::NotUnderstood)?.items.unwrap_or_default();
        Ok(messages.into_iter().filter_map(peeked).collect())
    }

    /// Hides a received message for `time` from now on, in whole seconds; zero makes it visible at once. Returns its new
    /// receipt, or `None` when another reader received or deleted the message, or it expired.
    pub(super) async fn hide(&self, receipt: &Receipt, time: Duration) -> Result<Option<Receipt>, Error> {
        let request = || self.client.update_message(&receipt.message_id, &receipt.pop_receipt, seconds(time), None);
        let Some(answer) = if_ours(retried(request).await.result)? else { return Ok(None) };
        let renewed = answer.headers().get_optional_str(&POP_RECEIPT).ok_or(Error::NotUnderstood)?;
        Ok(Some(Receipt { message_id: receipt.message_id.clone(), pop_receipt: renewed.into() }))
    }

    /// Sends a message that never expires.
    /// Also returns whether it may have been sent once more than the result says.
    pub(crate) async fn send(&self, text: &str) -> (Result<(), Error>, bool) {
        let body: Bytes = body(text).into();
        let request = || {
            let options = QueueClientSendMessageOptions { message_time_to_live: Some(-1), ..Default::default() };
            let message: RequestContent<QueueMessage, XmlFormat> = body.clone().into();
            self.client.send_message(message, Some(options))
        };
        let Retried { result, is_ambiguous } = retried(request).await;
        (result.map(drop), is_ambiguous)
    }

    /// Deletes a received message. Returns `false` when another reader received or deleted it, or it expired.
    pub(super) async fn delete(&self, receipt: &Receipt) -> Result<bool, Error> {
        let request = || self.client.delete_message(&receipt.message_id, &receipt.pop_receipt, None);
        let Retried { result, is_ambiguous } = retried(request).await;
        // When an answer was lost, that request has deleted the message.
        Ok(if_ours(result)?.is_some() || is_ambiguous)
    }
}

/// `None` when the receipt is no longer valid. <https://learn.microsoft.com/rest/api/storageservices/queue-service-error-codes>
fn if_ours<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(answer) => Ok(Some(answer)),
        Err(Error::Service { code, .. }) if code == "MessageNotFound" || code == "PopReceiptMismatch" => Ok(None),
        Err(error) => Err(error),
    }
}

fn received(message: ReceivedMessage) -> Option<Received> {
    Some(Received {
        receipt: Receipt { message_id: message.message_id?.into(), pop_receipt: message.pop_receipt?.into() },
        text: message.message_text.unwrap_or_default(),
        inserted: message.insertion_time?,
        expires: message.expiration_time?,
        dequeued: message.dequeue_count.unwrap_or_default(),
    })
}

fn peeked(message: PeekedMessage) -> Option<Received> {
    Some(Received {
        receipt: Receipt { message_id: message.message_id?.into(), pop_receipt: "".into() },
        text: message.message_text.unwrap_or_default(),
        inserted: message.insertion_time?,
        expires: message.expiration_time?,
        dequeued: message.dequeue_count.unwrap_or_default(),
    })
}

/// At most seven days, the maximum of the service.
fn seconds(time: Duration) -> i32 {
    i32::try_from(time.as_secs().min(7 * 24 * 60 * 60)).expect("a week has fewer seconds")
}

/// The SDK does not escape carriage returns, and XML readers turn those into line feeds.
fn body(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('\r', "&#13;");
    format!(r#"<?xml version="1.0" encoding="utf-8"?><QueueMessage><MessageText>{text}</MessageText></QueueMessage>"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_xml_reader_gives_the_text_back() {
        let xml = body("<a>&\r\n ]]>");
        assert!(xml.ends_with("<MessageText>&lt;a&gt;&amp;&#13;\n ]]&gt;</MessageText></QueueMessage>"), "{xml}");
    }

    #[test]
    fn an_invalid_receipt_is_not_an_error() {
        let refused = |status, code: &str| if_ours::<()>(Err(Error::Service { status, code: code.to_owned() }));
        assert_eq!(refused(404, "MessageNotFound"), Ok(None));
        assert_eq!(refused(400, "PopReceiptMismatch"), Ok(None));
        assert!(refused(400, "InvalidXmlDocument").is_err() && refused(409, "").is_err());
    }

    #[test]
    fn a_refusal_names_the_role_and_a_missing_queue_is_named() {
        let service = |status, code: &str| describe(&Error::Service { status, code: code.to_owned() });
        assert!(service(404, "QueueNotFound").contains("no such queue") && !service(404, "").contains("queue"));
        for (code, end) in [
            ("AuthorizationPermissionMismatch", "the role Storage Queue Data Contributor"),
            ("AuthorizationFailure", "does not admit this machine"),
            (OLD_DATE, "set this machine's clock"),
        ] {
            let refused = describe(&Error::Refused { status: 403, code: code.to_owned() });
            assert!(refused.ends_with(end), "{refused}");
        }
    }

    #[test]
    fn messages_are_hidden_for_at_most_the_maximum_of_the_service() {
        assert_eq!((seconds(Duration::from_millis(2500)), seconds(Duration::MAX)), (2, 604_800));
    }
}
