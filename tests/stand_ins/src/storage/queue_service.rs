//! The queue service's operations on queues and messages.
//!
//! It rejects texts above 64 KiB, and numbers outside the documented ranges. A rejected operation changes nothing.
//!
//! See <https://learn.microsoft.com/rest/api/storageservices/queue-service-rest-api>.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;
use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, Event};

use super::call::Call;
use super::error::{INVALID_XML, NOT_IMPLEMENTED, QUERY_OUT_OF_RANGE, REQUEST_BODY_TOO_LARGE, Result};
use super::operation::Operation;
use super::queues::{Message, Queue, Queues};
use super::reply::{Now, Reply, http_date};

/// The largest text of a message, in bytes.
const MAX_TEXT_BYTES: usize = 64 * 1024;
/// The default time to live, and the maximum time that a message can be hidden.
const WEEK: i64 = 7 * 24 * 60 * 60;
/// How long a delivered message is hidden by default.
const HIDDEN: i64 = 30;
/// How the service shows "never".
const NEVER: &str = "Fri, 31 Dec 9999 23:59:59 GMT";

/// Executes one operation.
pub(super) fn serve(queues: &mut Queues, call: &Call, operation: Operation, now: Now) -> Result<Response> {
    let name = call.container.as_deref().unwrap_or_default();
    let done = Reply::new(StatusCode::NO_CONTENT);
    match operation {
        Operation::ListQueues => return Ok(list(queues)),
        Operation::CreateQueue => {
            let new = queues.create(name, call.metadata()?, now)?;
            return Ok(if new { Reply::new(StatusCode::CREATED) } else { done }.done());
        }
        Operation::DeleteQueue => {
            queues.delete(name, now)?;
            return Ok(done.done());
        }
        _ => {}
    }
    let queue = queues.queue(name, now)?;
    match operation {
        Operation::QueueMetadata => {
            let reply = Reply::new(StatusCode::OK).metadata(&queue.metadata);
            Ok(reply.header("x-ms-approximate-messages-count", &queue.len().to_string()).done())
        }
        Operation::SetQueueMetadata => {
            queue.metadata = call.metadata()?;
            Ok(done.done())
        }
        Operation::PutMessage => put(queue, call, now),
        Operation::GetMessages => {
            let hidden = call.number("visibilitytimeout", 1..=WEEK)?.unwrap_or(HIDDEN);
            let messages = queue.get(count(call)?, seconds(hidden), now);
            Ok(messages_xml(StatusCode::OK, &messages, &[Part::Times, Part::Receipt, Part::Count, Part::Text], now))
        }
        Operation::PeekMessages => {
            let messages = queue.peek(count(call)?, now);
            Ok(messages_xml(StatusCode::OK, &messages, &[Part::Times, Part::Count, Part::Text], now))
        }
        Operation::ClearMessages => {
            queue.clear();
            Ok(done.done())
        }
        Operation::UpdateMessage => update(queue, call, now),
        Operation::DeleteMessage => {
            queue.delete(call.message_id().unwrap_or_default(), call.required_query("popreceipt")?)?;
            Ok(done.done())
        }
        _ => Err(NOT_IMPLEMENTED),
    }
}

fn list(queues: &Queues) -> Response {
    let items: Vec<String> = queues.queues.keys().map(|name| format!("<Queue><Name>{name}</Name></Queue>")).collect();
    let xml = format!("<EnumerationResults><Queues>{}</Queues><NextMarker/></EnumerationResults>", items.concat());
    Reply::new(StatusCode::OK).xml(&xml).done()
}

fn put(queue: &mut Queue, call: &Call, now: Now) -> Result<Response> {
    let text = message_text(&call.body)?;
    let delay = call.number("visibilitytimeout", 0..=WEEK)?.unwrap_or(0);
    let ttl = call.number("messagettl", -1..=i64::from(i32::MAX))?.unwrap_or(WEEK);
    if ttl == 0 || (ttl > 0 && delay >= ttl) {
        return Err(QUERY_OUT_OF_RANGE);
    }
    let ttl = (ttl > 0).then(|| seconds(ttl));
    let message = queue.put(text, seconds(delay), ttl, now);
    Ok(messages_xml(StatusCode::CREATED, &[message], &[Part::Times, Part::Receipt], now))
}

fn update(queue: &mut Queue, call: &Call, now: Now) -> Result<Response> {
    let receipt = call.required_query("popreceipt")?;
    call.required_query("visibilitytimeout")?;
    let hidden = call.number("visibilitytimeout", 0..=WEEK)?.unwrap_or(0);
    let text = if call.body.is_empty() { None } else { Some(message_text(&call.body)?) };
    let message = queue.update(call.message_id().unwrap_or_default(), receipt, text, seconds(hidden), now)?;
    let reply = Reply::new(StatusCode::NO_CONTENT).header("x-ms-popreceipt", &message.receipt);
    Ok(reply.header("x-ms-time-next-visible", &next_visible(&message, now)).done())
}

fn count(call: &Call) -> Result<usize> {
    let count = call.number("numofmessages", 1..=32)?.unwrap_or(1);
    Ok(usize::try_from(count).expect("the number is from 1 to 32"))
}

fn seconds(seconds: i64) -> Duration {
    Duration::from_secs(seconds.unsigned_abs())
}

fn next_visible(message: &Message, now: Now) -> String {
    http_date(now.utc + message.visible.saturating_duration_since(now.instant))
}

/// The parts of a message, besides its id, to include in a response.
#[derive(Debug, Clone, Copy)]
enum Part {
    Times,
    Receipt,
    Count,
    Text,
}

fn messages_xml(status: StatusCode, messages: &[Message], parts: &[Part], now: Now) -> Response {
    let items: Vec<String> = messages
        .iter()
        .map(|message| {
            let shown: String = parts.iter().map(|part| part_xml(message, *part, now)).collect();
            format!("<QueueMessage><MessageId>{}</MessageId>{shown}</QueueMessage>", message.id)
        })
        .collect();
    Reply::new(status).xml(&format!("<QueueMessagesList>{}</QueueMessagesList>", items.concat())).done()
}

fn part_xml(message: &Message, part: Part, now: Now) -> String {
    match part {
        Part::Times => {
            let expires = message.expires.map_or_else(|| NEVER.to_owned(), http_date);
            let inserted = http_date(message.inserted);
            format!("<InsertionTime>{inserted}</InsertionTime><ExpirationTime>{expires}</ExpirationTime>")
        }
        Part::Receipt => format!(
            "<PopReceipt>{}</PopReceipt><TimeNextVisible>{}</TimeNextVisible>",
            message.receipt,
            next_visible(message, now)
        ),
        Part::Count => format!("<DequeueCount>{}</DequeueCount>", message.dequeued),
        Part::Text => format!("<MessageText>{}</MessageText>", escape(&message.text)),
    }
}

/// Reads `<QueueMessage><MessageText>…</MessageText></QueueMessage>`.
fn message_text(body: &[u8]) -> Result<String> {
    let mut reader = Reader::from_reader(body);
    let (mut path, mut text, mut found) = (Vec::new(), String::new(), false);
    loop {
        let inside = path == [b"QueueMessage".to_vec(), b"MessageText".to_vec()];
        match reader.read_event().map_err(|_| INVALID_XML)? {
            Event::Start(tag) => path.push(tag.name().as_ref().to_vec()),
            Event::End(_) => {
                found |= inside;
                path.pop();
            }
            Event::Empty(tag) => found |= path.len() == 1 && tag.name().as_ref() == b"MessageText",
            Event::Text(part) if inside => text.push_str(&part.decode().map_err(|_| INVALID_XML)?),
            Event::CData(part) if inside => text.push_str(&part.decode().map_err(|_| INVALID_XML)?),
            Event::GeneralRef(reference) if inside => push_reference(&mut text, &reference)?,
            Event::Eof => break,
            _ => {}
        }
    }
    if !found || !path.is_empty() {
        return Err(INVALID_XML);
    }
    if text.len() > MAX_TEXT_BYTES { Err(REQUEST_BODY_TOO_LARGE) } else { Ok(text) }
}

fn push_reference(text: &mut String, reference: &BytesRef<'_>) -> Result<()> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| INVALID_XML)? {
        text.push(character);
        return Ok(());
    }
    let name = reference.decode().map_err(|_| INVALID_XML)?;
    text.push_str(resolve_predefined_entity(&name).ok_or(INVALID_XML)?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Options;
    use super::super::testing::{Answer, Fixture};
    use super::message_text;

    async fn fixture() -> Fixture {
        let fixture = Fixture::start(Options::default()).await;
        assert_eq!(fixture.queue("PUT", "sync-records", "").await.status, 201);
        fixture
    }

    /// Percent-encoded for a query.
    fn encoded(receipt: &str) -> String {
        url::form_urlencoded::byte_serialize(receipt.as_bytes()).collect()
    }

    async fn put(fixture: &Fixture, text: &str, query: &str) -> Answer {
        let body = format!("<QueueMessage><MessageText>{text}</MessageText></QueueMessage>");
        fixture.queue("POST", &format!("sync-records/messages?{query}"), &body).await
    }

    #[tokio::test]
    async fn a_queue_is_created_described_and_deleted() {
        let fixture = fixture().await;
        assert_eq!(fixture.queue("PUT", "sync-records", "").await.status, 204);
        put(&fixture, "a", "").await;
        let described = fixture.queue("GET", "sync-records?comp=metadata", "").await;
        assert_eq!((described.status, described.header("x-ms-approximate-messages-count")), (200, "1"));
        assert_eq!(fixture.queue("DELETE", "sync-records/messages", "").await.status, 204);
        assert_eq!(fixture.queue("DELETE", "sync-records", "").await.status, 204);
        assert_eq!(put(&fixture, "a", "").await.refusal(), (404, "QueueNotFound"));
        assert_eq!(fixture.queue("PUT", "sync-records", "").await.refusal(), (409, "QueueBeingDeleted"));
    }

    #[tokio::test]
    async fn a_message_is_put_delivered_once_and_deleted_by_its_receipt() {
        let fixture = fixture().await;
        let text = "{\"a\":\"&lt;&#65;&gt;\"}";
        let new = put(&fixture, text, "").await;
        assert_eq!(new.status, 201);
        assert!(new.element("InsertionTime").ends_with(" GMT") && new.element("ExpirationTime").ends_with(" GMT"));
        let peeked = fixture.queue("GET", "sync-records/messages?peekonly=true", "").await;
        assert_eq!((peeked.element("DequeueCount"), peeked.element("PopReceipt")), ("0", ""));
        let got = fixture.queue("GET", "sync-records/messages?numofmessages=32&visibilitytimeout=600", "").await;
        assert_eq!((got.element("DequeueCount"), got.element("MessageId")), ("1", new.element("MessageId")));
        assert_eq!(got.element("MessageText"), "{&quot;a&quot;:&quot;&lt;A&gt;&quot;}");
        assert_eq!(fixture.queue("GET", "sync-records/messages", "").await.element("MessageId"), "", "it is hidden");
        let delete = |receipt: &str| format!("sync-records/messages/{}?popreceipt={receipt}", new.element("MessageId"));
        let old = fixture.queue("DELETE", &delete(&encoded(new.element("PopReceipt"))), "").await;
        assert_eq!(old.refusal(), (400, "PopReceiptMismatch"));
        let unencoded = fixture.queue("DELETE", &delete(got.element("PopReceipt")), "").await;
        assert_eq!(unencoded.refusal(), (400, "PopReceiptMismatch"), "a bare + is a blank");
        assert_eq!(fixture.queue("DELETE", &delete(&encoded(got.element("PopReceipt"))), "").await.status, 204);
        let gone = fixture.queue("DELETE", &delete(&encoded(got.element("PopReceipt"))), "").await;
        assert_eq!(gone.refusal(), (404, "MessageNotFound"));
    }

    #[tokio::test]
    async fn an_update_renews_the_receipt_and_can_bring_the_message_back_at_once() {
        let fixture = fixture().await;
        put(&fixture, "a", "").await;
        let got = fixture.queue("GET", "sync-records/messages", "").await;
        let path = |receipt: &str, hidden: u32| {
            format!(
                "sync-records/messages/{}?popreceipt={}&visibilitytimeout={hidden}",
                got.element("MessageId"),
                encoded(receipt)
            )
        };
        let hidden = fixture.queue("PUT", &path(got.element("PopReceipt"), 600), "").await;
        assert_eq!(hidden.status, 204);
        assert!(hidden.header("x-ms-time-next-visible").ends_with(" GMT"));
        let old = fixture.queue("PUT", &path(got.element("PopReceipt"), 0), "").await;
        assert_eq!(old.refusal(), (400, "PopReceiptMismatch"));
        assert_eq!(fixture.queue("PUT", &path(hidden.header("x-ms-popreceipt"), 0), "").await.status, 204);
        let again = fixture.queue("GET", "sync-records/messages", "").await;
        assert_eq!((again.element("DequeueCount"), again.element("MessageText")), ("2", "a"));
    }

    #[tokio::test]
    async fn a_message_that_is_delivered_twice_can_be_deleted_by_either_until_the_second_has_it() {
        let fixture = fixture().await;
        for text in ["a", "b"] {
            put(&fixture, text, "").await;
        }
        let first = fixture.queue("GET", "sync-records/messages?numofmessages=2&visibilitytimeout=600", "").await;
        assert_eq!(fixture.storage.redeliver("sync-records", 1), 1);
        let again = fixture.queue("GET", "sync-records/messages?numofmessages=2", "").await;
        assert_eq!((again.element("MessageText"), again.element("DequeueCount")), ("a", "2"), "only one of the two");
        let delete = |answer: &Answer| {
            let receipt = encoded(answer.element("PopReceipt"));
            format!("sync-records/messages/{}?popreceipt={receipt}", answer.element("MessageId"))
        };
        let late = fixture.queue("DELETE", &delete(&first), "").await;
        assert_eq!(late.refusal(), (400, "PopReceiptMismatch"));
        assert_eq!(fixture.queue("DELETE", &delete(&again), "").await.status, 204);
        let left = fixture.storage.messages("sync-records");
        assert_eq!(left.len(), 1);
        assert_eq!((left[0].text.as_str(), left[0].dequeued, left[0].visible), ("b", 1, false));
    }

    #[tokio::test]
    async fn a_message_that_is_postponed_is_overtaken() {
        let fixture = fixture().await;
        for text in ["a", "b"] {
            put(&fixture, text, "").await;
        }
        assert_eq!(fixture.storage.postpone("sync-records", 1, std::time::Duration::from_mins(10)), 1);
        let got = fixture.queue("GET", "sync-records/messages?numofmessages=2", "").await;
        assert_eq!((got.element("MessageText"), got.text.matches("MessageId>").count()), ("b", 2));
        assert_eq!(fixture.storage.redeliver("sync-records", 9), 2);
        assert_eq!((fixture.storage.redeliver("sync-records", 9), fixture.storage.messages("nowhere").len()), (0, 0));
    }

    #[tokio::test]
    async fn sizes_and_numbers_outside_the_documented_ranges_are_refused() {
        let fixture = fixture().await;
        assert_eq!(put(&fixture, &"x".repeat(65_536), "").await.status, 201);
        assert_eq!(put(&fixture, &"x".repeat(65_537), "").await.refusal(), (413, "RequestBodyTooLarge"));
        let range = (400, "OutOfRangeQueryParameterValue");
        assert_eq!(put(&fixture, "x", "messagettl=0").await.refusal(), range);
        assert_eq!(put(&fixture, "x", "messagettl=10&visibilitytimeout=10").await.refusal(), range);
        assert_eq!(fixture.queue("GET", "sync-records/messages?numofmessages=33", "").await.refusal(), range);
        assert_eq!(fixture.queue("GET", "sync-records/messages?visibilitytimeout=0", "").await.refusal(), range);
        let text = fixture.queue("GET", "sync-records/messages?numofmessages=many", "").await;
        assert_eq!(text.refusal(), (400, "InvalidQueryParameterValue"));
        let no_xml = fixture.queue("POST", "sync-records/messages", "{}").await;
        assert_eq!(no_xml.refusal(), (400, "InvalidXmlDocument"));
    }

    #[test]
    fn message_texts_are_read_from_any_spelling_of_the_xml() {
        for (xml, expected) in [
            ("<QueueMessage><MessageText>a &amp; b</MessageText></QueueMessage>", Some("a & b")),
            (
                "<?xml version=\"1.0\"?>\n<QueueMessage>\n<MessageText><![CDATA[<a>]]></MessageText></QueueMessage>",
                Some("<a>"),
            ),
            ("<QueueMessage><MessageText/></QueueMessage>", Some("")),
            ("<QueueMessage></QueueMessage>", None),
            ("<QueueMessage><MessageText>a</QueueMessage>", None),
            ("<QueueMessage><MessageText>&nope;</MessageText></QueueMessage>", None),
        ] {
            assert_eq!(message_text(xml.as_bytes()).ok().as_deref(), expected, "{xml}");
        }
    }
}
