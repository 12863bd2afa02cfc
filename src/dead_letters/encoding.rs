//! The content of a message as the text that a queue holds, and back.
//!
//! The host uses one of two encodings, `messageEncoding` in host.json: base64, its default, or none. Senders often use the other
//! one, so reading accepts both; writing follows the host. Content is bytes, and content that is not text is kept byte for byte.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json>

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::host::{HostJson, HostJsonError, MessageEncoding};
use crate::settings::{Lookup, Problem};

/// The `chosen` encoding, else the one of the host.json in this folder, else the host's default.
pub(super) fn resolve(chosen: Option<MessageEncoding>, lookup: &Lookup<'_>) -> Result<MessageEncoding, Problem> {
    if let Some(encoding) = chosen {
        return Ok(encoding);
    }
    let found = match HostJson::load(Path::new("."), lookup) {
        Ok(host) => host.message_encoding,
        Err(HostJsonError::Missing) => Ok(MessageEncoding::default()),
        Err(error) => Err(error.to_string()),
    };
    let problem = |error: String| format!("in this folder cannot be used ({error}); --encoding overrides it");
    found.map_err(|error| Problem::new("host.json", problem(error)))
}

/// The content of a message with this text, in either encoding.
pub(super) fn decode(encoding: MessageEncoding, text: &str) -> Vec<u8> {
    match (encoding, from_base64(text)) {
        (MessageEncoding::Base64, Some(content)) => content,
        // A plain word can be valid base64; a JSON object cannot appear by accident.
        (MessageEncoding::None, Some(content)) if is_object(&content) => content,
        (MessageEncoding::None, Some(_)) | (_, None) => text.as_bytes().to_owned(),
    }
}

/// The text of a message with this content; `None` for content that needs base64.
pub(super) fn encode(encoding: MessageEncoding, content: &[u8]) -> Option<String> {
    match encoding {
        MessageEncoding::Base64 => Some(STANDARD.encode(content)),
        MessageEncoding::None => {
            str::from_utf8(content).ok().filter(|text| text.chars().all(is_xml)).map(str::to_owned)
        }
    }
}

/// The host ignores whitespace within base64, and requires its padding.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bare: String = text.split_whitespace().collect();
    STANDARD.decode(bare).ok()
}

fn is_object(content: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, Value>>(content).is_ok()
}

/// The queue service uses XML 1.0. <https://www.w3.org/TR/xml/#charsets>
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"table":"contacts"}"#;

    #[test]
    fn content_is_read_back_as_it_was_written() {
        for content in [RECORD.as_bytes(), b"", b"\x00\xff\xfe", b" \r\n\t ", "ä\u{1b}[31m".as_bytes(), b"dGVzdA=="] {
            let text = encode(MessageEncoding::Base64, content).expect("base64 encodes everything");
            assert_eq!(decode(MessageEncoding::Base64, &text), content);
        }
        for content in [RECORD, "", " \r\n\t ", "ä", "test", "dGVzdA=="] {
            let text = encode(MessageEncoding::None, content.as_bytes()).expect("text");
            assert_eq!(decode(MessageEncoding::None, &text), content.as_bytes(), "{content}");
        }
    }

    #[test]
    fn reading_accepts_both_encodings() {
        let encoded = STANDARD.encode(RECORD);
        for encoding in [MessageEncoding::Base64, MessageEncoding::None] {
            assert_eq!(decode(encoding, RECORD), RECORD.as_bytes());
            assert_eq!(decode(encoding, &encoded), RECORD.as_bytes());
        }
        let broken = format!("{}\n {}", &encoded[..8], &encoded[8..]);
        assert_eq!(decode(MessageEncoding::Base64, &broken), RECORD.as_bytes());
    }

    #[test]
    fn content_that_needs_base64_is_not_written_as_text() {
        for content in [&b"\xff"[..], b"\x00", b"\x1b", "\u{ffff}".as_bytes()] {
            assert_eq!(encode(MessageEncoding::None, content), None);
        }
    }
}
