//! A sample as lines of text, for a screen of 80 columns and 24 rows. Pure.
//!
//! Texts of other services are escaped, so a line has no control characters but those of its colours.

use std::time::Duration;

use console::{Alignment, Style, measure_text_width, pad_str, truncate_str};
use indicatif::HumanDuration;
use time::macros::format_description;

use super::history::History;
use super::sample::{Names, QueueState, Reading, Sample, count, human};
use crate::dead_letters::summary::Summary;
use crate::lock::blob::held::LockCount;
use crate::sanitize::sanitize;

/// The column of what is said about a part, behind its label.
const INDENT: usize = 14;

/// The groups of dead letters that are shown.
const MAX_GROUPS: usize = 5;

/// The columns of a reason, which may be anybody's text, and of Dataverse's code.
const MAX_REASON: usize = 26;
const MAX_DATAVERSE_CODE: usize = 12;

pub(super) struct View<'a> {
    pub(super) names: &'a Names,
    pub(super) older_than: Duration,
    /// The samples so far, under `--watch`.
    pub(super) history: Option<&'a History>,
    pub(super) colours: bool,
    /// The columns that may be used.
    pub(super) width: usize,
}

impl View<'_> {
    pub(super) fn lines(&self, sample: &Sample) -> Vec<String> {
        [self.body(sample), self.verdict(sample)].concat()
    }

    pub(super) fn body(&self, sample: &Sample) -> Vec<String> {
        let mut lines = vec![self.heading(sample), String::new()];
        self.part(&mut lines, "queue", self.records(sample), &[]);
        let kinds = sample.dead_letters.found().map(|(_, reasons)| groups(reasons)).unwrap_or_default();
        self.part(&mut lines, "dead letters", self.dead_letters(sample), &kinds);
        self.part(&mut lines, "locks", self.locks(sample), &[]);
        self.cut(&lines)
    }

    /// The lines that say whether something needs a person.
    pub(super) fn verdict(&self, sample: &Sample) -> Vec<String> {
        let attention = sample.attention(self.names, self.older_than);
        if attention.is_empty() {
            return vec![self.paint(&Style::new().green(), "✓ nothing needs a person")];
        }
        let mut lines = Vec::new();
        for text in attention {
            let mut mark = "✗ ";
            for line in wrap(&sanitize(&text), self.width - 2) {
                lines.push(self.paint(&Style::new().red(), &format!("{mark}{line}")));
                mark = "  ";
            }
        }
        self.cut(&lines)
    }

    fn cut(&self, lines: &[String]) -> Vec<String> {
        lines.iter().map(|line| truncate_str(line, self.width, "…").into_owned()).collect()
    }

    /// The sample in one line, for a log.
    pub(super) fn line(&self, sample: &Sample) -> String {
        let records = short(&sample.records, |state| human(state.messages).to_string());
        let letters = short(&sample.dead_letters, |(state, _)| human(state.messages).to_string());
        let held = |locks: &LockCount| format!("{}{}", at_least(locks), human(locks.held));
        let locks = sample.locks.as_ref().map_or("off".to_owned(), |locks| short(locks, held));
        let trend = self.history.and_then(History::trend).map(|trend| format!("  {}", trend.describe()));
        let at = time(sample);
        format!("{at}  queue {records}  dead letters {letters}  locks {locks}{}", trend.unwrap_or_default())
    }

    fn heading(&self, sample: &Sample) -> String {
        self.paint(&Style::new().dim(), &format!("{}  {}", time(sample), self.names.host))
    }

    /// Adds the lines of a part behind its label: texts, wrapped; rows of a table, as they are; and an empty line.
    fn part(&self, lines: &mut Vec<String>, label: &str, texts: Vec<String>, rows: &[String]) {
        let mut label = self.paint(&Style::new().bold(), &format!("{label:<INDENT$}"));
        for text in texts {
            for line in wrap(&text, self.width - INDENT) {
                lines.push(format!("{label}{line}"));
                label = " ".repeat(INDENT);
            }
        }
        lines.extend(rows.iter().map(|row| format!("{:INDENT$}{row}", "")));
        lines.push(String::new());
    }

    fn records(&self, sample: &Sample) -> Vec<String> {
        let name = &self.names.records;
        let mut lines = state(name, &sample.records, "", |state| {
            let mut lines = vec![format!("{} in {name}", count(state.messages, "message"))];
            lines.extend(visible(state, "the handler has them, or they wait for their next try"));
            lines
        });
        lines.extend(self.history.into_iter().flat_map(|history| self.history(history)));
        lines
    }

    fn history(&self, history: &History) -> Vec<String> {
        let trend = history.trend().filter(|trend| history.peak() > 0 || trend.per_second != 0.0);
        let (peak, span) = (human(history.peak()), HumanDuration(history.span()));
        let sparkline = self.paint(&Style::new().cyan(), &history.sparkline());
        let line = format!("{sparkline}  {span}, peak {peak}");
        trend.map(super::history::Trend::describe).into_iter().chain([line]).collect()
    }

    fn dead_letters(&self, sample: &Sample) -> Vec<String> {
        let name = &self.names.dead_letters;
        state(name, &sample.dead_letters, "; it is created with the first dead letter", |(state, _)| {
            let mut lines = vec![format!("{} in {name}", count(state.messages, "message"))];
            lines.extend(visible(state, "another reader has them, such as handler dead-letters"));
            if state.shows_all_visible() && state.visible > 0 {
                lines.push("reasons of the visible ones:".to_owned());
            } else if state.visible > 0 {
                lines.push(format!("reasons of the first {} (from a peek; receiving would hide them):", state.peeked));
            }
            lines
        })
    }

    fn locks(&self, sample: &Sample) -> Vec<String> {
        let (Some(locks), Some(name)) = (&sample.locks, &self.names.locks) else {
            return vec!["off (LOCK_MODE)".to_owned()];
        };
        state(name, locks, "; it is created with the first lock", |locks| {
            let (held, blobs) = (human(locks.held), count(locks.blobs, "blob"));
            let blobs = if locks.is_complete { format!("of {blobs}") } else { format!("among the first {blobs}") };
            vec![format!("{}{held} held in {name}, {blobs}", at_least(locks))]
        })
    }

    fn paint(&self, style: &Style, text: &str) -> String {
        style.clone().force_styling(self.colours).apply_to(text).to_string()
    }
}

/// The lines about what was found, or why there is nothing; `remark` follows that it does not exist.
fn state<T>(name: &str, reading: &Reading<T>, remark: &str, found: impl FnOnce(&T) -> Vec<String>) -> Vec<String> {
    match reading {
        Reading::Found(value) => found(value),
        Reading::Missing => vec![format!("{name} does not exist{remark}")],
        Reading::Failed(_) => vec![format!("{name} cannot be read, see below")],
    }
}

/// A sentence about the visible messages; `hidden` says where the others are.
fn visible(state: &QueueState, hidden: &str) -> Option<String> {
    let others = state.messages.saturating_sub(state.visible);
    match state.oldest {
        None if state.messages == 0 => None,
        None => Some(format!("none visible: {hidden}")),
        Some(oldest) if state.shows_all_visible() => {
            let seen = format!("{} visible, the oldest {} old", state.visible, HumanDuration(oldest));
            let hidden = (others > 0).then(|| format!("; about {} hidden: {hidden}", human(others)));
            Some(seen + &hidden.unwrap_or_default())
        }
        Some(oldest) => Some(format!("the oldest visible is {} old; hidden ones are not seen", HumanDuration(oldest))),
    }
}

/// A line for each of the largest groups: count, reason, Dataverse's code, table.
fn groups(reasons: &Summary) -> Vec<String> {
    let rows = reasons.rows();
    let shown = &rows[..rows.len().min(MAX_GROUPS)];
    let width = |column: usize| shown.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or_default();
    let (w1, w2) = (width(1).min(MAX_REASON), width(2).min(MAX_DATAVERSE_CODE));
    let cell = |text: &str, width: usize| pad_str(text, width, Alignment::Left, Some("…")).into_owned();
    let line = |[letters, reason, code, table, ..]: &[String; 6]| {
        format!("{letters:>4}  {}  {}  {table}", cell(reason, w1), cell(code, w2))
    };
    let others = (rows.len() > MAX_GROUPS).then(|| format!("      and {} other kinds", rows.len() - MAX_GROUPS));
    shown.iter().map(line).chain(others).collect()
}

fn short<T>(reading: &Reading<T>, found: impl FnOnce(&T) -> String) -> String {
    match reading {
        Reading::Found(value) => found(value),
        Reading::Missing => "missing".to_owned(),
        Reading::Failed(problem) => format!("? ({})", sanitize(problem)),
    }
}

fn at_least(locks: &LockCount) -> &'static str {
    if locks.is_complete { "" } else { "at least " }
}

fn time(sample: &Sample) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    sample.at.format(format).unwrap_or_default()
}

/// Breaks a text between words; the following lines are as far in as the first.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let inset = text.len() - text.trim_start_matches(' ').len();
    let mut lines = vec![" ".repeat(inset)];
    for word in text[inset..].split_inclusive(' ') {
        let last = lines.last_mut().expect("there is one from the beginning");
        if measure_text_width(last) + measure_text_width(word.trim_end()) > width && last.len() > inset {
            lines.push(format!("{}{word}", " ".repeat(inset)));
        } else {
            last.push_str(word);
        }
    }
    lines.iter().map(|line| line.trim_end().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::{LIMIT, letters, names, queue, well};
    use serde_json::json;

    use super::*;
    use crate::dead_letters::entry::Entry;

    fn shown(sample: &Sample) -> String {
        shown_by(sample, &names(), false)
    }

    fn shown_by(sample: &Sample, names: &Names, colours: bool) -> String {
        let view = View { names, older_than: LIMIT, history: None, colours, width: 79 };
        let lines = view.lines(sample);
        assert!(lines.len() <= 24 && lines.iter().all(|line| measure_text_width(line) <= 79), "{lines:#?}");
        lines.join("\n")
    }

    #[test]
    fn all_is_well_in_one_screen() {
        let expected = "\
2026-11-30 00:31:05 UTC  contoso.queue.core.windows.net

queue         5,000 messages in sync-records
              the oldest visible is 3 minutes old; hidden ones are not seen

dead letters  0 messages in sync-records-poison

locks         48 held in sync-locks, of 1,204 blobs

✓ nothing needs a person";
        assert_eq!(shown(&well()), expected);
    }

    #[test]
    fn dead_letters_are_shown_by_reason() {
        let shown = shown(&Sample { dead_letters: letters(40), ..well() });
        let expected = "\
dead letters  40 messages in sync-records-poison
              3 visible, the oldest 2 hours old; about 37 hidden: another
              reader has them, such as handler dead-letters
              reasons of the visible ones:
                 2  key_collision             0x80060892  contacts
                 1  (by the host, no reason)  –           accounts
";
        assert!(shown.contains(expected), "{shown}");
        assert!(
            shown.ends_with("\n✗ 40 dead letters in sync-records-poison: see handler dead-letters list"),
            "{shown}"
        );
    }

    #[test]
    fn a_kind_of_dead_letters_takes_one_line_whatever_it_says() {
        let mut reasons = Summary::default();
        for (code, table) in [("0x80060892", "contacts"), (&*"\u{1b}[2J".repeat(50), &*"表".repeat(90)), ("", "")] {
            let message = json!({ "table": table }).to_string();
            let dataverse = json!({ "status": 412, "code": code });
            let letter = json!({ "message": message, "reason": "key_collision", "at": "2026-11-24T09:00:00Z",
                "dataverse": dataverse });
            reasons.add(&Entry::example(letter.to_string().as_bytes()));
        }
        let sample = Sample { dead_letters: Reading::Found((queue(3, 3, Some(7200)), reasons)), ..well() };
        let names = names();
        for width in [79, 39] {
            let view = View { names: &names, older_than: LIMIT, history: None, colours: false, width };
            let lines = view.body(&sample);
            let rows = lines.iter().filter(|line| line.starts_with("                 1  key_collision  ")).count();
            assert_eq!(rows, 3, "{lines:#?}");
            assert!(lines.iter().all(|line| measure_text_width(line) <= width && line.trim() != "–"), "{lines:#?}");
        }
    }

    #[test]
    fn what_is_hidden_missing_or_cannot_be_read_is_said() {
        for (records, text) in [
            (Reading::Found(queue(0, 0, None)), "0 messages in sync-records\n\n"),
            (
                Reading::Found(queue(1, 0, None)),
                "1 message in sync-records\n              none visible: the handler has them",
            ),
            (Reading::Found(queue(4, 4, Some(60))), "              4 visible, the oldest 60 seconds old\n\n"),
            (Reading::Missing, "queue         sync-records does not exist\n"),
            (Reading::Failed("\u{1b}[2J".to_owned()), "✗ sync-records: \\u001b[2J; handler doctor"),
        ] {
            let shown = shown(&Sample { records, ..well() });
            assert!(shown.contains(text), "{text} in:\n{shown}");
        }
    }

    #[test]
    fn locks_beyond_the_maximum_are_at_least_so_many() {
        let count = LockCount { held: 7, blobs: 20_000, is_complete: false };
        let shown = shown(&Sample { locks: Some(Reading::Found(count)), ..well() });
        assert!(
            shown.contains("locks         at least 7 held in sync-locks, among the first 20,000 blobs\n"),
            "{shown}"
        );
        let off = shown_by(&Sample { locks: None, ..well() }, &Names { locks: None, ..names() }, false);
        assert!(off.contains("locks         off (LOCK_MODE)\n"), "{off}");
    }

    #[test]
    fn long_names_are_wrapped_and_colours_take_no_room() {
        let long =
            Names { records: "r".repeat(63), dead_letters: "d".repeat(63), locks: Some("l".repeat(63)), ..names() };
        let sample =
            Sample { dead_letters: letters(1), records: Reading::Failed("no connection".to_owned()), ..well() };
        let (plain, coloured) = (shown_by(&sample, &long, false), shown_by(&sample, &long, true));
        assert!(!plain.contains('\u{1b}') && coloured.contains("\u{1b}[31m"), "{coloured:?}");
        assert_eq!(console::strip_ansi_codes(&coloured), plain);
    }

    #[tokio::test(start_paused = true)]
    async fn watching_adds_the_rate_and_the_history() {
        let mut history = History::default();
        for length in [6_000, 5_900, 5_000] {
            history.add(Some((tokio::time::Instant::now(), length)));
            tokio::time::advance(Duration::from_secs(30)).await;
        }
        let names = names();
        let view = View { names: &names, older_than: LIMIT, history: Some(&history), colours: false, width: 79 };
        let lines = view.lines(&well()).join("\n");
        let expected = "
              shrinking by 17/s (last 60 seconds); empty in about 5 minutes
              ██▇  60 seconds, peak 6,000
";
        assert!(lines.contains(expected), "{lines}");
        let line = "2026-11-30 00:31:05 UTC  queue 5,000  dead letters 0  locks 48  shrinking by 17/s (last 60 seconds); empty in \
                    about 5 minutes";
        assert_eq!(view.line(&well()), line);
        let gone = Sample { records: Reading::Failed("no connection".to_owned()), ..well() };
        assert!(view.line(&gone).contains("queue ? (no connection)"), "{}", view.line(&gone));
    }
}
