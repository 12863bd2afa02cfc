//! Keys are equal, and share a lock, exactly when they address the same row, in whatever notation they are written.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::ops::Range;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::*;

/// A key by its value.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Key {
    Id(u128),
    Columns(BTreeMap<String, KeyPart>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum KeyPart {
    Text(String),
    Guid(u128),
    /// `digits` times ten to the power of `exponent`.
    Number {
        negative: bool,
        digits: u32,
        exponent: i32,
    },
}

/// The notation in which a key is written.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a choice of its own")]
struct Spelling {
    backwards: bool,
    upper: bool,
    braces: bool,
    escapes: bool,
    /// A number has an exponent even where it is 0.
    exponent: bool,
    /// Zeros at the end of a number, before its point is moved.
    zeros: usize,
    /// How far a number's point is moved to the left.
    point: usize,
}

impl Key {
    fn plain(&self) -> Self {
        let Self::Columns(columns) = self else { return self.clone() };
        Self::Columns(columns.iter().map(|(name, value)| (name.clone(), value.plain())).collect())
    }

    fn written(&self, spelling: &Spelling) -> String {
        let columns = match self {
            Self::Id(id) => return spelling.guid(*id),
            Self::Columns(columns) => columns,
        };
        let member = |name: &String, value| format!("{}:{}", spelling.text(name), spelling.value(value));
        let mut members: Vec<_> = columns.iter().map(|(name, value)| member(name, value)).collect();
        if spelling.backwards {
            members.reverse();
        }
        format!("{{ {} }}", members.join(" , "))
    }

    fn read(&self, spelling: &Spelling) -> RecordKey {
        let text = self.written(spelling);
        let raw = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        RecordKey::read(raw).unwrap_or_else(|error| panic!("{text}: {error}"))
    }
}

impl KeyPart {
    /// Equal values, and only these, are equal in this form.
    fn plain(&self) -> Self {
        let Self::Number { negative, mut digits, mut exponent } = *self else { return self.clone() };
        if digits == 0 {
            return Self::Number { negative: false, digits, exponent: 0 };
        }
        while digits.is_multiple_of(10) {
            (digits, exponent) = (digits / 10, exponent + 1);
        }
        Self::Number { negative, digits, exponent }
    }
}

impl Spelling {
    fn value(&self, value: &KeyPart) -> String {
        match value {
            KeyPart::Text(text) => self.text(text),
            KeyPart::Guid(id) => self.guid(*id),
            KeyPart::Number { negative, digits, exponent } => self.number(*negative, *digits, *exponent),
        }
    }

    fn text(&self, text: &str) -> String {
        if !self.escapes {
            return json!(text).to_string();
        }
        let mut written = "\"".to_owned();
        for unit in text.encode_utf16() {
            write!(written, "\\u{unit:04x}").expect("writing to a string cannot fail");
        }
        written + "\""
    }

    fn guid(&self, id: u128) -> String {
        let id = Uuid::from_u128(id).to_string();
        let id = if self.upper { id.to_uppercase() } else { id };
        self.text(&if self.braces { format!("{{{id}}}") } else { id })
    }

    fn number(&self, negative: bool, digits: u32, exponent: i32) -> String {
        let zeros = if digits == 0 { 0 } else { self.zeros };
        let mut text = format!("{digits}{}", "0".repeat(zeros));
        let point = self.point.min(text.len() - 1);
        if point > 0 {
            text.insert(text.len() - point, '.');
        }
        let moved = |places: usize| i32::try_from(places).expect("a few places");
        let exponent = exponent - moved(zeros) + moved(point);
        let sign = if negative { "-" } else { "" };
        match (exponent, self.exponent) {
            (0, false) => format!("{sign}{text}"),
            (_, false) => format!("{sign}{text}e{exponent}"),
            (_, true) => format!("{sign}{text}E{exponent:+}"),
        }
    }
}

fn spellings() -> impl Strategy<Value = Spelling> {
    (any::<[bool; 5]>(), 0..6_usize, 0..12_usize).prop_map(|(flags, zeros, point)| {
        let [backwards, upper, braces, escapes, exponent] = flags;
        Spelling { backwards, upper, braces, escapes, exponent, zeros, point }
    })
}

fn numbers(digits: impl Strategy<Value = u32>, exponents: Range<i32>) -> impl Strategy<Value = KeyPart> {
    let number = (any::<bool>(), digits, exponents);
    number.prop_map(|(negative, digits, exponent)| KeyPart::Number { negative, digits, exponent })
}

/// Keys of every form.
fn keys() -> impl Strategy<Value = Key> {
    let text = any::<String>().prop_filter("empty", |text| !text.is_empty()).prop_map(KeyPart::Text);
    let plain = ("[a-z][a-z0-9_]{0,9}", prop_oneof![text, numbers(any::<u32>(), -20..20)]);
    let lookup = ("_[a-z]{1,8}_value", any::<u128>().prop_map(KeyPart::Guid));
    let columns = vec(prop_oneof![3 => plain, 1 => lookup], 1..=16);
    let columns = columns.prop_map(|columns| Key::Columns(columns.into_iter().collect()));
    prop_oneof![1 => any::<u128>().prop_map(Key::Id), 4 => columns]
}

/// Keys so small that two of them are often equal or nearly equal.
fn small_keys() -> impl Strategy<Value = Key> {
    let text = select(vec!["1", "0", "-1", "x", "xy", "y", "a"]).prop_map(|text| KeyPart::Text(text.to_owned()));
    let value = prop_oneof![text, numbers(select(vec![0, 1, 10, 12, 2]), -1..2)];
    let columns = btree_map(select(vec!["a", "b", "ab"]).prop_map(str::to_owned), value, 1..3);
    prop_oneof![1 => (0..3_u128).prop_map(Key::Id), 9 => columns.prop_map(Key::Columns)]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]

    #[test]
    fn every_notation_of_a_key_is_the_same_key_with_the_same_lock(key in keys(), one in spellings(), other in spellings()) {
        let (one, other) = (key.read(&one), key.read(&other));
        prop_assert_eq!(&one, &other);
        prop_assert_eq!(one.lock_name("", "contacts"), other.lock_name("", "contacts"));
        prop_assert_ne!(one.lock_name("", "contacts"), other.lock_name("", "accounts"));
    }

    #[test]
    fn two_keys_share_a_lock_only_when_they_address_the_same_row(
        one in small_keys(),
        other in small_keys(),
        spelling in spellings(),
        another in spellings(),
    ) {
        let same = one.plain() == other.plain();
        let (one, other) = (one.read(&spelling), other.read(&another));
        prop_assert_eq!(one == other, same);
        prop_assert_eq!(one.lock_name("", "contacts") == other.lock_name("", "contacts"), same);
    }
}
