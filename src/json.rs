//! JSON read without being taken apart: an object's members in order, each still the text that was sent.
//!
//! Values pass through this program as they are, so nothing here rounds a number or re-orders a member. Numbers compare by
//! value, exactly, whatever their notation; duplicate members are an error, because two readers could pick different ones.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use foldhash::fast::RandomState;
use memchr::memchr_iter;
use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The members of one object, in the order sent: each name, and the text of its value or what else is read of it.
#[derive(Debug)]
pub struct Members<'a, V = &'a RawValue>(pub Vec<(Cow<'a, str>, V)>);

impl<'de: 'a, 'a, V: Deserialize<'de>> Deserialize<'de> for Members<'a, V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(MembersVisitor(PhantomData))
    }
}

struct MembersVisitor<V>(PhantomData<V>);

impl<'de, V: Deserialize<'de>> Visitor<'de> for MembersVisitor<V> {
    type Value = Members<'de, V>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members: Vec<(Cow<'de, str>, V)> = Vec::with_capacity(map.size_hint().unwrap_or(8));
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        match twice(members.iter().map(|(name, _)| name.as_ref())) {
            Some(name) => Err(A::Error::custom(format_args!("the member `{name}` stands there twice"))),
            None => Ok(Members(members)),
        }
    }
}

/// A name that stands there twice. Who sends the names never sees their hashes, and each process has others.
fn twice<'a>(mut names: impl ExactSizeIterator<Item = &'a str>) -> Option<&'a str> {
    let mut seen = HashSet::with_capacity_and_hasher(names.len(), RandomState::default());
    names.find(|name| !seen.insert(*name))
}

/// A string without its escapes.
#[derive(serde::Deserialize)]
pub(crate) struct Name<'a>(#[serde(borrow)] pub(crate) Cow<'a, str>);

/// Whether objects and arrays stand in one another deeper than `most`. Of text that is no JSON it says anything, but it says it.
pub(crate) fn is_deeper_than(most: usize, text: &str) -> bool {
    let opened = |bracket| memchr_iter(bracket, text.as_bytes()).count();
    if opened(b'{') + opened(b'[') <= most {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'{' | b'[' if !quoted => depth += 1,
            b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > most {
            return true;
        }
    }
    false
}

/// A value, looked at just closely enough to know its kind.
#[derive(Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// `null`
    Null,
    /// `true`, `false`
    Bool(bool),
    /// Any number, by value.
    Number(Number),
    /// A string without its escapes.
    Text(Cow<'a, str>),
    /// A string that is no text, with its escapes: half of a surrogate pair, as JavaScript and .NET can write it.
    NoText(&'a str),
    /// An object or an array.
    Nested,
}

impl<'a> Value<'a> {
    /// Looks at a value.
    pub fn of(raw: &'a RawValue) -> Self {
        let text = raw.get();
        match text.as_bytes().first() {
            Some(b'"') => match serde_json::from_str(text) {
                Ok(Name(text)) => Self::Text(text),
                Err(_) => Self::NoText(text),
            },
            Some(b't') => Self::Bool(true),
            Some(b'f') => Self::Bool(false),
            Some(b'n') => Self::Null,
            Some(b'{' | b'[') => Self::Nested,
            _ => Self::Number(Number::of(text)),
        }
    }

    /// The kind, as a person would say it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::NoText(_) => "a string with half of a surrogate pair",
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
    /// Reads a JSON number's text.
    pub fn of(text: &str) -> Self {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // JSON sets no bound on exponents. Beyond i64 all numbers of the same digits count as one; no column holds them.
        let mut exponent: i64 = exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        exponent = exponent.saturating_sub(i64::try_from(fraction.len()).unwrap_or(i64::MAX));
        let digits = format!("{whole}{fraction}");
        let digits = digits.trim_start_matches('0');
        let kept = digits.trim_end_matches('0');
        exponent = exponent.saturating_add(i64::try_from(digits.len() - kept.len()).unwrap_or(i64::MAX));
        if kept.is_empty() {
            return Self { negative: false, digits: String::new(), exponent: 0 };
        }
        Self { negative, digits: kept.to_owned(), exponent }
    }

    /// The plain decimal literal, without an exponent, or `None` when it would be longer than 64 characters.
    pub fn literal(&self) -> Option<String> {
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
            assert_eq!(Number::of(a), Number::of(b), "{a} and {b}");
        }
        for (a, b) in
            [("1", "-1"), ("1", "10"), ("9007199254740993", "9007199254740992"), ("0.1", "0.10000000000000000001")]
        {
            assert_ne!(Number::of(a), Number::of(b), "{a} and {b}");
        }
    }

    #[test]
    fn a_literal_has_no_exponent() {
        for (text, literal) in
            [("1.20e3", "1200"), ("5e-2", "0.05"), ("-12.50", "-12.5"), ("0e9", "0"), ("123.456e1", "1234.56")]
        {
            assert_eq!(Number::of(text).literal().as_deref(), Some(literal));
        }
        assert_eq!(Number::of("1e400").literal(), None);
        assert_eq!(Number::of("1e99999999999999999999").literal(), None);
    }

    #[test]
    fn depth_is_what_stands_open_at_once_outside_of_text() {
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
    fn a_member_that_stands_twice_is_an_error_that_names_it() {
        let error = serde_json::from_str::<Members<'_>>(r#"{"a":1,"\u0061":2}"#).expect_err("twice").to_string();
        assert!(error.contains("`a`"), "{error}");
    }

    #[test]
    fn members_that_stand_once_are_kept_in_the_order_sent_however_many() {
        let names: Vec<String> = (0..500).map(|n| format!("m{}", n * 7 % 500)).collect();
        let text = |names: &[String]| {
            let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":0")).collect();
            format!("{{{}}}", members.join(","))
        };
        let once = text(&names);
        let members: Members<'_> = serde_json::from_str(&once).expect("an object");
        assert!(members.0.iter().map(|(name, _)| name.as_ref()).eq(names.iter().map(String::as_str)));
        let again = text(&[names.as_slice(), &["m77".to_owned()]].concat());
        let error = serde_json::from_str::<Members<'_>>(&again).expect_err("twice").to_string();
        assert!(error.contains("`m77`"), "{error}");
    }

    #[test]
    fn a_string_that_is_no_text_is_told_apart_and_never_a_panic() {
        let members: Members<'_> =
            serde_json::from_str(r#"{"a":"\ud800","b":"\uD83D\uDE00","c":"\udc00x"}"#).expect("JSON");
        let values: Vec<_> = members.0.iter().map(|(_, raw)| Value::of(raw)).collect();
        assert_eq!(values, [Value::NoText(r#""\ud800""#), Value::Text("😀".into()), Value::NoText(r#""\udc00x""#)]);
    }

    #[test]
    fn values_keep_the_text_that_was_sent() {
        let members: Members<'_> = serde_json::from_str(r#"{"n": 1.50, "s":"\u00e4"}"#).expect("an object");
        assert_eq!(members.0[0].1.get(), "1.50");
        assert_eq!(Value::of(members.0[1].1), Value::Text("ä".into()));
    }
}
