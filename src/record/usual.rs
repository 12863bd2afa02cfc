//! A record as nearly all senders write it, read in one pass.
//!
//! The reader of all JSON looks at an object twice where both its text and the names in it are wanted. This one goes from member
//! to member by itself, and has the JSON reader read each value where it stands. What is rare, an unknown field or anything that
//! is no record, it refuses: the caller asks the reader of all JSON then, which can say what is wrong and where.

use serde::de::{Deserialize, IgnoredAny};

use super::columns::Named;
use super::fields::{Fields, Sent};
use crate::json::{Members, Name};

/// The fields of the record that `text` is. Nothing in it stands deeper than the JSON reader goes.
pub(super) fn fields(text: &str) -> Option<Fields<'_>> {
    let (mut reader, mut fields) = (Reader { rest: text }, Fields::default());
    reader.take('{')?;
    loop {
        let (Name(name), _) = reader.value()?;
        reader.take(':')?;
        let was_there = if name == "columns" {
            let (Members::<IgnoredAny>(columns), text) = reader.value()?;
            let names = columns.into_iter().map(|(name, IgnoredAny)| name).collect();
            fields.columns.replace(Sent::Named(Named { text, names })).is_some()
        } else {
            let (value, _) = reader.value()?;
            fields.slot(&name)?.replace(value).is_some()
        };
        if was_there {
            return None;
        }
        if reader.take(',').is_none() {
            break;
        }
    }
    reader.take('}')?;
    reader.skip();
    reader.rest.is_empty().then_some(fields)
}

/// What is left to read.
struct Reader<'a> {
    rest: &'a str,
}

impl<'a> Reader<'a> {
    /// Behind whitespace, as JSON has it.
    fn skip(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn take(&mut self, mark: char) -> Option<()> {
        self.skip();
        self.rest = self.rest.strip_prefix(mark)?;
        Some(())
    }

    /// A value, and its text.
    fn value<T: Deserialize<'a>>(&mut self) -> Option<(T, &'a str)> {
        self.skip();
        let mut values = serde_json::Deserializer::from_str(self.rest).into_iter();
        let value = values.next()?.ok()?;
        let (text, rest) = self.rest.split_at_checked(values.byte_offset())?;
        self.rest = rest;
        Some((value, text))
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn columns(message: &str) -> Option<(String, Vec<String>)> {
        match fields(message)?.columns? {
            Sent::Named(Named { text, names }) => {
                Some((text.to_owned(), names.into_iter().map(Cow::into_owned).collect()))
            }
            Sent::Any(_) => None,
        }
    }

    #[test]
    fn the_text_of_the_columns_is_the_one_that_was_sent_and_their_names_are_known() {
        for (sent, names) in [
            ("{}", &[][..]),
            (r#"{ "a" : 1.50 , "b":null}"#, &["a", "b"]),
            (r#"{"\u0061\"":{"c":"}"},"ä":["d",{}]}"#, &["a\"", "ä"]),
        ] {
            for message in [
                format!(r#"{{"table":"t","key":{{"k":"v"}},"columns":{sent}}}"#),
                format!("\n{{ \"columns\" :\t{sent} ,\r\n\"version\": 7 , \"source\":null }} "),
            ] {
                let (text, found) = columns(&message).expect("a usual record");
                assert_eq!((text.as_str(), found), (sent, names.iter().map(|name| (*name).to_owned()).collect()));
            }
        }
    }

    #[test]
    fn what_is_unusual_is_left_to_the_reader_of_all_json() {
        for message in [
            "",
            "{}",
            "[]",
            r#""table""#,
            r#"{"table":"t""#,
            r#"{"table":"t"}}"#,
            r#"{"table":"t",}"#,
            r#"{"table" "t"}"#,
            r#"{"table":"t" "key":1}"#,
            r#"{"table":"t","table":"t"}"#,
            r#"{"table":"t","nobody":1}"#,
            r#"{"specversion":"1.0"}"#,
            r#"{"columns":[]}"#,
            r#"{"columns":null}"#,
            r#"{"columns":{"a":1,"\u0061":1}}"#,
            r#"{"columns":{"\ud800":1}}"#,
            r#"{"columns":{"a":01}}"#,
            r#"{"columns":{},"columns":{}}"#,
            "\u{feff}{}",
        ] {
            assert!(fields(message).is_none(), "{message}");
        }
    }
}
