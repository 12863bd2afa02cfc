//! A text that is a JSON string twice over, as the host sends a queue message, without both layers in one pass.
//!
//! It refuses what is rare: the caller asks a JSON reader then, which is right about everything and takes thrice as long.

use memchr::memchr;

use crate::eight;

/// What such a text begins with.
const OPENING: &str = r#""\""#;

/// Of JSON that begins with [`OPENING`], the text in this string of a string, and what stands behind it. `None` where one of its
/// escapes is of a rare kind, or it is no such string.
pub(super) fn twice_encoded(json: &str) -> Option<(String, &str)> {
    let mut at = json.starts_with(OPENING).then_some(OPENING.len())?;
    // What follows an envelope's message is at least as long again where it matters; a vector that is too small grows.
    let mut text = Vec::with_capacity(json.len() / 2);
    loop {
        at = copy_plain(json.as_bytes(), at, &mut text);
        let rest = json.as_bytes().get(at..)?;
        if let [b'\\', b'"', b'"', ..] = rest {
            return Some((String::from_utf8(text).ok()?, &json[at + 3..]));
        }
        let (character, length) = escaped(rest)?;
        text.push(character);
        at += length;
    }
}

/// Appends everything before the next backslash to `text`, and says where that is.
fn copy_plain(json: &[u8], mut at: usize, text: &mut Vec<u8>) -> usize {
    for _ in 0..eight::CLOSE {
        let Some(word) = json.get(at..).and_then(<[u8]>::first_chunk) else { break };
        let plain = eight::before(*word, [b'\\']);
        // All eight, as a copy of a known length takes no call, and then back.
        text.extend_from_slice(word);
        text.truncate(text.len() - word.len() + plain);
        at += plain;
        if plain < word.len() {
            return at;
        }
    }
    let rest = json.get(at..).unwrap_or_default();
    let plain = memchr(b'\\', rest).unwrap_or(rest.len());
    text.extend_from_slice(&rest[..plain]);
    at + plain
}

/// The character that an escape of both layers stands for, and the bytes that it takes.
fn escaped(bytes: &[u8]) -> Option<(u8, usize)> {
    match bytes {
        [b'\\', b'\\', b'\\', mark @ (b'"' | b'\\'), ..] => Some((*mark, 4)),
        [b'\\', b'\\', b'/', ..] => Some((b'/', 3)),
        [b'\\', b'\\', b'n', ..] => Some((b'\n', 3)),
        [b'\\', b'\\', b'r', ..] => Some((b'\r', 3)),
        [b'\\', b'\\', b't', ..] => Some((b'\t', 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    /// The text, if the string is all there is.
    fn whole(item: &str) -> Option<String> {
        twice_encoded(item).filter(|(_, rest)| rest.is_empty()).map(|(text, _)| text)
    }

    fn encoded(text: &str) -> String {
        json!(json!(text).to_string()).to_string()
    }

    #[test]
    fn what_json_escapes_every_day_needs_no_other_reader() {
        for text in ["", "plain", r#"{"a":"say \"hi\"","b":"c:\\d"}"#, "{\n\t\"ä\": \"/\"\r\n}", "\\\\\\", "\"\"", "𝄞"]
        {
            assert_eq!(whole(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(whole(r#""\"a\\/b\"""#).as_deref(), Some("a/b"));
    }

    #[test]
    fn what_is_not_encoded_twice_or_in_a_rare_way_is_left_to_another_reader() {
        for item in [
            r#""""#,
            r#""plain""#,
            r#""{\"a\":1}""#,
            r#""\"""#,
            r#""\"a\" ""#,
            r#""\"a\",\"b\"""#,
            r#""\"a\nb\"""#,
            r#""\"\\u00e4\"""#,
            r#""\"\u005c\u0022\"""#,
            r#""\"a\\""#,
        ] {
            assert_eq!(whole(item), None, "{item}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn both_readers_read_the_same(text in r#"[\\"/a-c\n\t\u{1}ä]{0,24}"#) {
            let read = whole(&encoded(&text));
            prop_assert!(read.is_none_or(|read| read == text));
        }

        #[test]
        fn no_string_is_read_otherwise_than_by_the_json_reader(inside in r#"[\\"/nu0-1]{0,16}"#) {
            let item = format!(r#""\"{inside}\"""#);
            let Ok(outer) = serde_json::from_str::<String>(&item) else { return Ok(()) };
            let read = whole(&item);
            prop_assert!(read.is_none() || read == serde_json::from_str(&outer).ok());
        }
    }
}
