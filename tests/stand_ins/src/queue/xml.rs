//! The Queue service's XML: message lists in, message bodies out.
//!
//! It reads only the elements it needs and keeps their text exactly, including white space. An error names what is
//! missing.
//!
//! Contract: <https://learn.microsoft.com/rest/api/storageservices/get-messages>.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::escape::{escape, resolve_predefined_entity};
use quick_xml::events::{BytesRef, Event};
use time::OffsetDateTime;

use super::Message;
use super::connection::parse_http_date;

/// The texts of one `QueueMessage`'s elements, by name.
type Fields = BTreeMap<String, String>;

/// The body of a put or update.
pub(super) fn message_body(text: &str) -> String {
    format!("<QueueMessage><MessageText>{}</MessageText></QueueMessage>", escape(text))
}

/// The messages in a Get or Peek response.
pub(super) fn messages(answer: &str) -> Result<Vec<Message>, String> {
    queue_messages(answer)?.iter().map(message).collect()
}

/// The id in a Put response.
pub(super) fn message_id(answer: &str) -> Result<String, String> {
    let first = queue_messages(answer)?.into_iter().next().ok_or("QueueMessage")?;
    field(&first, "MessageId").map(str::to_owned)
}

/// The code of an error response; empty if the body is not an error document.
pub(super) fn error_code(body: &str) -> String {
    let parsed = collect(body, "Error").unwrap_or_default();
    parsed.first().and_then(|error| error.get("Code")).cloned().unwrap_or_default()
}

fn message(fields: &Fields) -> Result<Message, String> {
    let insertion = date(fields, "InsertionTime")?;
    Ok(Message {
        id: field(fields, "MessageId")?.to_owned(),
        pop_receipt: fields.get("PopReceipt").cloned().unwrap_or_default(),
        text: field(fields, "MessageText")?.to_owned(),
        dequeue_count: field(fields, "DequeueCount")?.parse().map_err(|_| "DequeueCount")?,
        insertion,
        expiration: date(fields, "ExpirationTime")?,
        next_visible: if fields.contains_key("TimeNextVisible") {
            date(fields, "TimeNextVisible")?
        } else {
            OffsetDateTime::now_utc()
        },
    })
}

fn field<'a>(fields: &'a Fields, name: &str) -> Result<&'a str, String> {
    fields.get(name).map(String::as_str).ok_or_else(|| name.to_owned())
}

fn date(fields: &Fields, name: &str) -> Result<OffsetDateTime, String> {
    parse_http_date(field(fields, name)?).ok_or_else(|| name.to_owned())
}

fn queue_messages(answer: &str) -> Result<Vec<Fields>, String> {
    collect(answer, "QueueMessage")
}

fn collect(answer: &str, record: &str) -> Result<Vec<Fields>, String> {
    let mut reader = Reader::from_str(answer.trim_start_matches('\u{feff}'));
    let mut found = Vec::new();
    let mut current = Fields::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|_| "well-formed XML")? {
            Event::Start(start) => {
                text.clear();
                if start.name().as_ref() == record.as_bytes() {
                    current.clear();
                }
            }
            Event::Empty(empty) => {
                current.insert(String::from_utf8_lossy(empty.name().as_ref()).into_owned(), String::new());
            }
            Event::Text(part) => text.push_str(&part.decode().map_err(|_| "UTF-8 text")?),
            Event::CData(part) => text.push_str(&part.decode().map_err(|_| "UTF-8 text")?),
            Event::GeneralRef(reference) => text.push_str(&resolve(&reference)?),
            Event::End(end) if end.name().as_ref() == record.as_bytes() => found.push(std::mem::take(&mut current)),
            Event::End(end) => {
                let name = String::from_utf8_lossy(end.name().as_ref()).into_owned();
                current.insert(name, std::mem::take(&mut text));
            }
            Event::Eof => return Ok(found),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, String> {
    if let Some(character) = reference.resolve_char_ref().map_err(|_| "a valid character reference")? {
        return Ok(character.to_string());
    }
    let name = reference.decode().map_err(|_| "UTF-8 text")?;
    resolve_predefined_entity(&name).map(str::to_owned).ok_or_else(|| format!("the entity {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = r#"<?xml version="1.0" encoding="utf-8"?><QueueMessagesList>
        <QueueMessage><MessageId>1</MessageId><InsertionTime>Fri, 09 Oct 2026 21:04:30 GMT</InsertionTime>
        <ExpirationTime>Fri, 16 Oct 2026 21:04:30 GMT</ExpirationTime><PopReceipt>YzQ=</PopReceipt>
        <TimeNextVisible>Fri, 09 Oct 2026 23:29:20 GMT</TimeNextVisible><DequeueCount>3</DequeueCount>
        <MessageText> &lt;a b=&quot;1&quot;&gt; &amp;&#10;</MessageText></QueueMessage>
        <QueueMessage><MessageId>2</MessageId><InsertionTime>Fri, 09 Oct 2026 21:04:30 GMT</InsertionTime>
        <ExpirationTime>Fri, 16 Oct 2026 21:04:30 GMT</ExpirationTime><DequeueCount>0</DequeueCount>
        <MessageText></MessageText></QueueMessage></QueueMessagesList>"#;

    #[test]
    fn text_is_kept_exactly() {
        let messages = messages(TWO).expect("it is well formed");
        assert_eq!(messages[0].text, " <a b=\"1\"> &\n");
        assert_eq!((messages[0].pop_receipt.as_str(), messages[0].dequeue_count), ("YzQ=", 3));
        assert_eq!(messages[0].next_visible.hour(), 23);
    }

    #[test]
    fn a_peeked_message_has_no_pop_receipt() {
        let messages = messages(TWO).expect("it is well formed");
        assert_eq!((messages[1].pop_receipt.as_str(), messages[1].text.as_str()), ("", ""));
    }

    #[test]
    fn a_missing_element_is_named() {
        let answer = "<QueueMessagesList><QueueMessage><MessageId>1</MessageId></QueueMessage></QueueMessagesList>";
        assert_eq!(messages(answer), Err("InsertionTime".to_owned()));
    }

    #[test]
    fn a_body_survives_the_way_there_and_back() {
        let body = message_body("{\"a\":\"<&>'\"}");
        assert_eq!(queue_messages(&body).expect("it is well formed")[0]["MessageText"], "{\"a\":\"<&>'\"}");
    }

    #[test]
    fn an_error_document_gives_its_code() {
        assert_eq!(error_code("<?xml version=\"1.0\"?><Error><Code>QueueNotFound</Code></Error>"), "QueueNotFound");
        assert_eq!(error_code("gateway said no"), "");
    }
}
