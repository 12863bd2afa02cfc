//! Makes untrusted text safe to print.
//!
//! A dead letter or a log line may quote text from any sender. Control characters could clear a screen, retitle a window or answer
//! a prompt, direction marks could make text look like other text, and invisible characters could hide text: each is printed as its
//! JSON escape instead. In JSON such characters occur only inside strings, so the result is still the same JSON. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

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
            c if needs_escape(c) => push_escape(&mut escaped, c),
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

/// Appends the JSON escape of a character: above U+FFFF one of each of its two UTF-16 units.
pub(crate) fn push_escape(text: &mut String, c: char) {
    for unit in c.encode_utf16(&mut [0; 2]) {
        write!(text, "\\u{unit:04x}").expect("writing to a string cannot fail");
    }
}

/// Control characters, C1 included, the characters that Unicode shows as nothing (direction marks, joiners, variation selectors,
/// fillers and tags among them), and those that break a line or annotate one.
/// <https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point>
pub(crate) fn needs_escape(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_control();
    }
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{fff9}'..='\u{fffb}')
        || CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
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
            ("a\u{2028}b\u{2029}", r"a\u2028b\u2029"),
            ("Zoë – 漢字 🙂 \u{1f1e9}\u{1f1ea}", "Zoë – 漢字 🙂 \u{1f1e9}\u{1f1ea}"),
        ] {
            assert_eq!(sanitize(text), escaped);
        }
    }

    #[test]
    fn a_character_that_is_not_seen_is_escaped() {
        let (fillers, marks) =
            ("\u{115f}\u{1160}\u{3164}\u{ffa0}", "\u{ad}\u{61c}\u{180e}\u{200b}\u{200d}\u{2060}\u{feff}");
        let (annotations, selectors, tags) =
            ("\u{fff9}\u{fffa}\u{fffb}", "\u{fe0f}\u{e0100}", "\u{e0001}\u{e0041}\u{e007f}");
        for text in [fillers, marks, annotations, selectors, tags] {
            for c in text.chars() {
                assert!(needs_escape(c), "U+{:04X}", u32::from(c));
                assert!(sanitize(&c.to_string()).is_ascii(), "U+{:04X}", u32::from(c));
            }
        }
        assert_eq!(sanitize("ok\u{e0041}"), r"ok\udb40\udc41");
    }

    #[test]
    fn sanitized_json_is_the_same_json() {
        let text = "\u{9b}2J \u{202e} \u{7f} \u{e0041} ä";
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
