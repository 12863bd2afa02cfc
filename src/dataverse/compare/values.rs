//! One value that was sent against the one that is stored, by the column's kind.
//!
//! A kind that is known decides. Without one, every reading is tried: where one of them could make the two values one, the
//! answer is [`Comparison::Unknown`]; only where none could, the values differ.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-types-operations>,
//! <https://learn.microsoft.com/power-apps/developer/data-platform/behavior-format-date-time-attribute>

use std::collections::BTreeSet;

use serde_json::value::RawValue;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Comparison;
use crate::dataverse::definition::{Column, Kind};
use crate::json::{Number, Value};
use crate::record::guid;

/// Every reading under which two unequal notations may be one value.
const READINGS: [Kind; 6] =
    [Kind::Decimal(None), Kind::Double(None), Kind::Instant, Kind::ZoneFree, Kind::Choices, Kind::Guid];

/// No column rounds to fewer places than none.
const FEWEST_PLACES: u32 = 0;

/// The part of half a unit that lies so near to the tie that a service which counts in binary may round either way.
const NEAR_TIE: i128 = 1_000_000;

const NANOS: i128 = 1_000_000_000;

/// Compares a value with the one that is stored in `column`, if that is known.
pub(super) fn compare(sent: &RawValue, stored: &RawValue, column: Option<Column>) -> Comparison {
    let (sent, stored) = (Value::of(sent), Value::of(stored));
    if column.is_some_and(|column| column.secured) && stored == Value::Null {
        return Comparison::Unknown;
    }
    if sent == Value::Nested || stored == Value::Nested {
        return Comparison::Unknown;
    }
    if sent == stored || (is_nothing(&sent) && is_nothing(&stored)) {
        return Comparison::Same;
    }
    if is_nothing(&sent) || is_nothing(&stored) {
        return Comparison::Differs;
    }
    let Some(Column { kind, .. }) = column else {
        let may_be_one = |kind| read(kind, &sent, &stored).is_some_and(|found| found != Comparison::Differs);
        return if READINGS.into_iter().any(may_be_one) { Comparison::Unknown } else { Comparison::Differs };
    };
    match kind {
        Kind::Plain => Comparison::Differs,
        _ => read(kind, &sent, &stored).unwrap_or(Comparison::Unknown),
    }
}

/// Whether it is null or empty text, which the service keeps as null.
pub(super) fn is_nothing(value: &Value<'_>) -> bool {
    match value {
        Value::Null => true,
        Value::Text(text) => text.is_empty(),
        _ => false,
    }
}

/// What two unequal values are to each other as values of this kind; `None` when they are none.
fn read(kind: Kind, sent: &Value<'_>, stored: &Value<'_>) -> Option<Comparison> {
    match (kind, sent, stored) {
        (Kind::Decimal(places), Value::Number(sent), Value::Number(stored)) => Some(numbers(sent, stored, places)),
        (Kind::Double(places), Value::Number(sent), Value::Number(stored)) => {
            Some(numbers(&nearest_double(sent)?, &nearest_double(stored)?, places))
        }
        // Whether a column takes the one notation for the other is not known.
        (Kind::Decimal(_) | Kind::Double(_), Value::Number(number), Value::Text(text))
        | (Kind::Decimal(_) | Kind::Double(_), Value::Text(text), Value::Number(number)) => {
            (number_in(text)? == *number).then_some(Comparison::Unknown)
        }
        (Kind::Instant, Value::Text(sent), Value::Text(stored)) => Some(instants(sent, stored)?),
        (Kind::ZoneFree, Value::Text(sent), Value::Text(stored)) => {
            let found = instants(sent, stored)?;
            Some(if has_offset(sent) { Comparison::Unknown } else { found })
        }
        (Kind::Choices, Value::Text(sent), Value::Text(stored)) => Some(equal(choices(sent)? == choices(stored)?)),
        (Kind::Guid, Value::Text(sent), Value::Text(stored)) => Some(equal(guid(sent)? == guid(stored)?)),
        _ => None,
    }
}

fn equal(are: bool) -> Comparison {
    if are { Comparison::Same } else { Comparison::Differs }
}

/// Whether `stored` is what `sent` is rounded to. Which way a tie goes, no source says.
fn numbers(sent: &Number, stored: &Number, places: Option<u8>) -> Comparison {
    if sent == stored {
        return Comparison::Same;
    }
    let least = places.map_or(FEWEST_PLACES, u32::from);
    // One place more, so that half a unit is a whole number.
    let fine = sent.places().max(stored.places()).max(least + 1);
    let half = 10_i128.checked_pow(fine - least).map(|unit| unit / 2);
    let (Some(sent), Some(fine_stored), Some(half)) = (sent.units(fine), stored.units(fine), half) else {
        return Comparison::Unknown;
    };
    let Some(away) = sent.checked_sub(fine_stored).map(i128::abs) else { return Comparison::Unknown };
    if (away - half).abs() <= half / NEAR_TIE {
        return Comparison::Unknown;
    }
    match places {
        _ if away > half => Comparison::Differs,
        Some(_) if stored.places() <= least => Comparison::Same,
        // Unrounded, so the column was not always as its definition says.
        Some(_) | None => Comparison::Unknown,
    }
}

/// The number that is left of a decimal one in a binary column, in its shortest notation.
fn nearest_double(number: &Number) -> Option<Number> {
    let double: f64 = number.literal()?.parse().ok()?;
    Some(Number::of(&double.to_string()))
}

fn number_in(text: &str) -> Option<Number> {
    serde_json::from_str::<&RawValue>(text).ok().map(Value::of).and_then(|value| match value {
        Value::Number(number) => Some(number),
        _ => None,
    })
}

/// Whether `stored` is the whole second in which `sent` lies. Whether the service cuts the rest off or rounds it, no source says,
/// so the later half of a second is neither this one nor the next.
fn instants(sent: &str, stored: &str) -> Option<Comparison> {
    let (sent, stored) = (instant(sent)?.unix_timestamp_nanos(), instant(stored)?.unix_timestamp_nanos());
    let (second, fraction) = (sent.div_euclid(NANOS), sent.rem_euclid(NANOS));
    let (stored_second, stored_fraction) = (stored.div_euclid(NANOS), stored.rem_euclid(NANOS));
    let late = fraction * 2 >= NANOS;
    let possible = second == stored_second || (late && second + 1 == stored_second);
    Some(match possible {
        _ if sent == stored => Comparison::Same,
        false => Comparison::Differs,
        true if late || stored_fraction != 0 => Comparison::Unknown,
        true => Comparison::Same,
    })
}

/// A moment; without an offset the service takes it for UTC.
fn instant(text: &str) -> Option<OffsetDateTime> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    parse(text).or_else(|| parse(&format!("{text}Z")))
}

fn has_offset(text: &str) -> bool {
    OffsetDateTime::parse(text, &Rfc3339).is_ok_and(|time| !time.offset().is_utc())
}

/// `"1, 9"`, in any order.
fn choices(text: &str) -> Option<BTreeSet<i64>> {
    let choice = |part: &str| {
        let part = part.trim_matches(' ');
        part.starts_with(|first: char| first == '-' || first.is_ascii_digit()).then(|| part.parse().ok())?
    };
    text.split(',').map(choice).collect()
}
