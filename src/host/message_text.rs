//! The text of a queue message: a record as it is, or in base64.
//!
//! Senders differ: .NET's, Java's, Python's and JavaScript's clients put plain text on a queue, Functions' own output bindings and
//! Storage Explorer put base64. With `messageEncoding: none` the host passes both on as they lie in the queue, and no base64 text
//! begins with `{`, so the two cannot be confused. With `base64` the host has decoded the text already. Pure.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue#host-json>

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::json;

/// Whether the text begins as a JSON object does, after blanks and a byte order mark.
pub(crate) fn begins_as_object(text: &str) -> bool {
    text.trim_start_matches(|c: char| c == '\u{feff}' || c.is_whitespace()).starts_with('{')
}

/// The content of base64 text. The host ignores blanks within it, and requires its padding.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let bare: String = text.split_whitespace().collect();
    STANDARD.decode(bare).ok()
}

/// The text that begins as an object does, of which `text` is the base64.
pub(crate) fn object_in_base64(text: &str) -> Option<String> {
    if begins_as_object(text) {
        return None;
    }
    String::from_utf8(from_base64(text)?).ok().filter(|inner| begins_as_object(inner))
}

/// Why no record can be in the text of a message that the host did not decode; `None` where one can.
pub(super) fn problem(text: &str) -> Option<String> {
    if begins_as_object(text) {
        return None;
    }
    let content = from_base64(text).filter(|content| !content.is_empty());
    let inner = content.as_deref().map_or(text.into(), String::from_utf8_lossy);
    let problem = match content.as_deref() {
        _ if inner.trim_start().starts_with('[') => "an array of records is for HTTP calls; a message is one record",
        Some(_) if object_in_base64(&inner).is_some() => "it is in base64 twice; encode it once, or not at all",
        Some(content) => match json::other_encoding(content) {
            Some(encoding) => return Some(format!("it is base64 of {encoding}; send plain UTF-8")),
            None => "it is base64, but not of a JSON object",
        },
        None => "it is neither a JSON object nor base64 of one",
    };
    Some(problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_is_found_in_base64_and_nothing_else_is_decoded() {
        for inner in [r#"{"a":1}"#, " \r\n\t{", "\u{feff}{}", "\u{feff} {\u{0}"] {
            assert!(begins_as_object(inner), "{inner:?}");
            assert_eq!(object_in_base64(inner), None, "it is an object itself: {inner:?}");
            let encoded = STANDARD.encode(inner);
            assert_eq!(object_in_base64(&encoded).as_deref(), Some(inner));
            let broken = format!(" {}\r\n{}\n", &encoded[..2], &encoded[2..]);
            assert_eq!(object_in_base64(&broken).as_deref(), Some(inner), "blanks within base64 are ignored");
        }
        for text in ["", "hello", "[1]", "\"{}\"", "aGVsbG8=", "e30", "eyJhIjoxf", "W3t9XQ==", "e/8=", "%7B%7D"] {
            assert_eq!(object_in_base64(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_problem_says_what_the_text_is() {
        let twice = STANDARD.encode(STANDARD.encode(r#"{"a":1}"#));
        let utf16 = STANDARD.encode("\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>());
        assert_eq!(problem(r#"{"broken"#), None);
        for (text, expected) in [
            ("aGVsbG8=", "it is base64, but not of a JSON object"),
            (&twice, "it is in base64 twice; encode it once, or not at all"),
            ("H4sIAAAA", "it is base64 of gzip; send plain UTF-8"),
            ("KLUv/QQA", "it is base64 of zstd; send plain UTF-8"),
            (&utf16, "it is base64 of UTF-16; send plain UTF-8"),
            (" [{}]", "an array of records is for HTTP calls; a message is one record"),
            ("W3t9XQ==", "an array of records is for HTTP calls; a message is one record"),
            ("", "it is neither a JSON object nor base64 of one"),
            ("hello", "it is neither a JSON object nor base64 of one"),
            ("eyJh\u{e4}", "it is neither a JSON object nor base64 of one"),
        ] {
            assert_eq!(problem(text).as_deref(), Some(expected), "{text:?}");
        }
    }
}
