//! `Retry-After`: seconds or a date, capped.
//!
//! <https://www.rfc-editor.org/rfc/rfc9110#field.retry-after>

use std::time::Duration;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

/// Dataverse was seen to ask for six to seven minutes; a longer delay is taken for a mistake.
const MAX_DELAY: Duration = Duration::from_mins(15);

/// The delay in the header's value.
pub(super) fn parse(value: &str, now: OffsetDateTime) -> Option<Duration> {
    let value = value.trim();
    let delay = if let Ok(seconds) = value.parse() {
        Duration::from_secs(seconds)
    } else {
        let until = OffsetDateTime::parse(value, &Rfc2822).ok()?;
        (until - now).try_into().unwrap_or(Duration::ZERO)
    };
    Some(delay.min(MAX_DELAY))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2026-11-23 10:00 UTC);

    #[test]
    fn reads_seconds_and_dates() {
        assert_eq!(parse("7", NOW), Some(Duration::from_secs(7)));
        assert_eq!(parse(" 0 ", NOW), Some(Duration::ZERO));
        assert_eq!(parse("Mon, 23 Nov 2026 10:01:30 GMT", NOW), Some(Duration::from_secs(90)));
    }

    #[test]
    fn a_past_date_means_no_delay() {
        assert_eq!(parse("Mon, 23 Nov 2026 09:00:00 GMT", NOW), Some(Duration::ZERO));
    }

    #[test]
    fn ignores_other_text_and_caps_a_long_delay() {
        assert_eq!(parse("soon", NOW), None);
        assert_eq!(parse("-3", NOW), None);
        assert_eq!(parse("99999999", NOW), Some(MAX_DELAY));
    }
}
