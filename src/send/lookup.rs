//! A lookup as `nav=/set(key={column})`: the row that it points at, by the fields of a line. Pure.
//!
//! <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>

use std::str::FromStr;

use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use uuid::Uuid;

use super::kind::json;
use super::message::Problem;
use crate::dataverse::client::percent_encoded;
use crate::json::Value;
use crate::record::{BIND, KeyValue, NOT_ADDRESSABLE, RowAddress, guid, is_entity_set_name};

const FORM: &str = "a lookup is written as nav=/set(key={column}), such as \
                    'parentcustomerid_account=/accounts(accountnumber={company})'";

const QUOTED: &str = "a text is quoted by itself: write {column} without quotes";

/// A template for the address of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lookup {
    /// As it was written.
    template: String,
    /// The navigation property.
    pub(super) name: String,
    /// The same with the suffix that binds it.
    pub(super) property: String,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Fixed(String),
    /// A column of the file; only a GUID can stand for it where the row's id or a lookup's is expected.
    Column {
        name: String,
        is_id: bool,
    },
}

impl Serialize for Lookup {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.template)
    }
}

impl FromStr for Lookup {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, address) = text.split_once('=').ok_or(FORM)?;
        let (set, predicate) = address.strip_prefix('/').and_then(|address| address.split_once('(')).ok_or(FORM)?;
        if !is_entity_set_name(name) || !is_entity_set_name(set) || !predicate.ends_with(')') {
            return Err(FORM);
        }
        let mut parts = vec![Part::Fixed(format!("/{set}("))];
        let mut rest = predicate;
        while let Some((before, after)) = rest.split_once('{') {
            let (column, after) = after.split_once('}').ok_or(FORM)?;
            if before.ends_with('\'') || after.starts_with('\'') {
                return Err(QUOTED);
            }
            let is_alone = parts.len() == 1 && before.is_empty();
            if column.is_empty() || !(is_alone || before.ends_with('=')) || !after.starts_with([',', ')']) {
                return Err(FORM);
            }
            let is_id = is_alone || before.ends_with("_value=");
            parts.push(Part::Fixed(before.to_owned()));
            parts.push(Part::Column { name: column.to_owned(), is_id });
            rest = after;
        }
        if parts.len() == 1 {
            return Err(FORM);
        }
        parts.push(Part::Fixed(rest.to_owned()));
        Ok(Self { template: text.to_owned(), name: name.to_owned(), property: format!("{name}{BIND}"), parts })
    }
}

impl Lookup {
    /// The columns of the file that it uses.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Column { name, .. } => Some(name.as_str()),
            Part::Fixed(_) => None,
        })
    }

    /// The entity set of its row, and the columns of its alternate key; none are the primary key.
    pub(super) fn target(&self) -> Option<(String, Vec<String>)> {
        let any = json(&Uuid::nil().to_string());
        let address = RowAddress::parse(&self.address(|_| Ok(Some(&any))).ok()??)?;
        let columns = address.column_names().into_iter().map(str::to_owned).collect();
        Some((address.table?, columns))
    }

    /// The row's address with the fields that `field` gives; `None` where one of them is empty.
    ///
    /// # Errors
    /// The column whose field cannot stand in an address.
    pub(super) fn address<'a>(
        &self,
        field: impl Fn(&str) -> Result<Option<&'a RawValue>, Problem>,
    ) -> Result<Option<String>, Problem> {
        let mut address = String::new();
        for part in &self.parts {
            match part {
                Part::Fixed(text) => address.push_str(text),
                Part::Column { name, is_id } => {
                    let Some(value) = field(name)? else { return Ok(None) };
                    address.push_str(&literal(value, *is_id).map_err(|problem| Problem::of(name, problem))?);
                }
            }
        }
        Ok(Some(address))
    }
}

/// A value as an OData literal in an address.
fn literal(value: &RawValue, is_id: bool) -> Result<String, &'static str> {
    let value = match Value::of(value) {
        Value::Text(text) if is_id => KeyValue::Guid(guid(&text).ok_or("is not a GUID, which this lookup needs")?),
        Value::Text(text) if text.contains(NOT_ADDRESSABLE) => {
            return Err(
                "has a character that Dataverse does not take in a lookup's key: one of / < > * % & : \\ ? + #",
            );
        }
        Value::Text(text) => KeyValue::Text(text.into_owned()),
        Value::Number(number) if !is_id && number.literal().is_some() => KeyValue::Number(number),
        _ => return Err("is neither a text nor a number, which a lookup needs"),
    };
    Ok(percent_encoded(&value.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(template: &str, fields: &[(&str, &str)]) -> Result<Option<String>, String> {
        let lookup: Lookup = template.parse().unwrap_or_else(|problem| panic!("{template}: {problem}"));
        let field = |name: &str| {
            let field = fields.iter().find(|(found, _)| *found == name).map(|(_, json)| *json);
            let field = field.ok_or_else(|| Problem::of(name, "is missing"))?;
            let value: &RawValue = serde_json::from_str(field).expect("JSON");
            Ok((field != "null").then_some(value))
        };
        lookup.address(field).map_err(|problem| problem.to_string())
    }

    #[test]
    fn a_field_becomes_a_literal_of_its_type() {
        const ID: &str = "\"{9B2E0C3A-1111-4222-8333-444455556666}\"";
        for (template, fields, expected) in [
            ("a=/contacts(employeeid={m})", &[("m", r#""E 1""#)][..], "/contacts(employeeid='E%201')"),
            (
                "a=/contacts(employeeid={m})",
                &[("m", r#""O'Neil, Söhne""#)],
                "/contacts(employeeid='O''Neil%2C%20S%C3%B6hne')",
            ),
            ("a=/orders(n={n},r={r})", &[("n", "7.0"), ("r", r#""7""#)], "/orders(n=7,r='7')"),
            ("a=/orders(n={n},r='EU')", &[("n", "7")], "/orders(n=7,r='EU')"),
            ("a=/contacts({id})", &[("id", ID)], "/contacts(9b2e0c3a-1111-4222-8333-444455556666)"),
            (
                "a=/orders(_p_value={id},r={r})",
                &[("id", ID), ("r", r#""x""#)],
                "/orders(_p_value=9b2e0c3a-1111-4222-8333-444455556666,r='x')",
            ),
        ] {
            assert_eq!(address(template, fields), Ok(Some(expected.to_owned())), "{template}");
        }
        assert_eq!(address("a=/orders(n={n},r={r})", &[("n", "1"), ("r", "null")]), Ok(None), "one field is empty");
    }

    #[test]
    fn a_field_that_no_address_can_hold_is_a_problem_of_its_column() {
        for (template, json, word) in [
            ("a=/contacts({m})", r#""E1""#, "GUID"),
            ("a=/contacts({m})", "7", "neither"),
            ("a=/contacts(employeeid={m})", r#""a/b""#, "character"),
            ("a=/contacts(employeeid={m})", "true", "neither"),
            ("a=/contacts(employeeid={m})", "{}", "neither"),
        ] {
            let problem = address(template, &[("m", json)]).expect_err(json);
            assert!(problem.starts_with("column m ") && problem.contains(word), "{problem}");
        }
    }

    #[test]
    fn a_template_has_one_form_and_its_columns_are_known() {
        for text in [
            "",
            "a",
            "a=",
            "a=/contacts",
            "a=contacts({m})",
            "a=/contacts(employeeid=m)",
            "a=/contacts({})",
            "a=/contacts({m",
            "a=/contacts(employeeid={m}",
            "a=/contacts(employeeid=x{m})",
            "a=/contacts(employeeid={m}x)",
            "a b=/c({m})",
            "a=/c/d({m})",
        ] {
            assert_eq!(text.parse::<Lookup>(), Err(FORM), "{text}");
        }
        assert_eq!("a=/contacts(employeeid='{m}')".parse::<Lookup>(), Err(QUOTED));
        let lookup: Lookup = "a=/orders(n={n},r={r})".parse().expect("a lookup");
        assert_eq!((lookup.property.as_str(), lookup.columns().collect::<Vec<_>>()), ("a@odata.bind", vec!["n", "r"]));
    }
}
