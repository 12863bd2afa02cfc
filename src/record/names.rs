//! The names in an object that is known to be valid JSON, without a reader's look at each value.
//!
//! A record may have hundreds of columns, and of most of them nobody wants to know more than the name. What is rare, a name that
//! is no text or stands there twice, is refused: the caller asks a JSON reader then, which can say what is wrong and where.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::json::{Name, twice};
use crate::marks;

/// What a column with its value takes, about.
const USUAL: usize = 32;

/// The names in the order sent, if they are all different texts.
pub(super) fn names(object: &RawValue) -> Option<Vec<Cow<'_, str>>> {
    let text = object.get();
    let mut names = Vec::with_capacity(text.len() / USUAL);
    let mut at = next(text.as_bytes(), 1)?;
    while text.as_bytes()[at] == b'"' {
        let (name, end) = name(text, at)?;
        names.push(name);
        at = next(text.as_bytes(), value(text.as_bytes(), end)?)?;
    }
    twice(names.iter().map(AsRef::as_ref)).is_none().then_some(names)
}

/// The name that begins at `at`, and where it ends.
fn name(text: &str, at: usize) -> Option<(Cow<'_, str>, usize)> {
    let inside = text.get(at + 1..)?;
    let plain = marks::first(inside.as_bytes(), [b'"', b'\\'])?;
    if inside.as_bytes()[plain] == b'"' {
        return Some((Cow::Borrowed(inside.get(..plain)?), at + 1 + plain + 1));
    }
    let end = string(text.as_bytes(), at)?;
    let Name(name) = serde_json::from_str(text.get(at..end)?).ok()?;
    Some((name, end))
}

/// Where the next member's name begins, or the object ends.
fn next(bytes: &[u8], at: usize) -> Option<usize> {
    let further = bytes.get(at..)?.iter().position(|byte| matches!(byte, b'"' | b'}'))?;
    Some(at + further)
}

/// Behind the string that begins at `at`.
fn string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += marks::first(bytes.get(at..)?, [b'"', b'\\'])?;
        if bytes.get(at)? == &b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Behind the value, and the comma if there is one, of the member whose name ends at `at`.
fn value(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b',' if depth == 0 => return Some(at + 1),
            b'}' if depth == 0 => return Some(at),
            b'}' | b']' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::json::Members;
    use super::*;

    fn read(object: &str) -> Option<Vec<Cow<'_, str>>> {
        names(serde_json::from_str(object).expect("JSON"))
    }

    #[test]
    fn names_are_found_whatever_stands_between_them() {
        for (object, found) in [
            ("{}", &[][..]),
            ("{ \n}", &[]),
            (r#"{"":0}"#, &[""]),
            (r#"{ "a" : 1.5e3 , "b":null,"c":"x","dddddddddddd": true }"#, &["a", "b", "c", "dddddddddddd"]),
            (r#"{"a":"},{\"b\":\\","c":"\\"}"#, &["a", "c"]),
            (r#"{"a":[{"b":[1,"]"]},{}],"c":{"d":{"e":"}"}}}"#, &["a", "c"]),
            (r#"{"\u0061\"":1,"\\":2,"ä𝄞":3}"#, &["a\"", "\\", "ä𝄞"]),
        ] {
            assert_eq!(read(object).expect("names"), found, "{object}");
        }
    }

    #[test]
    fn a_name_that_is_no_text_or_stands_there_twice_is_left_to_another_reader() {
        for object in [r#"{"a":1,"a":1}"#, r#"{"a":1,"b":2,"\u0061":3}"#, r#"{"a":1,"\ud800":1}"#] {
            assert_eq!(read(object), None, "{object}");
        }
    }

    fn json() -> impl Strategy<Value = String> {
        let string = r#"(a|b|\\"|\\\\|\\u0061|\\ud800|[{}\[\]:, ä]){0,9}"#.prop_map(|inside| format!("\"{inside}\""));
        let leaf = prop_oneof![string.clone(), Just("-1.5e3".to_owned()), Just("null".to_owned())];
        leaf.prop_recursive(3, 12, 4, move |inner| {
            let member = (string.clone(), "[ \n]?", inner.clone())
                .prop_map(|(name, s, value)| format!("{s}{name}{s}:{s}{value}{s}"));
            prop_oneof![
                prop::collection::vec(inner, 0..4).prop_map(|items| format!("[{}]", items.join(","))),
                prop::collection::vec(member, 0..4).prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn the_reader_of_all_json_finds_the_same(value in json()) {
            let object = format!("{{\"first\":{value}}}");
            for object in [&object, &value] {
                let Ok(raw) = serde_json::from_str::<&RawValue>(object) else { continue };
                if !raw.get().starts_with('{') {
                    continue;
                }
                let members = serde_json::from_str::<Members<'_>>(object).ok();
                let members = members.map(|Members(members)| members.into_iter().map(|(name, _)| name).collect::<Vec<_>>());
                prop_assert_eq!(names(raw), members, "{}", object);
            }
        }
    }
}
