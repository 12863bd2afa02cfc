//! Text as it stands in a line: escaped as in a JSON string, so that a line stays one line and no terminal obeys it.
//!
//! The line of an error must not hold "warn" in any letter case, or the host files it as a warning. There the word's second
//! letter is escaped as well: `forew\u0061rned`. Nothing is lost, for a backslash of the text itself is always doubled. Pure.

use std::fmt::Write as _;

use crate::sanitize::needs_escape;

/// Where a text stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Between blanks.
    Plain,
    /// Between quotation marks.
    Quoted,
    /// Before an equals sign.
    Name,
}

/// Adds `text` to `line`; without the word "warn" if that is hidden.
pub(super) fn push(line: &mut String, text: &str, place: Place, hides_warn: bool) {
    let mut taken = 0;
    for (at, c) in text.char_indices() {
        let escaped = must_be_escaped(c, place) || (hides_warn && splits_warn(text.as_bytes(), at));
        if escaped {
            line.push_str(&text[taken..at]);
            push_escaped(line, c, place);
            taken = at + c.len_utf8();
        }
    }
    line.push_str(&text[taken..]);
}

/// What may stand in a name without an escape.
pub(super) fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-')
}

fn must_be_escaped(c: char, place: Place) -> bool {
    match place {
        Place::Plain => c == '\\' || needs_escape(c),
        Place::Quoted => matches!(c, '\\' | '"') || needs_escape(c),
        Place::Name => !is_of_a_name(c),
    }
}

/// Whether the second letter of "warn" stands there.
fn splits_warn(text: &[u8], at: usize) -> bool {
    let word = at.checked_sub(1).and_then(|begin| text.get(begin..begin + 4));
    word.is_some_and(|word| word.eq_ignore_ascii_case(b"warn"))
}

fn push_escaped(line: &mut String, c: char, place: Place) {
    match c {
        '\\' => line.push_str("\\\\"),
        '"' if place == Place::Quoted => line.push_str("\\\""),
        '\n' => line.push_str("\\n"),
        '\r' => line.push_str("\\r"),
        '\t' => line.push_str("\\t"),
        c => {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(line, "\\u{unit:04x}").expect("writing to a string cannot fail");
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(text: &str, place: Place, hides_warn: bool) -> String {
        let mut line = String::new();
        push(&mut line, text, place, hides_warn);
        line
    }

    #[test]
    fn what_would_break_the_line_or_be_taken_for_an_escape_is_escaped() {
        let text = "one\ntwo\\n \u{1b}[2J \u{202e} \"ä\" a=1";
        assert_eq!(pushed(text, Place::Plain, false), r#"one\ntwo\\n \u001b[2J \u202e "ä" a=1"#);
        assert_eq!(pushed(text, Place::Quoted, false), r#"one\ntwo\\n \u001b[2J \u202e \"ä\" a=1"#);
        assert_eq!(pushed("a \"=ü🙂", Place::Name, false), r"a\u0020\u0022\u003d\u00fc\ud83d\ude42");
    }

    #[test]
    fn the_word_is_broken_wherever_it_stands_and_in_every_letter_case() {
        for (text, told) in [
            ("warn", r"w\u0061rn"),
            ("forewarned", r"forew\u0061rned"),
            ("WARNING wArn", r"W\u0041RNING w\u0041rn"),
            ("warwarn", r"warw\u0061rn"),
            ("wa rn war", "wa rn war"),
        ] {
            assert_eq!(pushed(text, Place::Plain, true), told);
            assert_eq!(pushed(text, Place::Plain, false), text);
        }
    }
}
