//! Strings that read as a time: ISO 8601 with a `T`, and `/Date(…)/`.
//!
//! A time with an offset becomes local time, which is UTC on the host's machines and in containers.
//!
//! Contract: `DateTimeUtils` and `DateTimeParser` in <https://github.com/JamesNK/Newtonsoft.Json/tree/master/Src/Newtonsoft.Json>.

use time::format_description::BorrowedFormatItem;
use time::macros::{datetime, format_description};
use time::{Duration, Month, PrimitiveDateTime, Time};

/// A .NET `DateTime`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Date {
    at: PrimitiveDateTime,
    kind: Kind,
}

/// How the zone is written again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Nothing.
    Unspecified,
    /// `Z`
    Utc,
    /// `+00:00`
    Local,
}

const SECONDS: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]");
const INVARIANT: &[BorrowedFormatItem<'_>] = format_description!("[month]/[day]/[year] [hour]:[minute]:[second]");

impl Date {
    /// `None` if the text does not read as a time as a whole.
    pub(super) fn read(text: &str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix("/Date(") {
            return microsoft(rest.strip_suffix(")/")?);
        }
        if !(19..=40).contains(&text.len()) || !text.is_ascii() {
            return None;
        }
        let (at, zone) = date_and_time(text)?;
        let (kind, offset) = self::zone(zone)?;
        Some(Self { at: at.checked_sub(offset)?, kind })
    }

    /// As JSON has it: fractions without trailing zeros, and the zone.
    pub(super) fn iso(self) -> String {
        let mut text = self.at.format(SECONDS).expect("it has all these parts");
        let ticks = self.at.nanosecond() / 100;
        if ticks > 0 {
            text.push('.');
            text.push_str(format!("{ticks:07}").trim_end_matches('0'));
        }
        text.push_str(match self.kind {
            Kind::Unspecified => "",
            Kind::Utc => "Z",
            Kind::Local => "+00:00",
        });
        text
    }

    /// As `ToString()` has it: no fractions, no zone.
    pub(super) fn invariant(self) -> String {
        self.at.format(INVARIANT).expect("it has all these parts")
    }
}

/// The time before the zone, and the rest.
fn date_and_time(text: &str) -> Option<(PrimitiveDateTime, &str)> {
    let number = |from: usize, length: usize| {
        let digits = text.get(from..from + length)?;
        digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u16>().ok())?
    };
    let marks = [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")];
    if marks.iter().any(|(at, mark)| text.get(*at..*at + 1) != Some(mark)) {
        return None;
    }
    let [month, day, hour, minute, second] = [(5, 2), (8, 2), (11, 2), (14, 2), (17, 2)]
        .map(|(from, length)| number(from, length).and_then(|number| u8::try_from(number).ok()));
    let year = number(0, 4).filter(|year| *year > 0)?;
    let date = time::Date::from_calendar_date(year.into(), Month::try_from(month?).ok()?, day?).ok()?;
    let (nanos, rest) = fraction(&text[19..])?;
    // Midnight at the end of a day.
    if hour? == 24 && (minute?, second?, nanos) == (0, 0, 0) {
        return Some((PrimitiveDateTime::new(date.next_day()?, Time::MIDNIGHT), rest));
    }
    let time = Time::from_hms_nano(hour?, minute?, second?, nanos).ok()?;
    Some((PrimitiveDateTime::new(date, time), rest))
}

/// At most seven digits after a point; an eighth is left over and belongs to no zone.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let length = rest.bytes().take(7).take_while(u8::is_ascii_digit).count();
    let (digits, rest) = rest.split_at(length);
    Some((format!("{digits:0<9}").parse().ok().filter(|_| length > 0)?, rest))
}

/// `Z`, `+hh`, `+hhmm`, `+hh:mm`, or nothing.
fn zone(text: &str) -> Option<(Kind, Duration)> {
    match text {
        "" => return Some((Kind::Unspecified, Duration::ZERO)),
        "Z" | "z" => return Some((Kind::Utc, Duration::ZERO)),
        _ => {}
    }
    let sign = match text.as_bytes()[0] {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, rest) = (text.get(1..3)?, text.get(3..)?);
    let minutes = match rest.strip_prefix(':').unwrap_or(rest) {
        "" if rest.is_empty() => "00",
        minutes => minutes,
    };
    let number = |digits: &str| {
        let valid = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
        valid.then(|| digits.parse::<i64>().ok())?
    };
    Some((Kind::Local, Duration::minutes(sign * (number(hours)? * 60 + number(minutes)?))))
}

/// Milliseconds since 1970 with an offset that only makes the time a local one.
fn microsoft(text: &str) -> Option<Date> {
    let sign = text.char_indices().skip(1).find(|(_, character)| ['+', '-'].contains(character));
    let (millis, kind) = match sign {
        None => (text, Kind::Utc),
        Some((at, _)) => {
            let offset = &text[at + 1..];
            let valid =
                matches!(offset.len(), 2 | 4 | 5) && offset.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
            (text.get(..at).filter(|_| valid)?, Kind::Local)
        }
    };
    let epoch = datetime!(1970-01-01 00:00);
    Some(Date { at: epoch.checked_add(Duration::milliseconds(millis.parse().ok()?))?, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_as_a_time_is_written_again_in_utc() {
        for (text, iso, invariant) in [
            ("2026-11-23T10:00:00+02:00", "2026-11-23T08:00:00+00:00", "11/23/2026 08:00:00"),
            ("2026-11-23T10:00:00.1230000Z", "2026-11-23T10:00:00.123Z", "11/23/2026 10:00:00"),
            ("2026-11-23T10:00:00", "2026-11-23T10:00:00", "11/23/2026 10:00:00"),
            ("2026-11-23T10:00:00.1234567-0130", "2026-11-23T11:30:00.1234567+00:00", "11/23/2026 11:30:00"),
            ("2026-12-31T24:00:00z", "2027-01-01T00:00:00Z", "01/01/2027 00:00:00"),
            ("2026-11-23T10:00:00+02", "2026-11-23T08:00:00+00:00", "11/23/2026 08:00:00"),
            ("/Date(1700000000000)/", "2023-11-14T22:13:20Z", "11/14/2023 22:13:20"),
            ("/Date(1700000000000+0100)/", "2023-11-14T22:13:20+00:00", "11/14/2023 22:13:20"),
        ] {
            let date = Date::read(text).expect(text);
            assert_eq!((date.iso().as_str(), date.invariant().as_str()), (iso, invariant), "{text}");
        }
    }

    #[test]
    fn anything_else_is_text() {
        for text in [
            "2026-11-23",
            "2026-11-23 10:00:00",
            "2026-11-23T10:00",
            "2026-11-23T10:00:00.12345678Z",
            "2026-11-23T10:00:00.",
            "2026-11-23T10:00:00 ",
            "2026-02-30T10:00:00",
            "0000-11-23T10:00:00",
            "2026-11-23T24:00:01",
            "2026-11-23T10:00:00+1",
            "/Date()/",
            "",
        ] {
            assert_eq!(Date::read(text), None, "{text}");
        }
    }
}
