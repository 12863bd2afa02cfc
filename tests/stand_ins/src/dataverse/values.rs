//! Column values: validation, and conversion to the stored form.
//!
//! It rejects wrong types, lengths, ranges, choices, dates and control characters with the service's codes. Pure.
//! Invariant: a value that was read is accepted unchanged when it is sent again. See
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/web-api-types-operations> and
//! <https://learn.microsoft.com/power-apps/developer/data-platform/types-of-fields>.

use serde_json::{Number, Value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime, UtcOffset};
use uuid::Uuid;

use super::errors::Error;
use super::literal;
use super::table::{Kind, Table};

/// The largest absolute value of a decimal or money column here.
const MAX_NUMBER: f64 = 100_000_000_000.0;

/// The earliest year that SQL Server's datetime, and so Dataverse, can store.
const FIRST_YEAR: i32 = 1753;

/// Validates `value` for `column` of `table` and returns its stored form.
pub(super) fn accept(table: &Table, column: &str, kind: &Kind, value: &Value) -> Result<Value, Error> {
    if value.is_null() {
        return Ok(Value::Null);
    }
    let wrong_type = || {
        let expected = edm_type(kind);
        let literal = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        Error::payload(&table.set, format!("Cannot convert the literal '{literal}' to the expected type '{expected}'."))
    };
    match kind {
        Kind::Text { max } => text(&table.logical_name, column, *max, value.as_str().ok_or_else(wrong_type)?),
        Kind::Integer { min, max } => {
            let number = value.as_i64().ok_or_else(wrong_type)?;
            let fits = (i64::from(*min)..=i64::from(*max)).contains(&number);
            if fits { Ok(number.into()) } else { Err(out_of_range(column)) }
        }
        Kind::BigInteger | Kind::Status => value.as_i64().map(Value::from).ok_or_else(wrong_type),
        Kind::Decimal { precision } | Kind::Money { precision } | Kind::Double { precision } => {
            let number = value.as_f64().ok_or_else(wrong_type)?;
            if number.abs() > MAX_NUMBER { Err(out_of_range(column)) } else { Ok(rounded(number, *precision)) }
        }
        Kind::Boolean => value.as_bool().map(Value::from).ok_or_else(wrong_type),
        Kind::DateTime => date(column, value.as_str().and_then(instant).ok_or_else(wrong_type)?),
        Kind::DateOnly => date(column, value.as_str().and_then(day).ok_or_else(wrong_type)?),
        Kind::Choice(options) => {
            let number = value.as_i64().ok_or_else(wrong_type)?;
            if options.contains(&number) { Ok(number.into()) } else { Err(no_such_choice(column, &number)) }
        }
        Kind::State => {
            let number = value.as_i64().ok_or_else(wrong_type)?;
            let is_known = table.states.iter().any(|state| state.value == number);
            if is_known { Ok(number.into()) } else { Err(no_such_choice(column, &number)) }
        }
        Kind::MultiChoice(options) => choices(column, options, value.as_str().ok_or_else(wrong_type)?),
        Kind::Guid | Kind::Lookup => {
            let id = value.as_str().and_then(guid).ok_or_else(wrong_type)?;
            Ok(id.to_string().into())
        }
    }
}

/// `number` rounded to `precision` decimal places, halves away from zero.
pub(super) fn rounded(number: f64, precision: u8) -> Value {
    let factor = 10_f64.powi(i32::from(precision));
    Number::from_f64((number * factor).round() / factor).map_or(Value::Null, Value::Number)
}

/// `YYYY-MM-DDThh:mm:ssZ` of an RFC 3339 time; without an offset it is UTC. Fractions of a second are dropped.
pub(super) fn instant(text: &str) -> Option<String> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let time = parse(text).or_else(|| parse(&format!("{text}Z")))?.to_offset(UtcOffset::UTC);
    time.format(format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z")).ok()
}

/// `text` if it is a date `YYYY-MM-DD`.
pub(super) fn day(text: &str) -> Option<String> {
    let form = format_description!("[year]-[month]-[day]");
    Date::parse(text, form).ok()?.format(form).ok()
}

/// A GUID in a body: .NET accepts it with or without braces. Addresses are stricter, see [`literal::guid`].
fn guid(text: &str) -> Option<Uuid> {
    literal::guid(text.strip_prefix('{').and_then(|rest| rest.strip_suffix('}')).unwrap_or(text))
}

/// The kind's name in metadata and errors.
pub(super) fn edm_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Text { .. } | Kind::MultiChoice(_) => "Edm.String",
        Kind::Integer { .. } | Kind::Choice(_) | Kind::State | Kind::Status => "Edm.Int32",
        Kind::BigInteger => "Edm.Int64",
        Kind::Decimal { .. } | Kind::Money { .. } => "Edm.Decimal",
        Kind::Double { .. } => "Edm.Double",
        Kind::Boolean => "Edm.Boolean",
        Kind::DateTime => "Edm.DateTimeOffset",
        Kind::DateOnly => "Edm.Date",
        Kind::Guid | Kind::Lookup => "Edm.Guid",
    }
}

fn text(entity: &str, column: &str, max: usize, text: &str) -> Result<Value, Error> {
    let is_forbidden = |c: char| c.is_ascii_control() && !matches!(c, '\t' | '\n' | '\r' | '\u{7f}');
    if text.chars().any(is_forbidden) {
        return Err(Error::bad_request(
            "0x80040278",
            "Invalid character in field: a control character is not allowed.",
        ));
    }
    if text.encode_utf16().count() > max {
        let message = format!(
            "A validation error occurred. The length of the '{column}' attribute of the '{entity}' entity exceeded the maximum allowed length of '{max}'."
        );
        return Err(Error::bad_request("0x80044331", message));
    }
    Ok(if text.is_empty() { Value::Null } else { text.into() })
}

fn date(column: &str, text: String) -> Result<Value, Error> {
    // Both forms begin with a four-digit year.
    let year: i32 = text.get(..4).and_then(|year| year.parse().ok()).unwrap_or_default();
    if year < FIRST_YEAR {
        let message = format!("DateTime is less than minimum value supported by CrmDateTime: '{column}'.");
        return Err(Error::bad_request("0x80040239", message));
    }
    Ok(text.into())
}

fn choices(column: &str, options: &[i64], text: &str) -> Result<Value, Error> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let mut chosen = Vec::new();
    for part in text.split(',').map(str::trim) {
        let choice = part.parse().ok().filter(|choice| options.contains(choice));
        chosen.push(choice.ok_or_else(|| no_such_choice(column, &part))?);
    }
    chosen.sort_unstable();
    chosen.dedup();
    let parts: Vec<String> = chosen.iter().map(i64::to_string).collect();
    Ok(parts.join(",").into())
}

fn out_of_range(column: &str) -> Error {
    let message = format!("A validation error occurred. The value of '{column}' is outside the valid range.");
    Error::bad_request("0x80044330", message)
}

fn no_such_choice(column: &str, value: &dyn std::fmt::Display) -> Error {
    let message = format!(
        "A validation error occurred. The value {value} of '{column}' is not accepted. Accepted values are those of its choice."
    );
    Error::bad_request("0x8004431A", message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(kind: &Kind, value: &Value) -> Result<Value, String> {
        let table = Table::new("things", "thing", "thingid");
        accept(&table, "c", kind, value).map_err(|error| error.code.into_owned())
    }

    #[test]
    fn values_come_back_in_the_form_of_their_column_and_stay_so() {
        let cases = [
            (Kind::Money { precision: 2 }, json!(10.005_9), json!(10.01)),
            (Kind::Decimal { precision: 4 }, json!(1), json!(1.0)),
            (Kind::DateTime, json!("2024-03-01T10:00:00.987+02:00"), json!("2024-03-01T08:00:00Z")),
            (Kind::DateTime, json!("2024-03-01T10:00:00"), json!("2024-03-01T10:00:00Z")),
            (Kind::DateOnly, json!("2024-03-01"), json!("2024-03-01")),
            (Kind::MultiChoice(vec![1, 9]), json!("9, 1"), json!("1,9")),
            (Kind::Text { max: 3 }, json!(""), json!(null)),
            (Kind::Text { max: 3 }, json!("ab "), json!("ab ")),
            (Kind::Boolean, json!(true), json!(true)),
            (Kind::Guid, json!("AAAAAAAA-0000-4000-8000-000000000001"), json!("aaaaaaaa-0000-4000-8000-000000000001")),
            (
                Kind::Guid,
                json!("{AAAAAAAA-0000-4000-8000-000000000001}"),
                json!("aaaaaaaa-0000-4000-8000-000000000001"),
            ),
            // The service's example: learn.microsoft.com/power-apps/developer/data-platform/webapi/create-entity-web-api
            (Kind::Double { precision: 5 }, json!(47.639_583), json!(47.639_58)),
        ];
        for (kind, sent, kept) in cases {
            assert_eq!(converted(&kind, &sent).as_ref(), Ok(&kept), "{kind:?} {sent}");
            assert_eq!(converted(&kind, &kept).as_ref(), Ok(&kept), "{kind:?} {kept}");
        }
    }

    #[test]
    fn what_a_column_cannot_hold_is_refused_with_its_own_code() {
        let cases = [
            (Kind::Text { max: 3 }, json!("abcd"), "0x80044331"),
            (Kind::Text { max: 3 }, json!("a\u{1}"), "0x80040278"),
            (Kind::Text { max: 3 }, json!(1), "0x80048d19"),
            (Kind::Integer { min: 0, max: 9 }, json!(10), "0x80044330"),
            (Kind::Integer { min: 0, max: 9 }, json!("1"), "0x80048d19"),
            (Kind::Integer { min: 0, max: 9 }, json!(1.5), "0x80048d19"),
            (Kind::Money { precision: 2 }, json!(1e12), "0x80044330"),
            (Kind::Choice(vec![1]), json!(2), "0x8004431A"),
            (Kind::MultiChoice(vec![1]), json!("1,2"), "0x8004431A"),
            (Kind::DateOnly, json!("1700-01-01"), "0x80040239"),
            (Kind::DateOnly, json!("01.03.2024"), "0x80048d19"),
            (Kind::DateTime, json!("1700-01-01T00:00:00Z"), "0x80040239"),
            (Kind::Boolean, json!("true"), "0x80048d19"),
            (Kind::Guid, json!("no"), "0x80048d19"),
        ];
        for (kind, sent, code) in cases {
            assert_eq!(converted(&kind, &sent), Err(code.to_owned()), "{kind:?} {sent}");
        }
    }
}
