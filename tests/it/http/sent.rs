//! What a call causes to be sent to Dataverse, and what it must not contain.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use tokio::net::TcpListener;

use super::start;
use crate::caller::{answer, contact};

#[tokio::test]
async fn every_write_has_the_headers_of_odata_and_of_the_settings_and_none_of_the_caller() {
    let extra = r#"{"MSCRM.SuppressDuplicateDetection":"false","CallerObjectId":"0e7","User-Agent":"contoso/1"}"#;
    let (world, host, caller) = start(&[("SYNC_HEADERS", extra)]).await;
    world.dataverse.fault(Fault::new(Effect::Deadlock).method("PATCH"));
    for operation in ["upsert", "create", "update", "delete"] {
        let mut record = contact(&format!("C-{operation}"), &json!({ "firstname": "\u{e4}\u{1f600}\"\\" }));
        record["operation"] = json!(operation);
        let request = caller.request().header("content-type", "application/json").header("x-canary", "1");
        let request =
            request.header("cookie", "a=b").header("if-match", "\"7\"").header("referer", "http://localhost/");
        answer(request.body(record.to_string())).await;
    }
    let journal = world.dataverse.journal();
    // The first upsert is the deadlock's victim and is sent again.
    let json = Some("application/json");
    let conditions =
        [(None, None, json), (None, None, json), (None, Some("*"), json), (Some("*"), None, json), (None, None, None)];
    assert_eq!(journal.len(), conditions.len());
    for (entry, expected) in journal.iter().zip(conditions) {
        let header = |name: &str| entry.headers.get(name).map(String::as_str);
        assert_eq!((header("if-match"), header("if-none-match"), header("content-type")), expected);
        assert_eq!(header("accept"), json);
        assert_eq!((header("odata-version"), header("odata-maxversion")), (Some("4.0"), Some("4.0")));
        assert_eq!(header("mscrm.suppressduplicatedetection"), Some("false"));
        assert_eq!((header("callerobjectid"), header("user-agent")), (Some("0e7"), Some("contoso/1")));
        assert!(["x-canary", "cookie", "referer", "x-functions-key"].into_iter().all(|name| header(name).is_none()));
        assert!(!format!("{:?}", entry.headers).contains(host.function_key()));
    }
    let ids: BTreeSet<_> = journal.iter().filter_map(|entry| entry.headers.get("x-ms-client-request-id")).collect();
    assert_eq!(ids.len(), journal.len(), "each request has its own id");
    assert_eq!(Value::Object(journal[1].values.clone()), json!({ "firstname": "\u{e4}\u{1f600}\"\\" }));
}

/// Text with a special meaning in a URL or an `OData` literal.
const HOSTILE: [&str; 14] = [
    "../accounts",
    "%2E%2E%2Faccounts",
    "x') or (employeeid eq 'y",
    "x')/$ref?",
    "''",
    "%27",
    "a,b='c'",
    "#x",
    "?$filter=x",
    "\r\nX-Injected: 1",
    "\u{ff07}) or (1 eq 1",
    "\u{202e}txt",
    "$batch",
    "http://elsewhere.example/",
];

#[tokio::test]
async fn a_hostile_key_addresses_exactly_its_own_row() {
    let (world, _host, caller) = start(&[]).await;
    world.dataverse.insert("contacts", &json!({ "employeeid": "y", "firstname": "Neighbour" }));
    let record = |key: &str, operation: &str| {
        let columns = json!({ "firstname": "Ada" });
        json!({ "table": "contacts", "key": { "employeeid": key }, "operation": operation, "columns": columns })
    };
    for key in HOSTILE {
        let answer = caller.post(&record(key, "upsert")).await;
        assert_eq!(answer.body["outcome"], "applied", "{key:?}: {}", answer.text);
        let row = world.dataverse.row("contacts", &[("employeeid", key)]);
        assert_eq!(row.unwrap_or_else(|| panic!("{key}: {}", answer.text))["firstname"], "Ada", "{key}");
    }
    assert_eq!(world.dataverse.rows("contacts").len(), HOSTILE.len() + 1, "each is a row of its own");
    for key in HOSTILE {
        assert_eq!(caller.post(&record(key, "delete")).await.body["reason"], "deleted", "{key}");
    }
    let rows = world.dataverse.rows("contacts");
    assert_eq!((rows.len(), &rows[0]["firstname"]), (1, &json!("Neighbour")));
    // A NUL does not truncate the key: Dataverse gets the whole key and refuses it.
    assert_eq!(caller.post(&record("a\u{0}b", "upsert")).await.body["reason"], "invalid_data");
    let last = world.dataverse.journal().pop().expect("it was sent");
    assert_eq!(last.target, "/api/data/v9.2/contacts(employeeid='a%00b')");
}

/// Column names are sent in the body, and in a URL (`$select`, for the comparison after a 412) only if they are valid
/// logical names. A bind is only data for Dataverse: this program never calls the address in it.
#[tokio::test]
async fn hostile_column_names_and_binds_are_sent_in_the_body_only() {
    let (world, _host, caller) = start(&[]).await;
    world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "firstname": "Eve" }));
    let elsewhere = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = elsewhere.local_addr().expect("it is bound");
    let binds = [format!("http://{address}/accounts(accountnumber='A1')"), format!("//{address}/accounts(1)")];
    let binds = binds.map(|bind| json!({ "parentcustomerid_account@odata.bind": bind, "firstname": "canary" }));
    let named = HOSTILE.map(|name| json!({ name: "canary", "firstname": "canary\r\nX-Injected: 1" }));
    for columns in binds.iter().chain(&named) {
        let duplicate = Status::new(412, "0x80040237", "A record with matching key values already exists.");
        world.dataverse.fault(Fault::new(Effect::Status(duplicate)).method("PATCH"));
        let answer = caller.post(&contact("C1", columns)).await;
        assert!(answer.body["reason"].is_string(), "{columns}: {}", answer.text);
    }
    let journal = world.dataverse.journal();
    for entry in &journal {
        assert_eq!(entry.target, "/api/data/v9.2/contacts(employeeid='C1')");
    }
    assert!(!journal.iter().any(|entry| format!("{:?}", entry.headers).contains("canary")));
    let reached =
        std::future::poll_fn(|context| std::task::Poll::Ready(elsewhere.poll_accept(context).is_ready())).await;
    assert!(!reached, "the address was called");
}
