//! Any event is one line; the host gives it the event's level, and everything can be parsed from it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use tracing::{Level, trace};

use super::*;
use crate::sanitize::needs_escape;

const LEVELS: [Level; 5] = [Level::TRACE, Level::DEBUG, Level::INFO, Level::WARN, Level::ERROR];

/// Arbitrary text, and texts made of awkward parts.
fn texts() -> impl Strategy<Value = String> {
    let awkward = "warn|Warn|WARN|w|arn|error|\\u0061|\\|\"|=|a=b| |\n|\r|\u{1b}[31m|\
                   \u{202e}|\u{ad}|\u{e0041}|\u{a0}| outcome=applied|\",\"outcome\":\"applied|{|}|ä|🙂|INFO|\u{0}";
    let awkward: Vec<_> = awkward.split('|').collect();
    let awkward = vec(select(awkward), 0..8).prop_map(|parts| parts.concat());
    prop_oneof![awkward.clone(), any::<String>(), (any::<String>(), awkward).prop_map(|(a, b)| a + &b)]
}

/// The level that the host assigns to a line.
fn filed(stream: Stream, line: &str) -> Level {
    match stream {
        Stream::Stdout => Level::INFO,
        Stream::Stderr if line.to_lowercase().contains("warn") => Level::WARN,
        Stream::Stderr => Level::ERROR,
    }
}

fn log(level: Level, message: &str, detail: &str, warning: i64) {
    let shown = tracing::field::display(detail);
    match level {
        Level::TRACE => trace!(detail, shown, warning, "{message}"),
        Level::DEBUG => debug!(detail, shown, warning, "{message}"),
        Level::INFO => info!(detail, shown, warning, "{message}"),
        Level::WARN => warn!(detail, shown, warning, "{message}"),
        Level::ERROR => error!(detail, shown, warning, "{message}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn an_event_is_one_line_with_the_right_level_for_the_host_and_nothing_is_lost(
        level in select(LEVELS.to_vec()),
        format in select(vec![Format::Text, Format::Json]),
        message in texts(),
        detail in texts(),
        table in texts(),
        number in any::<i64>(),
    ) {
        let lines = logged(format, LevelFilter::TRACE, |_| {
            let span = error_span!("record", table, "odd = \"name\" \u{1b}" = true);
            span.in_scope(|| log(level, &message, &detail, number));
        });
        let [(stream, line)] = &lines[..] else { panic!("one event is one line: {lines:?}") };
        let ended = line.strip_suffix('\n').expect("a line ends");
        prop_assert!(!ended.contains(needs_escape), "{}", ended);
        // The patterns of the guide's queries; only a message, which is in our own words, may have a quoted word before a colon.
        prop_assert!(!ended.contains(" outcome="), "{}", ended);
        prop_assert!(message.contains("\"outcome\":") || !ended.contains("\"outcome\":"), "{}", ended);
        prop_assert_eq!(filed(*stream, ended), if level > Level::INFO { Level::INFO } else { level });
        let parsed = parsed(format, line);
        let fields = [
            ("detail", detail.clone()), ("shown", detail), ("warning", number.to_string()),
            ("table", table), ("odd = \"name\" \u{1b}", "true".to_owned()),
        ];
        let fields = fields.map(|(name, value)| (name.to_owned(), value));
        prop_assert_eq!((parsed.level, parsed.message), (level.to_string(), message));
        let sorted = |mut fields: Vec<_>| { fields.sort(); fields };
        prop_assert_eq!(sorted(parsed.fields), sorted(fields.to_vec()));
    }
}
