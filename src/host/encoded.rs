//! A text that is a JSON string twice over, as the host sends a queue message, without both layers in one pass.
//!
//! It refuses what is rare: the caller asks a JSON reader then, which is right about everything and takes thrice as long.

use super::runs::runs;

/// What such a text begins with.
const OPENING: &str = r#""\""#;

/// A quote.
const QUOTE: &[u8; 4] = br#"\\\""#;

/// Between two quotes there is seldom more.
const SHORT: usize = 32;

/// Of JSON that begins with [`OPENING`], the text in this string of a string, and what stands behind it. `None` where one of its
/// escapes is of a rare kind, or it is no such string.
pub(super) fn twice_encoded(json: &str) -> Option<(String, &str)> {
    let mut at = json.starts_with(OPENING).then_some(OPENING.len())?;
    let bytes = json.as_bytes();
    // What follows an envelope's message is at least as long again where it matters.
    let mut text = Text { bytes: vec![0; json.len() / 2], length: 0 };
    for (base, mut begins) in runs(bytes, b'\\') {
        while begins != 0 {
            let escape = base + begins.trailing_zeros() as usize;
            begins &= begins - 1;
            // It is the opening's, or is read already.
            if escape < at {
                continue;
            }
            text.push_plain(&bytes[at..], escape - at);
            at = escape;
            while let Some(rest @ [b'\\', ..]) = bytes.get(at..) {
                // Behind a quote the run is over, and nearly all escapes are quotes.
                if rest.first_chunk() == Some(QUOTE) {
                    text.push(b'"');
                    at += QUOTE.len();
                    break;
                }
                if let [_, b'"', b'"', ..] = rest {
                    return Some((text.whole()?, &json[at + 3..]));
                }
                let (character, length) = escaped(rest)?;
                text.push(character);
                at += length;
            }
        }
    }
    None
}

/// The text so far, with room behind it.
struct Text {
    bytes: Vec<u8>,
    length: usize,
}

impl Text {
    /// The first `length` bytes of `plain`. More of them are copied where that is quicker, into what is room afterwards too.
    fn push_plain(&mut self, plain: &[u8], length: usize) {
        self.make_room(length + SHORT);
        let room = &mut self.bytes[self.length..];
        match (plain.first_chunk::<SHORT>(), room.first_chunk_mut()) {
            (Some(plain), Some(room)) if length <= SHORT => *room = *plain,
            _ => room[..length].copy_from_slice(&plain[..length]),
        }
        self.length += length;
    }

    fn push(&mut self, character: u8) {
        self.make_room(1);
        self.bytes[self.length] = character;
        self.length += 1;
    }

    fn make_room(&mut self, length: usize) {
        if self.bytes.len() - self.length < length {
            self.grow(length);
        }
    }

    #[cold]
    fn grow(&mut self, length: usize) {
        self.bytes.resize(2 * (self.length + length), 0);
    }

    fn whole(mut self) -> Option<String> {
        self.bytes.truncate(self.length);
        String::from_utf8(self.bytes).ok()
    }
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
        fn both_readers_read_the_same(text in r#"([\\"/a-c\n\tä]|[a-c]{0,40}|\u{1}){0,24}"#) {
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
