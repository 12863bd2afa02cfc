//! Which messages a command selects. Pure.

use std::time::Duration;

use clap::Args;
use clap::builder::PossibleValuesParser;
use time::OffsetDateTime;

use super::entry::{Entry, WITHOUT_BASE64};
use super::record_summary::KeyFilter;
use crate::outcome::{Disposition, Reason};
use crate::settings::checked;

/// The value of `--reason` for messages that have none.
const NO_REASON: &str = "none";

/// A selection of messages; all given conditions must hold.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Which messages")]
pub(super) struct Filter {
    /// Only dead letters with this reason, such as key_collision; `none` for all that the host moved, `without_base64` for those of
    /// them that were sent without base64.
    #[arg(long, value_name = "CODE", value_parser = reasons())]
    reason: Option<String>,
    /// Only dead letters with this code of Dataverse, such as 0x80060892.
    #[arg(long, value_name = "0x…", value_parser = code)]
    code: Option<String>,
    /// Only messages for this table.
    #[arg(long)]
    table: Option<String>,
    /// Only messages of this source.
    #[arg(long)]
    source: Option<String>,
    /// Only messages older than this: 90s, 15m, 2h, 3d or 1w.
    #[arg(long, value_name = "TIME", value_parser = span)]
    older_than: Option<Duration>,
    /// Only messages newer than this.
    #[arg(long, value_name = "TIME", value_parser = span)]
    newer_than: Option<Duration>,
    /// Only messages for this record: a key as in the record, '{"employeeid":"E-1"}', or one value of it, E-1 or a GUID.
    #[arg(long, value_parser = KeyFilter::parse)]
    key: Option<KeyFilter>,
}

impl Filter {
    /// Whether `entry` matches at the time `now`.
    pub(super) fn matches(&self, entry: &Entry, now: OffsetDateTime) -> bool {
        let record = &entry.record;
        let same = |wanted: &Option<String>, actual: Option<&str>| wanted.is_none() || wanted.as_deref() == actual;
        let code = self.code.as_deref();
        (same(&self.reason, Some(entry.reason().unwrap_or(NO_REASON))) || same(&self.reason, entry.listed_reason()))
            && code.is_none_or(|wanted| entry.code().is_some_and(|code| code.eq_ignore_ascii_case(wanted)))
            && same(&self.table, record.table.as_deref())
            && same(&self.source, record.source.as_deref())
            && self.older_than.is_none_or(|age| now - entry.time() > age)
            && self.newer_than.is_none_or(|age| now - entry.time() < age)
            && self.key.as_ref().is_none_or(|wanted| record.key.as_ref().is_some_and(|key| wanted.matches(key)))
    }
}

/// An HTTP status would match nothing.
fn code(text: &str) -> Result<String, &'static str> {
    let is_code = |text: &str| text.get(..2).is_some_and(|start| start.eq_ignore_ascii_case("0x"));
    checked(text, is_code, "a code of Dataverse begins with 0x, such as 0x80060892; `list` shows those that there are")
}

/// What a dead letter can say, and the words for those that have no reason.
fn reasons() -> PossibleValuesParser {
    let has_letter = |reason: &Reason| match reason.disposition() {
        Disposition::Applied | Disposition::Skipped => false,
        Disposition::Retry | Disposition::Rejected => true,
    };
    let codes = Reason::ALL.into_iter().filter(has_letter).map(Reason::code);
    PossibleValuesParser::new([NO_REASON, WITHOUT_BASE64].into_iter().chain(codes))
}

/// `2h`: a whole number and its unit.
pub(crate) fn span(text: &str) -> Result<Duration, &'static str> {
    const WRONG: &str = "a time is a whole number and a unit, such as 90s, 15m, 2h, 3d or 1w";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WRONG)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(WRONG),
    };
    let number: u32 = number.parse().map_err(|_| WRONG)?;
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::host::MessageEncoding;
    use crate::terminal::parse_arguments;

    const NOW: OffsetDateTime = datetime!(2026-11-24 12:00 UTC);

    impl Filter {
        /// One filter of each kind.
        pub(in crate::dead_letters) fn examples() -> Vec<Self> {
            let options = [
                ["--reason", "exists"],
                ["--code", "0x1"],
                ["--table", "contacts"],
                ["--source", "hr"],
                ["--older-than", "4294967295w"],
                ["--newer-than", "0s"],
                ["--key", r#"{"a":1}"#],
                ["--key", "1"],
            ];
            options.map(|option| filter(&option).expect("a filter")).into()
        }
    }

    fn found(content: &str) -> Entry {
        Entry::example(content.as_bytes())
    }

    fn ours() -> Entry {
        let message = r#"{"table":"contacts","key":{"employeeid":"E-1"},"columns":{},"source":"hr"}"#;
        let letter = serde_json::json!({
            "message": message, "reason": "key_collision", "at": "2026-11-23T12:00:00Z",
            "dataverse": { "status": 412, "code": "0x8006089A" },
        });
        found(&letter.to_string())
    }

    fn filter(arguments: &[&str]) -> Result<Filter, String> {
        parse_arguments(arguments.iter().copied())
    }

    fn matches(arguments: &[&str], found: &Entry) -> bool {
        filter(arguments).expect("arguments").matches(found, NOW)
    }

    #[test]
    fn each_filter_selects_by_its_value() {
        let ours = ours();
        for (option, right, wrong) in [
            ("--reason", "key_collision", "exists"),
            ("--code", "0x8006089a", "0x80060892"),
            ("--table", "contacts", "accounts"),
            ("--source", "hr", "crm"),
            ("--older-than", "23h", "2d"),
            ("--newer-than", "2d", "86400s"),
            ("--key", r#"{"employeeid":"E-1"}"#, "E-2"),
        ] {
            assert!(matches(&[option, right], &ours), "{option} {right}");
            assert!(!matches(&[option, wrong], &ours), "{option} {wrong}");
        }
        assert!(matches(&[], &ours));
        assert!(matches(&["--reason", "key_collision", "--table", "contacts"], &ours));
        assert!(!matches(&["--reason", "key_collision", "--table", "accounts"], &ours), "all must hold");
    }

    #[test]
    fn a_message_that_the_host_moved_has_no_reason_and_is_as_old_as_its_insertion() {
        let raw = found(r#"{"table":"contacts","key":{"employeeid":"E-1"},"columns":{}}"#);
        assert!(matches(&["--reason", "none"], &raw) && !matches(&["--reason", "none"], &ours()));
        assert!(matches(&["--older-than", "1h"], &raw) && !matches(&["--older-than", "3h"], &raw));
        assert!(!matches(&["--code", "0x80060892"], &raw) && !matches(&["--source", "hr"], &raw));
        assert!(matches(&["--table", "contacts", "--key", "E-1"], &raw));
        assert!(!matches(&["--key", "E-1"], &found("not a record")));
        let text =
            Entry::example_stored_as("text".to_owned() + "!", MessageEncoding::Base64).under(MessageEncoding::Base64);
        assert!(matches(&["--reason", "none"], &text) && matches(&["--reason", "without_base64"], &text));
        assert!(!matches(&["--reason", "without_base64"], &raw) && !matches(&["--reason", "without_base64"], &ours()));
    }

    #[test]
    fn an_unknown_reason_is_pointed_out() {
        for (reason, tip) in [("nope", "'none'"), ("key_colision", "'key_collision'"), ("created", "possible values")] {
            let problem = filter(&["--reason", reason]).expect_err("no letter has it");
            assert!(problem.contains(tip) && problem.contains("invalid_data"), "{problem}");
        }
    }

    #[test]
    fn an_http_status_is_not_a_code() {
        let problem = filter(&["--code", "412"]).expect_err("it would match nothing");
        assert!(problem.contains("--code") && problem.contains("0x80060892"), "{problem}");
    }

    #[test]
    fn times_are_a_number_and_a_unit() {
        for (text, seconds) in [("90s", 90), ("15m", 900), ("2h", 7200), ("3d", 259_200), ("1w", 604_800), ("0s", 0)] {
            assert_eq!(span(text), Ok(Duration::from_secs(seconds)));
        }
        for text in ["", "2", "h", "-2h", "2 h", "2H", "1.5h", "2h30m", "2ä"] {
            assert!(span(text).is_err(), "{text}");
        }
        let problem = filter(&["--older-than", "soon"]).expect_err("not a time");
        assert!(problem.contains("--older-than") && problem.contains("2h"), "{problem}");
    }
}
