use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;

use async_trait::async_trait;

use super::super::definition::Kind;
use super::*;
use crate::dataverse::{Change, Written};
use crate::record::decode;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";

/// What a read gives.
#[derive(Debug, Clone)]
enum Answer {
    Row(String),
    NoRow,
    Fails(Error),
}

/// Rows by the order in which they are asked for, and definitions by table.
#[derive(Debug, Default)]
struct Library {
    rows: Mutex<VecDeque<Answer>>,
    definitions: HashMap<&'static str, Arc<Definition>>,
    asked: Mutex<Vec<String>>,
}

impl Library {
    fn new(rows: impl IntoIterator<Item = Answer>) -> Self {
        Self { rows: Mutex::new(rows.into_iter().collect()), ..Self::default() }
    }

    fn knowing(mut self, table: &'static str, definition: Definition) -> Self {
        self.definitions.insert(table, Arc::new(definition));
        self
    }

    fn ask(&self, what: String) {
        self.asked.lock().expect("nobody panicked").push(what);
    }

    /// What a look finds, and what it asked for; every row has to be needed.
    async fn look(&self, columns: &str) -> (Result<Look, String>, Vec<String>) {
        let message = format!(r#"{{"table":"contacts","key":{{"employeeid":"E1"}},"columns":{columns}}}"#);
        let record = decode(&message.into()).expect("a record");
        let found = look(self, &record).await.map_err(|error| error.to_string());
        assert_eq!(self.rows.lock().expect("nobody panicked").len(), 0, "rows that nobody asked for");
        (found, self.asked.lock().expect("nobody panicked").clone())
    }
}

#[async_trait]
impl Store for Library {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        panic!("a look writes nothing")
    }

    async fn read(&self, table: &str, _: &RecordKey, columns: &[String]) -> Result<Option<Row>, Error> {
        self.ask(format!("{table} {}", columns.join(",")));
        match self.rows.lock().expect("nobody panicked").pop_front().expect("an answer for every read") {
            Answer::Row(json) => Ok(Some(Row::from_json(json).expect("rows are JSON objects"))),
            Answer::NoRow => Ok(None),
            Answer::Fails(fault) => Err(fault),
        }
    }

    async fn definition(&self, table: &str) -> Option<Arc<Definition>> {
        self.ask(format!("definition of {table}"));
        self.definitions.get(table).cloned()
    }
}

fn row(json: impl Into<String>) -> Answer {
    Answer::Row(json.into())
}

fn refused(status: u16) -> Answer {
    Answer::Fails(Error::Answered { status, code: None, message: None, request_id: None, retry_after: None })
}

fn contact() -> Definition {
    Definition::new("contact", "contactid")
        .with_column("firstname", Kind::Plain, false)
        .with_column("ssn", Kind::Plain, true)
        .with_column("topics", Kind::Choices, false)
        .with_column("parent", Kind::Opaque, false)
        .with_lookup("Parent_account", "parent", "account")
}

fn asked(what: &[&str]) -> Vec<String> {
    what.iter().map(|what| (*what).to_owned()).collect()
}

#[tokio::test]
async fn one_read_is_enough_where_every_value_is_equal_or_one_differs_for_sure() {
    for (stored, found) in [
        (r#"{"firstname":"Ada","topics":"1,9"}"#, Look::Same),
        (r#"{"firstname":"Eve","topics":"1,9"}"#, Look::Differs),
    ] {
        let library = Library::new([row(stored)]).knowing("contacts", contact());
        let looked = library.look(r#"{"firstname":"Ada","topics":"1,9"}"#).await;
        assert_eq!(looked, (Ok(found), asked(&["contacts firstname,topics"])));
    }
}

#[tokio::test]
async fn a_row_that_is_not_there_is_nothing_whatever_was_sent() {
    for (columns, question) in [
        ("{}", "contacts employeeid"),
        (r#"{"firstname":"Ada"}"#, "contacts firstname"),
        (r#"{"firstname":[1]}"#, "contacts employeeid"),
    ] {
        assert_eq!(Library::new([Answer::NoRow]).look(columns).await, (Ok(Look::Nothing), asked(&[question])));
    }
}

#[tokio::test]
async fn a_row_that_is_there_holds_all_of_nothing() {
    assert_eq!(Library::new([row("{}")]).look("{}").await, (Ok(Look::Same), asked(&["contacts employeeid"])));
}

#[tokio::test]
async fn what_is_beyond_comparison_costs_one_read_and_no_metadata() {
    for columns in [r#"{"firstname":"Ada","parent":{"name":"x"}}"#, r#"{"@odata.type":"x"}"#] {
        let library = Library::new([row("{}")]).knowing("contacts", contact());
        assert_eq!(library.look(columns).await, (Ok(Look::Unknown), asked(&["contacts employeeid"])));
    }
}

#[tokio::test]
async fn the_definition_is_asked_for_where_a_value_came_back_in_another_form() {
    let columns = r#"{"topics":"9, 1"}"#;
    let questions = asked(&["contacts topics", "definition of contacts"]);
    let known = Library::new([row(r#"{"topics":"1,9"}"#)]).knowing("contacts", contact());
    assert_eq!(known.look(columns).await, (Ok(Look::Same), questions.clone()), "the row is not read twice");
    let unknown = Library::new([row(r#"{"topics":"1,9"}"#)]);
    assert_eq!(unknown.look(columns).await, (Ok(Look::Unknown), questions));
}

#[tokio::test]
async fn null_is_taken_for_null_unless_the_definition_says_that_it_may_hide_something() {
    for (column, found) in [("firstname", Look::Same), ("ssn", Look::Unknown)] {
        let (sent, stored) = (format!(r#"{{"{column}":null}}"#), format!(r#"{{"{column}":null}}"#));
        let questions = asked(&[&format!("contacts {column}"), "definition of contacts"]);
        let library = Library::new([row(stored.clone())]).knowing("contacts", contact());
        assert_eq!(library.look(&sent).await, (Ok(found), questions.clone()), "{column}");
        assert_eq!(Library::new([row(stored)]).look(&sent).await, (Ok(Look::Same), questions), "without a definition");
    }
}

#[tokio::test]
async fn a_lookup_is_read_under_the_name_that_the_definition_gives_it() {
    let columns = format!(r#"{{"Parent_account@odata.bind":"/accounts({ID})"}}"#);
    let library = Library::new([row(format!(r#"{{"_parent_value":"{ID}"}}"#))]).knowing("contacts", contact());
    let looked = library.look(&columns).await;
    assert_eq!(looked, (Ok(Look::Same), asked(&["definition of contacts", "contacts _parent_value"])));
    let looked = Library::new([row("{}")]).look(&columns).await;
    assert_eq!(looked, (Ok(Look::Unknown), asked(&["definition of contacts", "contacts employeeid"])));
}

#[tokio::test]
async fn a_name_that_the_service_does_not_know_may_be_a_lookup_that_was_cleared() {
    let columns = r#"{"Parent_account":null}"#;
    let library = Library::new([refused(400), row(r#"{"_parent_value":null}"#)]).knowing("contacts", contact());
    let questions = ["contacts Parent_account", "definition of contacts", "contacts _parent_value"];
    assert_eq!(library.look(columns).await, (Ok(Look::Same), asked(&questions)));
    let library = Library::new([refused(400), refused(400), row("{}")]).knowing("contacts", contact());
    let questions = ["contacts nosuch", "definition of contacts", "contacts nosuch", "contacts employeeid"];
    assert_eq!(library.look(r#"{"nosuch":7}"#).await, (Ok(Look::Unknown), asked(&questions)));
}

#[tokio::test]
async fn a_bind_by_alternate_key_is_resolved_by_one_read_of_its_row() {
    let columns = r#"{"Parent_account@odata.bind":"/accounts(accountnumber='7')"}"#;
    let stored = || row(format!(r#"{{"_parent_value":"{ID}"}}"#));
    let questions = ["definition of contacts", "contacts _parent_value", "accounts accountnumber"];
    let other = "00000000-0000-0000-0000-000000000001";
    for (target, found) in [
        (row(format!(r#"{{"@odata.etag":"W/1","accountnumber":"7","accountid":"{ID}"}}"#)), Look::Same),
        (row(format!(r#"{{"accountnumber":"7","accountid":"{other}"}}"#)), Look::Differs),
        (Answer::NoRow, Look::Unknown),
        (refused(403), Look::Unknown),
        (refused(404), Look::Unknown),
        (refused(400), Look::Unknown),
        (Answer::Fails(Error::NotAddressable { column: "accountnumber".to_owned() }), Look::Unknown),
    ] {
        let library = Library::new([stored(), target]).knowing("contacts", contact());
        assert_eq!(library.look(columns).await, (Ok(found), asked(&questions)));
    }
}

#[tokio::test]
async fn an_answer_with_two_guids_is_told_apart_by_the_targets_own_definition() {
    let columns = r#"{"Parent_account@odata.bind":"/accounts(accountnumber='7')"}"#;
    let target = format!(r#"{{"accountnumber":"7","x":"00000000-0000-0000-0000-000000000001","accountid":"{ID}"}}"#);
    let rows = || [row(format!(r#"{{"_parent_value":"{ID}"}}"#)), row(target.clone())];
    let library = Library::new(rows()).knowing("contacts", contact());
    let library = library.knowing("accounts", Definition::new("account", "accountid"));
    let (found, questions) = library.look(columns).await;
    assert_eq!((found, questions.last().map(String::as_str)), (Ok(Look::Same), Some("definition of accounts")));
    let library = Library::new(rows()).knowing("contacts", contact());
    assert_eq!(library.look(columns).await.0, Ok(Look::Unknown));
}

#[tokio::test]
async fn a_lookup_that_is_empty_differs_before_its_row_is_asked_for() {
    let columns = r#"{"Parent_account@odata.bind":"/accounts(accountnumber='7')"}"#;
    let library = Library::new([row(r#"{"_parent_value":null}"#)]).knowing("contacts", contact());
    assert_eq!(library.look(columns).await.0, Ok(Look::Differs));
}

#[tokio::test]
async fn a_failure_that_would_meet_our_own_request_too_is_told_as_it_came() {
    let columns = r#"{"Parent_account@odata.bind":"/accounts(accountnumber='7')"}"#;
    for (status, text) in [(429, "429"), (503, "503"), (401, "401")] {
        assert!(Library::new([refused(status)]).look(r#"{"firstname":"x"}"#).await.0.is_err_and(|e| e.contains(text)));
        let rows = [row(format!(r#"{{"_parent_value":"{ID}"}}"#)), refused(status)];
        let library = Library::new(rows).knowing("contacts", contact());
        assert!(library.look(columns).await.0.is_err_and(|error| error.contains(text)), "{status}");
    }
    assert!(Library::new([refused(403)]).look(r#"{"firstname":"x"}"#).await.0.is_err_and(|e| e.contains("403")));
}

#[tokio::test]
async fn more_columns_than_an_address_can_hold_are_read_with_the_whole_row() {
    let names: Vec<_> = (0..300).map(|n| format!("new_{n}_{}", "x".repeat(60))).collect();
    let json = |names: &[String]| {
        let members: Vec<_> = names.iter().map(|name| format!("\"{name}\":1")).collect();
        format!("{{{}}}", members.join(","))
    };
    let looked = Library::new([row(json(&names))]).look(&json(&names)).await;
    assert_eq!(looked, (Ok(Look::Same), asked(&["contacts "])));
}
