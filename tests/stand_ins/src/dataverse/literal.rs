//! OData literals in key predicates and filters: `'O''Brien'`, `42`, a bare GUID.
//!
//! It rejects what the service rejects: quotes around numbers and GUIDs, and text without quotes. Pure. See
//! <https://docs.oasis-open.org/odata/odata/v4.01/odata-v4.01-part2-url-conventions.html#sec_PrimitiveLiterals>.

use serde_json::Value;
use uuid::Uuid;

use super::table::Kind;
use super::values;

/// A literal before its column's kind is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Literal {
    /// Text that was in quotes, with doubled quotes unescaped.
    Quoted(String),
    /// Text without quotes.
    Bare(String),
}

impl Literal {
    /// Parses one literal at the start of `text` and returns it with the rest; `None` if there is none.
    pub(super) fn take(text: &str) -> Option<(Self, &str)> {
        match text.strip_prefix('\'') {
            Some(quoted) => take_quoted(quoted),
            None => take_bare(text),
        }
    }

    /// The value in its stored form; `None` if it is not a literal of that kind.
    pub(super) fn value(&self, kind: &Kind) -> Option<Value> {
        match (kind, self) {
            (Kind::Text { .. } | Kind::MultiChoice(_), Self::Quoted(text)) => Some(Value::from(text.as_str())),
            (Kind::Text { .. } | Kind::MultiChoice(_), Self::Bare(_)) | (_, Self::Quoted(_)) => None,
            (
                Kind::Integer { .. } | Kind::BigInteger | Kind::Choice(_) | Kind::State | Kind::Status,
                Self::Bare(bare),
            ) => bare.parse::<i64>().ok().map(Value::from),
            (
                Kind::Decimal { precision } | Kind::Money { precision } | Kind::Double { precision },
                Self::Bare(bare),
            ) => bare.parse::<f64>().ok().filter(|number| number.is_finite()).map(|n| values::rounded(n, *precision)),
            (Kind::Boolean, Self::Bare(bare)) => bare.parse::<bool>().ok().map(Value::from),
            (Kind::DateTime, Self::Bare(bare)) => values::instant(bare).map(Value::from),
            (Kind::DateOnly, Self::Bare(bare)) => values::day(bare).map(Value::from),
            (Kind::Guid | Kind::Lookup, Self::Bare(bare)) => guid(bare).map(|id| Value::from(id.to_string())),
        }
    }
}

/// A GUID in its long form, in either case; OData does not allow braces or the short form.
pub(super) fn guid(text: &str) -> Option<Uuid> {
    if text.len() == 36 { text.parse().ok() } else { None }
}

fn take_quoted(text: &str) -> Option<(Literal, &str)> {
    let mut value = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('\'')?;
        value.push_str(before);
        let Some(more) = after.strip_prefix('\'') else { return Some((Literal::Quoted(value), after)) };
        value.push('\'');
        rest = more;
    }
}

fn take_bare(text: &str) -> Option<(Literal, &str)> {
    let end = text.find([',', ' ', ')']).unwrap_or(text.len());
    let (bare, rest) = text.split_at(end);
    if bare.is_empty() || bare.contains(['\'', '(', '=']) {
        return None;
    }
    Some((Literal::Bare(bare.to_owned()), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubled_quotes_stand_for_one() {
        let taken = Literal::take("'O''Brien',x=1");
        assert_eq!(taken, Some((Literal::Quoted("O'Brien".to_owned()), ",x=1")));
        assert_eq!(Literal::take("''"), Some((Literal::Quoted(String::new()), "")));
        assert_eq!(Literal::take("'open"), None);
    }

    #[test]
    fn quotes_belong_to_text_and_to_nothing_else() {
        let quoted = Literal::Quoted("7".to_owned());
        let bare = Literal::Bare("7".to_owned());
        assert_eq!(quoted.value(&Kind::Text { max: 9 }), Some(Value::from("7")));
        assert_eq!(bare.value(&Kind::Text { max: 9 }), None);
        assert_eq!(quoted.value(&Kind::BigInteger), None);
        assert_eq!(bare.value(&Kind::BigInteger), Some(Value::from(7)));
        assert_eq!(bare.value(&Kind::Guid), None);
    }

    #[test]
    fn a_guid_may_be_in_capitals_but_not_in_braces() {
        assert!(guid("AAAAAAAA-0000-4000-8000-000000000001").is_some());
        assert!(guid("{aaaaaaaa-0000-4000-8000-000000000001}").is_none());
        assert!(guid("aaaaaaaa000040008000000000000001").is_none());
    }
}
