//! What a CSV field is in JSON: by its column's kind, never by its value. Pure.

use clap::ValueEnum;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;
use time::{Date, OffsetDateTime};

use crate::json::Number;
use crate::record::guid;

/// The kind of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Any text; also the numbers of a multi-select choice, such as 1,9.
    Text,
    /// A whole number, also of a choice.
    Integer,
    /// A number with a point, such as 1234.56.
    Decimal,
    /// One of true, false, yes, no, 1, 0.
    Boolean,
    /// A date such as 2026-01-31.
    Date,
    /// A time such as 2026-01-31T08:00:00Z, or a date.
    DateTime,
    /// A GUID.
    Guid,
    /// Not sent.
    Skip,
}

impl Kind {
    /// The kind of a column by its `AttributeType`; `None` for a lookup, which has no value of its own in a record.
    /// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/reference/attributetypecode>
    pub(super) fn of_attribute(attribute_type: &str) -> Option<Self> {
        match attribute_type {
            "Lookup" | "Customer" | "Owner" => None,
            "Integer" | "BigInt" | "Picklist" | "State" | "Status" => Some(Self::Integer),
            "Decimal" | "Money" | "Double" => Some(Self::Decimal),
            "Boolean" => Some(Self::Boolean),
            "DateTime" => Some(Self::DateTime),
            "Uniqueidentifier" => Some(Self::Guid),
            // A multi-select choice (`Virtual`) is sent as text, like String and Memo.
            _ => Some(Self::Text),
        }
    }

    /// The JSON of a field that is not empty.
    ///
    /// # Errors
    /// A clause that follows the column's name and quotes no value.
    pub(super) fn read(self, field: &str) -> Result<Box<RawValue>, &'static str> {
        let text = || Ok(json(field));
        match self {
            Self::Text | Self::Skip => text(),
            Self::Integer => field.parse::<i64>().map(|number| json(&number)).map_err(|_| "is not a whole number"),
            Self::Decimal => decimal(field).ok_or("is not a number such as 1234.56"),
            Self::Boolean => boolean(field).map(|is| json(&is)).ok_or("is not one of true, false, yes, no, 1, 0"),
            Self::Date if is_date(field) => text(),
            Self::Date => Err("is not a date such as 2026-01-31"),
            Self::DateTime if is_date(field) || OffsetDateTime::parse(field, &Rfc3339).is_ok() => text(),
            Self::DateTime => Err("is not a time such as 2026-01-31T08:00:00Z, nor a date such as 2026-01-31"),
            Self::Guid if guid(field).is_some() => text(),
            Self::Guid => Err("is not a GUID"),
        }
    }
}

pub(super) fn json<T: Serialize + ?Sized>(value: &T) -> Box<RawValue> {
    to_raw_value(value).expect("texts and numbers have JSON")
}

fn decimal(field: &str) -> Option<Box<RawValue>> {
    let digits = field.strip_prefix('-').unwrap_or(field);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let literal = (is_number(whole) && is_number(fraction)).then(|| Number::parse(field).literal())??;
    RawValue::from_string(literal).ok()
}

fn boolean(field: &str) -> Option<bool> {
    let is_one_of = |words: [&str; 3]| words.iter().any(|word| field.eq_ignore_ascii_case(word));
    is_one_of(["true", "yes", "1"]).then_some(true).or_else(|| is_one_of(["false", "no", "0"]).then_some(false))
}

fn is_date(field: &str) -> bool {
    Date::parse(field, format_description!("[year]-[month]-[day]")).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_read_by_its_kind_alone() {
        for (kind, field, json) in [
            (Kind::Text, "007", Some(r#""007""#)),
            (Kind::Text, "a \"b\"\n", Some(r#""a \"b\"\n""#)),
            (Kind::Text, "null", Some(r#""null""#)),
            (Kind::Integer, "-7", Some("-7")),
            (Kind::Integer, "007", Some("7")),
            (Kind::Integer, "9223372036854775807", Some("9223372036854775807")),
            (Kind::Integer, "1.0", None),
            (Kind::Integer, " 1", None),
            (Kind::Decimal, "1234.50", Some("1234.5")),
            (Kind::Decimal, "-0012", Some("-12")),
            (Kind::Decimal, "0.10000000000000000001", Some("0.10000000000000000001")),
            (Kind::Decimal, "1,5", None),
            (Kind::Decimal, "1.234,5", None),
            (Kind::Decimal, "1e3", None),
            (Kind::Decimal, ".5", None),
            (Kind::Decimal, "--1", None),
            (Kind::Boolean, "TRUE", Some("true")),
            (Kind::Boolean, "0", Some("false")),
            (Kind::Boolean, "wahr", None),
            (Kind::Date, "2026-02-28", Some(r#""2026-02-28""#)),
            (Kind::Date, "2026-02-30", None),
            (Kind::Date, "28.02.2026", None),
            (Kind::Date, "2026-02-28T00:00:00Z", None),
            (Kind::DateTime, "2026-02-28T08:00:00+01:00", Some(r#""2026-02-28T08:00:00+01:00""#)),
            (Kind::DateTime, "2026-02-28", Some(r#""2026-02-28""#)),
            (Kind::DateTime, "2026-02-28T08:00:00", None),
            (Kind::Guid, "{9B2E0C3A-1111-4222-8333-444455556666}", Some(r#""{9B2E0C3A-1111-4222-8333-444455556666}""#)),
            (Kind::Guid, "E-1", None),
        ] {
            let read = kind.read(field);
            assert_eq!(read.as_ref().ok().map(|json| json.get()), json, "{kind:?} {field}: {read:?}");
        }
    }

    #[test]
    fn the_definition_names_the_kind_and_a_lookup_has_none() {
        for (attribute_type, kind) in [
            ("String", Some(Kind::Text)),
            ("Memo", Some(Kind::Text)),
            ("Virtual", Some(Kind::Text)),
            ("Picklist", Some(Kind::Integer)),
            ("BigInt", Some(Kind::Integer)),
            ("Money", Some(Kind::Decimal)),
            ("Boolean", Some(Kind::Boolean)),
            ("DateTime", Some(Kind::DateTime)),
            ("Uniqueidentifier", Some(Kind::Guid)),
            ("Customer", None),
            ("Owner", None),
        ] {
            assert_eq!(Kind::of_attribute(attribute_type), kind, "{attribute_type}");
        }
    }
}
