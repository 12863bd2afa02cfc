//! What the commands print: lines of at most 80 columns, with colour where standard output is a terminal that has it.
//!
//! `NO_COLOR`, `CLICOLOR_FORCE` and `TERM=dumb` are respected, see <https://no-color.org>. Output that cannot be written, because the
//! reader or the terminal is gone, is dropped: the command still ends properly.

use std::io::{self, Write as _};

use anstream::{AutoStream, ColorChoice};
use clap::builder::styling::{AnsiColor, Style};

/// The width of every line that can be folded.
pub const WIDTH: usize = 80;

/// Stands between words that stay on one line; printed as a blank.
pub(crate) const TIED: char = '\u{a0}';

const HEADING: Style = AnsiColor::Cyan.on_default().bold();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default().bold();
const DATA: Style = Style::new().dimmed();
const STRONG: Style = Style::new().bold();

/// Where a command prints.
#[derive(Debug)]
pub struct Screen {
    colour: bool,
    /// The lines, where they are kept and not printed.
    kept: Option<String>,
}

impl Screen {
    /// Standard output.
    pub fn stdout() -> Self {
        Self { colour: AutoStream::choice(&io::stdout()) != ColorChoice::Never, kept: None }
    }

    /// Keeps the lines, with or without colour.
    pub fn keeping(colour: bool) -> Self {
        Self { colour, kept: Some(String::new()) }
    }

    /// The lines that were kept.
    pub fn text(&self) -> &str {
        self.kept.as_deref().unwrap_or_default()
    }

    /// A heading, with an empty line before it.
    pub(crate) fn heading(&mut self, text: &str) {
        self.line("");
        self.styled(HEADING, text);
        self.styled(HEADING, &"─".repeat(text.chars().count()));
    }

    /// Text in the terminal's own style.
    pub(crate) fn text_at(&mut self, indent: usize, text: &str) {
        self.folded(Style::new(), &" ".repeat(indent), indent, text);
    }

    /// Data such as JSON, behind a lead; the lines after the first one begin below the data.
    pub(crate) fn data(&mut self, lead: &str, text: &str) {
        self.folded(DATA, lead, lead.chars().count(), text);
    }

    /// Items behind a name, folded between items.
    pub(crate) fn items(&mut self, lead: &str, items: impl IntoIterator<Item = String>) {
        let items: Vec<_> = items.into_iter().map(|item| item.replace(' ', &TIED.to_string())).collect();
        self.folded(Style::new(), lead, lead.chars().count(), &items.join(", "));
    }

    /// A claim, and whether it holds.
    pub(crate) fn claim(&mut self, held: bool, text: &str) {
        let (style, mark) = if held { (GOOD, '✓') } else { (BAD, '✗') };
        let mark = if self.colour { format!("{style}{mark}{style:#}") } else { mark.to_string() };
        for (number, line) in fold(text, WIDTH - 4).into_iter().enumerate() {
            let lead = if number == 0 { &mark } else { " " };
            self.line(&format!("  {lead} {line}"));
        }
    }

    /// The main result.
    pub(crate) fn strong(&mut self, text: &str) {
        self.folded(STRONG, "", 0, text);
    }

    /// A line as it is.
    pub(crate) fn line(&mut self, line: &str) {
        let line = line.replace(TIED, " ");
        match &mut self.kept {
            Some(kept) => kept.extend([line.as_str(), "\n"]),
            None => drop(writeln!(io::stdout().lock(), "{line}")),
        }
    }

    fn folded(&mut self, style: Style, lead: &str, indent: usize, text: &str) {
        let rest = " ".repeat(indent);
        for (number, line) in fold(text, WIDTH - indent).into_iter().enumerate() {
            let lead = if number == 0 { lead } else { &rest };
            let line = if self.colour { format!("{lead}{style}{line}{style:#}") } else { format!("{lead}{line}") };
            self.line(&line);
        }
    }

    fn styled(&mut self, style: Style, text: &str) {
        self.line(&if self.colour { format!("{style}{text}{style:#}") } else { text.to_owned() });
    }
}

/// Breaks text into lines of at most `width` characters: behind a comma or at a blank, and where a line has neither behind its first
/// quarter, at its end.
fn fold(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text.trim_end());
    while let Some((limit, next)) = rest.char_indices().nth(width) {
        // A blank behind a full line is a break as well.
        let reach = if next == ' ' { limit + 1 } else { limit };
        let at = rest[..reach].rfind([' ', ',']).map(|at| at + 1).filter(|at| *at > limit / 4).unwrap_or(limit);
        lines.push(rest[..at].trim_end_matches(' '));
        rest = rest[at..].trim_start_matches(' ');
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_folded_at_blanks_and_behind_commas_and_elsewhere_only_without_them() {
        for (text, expected) in [
            ("short", &["short"][..]),
            ("exactly 10 characters", &["exactly 10", "characters"]),
            (r#"{"a":1,"b":2,"c":3}"#, &[r#"{"a":1,"#, r#""b":2,"#, r#""c":3}"#]),
            ("aaaaaaaaaaaaaaa", &["aaaaaaaaaa", "aaaaa"]),
            ("✓ → ✓ → ✓ → ✓", &["✓ → ✓ → ✓", "→ ✓"]),
            ("", &[""]),
        ] {
            assert_eq!(fold(text, 10), expected, "{text}");
        }
    }

    #[test]
    fn lines_begin_below_the_first_one_and_items_stay_whole() {
        let mut screen = Screen::keeping(false);
        screen.data("  → 207 ", &r#"{"outcome":"applied"},"#.repeat(5));
        screen.items("  columns ", (0..9).map(|number| format!("column{number} (text)")));
        screen.claim(true, &"words ".repeat(20));
        for line in screen.text().lines() {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert!(line.starts_with("  ") && !line.ends_with(" (") && !line.contains(TIED), "{line}");
            assert_eq!(line.matches('(').count(), line.matches(')').count(), "{line}");
        }
        assert_eq!(screen.text().lines().count(), 2 + 3 + 2, "{}", screen.text());
    }

    #[test]
    fn only_a_screen_with_colour_has_escape_sequences() {
        for colour in [true, false] {
            let mut screen = Screen::keeping(colour);
            screen.heading("Act 1");
            screen.claim(false, "it holds");
            screen.strong("the end");
            assert_eq!(screen.text().contains('\u{1b}'), colour);
        }
    }
}
