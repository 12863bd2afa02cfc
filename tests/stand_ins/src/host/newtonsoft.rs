//! JSON as the host's library reads and writes it: Newtonsoft.Json with its defaults, on .NET in UTC.
//!
//! The reader accepts more than JSON ([`reader`]) and converts every string that is a time as a whole ([`date`]); the writer uses
//! .NET's forms of numbers and times. So the host may change a message when it passes it on.
//!
//! Contract: the source, <https://github.com/JamesNK/Newtonsoft.Json/tree/master/Src/Newtonsoft.Json>.

mod date;
mod reader;

use std::fmt::Write as _;

use date::Date;

pub(super) use reader::{parse, parse_start};

/// A value that was read.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    /// `null`, and `undefined`, which the host treats alike.
    Null,
    Bool(bool),
    /// A whole number of any size: its digits.
    Integer(String),
    Float(f64),
    Text(String),
    /// A string that reads as a time, with its characters.
    Date(Date, String),
    Array(Vec<Value>),
    /// In the order of the first mention of each name; the last value of a name counts.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// Compact JSON.
    pub(super) fn to_json(&self) -> String {
        let mut json = String::new();
        self.write(&mut json, None);
        json
    }

    /// What .NET's `ToString()` gives: text as it is, an object or array as JSON indented by two blanks.
    pub(super) fn to_text(&self) -> String {
        match self {
            Self::Null => String::new(),
            Self::Bool(true) => "True".to_owned(),
            Self::Bool(false) => "False".to_owned(),
            Self::Integer(digits) => digits.clone(),
            Self::Float(number) => dotnet(*number),
            Self::Text(text) => text.clone(),
            Self::Date(date, _) => date.invariant(),
            Self::Array(_) | Self::Object(_) => {
                let mut json = String::new();
                self.write(&mut json, Some(0));
                json
            }
        }
    }

    /// Like [`Self::to_text`], where the library was asked for a string: a time keeps its characters.
    pub(super) fn as_string(&self) -> Option<String> {
        match self {
            Self::Date(_, text) => Some(text.clone()),
            Self::Array(_) | Self::Object(_) => None,
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Float(_) | Self::Text(_) => Some(self.to_text()),
        }
    }

    /// `depth` is the indentation of a value's first line; `None` is compact.
    fn write(&self, json: &mut String, depth: Option<usize>) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Bool(flag) => json.push_str(if *flag { "true" } else { "false" }),
            Self::Integer(digits) => json.push_str(digits),
            Self::Float(number) => json.push_str(&float(*number)),
            Self::Text(text) => json.push_str(&literal(text)),
            Self::Date(date, _) => write!(json, "\"{}\"", date.iso()).expect("writing to a String cannot fail"),
            Self::Array(values) => {
                let values = values.iter().map(|value| (None, value));
                write_members(json, depth, ['[', ']'], values);
            }
            Self::Object(members) => {
                let members = members.iter().map(|(name, value)| (Some(name.as_str()), value));
                write_members(json, depth, ['{', '}'], members);
            }
        }
    }
}

fn write_members<'a>(
    json: &mut String,
    depth: Option<usize>,
    [open, close]: [char; 2],
    members: impl ExactSizeIterator<Item = (Option<&'a str>, &'a Value)>,
) {
    let empty = members.len() == 0;
    let inner = depth.map(|depth| depth + 1);
    json.push(open);
    for (number, (name, value)) in members.enumerate() {
        if number > 0 {
            json.push(',');
        }
        line(json, inner);
        if let Some(name) = name {
            json.push_str(&literal(name));
            json.push_str(if depth.is_some() { ": " } else { ":" });
        }
        value.write(json, inner);
    }
    if !empty {
        line(json, depth);
    }
    json.push(close);
}

fn line(json: &mut String, depth: Option<usize>) {
    if let Some(depth) = depth {
        json.push('\n');
        json.push_str(&"  ".repeat(depth));
    }
}

/// Whether the host takes a text for JSON: `Utility.IsJson` in <https://github.com/Azure/azure-functions-host>.
pub(super) fn looks_like_json(text: &str) -> bool {
    let text = text.trim();
    [('{', '}'), ('[', ']')].iter().any(|(open, close)| text.starts_with(*open) && text.ends_with(*close))
}

/// A JSON string literal; the library also escapes U+0085, U+2028 and U+2029.
pub(super) fn literal(text: &str) -> String {
    let literal = serde_json::to_string(text).expect("a string always serialises");
    literal.replace('\u{85}', "\\u0085").replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
}

/// A number with a decimal place, so that it stays a float; what is not finite is text.
fn float(number: f64) -> String {
    let text = dotnet(number);
    match number.is_finite() {
        false => literal(&text),
        true if text.contains(['.', 'E']) => text,
        true => text + ".0",
    }
}

/// `Double.ToString()`: the shortest digits that read back, with an exponent below 1E-05 and from 1E+15 on.
/// <https://learn.microsoft.com/dotnet/standard/base-types/standard-numeric-format-strings#general-format-specifier-g>
fn dotnet(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    let scientific = format!("{number:e}");
    let (digits, exponent) = scientific.split_once('e').expect("the format has an exponent");
    let exponent: i32 = exponent.parse().expect("the format's exponent is a number");
    if (-4..15).contains(&exponent) {
        return format!("{number}");
    }
    format!("{digits}E{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(json: &str) -> String {
        parse(json).expect("it is readable").to_json()
    }

    #[test]
    fn numbers_are_written_as_dotnet_writes_them() {
        for (read, expected) in [
            ("1.50", "1.5"),
            ("1e5", "100000.0"),
            ("-0.0", "-0.0"),
            ("0.00001", "1E-05"),
            ("0.0001", "0.0001"),
            ("1e15", "1E+15"),
            ("123456789012345678.0", "1.2345678901234568E+17"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("NaN", "\"NaN\""),
            ("-Infinity", "\"-Infinity\""),
            ("0x1F", "31"),
            ("017", "15"),
        ] {
            assert_eq!(written(read), expected, "{read}");
        }
    }

    #[test]
    fn an_object_is_indented_by_two_and_an_empty_one_is_not() {
        let value = parse(r#"{"a":[1,{"b":{}}],"c":"\u0085"}"#).expect("it is JSON");
        let expected = "{\n  \"a\": [\n    1,\n    {\n      \"b\": {}\n    }\n  ],\n  \"c\": \"\\u0085\"\n}";
        assert_eq!(value.to_text(), expected);
    }

    #[test]
    fn scalars_become_dotnets_text() {
        for (read, expected) in [("true", "True"), ("null", ""), ("1.50", "1.5"), ("'x'", "x"), ("1e20", "1E+20")] {
            assert_eq!(parse(read).expect("it is readable").to_text(), expected, "{read}");
        }
    }
}
