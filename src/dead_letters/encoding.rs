//! How a message's content becomes the text that a queue holds, and back.
//!
//! The host reads and writes in one of two ways, `messageEncoding` in host.json: base64, its default, or none. Senders get
//! this wrong often enough that reading copes with both; writing follows the host. Content is bytes: what is no text
//! survives, byte for byte. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// The host's `messageEncoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum Encoding {
    /// A message's text is its content in base64.
    #[default]
    Base64,
    /// A message's text is its content.
    None,
}

/// Content that cannot be the text of a message as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("its content holds what a message cannot hold without base64")]
pub struct NotWritable;

impl Encoding {
    /// Reads the text of a host.json; one that does not say means base64.
    ///
    /// # Errors
    /// What is wrong with it, as a clause that follows the file's name.
    pub fn from_host_json(text: &str) -> Result<Self, &'static str> {
        let file: Value = serde_json::from_str(text).map_err(|_| "is no JSON")?;
        match file["extensions"]["queues"].get("messageEncoding").map(Value::as_str) {
            None => Ok(Self::Base64),
            Some(Some(word)) if word.eq_ignore_ascii_case("base64") => Ok(Self::Base64),
            Some(Some(word)) if word.eq_ignore_ascii_case("none") => Ok(Self::None),
            Some(_) => Err("has a messageEncoding that is neither base64 nor none"),
        }
    }

    /// The content of a message with this text, whichever way it was written.
    pub fn decode(self, text: &str) -> Vec<u8> {
        let decoded = from_base64(text);
        match (self, decoded) {
            (Self::Base64, Some(content)) => content,
            // Words may happen to be base64; what they would mean tells.
            (Self::None, Some(content)) if is_object(&content) => content,
            (Self::None, Some(_)) | (_, None) => text.as_bytes().to_owned(),
        }
    }

    /// The text of a message with this content.
    ///
    /// # Errors
    /// When only base64 could carry it.
    pub fn encode(self, content: &[u8]) -> Result<String, NotWritable> {
        match self {
            Self::Base64 => Ok(STANDARD.encode(content)),
            Self::None => {
                let text = std::str::from_utf8(content).map_err(|_| NotWritable)?;
                if text.chars().all(is_xml) { Ok(text.to_owned()) } else { Err(NotWritable) }
            }
        }
    }
}

/// The host ignores blanks and line breaks within base64, and insists on its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    if text.contains(char::is_whitespace) {
        let bare: String = text.split_whitespace().collect();
        return STANDARD.decode(bare).ok();
    }
    STANDARD.decode(text).ok()
}

fn is_object(content: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, Value>>(content).is_ok()
}

/// The queue service speaks XML 1.0. <https://www.w3.org/TR/xml/#charsets>
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"table":"contacts"}"#;

    #[test]
    fn host_json_names_the_encoding_and_its_silence_means_base64() {
        let with = |queues: &str| Encoding::from_host_json(&format!(r#"{{"extensions":{{"queues":{queues}}}}}"#));
        assert_eq!(with(r#"{"messageEncoding":"none"}"#), Ok(Encoding::None));
        assert_eq!(with(r#"{"messageEncoding":"Base64"}"#), Ok(Encoding::Base64));
        assert_eq!(with("{}"), Ok(Encoding::Base64));
        assert_eq!(Encoding::from_host_json(r#"{"version":"2.0"}"#), Ok(Encoding::Base64));
        assert!(with(r#"{"messageEncoding":"utf8"}"#).is_err());
        assert!(with(r#"{"messageEncoding":7}"#).is_err());
        assert!(Encoding::from_host_json("{").is_err());
    }

    #[test]
    fn content_survives_the_way_through_a_queue_byte_for_byte() {
        for content in [RECORD.as_bytes(), b"", b"\x00\xff\xfe", b" \r\n\t ", "ä\u{1b}[31m".as_bytes(), b"dGVzdA=="] {
            let text = Encoding::Base64.encode(content).expect("base64 carries all");
            assert_eq!(Encoding::Base64.decode(&text), content);
        }
        for content in [RECORD, "", " \r\n\t ", "ä", "test", "dGVzdA=="] {
            let text = Encoding::None.encode(content.as_bytes()).expect("text");
            assert_eq!(Encoding::None.decode(&text), content.as_bytes(), "{content}");
        }
    }

    #[test]
    fn reading_copes_with_both_ways_of_writing() {
        let encoded = STANDARD.encode(RECORD);
        for encoding in [Encoding::Base64, Encoding::None] {
            assert_eq!(encoding.decode(RECORD), RECORD.as_bytes());
            assert_eq!(encoding.decode(&encoded), RECORD.as_bytes());
        }
        let broken = format!("{}\n {}", &encoded[..8], &encoded[8..]);
        assert_eq!(Encoding::Base64.decode(&broken), RECORD.as_bytes());
    }

    #[test]
    fn what_only_base64_can_carry_is_not_written_as_text() {
        for content in [&b"\xff"[..], b"\x00", b"\x1b", "\u{ffff}".as_bytes()] {
            assert_eq!(Encoding::None.encode(content), Err(NotWritable));
        }
    }
}
