//! The content of a message as the text that a queue holds, and back.
//!
//! The host uses one of two encodings, `messageEncoding` in host.json: none, or base64, its default. Senders often use the other
//! one, so reading accepts both; writing follows the host. Content is bytes, and content that is not text is kept byte for byte.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json>

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::host::{
    HostJson, HostJsonError, MessageEncoding, begins_as_object, from_base64, message_encoding, object_in_base64,
};
use crate::settings::{Lookup, Problem};

/// The `chosen` encoding, else the one of the host.json in this folder, else the host's default: every host and handler reads a
/// record in base64. With it, whether it is known rather than assumed.
pub(crate) fn resolve(
    chosen: Option<MessageEncoding>,
    lookup: &Lookup<'_>,
) -> Result<(MessageEncoding, bool), Problem> {
    if let Some(encoding) = chosen {
        return Ok((encoding, true));
    }
    let (host, is_known) = match HostJson::load(Path::new("."), lookup) {
        Err(HostJsonError::Missing) => (HostJson::defaults(lookup), message_encoding(lookup).is_some()),
        loaded => (loaded, true),
    };
    let found = host.map_err(|error| error.to_string()).and_then(|host| host.message_encoding);
    let problem = |error: String| format!("in this folder cannot be used ({error}); --encoding overrides it");
    let encoding = found.map_err(|error| Problem::new("host.json", problem(error)))?;
    Ok((encoding, is_known))
}

/// The content of a message with this text, in either encoding.
pub(super) fn decode(encoding: MessageEncoding, text: &str) -> Vec<u8> {
    let content = match encoding {
        MessageEncoding::Base64 => from_base64(text),
        // A plain word can be valid base64, and the handler reads only an object in it.
        MessageEncoding::None => object_in_base64(text).map(String::into_bytes),
    };
    content.unwrap_or_else(|| text.as_bytes().to_owned())
}

/// The text of a message with this content. Without base64 in force only a record may be in base64, where it cannot be written
/// otherwise; `None` for other content that needs it.
pub(crate) fn encode(encoding: MessageEncoding, content: &[u8]) -> Option<String> {
    match (encoding, str::from_utf8(content)) {
        (MessageEncoding::None, Ok(text)) if text.chars().all(is_xml) => Some(text.to_owned()),
        (MessageEncoding::None, Ok(text)) if !begins_as_object(text) => None,
        (MessageEncoding::None, Err(_)) => None,
        (MessageEncoding::Base64, _) | (MessageEncoding::None, Ok(_)) => Some(STANDARD.encode(content)),
    }
}

/// The queue service uses XML 1.0. <https://www.w3.org/TR/xml/#charsets>
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: &str = r#"{"table":"contacts"}"#;

    /// Tests run in the folder of this repository's host.json.
    #[test]
    fn a_choice_goes_over_an_override_and_that_over_host_json() {
        const NAME: &str = "AzureFunctionsJobHost__extensions__queues__messageEncoding";
        let overridden = |value: &'static str| move |name: &str| (name == NAME).then(|| value.to_owned());
        assert_eq!(resolve(None, &|_| None), Ok((MessageEncoding::None, true)));
        assert_eq!(resolve(None, &overridden("Base64")), Ok((MessageEncoding::Base64, true)));
        assert_eq!(resolve(Some(MessageEncoding::None), &overridden("base64")), Ok((MessageEncoding::None, true)));
        let problem = resolve(None, &overridden("utf8")).expect_err("not an encoding").to_string();
        assert!(problem.contains("messageEncoding must be base64 or none"), "{problem}");
    }

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
        let marked = STANDARD.encode(format!("\u{feff}{RECORD}"));
        assert_eq!(decode(MessageEncoding::None, &marked), format!("\u{feff}{RECORD}").as_bytes());
        let broken = format!("{}\n {}", &encoded[..8], &encoded[8..]);
        assert_eq!(decode(MessageEncoding::Base64, &broken), RECORD.as_bytes());
    }

    #[test]
    fn content_that_needs_base64_is_not_written_as_text() {
        for content in [&b"\xff"[..], b"\x00", b"\x1b", "\u{ffff}".as_bytes(), b"{\xff"] {
            assert_eq!(encode(MessageEncoding::None, content), None);
        }
        // The handler reads it in base64 too.
        let record = "{\"table\":\"\u{1b}\u{fffe}\"";
        let text = encode(MessageEncoding::None, record.as_bytes()).expect("a record");
        assert_eq!((&*text, decode(MessageEncoding::None, &text)), (&*STANDARD.encode(record), record.into()));
    }
}
