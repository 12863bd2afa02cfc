//! Reads JSON and the library's extensions: comments, single quotes, bare names, a trailing comma, `NaN`, `Infinity`,
//! `undefined`, numbers in base 16 and 8, raw control characters, missing values in arrays.
//!
//! Of two members with one name the last counts. `new Date(…)` is refused: nothing the host converts takes it.
//!
//! Contract: `JsonTextReader` in <https://github.com/JamesNK/Newtonsoft.Json/tree/master/Src/Newtonsoft.Json>.

use super::{Date, Value};

/// The deepest nesting that the library reads.
const MAX_DEPTH: usize = 64;

/// The same for the formatter that reads the handler's answers.
/// <https://github.com/aspnet/AspNetWebStack/blob/main/src/System.Net.Http.Formatting/FormattingUtilities.cs>
const MAX_ANSWER_DEPTH: usize = 256;

/// Reads a whole text; `None` if the library refuses it.
pub(in super::super) fn parse(text: &str) -> Option<Value> {
    let mut reader = Reader { rest: text, max_depth: MAX_DEPTH };
    let value = reader.value(0)?;
    reader.blanks()?;
    reader.rest.is_empty().then_some(value)
}

/// Reads the value at the beginning and ignores what follows, as the formatter for the handler's answers does.
pub(in super::super) fn parse_start(text: &str) -> Option<Value> {
    Reader { rest: text, max_depth: MAX_ANSWER_DEPTH }.value(0)
}

struct Reader<'a> {
    rest: &'a str,
    max_depth: usize,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.blanks()?;
        match self.rest.chars().next()? {
            '{' => self.object(depth + 1),
            '[' => self.array(depth + 1),
            quote @ ('"' | '\'') => {
                let text = self.string(quote)?;
                Some(
                    Date::read(&text).map_or_else(|| Value::Text(text.clone()), |date| Value::Date(date, text.clone())),
                )
            }
            _ => self.word(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.open(depth)?;
        let mut members: Vec<(String, Value)> = Vec::new();
        loop {
            self.blanks()?;
            if self.takes('}') {
                return Some(Value::Object(members));
            }
            let name = self.name()?;
            self.blanks()?;
            if !self.takes(':') {
                return None;
            }
            let value = self.value(depth)?;
            match members.iter_mut().find(|(known, _)| *known == name) {
                Some((_, old)) => *old = value,
                None => members.push((name, value)),
            }
            self.blanks()?;
            if !self.takes(',') && !self.rest.starts_with('}') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.open(depth)?;
        let mut values = Vec::new();
        loop {
            self.blanks()?;
            if self.takes(']') {
                return Some(Value::Array(values));
            }
            values.push(if self.rest.starts_with(',') { Value::Null } else { self.value(depth)? });
            self.blanks()?;
            if !self.takes(',') && !self.rest.starts_with(']') {
                return None;
            }
        }
    }

    fn open(&mut self, depth: usize) -> Option<()> {
        self.rest = &self.rest[1..];
        (depth <= self.max_depth).then_some(())
    }

    fn name(&mut self) -> Option<String> {
        let first = self.rest.chars().next()?;
        if ['"', '\''].contains(&first) {
            return self.string(first);
        }
        let bare = |character: char| character.is_alphanumeric() || ['_', '$'].contains(&character);
        let name = self.take_while(bare);
        (!name.is_empty()).then(|| name.to_owned())
    }

    fn string(&mut self, quote: char) -> Option<String> {
        let mut units = Vec::new();
        let mut characters = self.rest[1..].chars();
        loop {
            let character = characters.next()?;
            let unit = match character {
                _ if character == quote => break,
                '\\' => match characters.next()? {
                    'b' => '\u{8}',
                    't' => '\t',
                    'n' => '\n',
                    'f' => '\u{c}',
                    'r' => '\r',
                    'u' => {
                        let digits = characters.as_str().get(..4)?;
                        units.push(u16::from_str_radix(digits, 16).ok()?);
                        characters = characters.as_str()[4..].chars();
                        continue;
                    }
                    same @ ('\\' | '"' | '\'' | '/') => same,
                    _ => return None,
                },
                _ => character,
            };
            units.extend_from_slice(unit.encode_utf16(&mut [0; 2]));
        }
        self.rest = characters.as_str();
        // Half of a surrogate pair becomes U+FFFD.
        Some(String::from_utf16_lossy(&units))
    }

    fn word(&mut self) -> Option<Value> {
        let word = self.take_while(|character| !character.is_whitespace() && !",}])/:\"'{[".contains(character));
        match word {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            "null" | "undefined" => Some(Value::Null),
            "NaN" => Some(Value::Float(f64::NAN)),
            "Infinity" => Some(Value::Float(f64::INFINITY)),
            "-Infinity" => Some(Value::Float(f64::NEG_INFINITY)),
            _ => number(word),
        }
    }

    /// White space and comments; `None` if a comment does not end.
    fn blanks(&mut self) -> Option<()> {
        loop {
            // The library skips NUL as well.
            self.rest = self.rest.trim_start_matches(|character: char| character.is_whitespace() || character == '\0');
            if let Some(comment) = self.rest.strip_prefix("//") {
                self.rest = comment.trim_start_matches(|character| !['\r', '\n'].contains(&character));
            } else if let Some(comment) = self.rest.strip_prefix("/*") {
                self.rest = comment.split_once("*/")?.1;
            } else {
                return Some(());
            }
        }
    }

    fn takes(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|character| !wanted(character)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}

fn number(word: &str) -> Option<Value> {
    let lower = word.to_ascii_lowercase();
    if let Some(digits) = lower.strip_prefix("0x") {
        // Sixteen digits are a negative number's bits.
        return u64::from_str_radix(digits, 16).ok().map(|number| Value::Integer(number.cast_signed().to_string()));
    }
    if lower.len() > 1 && lower.starts_with('0') && !lower[1..].starts_with(['.', 'e']) {
        return i64::from_str_radix(&lower, 8).ok().map(|number| Value::Integer(number.to_string()));
    }
    let digits = lower.strip_prefix('-').unwrap_or(&lower);
    if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let significant = digits.trim_start_matches('0');
        let sign = if lower.starts_with('-') && !significant.is_empty() { "-" } else { "" };
        return Some(Value::Integer(format!("{sign}{}", if significant.is_empty() { "0" } else { significant })));
    }
    let numeric = lower.starts_with(|first: char| first.is_ascii_digit() || ['-', '.'].contains(&first))
        && lower.bytes().all(|byte| byte.is_ascii_digit() || b"+-.e".contains(&byte));
    lower.parse().ok().filter(|_| numeric).map(Value::Float)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_json_is_read() {
        let lenient = "{/*c*/'a':'it\\'s',b:NaN,$c:undefined,//d\n\"e\":[1,,.5,],}";
        let value = parse(lenient).expect("the library takes it");
        assert_eq!(value.to_json(), r#"{"a":"it's","b":"NaN","$c":null,"e":[1,null,0.5]}"#);
    }

    #[test]
    fn the_last_of_two_names_counts_at_the_place_of_the_first() {
        assert_eq!(parse(r#"{"a":1,"A":2,"a":3}"#).expect("it is JSON").to_json(), r#"{"a":3,"A":2}"#);
    }

    #[test]
    fn half_of_a_pair_is_replaced() {
        let value = parse(r#""\ud83d\ude00 \ud83d \ude00\uFFFE""#).expect("the library takes it");
        assert_eq!(value, Value::Text("😀 \u{fffd} \u{fffd}\u{fffe}".to_owned()));
    }

    #[test]
    fn what_the_library_refuses_is_refused() {
        for text in
            ["", "{", "{\"a\"}", "[1 2]", "{a:1}x", "'\\q'", "nul", "08", "1-2e", "\u{feff}{}", "/*", "{,}", "1e"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn sixty_four_levels_are_read_and_one_more_is_not() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(&nested(64)).is_some() && parse(&nested(65)).is_none());
        assert!(parse_start(&nested(256)).is_some() && parse_start(&nested(257)).is_none());
    }

    #[test]
    fn an_answer_may_have_a_tail() {
        assert_eq!(parse_start("{} and more"), Some(Value::Object(Vec::new())));
    }
}
