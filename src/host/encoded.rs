//! A text that is a JSON string twice over, as the host sends a queue message, without both layers in one pass.
//!
//! It refuses what is rare: the caller asks a JSON reader then, which is right about everything and takes thrice as long.

use memchr::memchr;

/// The text in `item`, a valid JSON string, where that is a JSON string again and none of its escapes is of a rare kind.
pub(super) fn twice_encoded(item: &str) -> Option<String> {
    let mut rest = item.strip_prefix(r#""\""#)?.strip_suffix(r#"\"""#)?;
    let mut text = String::with_capacity(rest.len());
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        text.push_str(&rest[..at]);
        let (character, length) = escaped(&rest.as_bytes()[at..])?;
        text.push(character);
        rest = &rest[at + length..];
    }
    text.push_str(rest);
    Some(text)
}

/// The character that an escape of both layers stands for, and the bytes that it takes.
fn escaped(bytes: &[u8]) -> Option<(char, usize)> {
    match bytes {
        [b'\\', b'\\', b'\\', mark @ (b'"' | b'\\'), ..] => Some((char::from(*mark), 4)),
        [b'\\', b'\\', b'/', ..] => Some(('/', 3)),
        [b'\\', b'\\', b'n', ..] => Some(('\n', 3)),
        [b'\\', b'\\', b'r', ..] => Some(('\r', 3)),
        [b'\\', b'\\', b't', ..] => Some(('\t', 3)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn encoded(text: &str) -> String {
        json!(json!(text).to_string()).to_string()
    }

    #[test]
    fn what_json_escapes_every_day_needs_no_other_reader() {
        for text in ["", "plain", r#"{"a":"say \"hi\"","b":"c:\\d"}"#, "{\n\t\"ä\": \"/\"\r\n}", "\\\\\\", "\"\"", "𝄞"]
        {
            assert_eq!(twice_encoded(&encoded(text)).as_deref(), Some(text));
        }
        assert_eq!(twice_encoded(r#""\"a\\/b\"""#).as_deref(), Some("a/b"));
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
            assert_eq!(twice_encoded(item), None, "{item}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

        #[test]
        fn both_readers_read_the_same(text in r#"[\\"/a-c\n\t\u{1}ä]{0,24}"#) {
            let read = twice_encoded(&encoded(&text));
            prop_assert!(read.is_none_or(|read| read == text));
        }

        #[test]
        fn no_string_is_read_otherwise_than_by_the_json_reader(inside in r#"[\\"/nu0-1]{0,16}"#) {
            let item = format!(r#""\"{inside}\"""#);
            let Ok(outer) = serde_json::from_str::<String>(&item) else { return Ok(()) };
            let read = twice_encoded(&item);
            prop_assert!(read.is_none() || read == serde_json::from_str(&outer).ok());
        }
    }
}
