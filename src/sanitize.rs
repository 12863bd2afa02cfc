//! Text from elsewhere, made safe to print.
//!
//! A dead letter or a log may quote what strangers sent. Control characters could clear a screen, retitle a window or answer a prompt,
//! and direction marks could show one thing and mean another: every such character is printed as its JSON escape instead.
//! In JSON they stand inside strings only, so the same replacement keeps JSON what it was. Pure.

use std::borrow::Cow;
use std::fmt::Write as _;

/// `text` with every character that a terminal could obey replaced by its JSON escape, line breaks included.
pub fn visible(text: &str) -> Cow<'_, str> {
    if !text.contains(is_command) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if is_command(c) => write!(shown, "\\u{:04x}", u32::from(c)).expect("writing to a string cannot fail"),
            c => shown.push(c),
        }
    }
    Cow::Owned(shown)
}

/// The same, cut to `most` characters.
pub fn shortened(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => visible(text),
        Some((end, _)) => Cow::Owned(format!("{}…", visible(&text[..end]))),
    }
}

/// Control characters, C1 included, and the marks that change the direction of text or break its lines. All of them have
/// four hexadecimal digits.
pub(crate) fn is_command(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_could_obey_is_shown_as_its_escape() {
        for (text, shown) in [
            ("\u{1b}]0;owned\u{7}", r"\u001b]0;owned\u0007"),
            ("\u{9b}2J", r"\u009b2J"),
            ("a\u{7f}\u{8}b", r"a\u007f\u0008b"),
            ("one\ntwo\r\n\tthree", r"one\ntwo\r\n\tthree"),
            ("in\u{202e}txt.exe", r"in\u202etxt.exe"),
            ("Zoë – 漢字 🙂", "Zoë – 漢字 🙂"),
        ] {
            assert_eq!(visible(text), shown);
        }
    }

    #[test]
    fn json_stays_what_it_was() {
        let text = "\u{9b}2J \u{202e} \u{7f} ä";
        let json = serde_json::to_string(text).expect("a string");
        let shown = visible(&json);
        assert!(!shown.contains(is_command));
        assert_eq!(serde_json::from_str::<String>(&shown).expect("JSON"), text);
    }

    #[test]
    fn text_is_cut_between_characters() {
        assert_eq!(shortened("äöü", 2), "äö…");
        assert_eq!(shortened("äöü", 3), "äöü");
        assert_eq!(shortened("\u{1b}\u{1b}\u{1b}", 1), r"\u001b…");
    }
}
