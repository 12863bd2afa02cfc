//! The columns of a record, as the one JSON object that was sent.
//!
//! On its way a record's columns are hardly looked at: their names are read once, and then the whole object goes out as it came
//! in. So it stays one text, and is taken apart only where single columns are asked for.

use std::borrow::Cow;

use bytes::Bytes;
use serde_json::value::RawValue;

use super::{Error, RecordKey, clause};
use crate::json::{Members, Value};

/// How OData names a lookup that is set by address.
/// <https://learn.microsoft.com/power-apps/developer/data-platform/webapi/associate-disassociate-entities-using-web-api>
pub(crate) const BIND: &str = "@odata.bind";

/// Column values without the key's columns, in the order sent.
#[derive(Debug, Clone)]
pub struct Columns {
    /// An object in which no name stands twice.
    object: Bytes,
    is_empty: bool,
    binds: bool,
}

/// An object's text, and the names in it, of which none stands there twice.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) text: &'a str,
    pub(super) names: Vec<Cow<'a, str>>,
}

impl<'a> Named<'a> {
    /// Reads whatever stands in the `columns` field.
    ///
    /// # Errors
    /// When it is no object, or has a name twice.
    pub(super) fn read(raw: &'a RawValue) -> Result<Self, Error> {
        let text = raw.get();
        if !text.starts_with('{') {
            let found = Value::of(raw).kind();
            return Err(Error::Kind { field: "columns".into(), wanted: "an object of column values", found });
        }
        let names = members(text.as_bytes())?.into_iter().map(|(name, _)| name).collect();
        Ok(Self { text, names })
    }
}

/// One column and the value that was sent for it.
#[derive(Debug, Clone)]
pub struct Column<'a> {
    /// The property name, `nav@odata.bind` included.
    pub name: Cow<'a, str>,
    /// The value, as sent.
    pub value: &'a RawValue,
}

/// No columns.
impl Default for Columns {
    fn default() -> Self {
        Self { object: Bytes::from_static(b"{}"), is_empty: true, binds: false }
    }
}

impl Columns {
    /// The `columns` field of a record with this key. It is a part of `message`, and stays one where nothing of it is dropped.
    ///
    /// # Errors
    /// When it contradicts the key.
    pub(super) fn of(sent: &Named<'_>, message: &Bytes, key: &RecordKey) -> Result<Self, Error> {
        let Named { text, names } = sent;
        let is_sent = |name: &str| names.iter().any(|sent| sent == name);
        let repeated = key.columns().iter().filter(|column| is_sent(&column.name)).count();
        let object = if repeated == 0 { message.slice_ref(text.as_bytes()) } else { without(key, text)?.into() };
        let (is_empty, binds) = (names.len() == repeated, names.iter().any(|name| name.ends_with(BIND)));
        Ok(Self { object, is_empty, binds })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.is_empty
    }

    /// Whether one of them sets a lookup by address.
    pub fn binds(&self) -> bool {
        self.binds
    }

    /// Each of them.
    pub fn list(&self) -> Vec<Column<'_>> {
        let members = members(&self.object).expect("it was read before");
        members.into_iter().map(|(name, value)| Column { name, value }).collect()
    }

    /// The value of one of them.
    pub fn value(&self, name: &str) -> Option<&RawValue> {
        self.list().into_iter().find(|column| column.name == name).map(|column| column.value)
    }

    /// The object.
    pub fn object(&self) -> Bytes {
        self.object.clone()
    }

    /// The object with more members, each a name and a value in JSON: some before all columns, and one behind.
    pub fn object_with(&self, before: &[(&str, String)], behind: Option<(&str, &str)>) -> Vec<u8> {
        let own = self.object.trim_ascii();
        let own = own.strip_prefix(b"{").and_then(|own| own.strip_suffix(b"}")).expect("it is an object");
        let mut object = Vec::with_capacity(self.object.len() + 64 * (before.len() + 1));
        object.push(b'{');
        for (name, value) in before {
            member(&mut object, name, value);
        }
        if !self.is_empty {
            separate(&mut object);
            object.extend_from_slice(own);
        }
        if let Some((name, value)) = behind {
            member(&mut object, name, value);
        }
        object.push(b'}');
        object
    }
}

fn members(object: &[u8]) -> Result<Vec<(Cow<'_, str>, &RawValue)>, Error> {
    let read = serde_json::from_slice(object);
    read.map(|Members(members)| members).map_err(|error| Error::Columns { problem: clause(&error) })
}

/// The object without the columns of the key, which have to say the same.
fn without(key: &RecordKey, object: &str) -> Result<String, Error> {
    let members = members(object.as_bytes())?;
    let mut object = vec![b'{'];
    for (name, value) in members {
        match key.columns().iter().find(|column| column.name == name) {
            Some(column) if column.agrees_with(value) => {}
            Some(_) => return Err(Error::Contradiction { column: name.into_owned() }),
            None => member(&mut object, &name, value.get()),
        }
    }
    object.push(b'}');
    Ok(String::from_utf8(object).expect("made of text"))
}

fn separate(object: &mut Vec<u8>) {
    if object.len() > 1 {
        object.push(b',');
    }
}

fn member(object: &mut Vec<u8>, name: &str, value: &str) {
    separate(object);
    serde_json::to_writer(&mut *object, name).expect("text can be written to memory");
    object.push(b':');
    object.extend_from_slice(value.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(sent: &str) -> Columns {
        let key = RecordKey::read(&raw(r#"{"a":"x","n":7}"#)).expect("a key");
        let message = Bytes::copy_from_slice(sent.as_bytes());
        let sent = serde_json::from_slice(&message).expect("JSON");
        Columns::of(&Named::read(sent).expect("an object"), &message, &key).expect("columns")
    }

    fn raw(json: &str) -> Box<RawValue> {
        serde_json::from_str(json).expect("JSON")
    }

    #[test]
    fn the_object_is_the_text_that_was_sent_where_nothing_of_it_is_dropped() {
        for sent in [r#"{ "m" : 1.50, "\u0062":null }"#, "{}", "{ }", r#"{"m":{"a":"y"}}"#] {
            assert_eq!(columns(sent).object(), sent);
        }
    }

    #[test]
    fn columns_of_the_key_are_dropped_and_the_rest_is_as_it_was_sent() {
        assert_eq!(
            columns(r#"{"n": 7.0, "m" : [ 1.50 ], "a":"x","\u0062":null}"#).object(),
            r#"{"m":[ 1.50 ],"b":null}"#
        );
        let none = columns(r#"{"n":7,"\u0061":"x"}"#);
        assert!(none.is_empty());
        assert_eq!(none.object(), "{}");
    }

    #[test]
    fn further_members_stand_before_and_behind() {
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
    fn a_lookup_that_is_set_by_address_is_noticed_however_its_name_is_written() {
        for (sent, binds) in [
            (r#"{"m":"x@odata.bind"}"#, false),
            (r#"{"m":1,"p@odata.bind":"/as(1)"}"#, true),
            (r#"{"p\u0040odata.bind":null}"#, true),
            (r#"{"p@odata.bind.x":null}"#, false),
            ("{}", false),
        ] {
            assert_eq!(columns(sent).binds(), binds, "{sent}");
        }
    }

    #[test]
    fn no_columns_are_an_empty_object() {
        let none = Columns::default();
        assert!(none.is_empty() && none.list().is_empty() && !none.binds());
        assert_eq!(none.object(), "{}");
    }
}
