//! JSON that passes through unchanged: an object's members in order, each value still the text that was sent.
//!
//! Nothing here rounds a number or reorders a member. Numbers compare by value, exactly, in any notation; duplicate members
//! are an error, because two parsers could pick different ones.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The most members of one object: more than ten times the columns of the widest table, and as many as fit a queue message.
const MAX_MEMBERS: usize = 11_000;

/// The characters of a member's name that an error shows.
const MAX_NAME_SHOWN: usize = 256;

/// The members of one object, in the order sent: each name, and its value as text.
#[derive(Debug)]
pub struct Members<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    /// The value of the member with this name.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(found, _)| found == name).map(|(_, value)| *value)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> Visitor<'de> for MembersVisitor {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        // The standard library's hash set is keyed at random (SipHash), so a sender cannot craft names that collide.
        let (mut members, mut seen) = (Vec::new(), HashSet::new());
        while let Some((Unescaped(name), value)) = map.next_entry()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom(format_args!("duplicate member `{name:.MAX_NAME_SHOWN$}`")));
            }
            if members.len() == MAX_MEMBERS {
                return Err(A::Error::custom(format_args!("more than {MAX_MEMBERS} members")));
            }
            members.push((name, value));
        }
        Ok(Members(members))
    }
}

/// A string without its escapes; borrowed where it has none.
#[derive(serde::Deserialize)]
struct Unescaped<'a>(#[serde(borrow)] Cow<'a, str>);

/// A text without the byte-order mark that some senders write before it.
/// <https://www.rfc-editor.org/rfc/rfc8259#section-8.1>
pub(crate) fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text)
}

/// The encoding of a text that is not UTF-8; JSON begins with two ASCII characters or one and a byte that is not zero.
///
/// <https://www.rfc-editor.org/rfc/rfc1952#section-2.3.1>, <https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1>,
/// <https://www.unicode.org/faq/utf_bom#bom4>
pub(crate) fn other_encoding(text: &[u8]) -> Option<&'static str> {
    match text {
        [0x1f, 0x8b, ..] => Some("gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("zstd"),
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => Some("UTF-16"),
        [first, second, ..] if (*first == 0) != (*second == 0) => Some("UTF-16"),
        _ => None,
    }
}

/// Whether objects and arrays are nested deeper than `max_depth`. The text need not be valid JSON.
pub(crate) fn is_deeper_than(max_depth: usize, text: &str) -> bool {
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    text.bytes().any(|byte| {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > max_depth
    })
}

/// A value, parsed just far enough to know its kind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(Number),
    /// A string without its escapes.
    Text(Cow<'a, str>),
    /// A string as sent that is not valid Unicode: JavaScript and .NET can write half of a surrogate pair.
    InvalidString(&'a str),
    /// An object or an array.
    Nested,
}

impl<'a> Value<'a> {
    pub(crate) fn of(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(text) {
                Ok(Unescaped(text)) => Self::Text(text),
                Err(_) => Self::InvalidString(text),
            },
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            Some(b'{' | b'[') => Self::Nested,
            _ => Self::Number(Number::parse(text)),
        }
    }

    /// The kind, for error texts.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::InvalidString(_) => "a string with half of a surrogate pair",
            Self::Nested => "an object or array",
        }
    }
}

/// A number by its exact decimal value: `1`, `1.0` and `10e-1` are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number {
    negative: bool,
    /// Significant digits without zeros at either end; empty for zero.
    digits: String,
    /// The power of ten of the last digit.
    exponent: i64,
}

impl Number {
    /// Parses a JSON number's text.
    pub(crate) fn parse(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // JSON does not limit exponents. Beyond i64, numbers with the same digits are equal; no column can hold them.
        let mut exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        exponent = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let significant = digits.trim_end_matches('0');
        exponent = exponent.saturating_add(i64::try_from(digits.len() - significant.len()).unwrap_or(i64::MAX));
        if significant.is_empty() {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        Self { negative, digits: significant.to_owned(), exponent }
    }

    /// The decimal literal without an exponent; `None` when it would be longer than 64 characters.
    pub(crate) fn literal(&self) -> Option<String> {
        if self.digits.is_empty() {
            return Some("0".to_owned());
        }
        let sign = if self.negative { "-" } else { "" };
        let length = i64::try_from(self.digits.len()).ok()?;
        let point = length.checked_add(self.exponent)?;
        if !(-60..=60).contains(&point) || length > 60 || self.exponent > 60 {
            return None;
        }
        let (digits, zeros) = (&self.digits, |n: i64| "0".repeat(usize::try_from(n).unwrap_or(0)));
        Some(if self.exponent >= 0 {
            format!("{sign}{digits}{}", zeros(self.exponent))
        } else if point > 0 {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
            format!("{sign}{whole}.{fraction}")
        } else {
            format!("{sign}0.{}{digits}", zeros(-point))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_equal_by_value_and_only_by_value() {
        for (a, b) in [("1", "1.0"), ("1", "10e-1"), ("0", "-0.0e7"), ("1200", "1.2E3"), ("-0.05", "-5e-2")] {
            assert_eq!(Number::parse(a), Number::parse(b), "{a} and {b}");
        }
        for (a, b) in
            [("1", "-1"), ("1", "10"), ("9007199254740993", "9007199254740992"), ("0.1", "0.10000000000000000001")]
        {
            assert_ne!(Number::parse(a), Number::parse(b), "{a} and {b}");
        }
    }

    #[test]
    fn a_literal_has_no_exponent() {
        for (text, literal) in
            [("1.20e3", "1200"), ("5e-2", "0.05"), ("-12.50", "-12.5"), ("0e9", "0"), ("123.456e1", "1234.56")]
        {
            assert_eq!(Number::parse(text).literal().as_deref(), Some(literal));
        }
        assert_eq!(Number::parse("1e400").literal(), None);
        assert_eq!(Number::parse("1e99999999999999999999").literal(), None);
    }

    #[test]
    fn depth_counts_open_brackets_outside_of_strings() {
        for (text, depth) in [
            ("7", 0),
            ("[[],[]]", 2),
            (r#"{"a":[{}]}"#, 3),
            (r#"{"[[[":"{\"[\\"}"#, 1),
            ("]]]{", 1),
            (r#"["\\",[]]"#, 2),
        ] {
            assert!(!is_deeper_than(depth, text), "{text}");
            assert!(depth == 0 || is_deeper_than(depth - 1, text), "{text}");
        }
        assert!(is_deeper_than(100, &"[".repeat(8 << 20)));
    }

    #[test]
    fn a_duplicate_member_is_an_error_that_names_it() {
        let error = serde_json::from_str::<Members<'_>>(r#"{"a":1,"\u0061":2}"#).expect_err("a duplicate").to_string();
        assert!(error.contains("`a`"), "{error}");
    }

    #[test]
    fn many_members_are_kept_in_the_order_sent() {
        let names: Vec<String> = (0..500).map(|n| format!("m{}", n * 7 % 500)).collect();
        let text = |names: &[String]| {
            let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        let once = text(&names);
        let members: Members<'_> = serde_json::from_str(&once).expect("an object");
        assert!(members.0.iter().map(|(name, _)| name.as_ref()).eq(names.iter().map(String::as_str)));
        let again = text(&[names.as_slice(), &["m77".to_owned()]].concat());
        let error = serde_json::from_str::<Members<'_>>(&again).expect_err("a duplicate").to_string();
        assert!(error.contains("`m77`"), "{error}");
    }

    #[test]
    fn an_object_has_a_limited_number_of_members_and_a_long_name_is_cut_in_the_error() {
        let object = |count: usize| {
            let members: Vec<_> = (0..count).map(|n| format!("\"{n}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        let read = |text: &str| serde_json::from_str::<Members<'_>>(text).map(|members| members.0.len());
        assert_eq!(read(&object(MAX_MEMBERS)).ok(), Some(MAX_MEMBERS));
        let error = read(&object(MAX_MEMBERS + 1)).expect_err("too many").to_string();
        assert!(error.starts_with("more than 11000 members"), "{error}");
        let name = "x".repeat(100_000);
        let error = read(&format!("{{\"{name}\":1,\"{name}\":2}}")).expect_err("a duplicate").to_string();
        assert!(error.len() < 400, "{}", error.len());
    }

    #[test]
    fn a_string_with_half_of_a_surrogate_pair_is_an_invalid_string() {
        let members: Members<'_> =
            serde_json::from_str(r#"{"a":"\ud800","b":"\uD83D\uDE00","c":"\udc00x"}"#).expect("JSON");
        let values: Vec<_> = members.0.iter().map(|(_, raw)| Value::of(raw)).collect();
        assert_eq!(
            values,
            [Value::InvalidString(r#""\ud800""#), Value::Text("😀".into()), Value::InvalidString(r#""\udc00x""#)]
        );
    }

    #[test]
    fn values_keep_the_text_that_was_sent() {
        let members: Members<'_> = serde_json::from_str(r#"{"n": 1.50, "s":"\u00e4"}"#).expect("an object");
        assert_eq!(members.0[0].1.get(), "1.50");
        assert_eq!(Value::of(members.0[1].1), Value::Text("ä".into()));
    }

    #[test]
    fn an_encoding_is_known_by_its_first_bytes() {
        let utf16 = |text: &str, to: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(to).collect::<Vec<u8>>();
        for text in ["{\"a\":1}", "\u{feff}{}", " [", "\u{feff}\r\n{"] {
            for to in [u16::to_le_bytes, u16::to_be_bytes] {
                assert_eq!(other_encoding(&utf16(text, to)), Some("UTF-16"), "{text:?}");
            }
            assert_eq!(other_encoding(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(other_encoding(b"\x1f\x8b\x08\0"), Some("gzip"));
        assert_eq!(other_encoding(b"\x28\xb5\x2f\xfd\x04"), Some("zstd"));
        for other in [&b""[..], b"{", b"\0", b"\0\0", b"(\xb5", b"\xff", b"x\x9c"] {
            assert_eq!(other_encoding(other), None, "{other:?}");
        }
    }
}
