//! The columns of a record, as the one JSON object that was sent.
//!
//! The names are read once; then the whole object is sent on unchanged. So it stays one text, and is parsed again only where
//! single columns are needed.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::de::{Deserializer as _, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{Error, RecordKey};
use crate::json::{Members, Value};

/// The suffix of a property that sets a lookup by a row's URL.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>
pub(crate) const BIND: &str = "@odata.bind";

/// What the name of the parties of an activity ends with, such as `email_activity_parties`: they can be set in no other way.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/activityparty-entity>
pub(super) const PARTIES: &str = "_activity_parties";

/// The columns of a row's state, which Dataverse does not set when it creates the row.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/define-custom-state-model-transitions>
pub(crate) const STATE: [&str; 2] = ["statecode", "statuscode"];

/// Column values without the key's columns, in the order sent.
#[derive(Debug, Clone)]
pub struct Columns {
    /// A JSON object without duplicate names.
    object: Bytes,
    is_empty: bool,
    binds: bool,
    has_state: bool,
}

/// One column and the value that was sent for it.
#[derive(Debug, Clone)]
pub struct Column<'a> {
    /// The property name, `nav@odata.bind` included.
    pub name: Cow<'a, str>,
    /// The value, as sent.
    pub value: &'a RawValue,
}

impl Default for Columns {
    fn default() -> Self {
        Self { object: Bytes::from_static(b"{}"), is_empty: true, binds: false, has_state: false }
    }
}

impl Columns {
    /// Reads the `columns` field of a record with this key. The value is a part of `message` and is copied only where a key
    /// column is dropped.
    ///
    /// # Errors
    /// The value is not an object, has a duplicate name, contradicts the key or holds rows of other tables.
    pub(super) fn read(sent: &RawValue, message: &Bytes, key: &RecordKey) -> Result<Self, Error> {
        if !sent.get().starts_with('{') {
            return Err(Error::kind("columns", &Value::of(sent), "an object of column values"));
        }
        let Members(mut members) =
            serde_json::from_str(sent.get()).map_err(|error| Error::object("columns", &error))?;
        let sent_count = members.len();
        for column in key.columns() {
            if members.iter().any(|(name, value)| *name == column.name && !column.agrees_with(value)) {
                let name = &column.name;
                return Err(Error::invalid(format!("columns.{name}"), format!("contradicts `key.{name}`")));
            }
            members.retain(|(name, _)| *name != column.name);
        }
        if let Some((name, _)) = members.iter().find(|(name, value)| holds_rows(name, value)) {
            let problem =
                "holds a row of another table; send that as a record of its own, and bind it with @odata.bind";
            return Err(Error::invalid(format!("columns.{name}"), problem));
        }
        let object = if members.len() == sent_count {
            message.slice_ref(sent.get().as_bytes())
        } else {
            object_of_members(&members)
        };
        Ok(Self::new(object, &members))
    }

    fn new(object: Bytes, members: &[(Cow<'_, str>, &RawValue)]) -> Self {
        let binds = members.iter().any(|(name, value)| name.ends_with(BIND) || has_bound_party(name, value));
        let has_state = members.iter().any(|(name, _)| STATE.contains(&&**name));
        Self { object, is_empty: members.is_empty(), binds, has_state }
    }

    /// Those columns whose name is wanted.
    pub(crate) fn filtered(&self, is_wanted: impl Fn(&str) -> bool) -> Self {
        let Members(mut members) = serde_json::from_slice(&self.object).expect("parsed by `read`");
        members.retain(|(name, _)| is_wanted(name));
        Self::new(object_of_members(&members), &members)
    }

    /// Whether there are no columns.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether a column sets a lookup by a row's URL.
    pub(crate) fn binds(&self) -> bool {
        self.binds
    }

    /// Whether a column of the row's state is set.
    pub(crate) fn has_state(&self) -> bool {
        self.has_state
    }

    /// The columns, each with its value.
    pub fn list(&self) -> Vec<Column<'_>> {
        let Members(members) = serde_json::from_slice(&self.object).expect("parsed by `read`");
        members.into_iter().map(|(name, value)| Column { name, value }).collect()
    }

    pub(crate) fn value(&self, name: &str) -> Option<&RawValue> {
        self.list().into_iter().find(|column| column.name == name).map(|column| column.value)
    }

    /// The columns as a JSON object.
    pub(crate) fn object(&self) -> Bytes {
        self.object.clone()
    }

    /// The JSON object with more members, each a name and a JSON value: some before the columns, and one after them.
    pub(crate) fn object_with(&self, before: &[(&str, String)], after: Option<(&str, &str)>) -> Vec<u8> {
        let own = self.object.strip_prefix(b"{").and_then(|own| own.strip_suffix(b"}")).expect("it is an object");
        let own = (!self.is_empty).then_some(Cow::Borrowed(own));
        let members = before.iter().map(|(name, value)| member(name, value).into()).chain(own);
        object_of(&members.chain(after.map(|(name, value)| member(name, value).into())).collect::<Vec<_>>())
    }
}

/// Whether a value would create rows of other tables (deep insert), which may be any tables. Rows that are only linked, and the
/// parties of an activity are not.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/create-entity-web-api#create-related-table-rows-in-one-operation>
fn holds_rows(name: &str, value: &RawValue) -> bool {
    if !is_nested(value) {
        return false;
    }
    let is_flat = |party: &RawValue| {
        let party = serde_json::from_str::<Members<'_>>(party.get());
        party.is_ok_and(|party| !party.0.iter().any(|(_, value)| is_nested(value)))
    };
    let is_list = if name.ends_with(BIND) {
        is_list_of(value, |link| !is_nested(link))
    } else {
        name.ends_with(PARTIES) && is_list_of(value, is_flat)
    };
    !is_list
}

fn is_nested(value: &RawValue) -> bool {
    value.get().starts_with(['{', '['])
}

/// Whether a value holds the parties of an activity, one of which is a row.
fn has_bound_party(name: &str, value: &RawValue) -> bool {
    let binds = |party: &RawValue| {
        let party = serde_json::from_str::<Members<'_>>(party.get());
        party.is_ok_and(|party| party.0.iter().any(|(name, _)| name.ends_with(BIND)))
    };
    let mut has_one = false;
    name.ends_with(PARTIES) && for_each_element(value, |party| has_one = has_one || binds(party)) && has_one
}

/// Whether a value is an array of elements that are all so.
fn is_list_of(value: &RawValue, is_so: impl Fn(&RawValue) -> bool) -> bool {
    let mut all = true;
    for_each_element(value, |element| all = all && is_so(element)) && all
}

/// Looks at the elements of an array, one at a time: there may be a million. Whether it is an array.
pub(super) fn for_each_element(value: &RawValue, look: impl FnMut(&RawValue)) -> bool {
    struct Elements<F>(F);
    impl<'de, F: FnMut(&RawValue)> Visitor<'de> for Elements<F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut array: A) -> Result<(), A::Error> {
            while let Some(element) = array.next_element::<&RawValue>()? {
                (self.0)(element);
            }
            Ok(())
        }
    }
    serde_json::Deserializer::from_str(value.get()).deserialize_seq(Elements(look)).is_ok()
}

/// Written once: an object has up to 8 MiB.
fn object_of(members: &[Cow<'_, [u8]>]) -> Vec<u8> {
    let length = members.iter().map(|member| member.len() + 1).sum::<usize>();
    let mut object = Vec::with_capacity(length + 2);
    object.push(b'{');
    for (position, member) in members.iter().enumerate() {
        if position > 0 {
            object.push(b',');
        }
        object.extend_from_slice(member);
    }
    object.push(b'}');
    object
}

fn object_of_members(members: &[(Cow<'_, str>, &RawValue)]) -> Bytes {
    object_of(&members.iter().map(|(name, value)| member(name, value.get()).into()).collect::<Vec<_>>()).into()
}

fn member(name: &str, value: &str) -> Vec<u8> {
    format!("{}:{value}", serde_json::Value::from(name)).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(sent: &str) -> Result<Columns, Error> {
        let key = RecordKey::read(&raw(r#"{"a":"x","n":7}"#)).expect("a key");
        let message = Bytes::copy_from_slice(sent.as_bytes());
        let sent = serde_json::from_slice(&message).expect("JSON");
        Columns::read(sent, &message, &key)
    }

    fn columns(sent: &str) -> Columns {
        read(sent).expect("columns")
    }

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn the_object_is_the_text_that_was_sent_unless_a_column_is_dropped() {
        for sent in [r#"{ "m" : 1.50, "\u0062":null }"#, "{}", "{ }", r#"{"m@odata.bind":["/as(1)"]}"#] {
            assert_eq!(columns(sent).object(), sent);
        }
    }

    #[test]
    fn key_columns_are_dropped_and_the_rest_is_as_sent() {
        assert_eq!(
            columns(r#"{"n": 7.0, "m@odata.bind" : [ "/as(1)" ], "a":"x","\u0062":null}"#).object(),
            r#"{"m@odata.bind":[ "/as(1)" ],"b":null}"#
        );
        let none = columns(r#"{"n":7,"\u0061":"x"}"#);
        assert!(none.is_empty());
        assert_eq!(none.object(), "{}");
    }

    #[test]
    fn further_members_are_written_before_and_after_the_columns() {
        let (before, behind) = ([("k\"", "1".to_owned())], Some(("v", "\"2\"")));
        for (sent, all, last) in [
            ("{ }", r#"{"k\"":1,"v":"2"}"#, r#"{"v":"2"}"#),
            (r#"{"n":7}"#, r#"{"k\"":1,"v":"2"}"#, r#"{"v":"2"}"#),
            (r#"{ "m" : 1.50 }"#, r#"{"k\"":1, "m" : 1.50 ,"v":"2"}"#, r#"{ "m" : 1.50 ,"v":"2"}"#),
        ] {
            let columns = columns(sent);
            assert_eq!(String::from_utf8_lossy(&columns.object_with(&before, behind)), all);
            assert_eq!(String::from_utf8_lossy(&columns.object_with(&[], behind)), last);
        }
    }

    #[test]
    fn a_bound_lookup_is_recognised_however_its_name_is_escaped() {
        for (sent, binds) in [
            (r#"{"m":"x@odata.bind"}"#, false),
            (r#"{"m":1,"p@odata.bind":"/as(1)"}"#, true),
            (r#"{"p\u0040odata.bind":null}"#, true),
            (r#"{"p@odata.bind.x":null}"#, false),
            (r#"{"email_activity_parties":[{"addressused":"x"},{"partyid_contact\u0040odata.bind":"/as(1)"}]}"#, true),
            (r#"{"email_activity_parties":[{"addressused":"x"}]}"#, false),
            (r#"{"email_activity_parties":null}"#, false),
            ("{}", false),
        ] {
            assert_eq!(columns(sent).binds(), binds, "{sent}");
        }
    }

    #[test]
    fn rows_of_other_tables_are_refused_and_links_and_the_parties_of_an_activity_are_not() {
        for sent in [
            r#"{"new_manager":{"fullname":"Ada"}}"#,
            r#"{"new_manager": {}}"#,
            r#"{"contact_customer_accounts":[{"lastname":"x"}]}"#,
            r#"{"systemuserroles_association":[{"name":"x"}]}"#,
            r#"{"m":[]}"#,
            r#"{"m@odata.bind":{"a":1}}"#,
            r#"{"m@odata.bind":["/as(1)",{"a":1}]}"#,
            r#"{"email_activity_parties":{"participationtypemask":1}}"#,
            r#"{"email_activity_parties":[{"partyid_systemuser":{"fullname":"x"}}]}"#,
            r#"{"email_activity_parties":[[]]}"#,
        ] {
            let problem = read(sent).expect_err(sent).to_string();
            assert!(problem.starts_with("`columns.") && problem.contains("record of its own"), "{problem}");
        }
        for sent in [
            r#"{"ownerid@odata.bind":"/systemusers(9b2e0c3a-1111-4222-8333-444455556666)"}"#,
            r#"{"ownerid@odata.bind":null,"m":"{}"}"#,
            r#"{"m@odata.bind":["/as(1)","/as(2)"]}"#,
            r#"{"email_activity_parties":[{"partyid_contact@odata.bind":"/contacts(1)","participationtypemask":1}]}"#,
        ] {
            assert_eq!(columns(sent).object(), sent);
        }
    }

    #[test]
    fn columns_of_the_state_are_recognised_and_taken_out() {
        let sent = columns(r#"{ "m" : 1.50, "state\u0063ode":1,"p@odata.bind":"/as(1)" , "statuscode":2}"#);
        assert!(sent.has_state() && sent.binds());
        let state = sent.filtered(|name| STATE.contains(&name));
        assert_eq!(state.object(), r#"{"statecode":1,"statuscode":2}"#);
        assert!(state.has_state() && !state.binds() && !state.is_empty());
        let rest = sent.filtered(|name| !STATE.contains(&name));
        assert_eq!(rest.object(), r#"{"m":1.50,"p@odata.bind":"/as(1)"}"#);
        assert!(!rest.has_state() && rest.binds());
        assert!(state.filtered(|_| false).is_empty());
        assert!(!columns(r#"{"m":"statecode","Statecode":1}"#).has_state());
    }

    #[test]
    fn the_default_is_an_empty_object() {
        let none = Columns::default();
        assert!(none.is_empty() && none.list().is_empty() && !none.binds());
        assert_eq!(none.object(), "{}");
    }
}
