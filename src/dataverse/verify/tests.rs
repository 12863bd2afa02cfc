use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::*;
use crate::dataverse::{Change, Written};
use crate::record::decode;

const UNPOISONED: &str = "no test panics under the lock";
const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

/// The result of a read.
#[derive(Debug, Clone)]
enum Answer {
    Row(String),
    NoRow,
    Fails(Error),
}

/// Rows in read order, and what is known about access to columns.
#[derive(Debug, Default)]
struct FakeStore {
    rows: Mutex<VecDeque<Answer>>,
    knows_access: bool,
    asked: Mutex<Vec<String>>,
}

impl FakeStore {
    fn new(rows: impl IntoIterator<Item = Answer>) -> Self {
        Self { rows: Mutex::new(rows.into_iter().collect()), ..Self::default() }
    }

    /// Our user may read every column but `ssn`.
    fn with_access(self) -> Self {
        Self { knows_access: true, ..self }
    }

    fn record_request(&self, what: String) {
        self.asked.lock().expect(UNPOISONED).push(what);
    }

    /// The result and the reads made for it; every prepared row must be read.
    async fn verify(&self, columns: &str) -> (Result<RowMatch, String>, Vec<String>) {
        let message = format!(r#"{{"table":"contacts","key":{{"employeeid":"E1"}},"columns":{columns}}}"#);
        let record = decode(&message.into()).expect("a record");
        let found = verify(self, &record, &record.columns).await.map_err(|error| error.to_string());
        assert_eq!(self.rows.lock().expect(UNPOISONED).len(), 0, "rows that were not read");
        (found, self.asked.lock().expect(UNPOISONED).clone())
    }
}

#[async_trait]
impl Store for FakeStore {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        panic!("it only reads")
    }

    async fn read(&self, table: &str, _: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        self.record_request(format!("{table} {}", columns.join(",")));
        match self.rows.lock().expect(UNPOISONED).pop_front().expect("an answer for every read") {
            Answer::Row(json) => Ok(Some(Row::from_json(json).expect("rows are JSON objects"))),
            Answer::NoRow => Ok(None),
            Answer::Fails(error) => Err(error),
        }
    }

    async fn read_access(&self, table: &str, columns: &[String]) -> ReadAccess {
        self.record_request(format!("access to {table} {}", columns.join(",")));
        match self.knows_access {
            true if columns.iter().any(|column| column == "ssn") => ReadAccess::Denied,
            true => ReadAccess::Granted,
            false => ReadAccess::Unknown,
        }
    }
}

fn row(json: impl Into<String>) -> Answer {
    Answer::Row(json.into())
}

fn refused(status: u16) -> Answer {
    Answer::Fails(Error::answered(status, None, None))
}

fn asked(what: &[&str]) -> Vec<String> {
    what.iter().map(|what| (*what).to_owned()).collect()
}

#[tokio::test]
async fn one_read_is_enough_where_no_null_was_sent() {
    for (stored, found) in [
        (r#"{"firstname":"Ada","topics":"1,9"}"#, RowMatch::Same),
        (r#"{"firstname":"Eve","topics":"1,9"}"#, RowMatch::Differs),
        (r#"{"firstname":"Ada","topics":"9, 1"}"#, RowMatch::NotProven),
    ] {
        let store = FakeStore::new([row(stored)]).with_access();
        let verified = store.verify(r#"{"firstname":"Ada","topics":"1,9"}"#).await;
        assert_eq!(verified, (Ok(found), asked(&["contacts firstname,topics"])));
    }
}

#[tokio::test]
async fn a_missing_row_is_missing_whatever_was_sent() {
    for (columns, read) in [
        ("{}", "contacts employeeid"),
        (r#"{"firstname":"Ada"}"#, "contacts firstname"),
        (r#"{"x_activity_parties":[{}]}"#, "contacts employeeid"),
    ] {
        let verified = FakeStore::new([Answer::NoRow]).verify(columns).await;
        assert_eq!(verified, (Ok(RowMatch::Missing), asked(&[read])));
    }
}

#[tokio::test]
async fn a_row_holds_every_value_where_none_was_sent() {
    let verified = FakeStore::new([row("{}")]).verify("{}").await;
    assert_eq!(verified, (Ok(RowMatch::Same), asked(&["contacts employeeid"])));
}

#[tokio::test]
async fn what_cannot_be_compared_costs_one_read_and_no_look() {
    for (columns, read) in [
        (r#"{"firstname":null,"x_activity_parties":[]}"#, "contacts firstname"),
        (r#"{"@odata.type":"x"}"#, "contacts employeeid"),
    ] {
        let store = FakeStore::new([row(r#"{"firstname":null}"#)]).with_access();
        assert_eq!(store.verify(columns).await, (Ok(RowMatch::NotProven), asked(&[read])));
    }
}

#[tokio::test]
async fn a_null_that_was_read_for_a_value_differs_only_in_a_column_that_is_known_to_be_readable() {
    for (column, found) in [("firstname", RowMatch::Differs), ("ssn", RowMatch::NotProven)] {
        let stored = row(format!(r#"{{"{column}":null}}"#));
        let store = FakeStore::new([stored]).with_access();
        assert_eq!(store.verify(&format!(r#"{{"{column}":"x"}}"#)).await.0, Ok(found), "{column}");
    }
}

#[tokio::test]
async fn null_proves_null_only_in_a_column_that_is_known_to_be_readable() {
    for (column, found) in [("firstname", RowMatch::Same), ("ssn", RowMatch::NotProven)] {
        let json = format!(r#"{{"{column}":null}}"#);
        let reads = asked(&[&format!("contacts {column}"), &format!("access to contacts {column}")]);
        let store = FakeStore::new([row(json.clone())]).with_access();
        assert_eq!(store.verify(&json).await, (Ok(found), reads.clone()), "{column}");
        let unknown = FakeStore::new([row(json.clone())]);
        assert_eq!(unknown.verify(&json).await, (Ok(RowMatch::NotProven), reads), "{column}");
    }
}

#[tokio::test]
async fn one_unreadable_null_is_enough_to_prove_nothing() {
    let json = r#"{"firstname":null,"ssn":null}"#;
    assert_eq!(FakeStore::new([row(json)]).with_access().verify(json).await.0, Ok(RowMatch::NotProven));
}

#[tokio::test]
async fn all_columns_are_read_where_a_lookup_is_bound() {
    let columns = format!(r#"{{"parentid@odata.bind":"/accounts({ID})"}}"#);
    let store = FakeStore::new([row(format!(r#"{{"_parentid_value":"{ID}"}}"#))]);
    assert_eq!(store.verify(&columns).await, (Ok(RowMatch::Same), asked(&["contacts "])));
}

#[tokio::test]
async fn all_columns_are_read_where_one_cannot_be_selected() {
    let store = FakeStore::new([refused(400), row(r#"{"_parentid_value":null}"#)]).with_access();
    let reads = asked(&["contacts parentid", "contacts ", "access to contacts parentid"]);
    assert_eq!(store.verify(r#"{"parentid":null}"#).await, (Ok(RowMatch::Same), reads), "a lookup that was cleared");
    let store = FakeStore::new([refused(400), row(r#"{"firstname":"Ada"}"#)]).with_access();
    let reads = asked(&["contacts nosuch", "contacts "]);
    assert_eq!(store.verify(r#"{"nosuch":7}"#).await, (Ok(RowMatch::NotProven), reads));
}

#[tokio::test]
async fn a_failed_read_is_an_error() {
    for status in [401, 403, 429, 503] {
        let (found, _) = FakeStore::new([refused(status)]).verify(r#"{"firstname":"x"}"#).await;
        assert!(found.is_err_and(|error| error.contains(&status.to_string())), "{status}");
    }
}

#[tokio::test]
async fn all_columns_are_read_where_their_names_do_not_fit_a_url() {
    let names: Vec<_> = (0..300).map(|n| format!("new_{n}_{}", "x".repeat(60))).collect();
    let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":1")).collect();
    let json = format!("{{{}}}", members.join(","));
    let verified = FakeStore::new([row(json.clone())]).verify(&json).await;
    assert_eq!(verified, (Ok(RowMatch::Same), asked(&["contacts "])));
}
