//! Makes untrusted text safe to print.
//!
//! A dead letter or a log line may quote text from any sender. Control characters could clear a screen, retitle a window or answer
//! a prompt, and direction marks could make text look like other text: each is printed as its JSON escape instead. In JSON such
//! characters occur only inside strings, so the result is still the same JSON. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that could control a terminal replaced by its JSON escape, line breaks included.
pub(crate) fn sanitize(text: &str) -> Cow<'_, str> {
    if !text.contains(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            c if needs_escape(c) => {
                write!(escaped, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail");
            }
            c => escaped.push(c),
        }
    }
    Cow::Owned(escaped)
}

/// The same, cut to `max` characters.
pub(crate) fn sanitize_short(text: &str, max: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max) {
        None => sanitize(text),
        Some((end, _)) => Cow::Owned(format!("{}…", sanitize(&text[..end]))),
    }
}

/// Control characters, C1 included, and the marks that change the direction of text or break lines. All are below U+10000, so
/// four hexadecimal digits hold each.
pub(crate) fn needs_escape(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_that_could_control_a_terminal_is_escaped() {
        for (text, escaped) in [
            ("\u{1b}]0;owned\u{7}", r"\u001b]0;owned\u0007"),
            ("\u{9b}2J", r"\u009b2J"),
            ("a\u{7f}\u{8}b", r"a\u007f\u0008b"),
            ("one\ntwo\r\n\tthree", r"one\ntwo\r\n\tthree"),
            ("in\u{202e}txt.exe", r"in\u202etxt.exe"),
            ("Zoë – 漢字 🙂", "Zoë – 漢字 🙂"),
        ] {
            assert_eq!(sanitize(text), escaped);
        }
    }

    #[test]
    fn sanitized_json_is_the_same_json() {
        let text = "\u{9b}2J \u{202e} \u{7f} ä";
        let json = serde_json::to_string(text).expect("a string");
        let escaped = sanitize(&json);
        assert!(!escaped.contains(needs_escape));
        assert_eq!(serde_json::from_str::<String>(&escaped).expect("JSON"), text);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(sanitize_short("äöü", 2), "äö…");
        assert_eq!(sanitize_short("äöü", 3), "äöü");
        assert_eq!(sanitize_short("\u{1b}\u{1b}\u{1b}", 1), r"\u001b…");
    }
}
