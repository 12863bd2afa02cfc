//! Names and keys that try to break out of their part of a URL: each addresses exactly its own row, or is refused.

use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Operation, Status};

use super::scene;
use crate::caller::contact;

/// Text with a special meaning in a URL, an OData literal or a header.
const HOSTILE: [&str; 26] = [
    "../accounts",
    "%2e%2e",
    "%2E%2E%2Faccounts",
    "x') or (employeeid eq 'y",
    "x')/$ref?",
    "'",
    "''",
    "%27",
    "%2527",
    ")",
    "(1)",
    ";",
    "a,b='c'",
    "#x",
    "?$filter=x",
    "&$top=1",
    "\r\nX-Injected: 1",
    "\n",
    "\u{1f600}",
    "\u{ff07}) or (1 eq 1",
    "\u{2019}",
    "\u{202e}txt",
    "$batch",
    "$metadata",
    "http://elsewhere.example/",
    "@odata.bind",
];

#[tokio::test]
async fn a_table_must_be_an_entity_set_name_and_must_not_be_metadata() {
    let (world, _host, caller) = scene(&[]).await;
    let long = "x".repeat(10_000);
    let more = [
        "contacts/../accounts",
        "contacts?$filter=",
        "contacts(1)",
        "contacts ",
        " contacts",
        "contacts/",
        "contacts%00",
        "cont\u{430}cts",
        "\u{ff43}ontacts",
        "1contacts",
        "",
        &long,
        "EntityDefinitions",
        "GlobalOptionSetDefinitions",
        "RelationshipDefinitions",
        "ManagedPropertyDefinitions",
    ];
    for table in HOSTILE.iter().chain(&more) {
        for operation in ["upsert", "delete"] {
            let key = "9b2e0c3a-1111-4222-8333-444455556666";
            let answer =
                caller.post(&json!({ "table": table, "key": key, "columns": {}, "operation": operation })).await;
            assert_eq!(
                (answer.status, &answer.body["reason"]),
                (400, &json!("invalid_message")),
                "{table}: {}",
                answer.text
            );
            assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("`table`")), "{}", answer.text);
        }
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

#[tokio::test]
async fn a_key_column_must_be_a_logical_name() {
    let (world, _host, caller) = scene(&[]).await;
    let long = "x".repeat(10_000);
    for name in HOSTILE.iter().chain(&["employeeid='x',a", "EmployeeId", "a b", "", &long]) {
        let answer = caller.post(&json!({ "table": "contacts", "key": { *name: "x" }, "columns": {} })).await;
        assert_eq!(
            (answer.status, &answer.body["reason"]),
            (400, &json!("invalid_message")),
            "{name}: {}",
            answer.text
        );
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}

/// A contact without `messageId`, which allows fewer characters than a key.
fn keyed(key: &str, columns: &Value) -> Value {
    let mut record = contact(key, columns);
    record["messageId"] = Value::Null;
    record
}

/// Asserts that the request target holds the key as one quoted literal and nothing else.
fn is_one_literal(target: &str, key: &str) {
    let inside = target.strip_prefix("/api/data/v9.2/contacts(employeeid='").and_then(|rest| rest.strip_suffix("')"));
    let inside = inside.unwrap_or_else(|| panic!("{target} does not address a row by this key"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~%'".contains(c);
    assert!(inside.chars().all(plain), "{target}");
    assert!(!inside.replace("''", "").contains('\''), "a quote inside is doubled: {target}");
    let decoded: String =
        url::form_urlencoded::parse(format!("k={inside}").as_bytes()).map(|(_, value)| value.into_owned()).collect();
    assert_eq!(decoded.replace("''", "'"), key, "{target}");
}

#[tokio::test]
async fn a_key_value_stays_inside_its_quotes() {
    let (world, _host, caller) = scene(&[]).await;
    let neighbour = json!({ "employeeid": "y", "firstname": "Neighbour" });
    world.dataverse.insert("contacts", &neighbour);
    world.dataverse.insert("accounts", &json!({ "accountnumber": "A1" }));
    for key in HOSTILE {
        let answer = caller.post(&keyed(key, &json!({ "firstname": "Ada" }))).await;
        assert!(answer.status < 300, "{key:?}: {}", answer.text);
        let journal = world.dataverse.journal();
        let Some(entry) = journal.last() else { panic!("{key}: {}", answer.text) };
        match entry.operation {
            // No key URL can contain it, so the row is found by a filter and created by POST.
            Operation::Create => {
                assert_eq!(
                    (entry.target.as_str(), &entry.values["employeeid"]),
                    ("/api/data/v9.2/contacts", &json!(key))
                );
            }
            _ => is_one_literal(&entry.target, key),
        }
        let row =
            world.dataverse.row("contacts", &[("employeeid", key)]).unwrap_or_else(|| panic!("{key}: {}", answer.text));
        assert_eq!(row["firstname"], "Ada", "{key}");
        let headers = &entry.headers;
        assert!(!headers.contains_key("x-injected"), "{headers:?}");
    }
    assert_eq!(world.dataverse.rows("contacts").len(), HOSTILE.len() + 1, "each is a row of its own");
    assert_eq!(world.dataverse.row("contacts", &[("employeeid", "y")]).expect("untouched")["firstname"], "Neighbour");
    assert_eq!(world.dataverse.rows("accounts").len(), 1);
    for key in HOSTILE {
        let mut delete = keyed(key, &Value::Null);
        delete["operation"] = json!("delete");
        assert_eq!(caller.post(&delete).await.body["reason"], "deleted", "{key}");
    }
    assert_eq!(world.dataverse.rows("contacts").len(), 1, "a deletion removes its own row only");
}

/// A NUL does not truncate the key: Dataverse gets the whole key and refuses it.
#[tokio::test]
async fn a_nul_does_not_truncate_a_key() {
    let (world, _host, caller) = scene(&[]).await;
    let answer = caller.post(&keyed("a\u{0}b", &json!({}))).await;
    assert_eq!((answer.status, &answer.body["reason"]), (422, &json!("invalid_data")), "{}", answer.text);
    assert_eq!(world.dataverse.journal()[0].target, "/api/data/v9.2/contacts(employeeid='a%00b')");
    for message in
        [json!({ "table": "contacts\u{0}", "key": "x" }), json!({ "table": "contacts", "key": { "a\u{0}": "x" } })]
    {
        assert_eq!(caller.post(&message).await.body["reason"], "invalid_message", "{message}");
    }
}

#[tokio::test]
async fn a_key_of_10_kilobytes_is_sent_to_dataverse_and_does_no_harm() {
    let (world, _host, caller) = scene(&[]).await;
    for key in ["x".repeat(10_000), "'".repeat(10_000), "\u{e4}/".repeat(5_000)] {
        let answer = caller.post(&keyed(&key, &json!({}))).await;
        assert!((200..500).contains(&answer.status), "{}", answer.status);
        if let Some(entry) = world.dataverse.journal().last().filter(|entry| entry.operation != Operation::Create) {
            is_one_literal(&entry.target, &key);
        }
    }
}

/// Column names are sent as JSON in the body, and in a URL (`$select`, for the comparison after a 412) only if they are
/// valid logical names.
#[tokio::test]
async fn column_names_and_values_are_sent_in_the_body_only() {
    let (world, _host, caller) = scene(&[]).await;
    world.dataverse.insert("contacts", &json!({ "employeeid": "C1", "emailaddress1": "ada@example.com" }));
    for name in HOSTILE {
        let columns =
            json!({ name: "canary", "firstname": "canary\r\nX-Injected: 1", "emailaddress1": "ada@example.com" });
        for operation in ["upsert", "create", "update"] {
            let mut record = contact("C2", &columns);
            record["operation"] = json!(operation);
            let answer = caller.post(&record).await;
            assert!((200..500).contains(&answer.status), "{name}: {}", answer.text);
        }
    }
    let journal = world.dataverse.journal();
    assert!(!journal.is_empty());
    for entry in journal {
        assert_eq!(entry.target, "/api/data/v9.2/contacts(employeeid='C2')");
        assert!(!format!("{:?}", entry.headers).contains("canary"), "{:?}", entry.headers);
    }
    let other = world.dataverse.requests().iter().map(|(method, ..)| method.to_owned()).collect::<Vec<_>>();
    assert!(other.iter().all(|method| ["GET", "PATCH"].contains(&method.as_str())), "{other:?}");
}

/// A bind is only data for Dataverse; this program never calls the address in it.
#[tokio::test]
async fn an_address_in_a_bind_is_never_called() {
    let (world, _host, caller) = scene(&[]).await;
    let elsewhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = elsewhere.local_addr().expect("it is bound");
    for (number, bind) in [
        format!("http://{address}/api/data/v9.2/accounts(accountnumber='A1')"),
        format!("http://{address}/accounts(accountnumber='A1')"),
        format!("//{address}/accounts(accountnumber='A1')"),
        "/accounts(accountnumber='x')/../../../WhoAmI".to_owned(),
    ]
    .iter()
    .enumerate()
    {
        let key = format!("C{number}");
        world.dataverse.insert("contacts", &json!({ "employeeid": key }));
        let duplicate = Status::new(412, "0x80040237", "A record with matching key values already exists.");
        world.dataverse.fault(Fault::new(Effect::Status(duplicate)).method("PATCH"));
        let answer = caller.post(&contact(&key, &json!({ "parentcustomerid_account@odata.bind": bind }))).await;
        assert!(answer.body["reason"].is_string(), "{bind}: {}", answer.text);
    }
    let was_reached =
        std::future::poll_fn(|context| std::task::Poll::Ready(elsewhere.poll_accept(context).is_ready())).await;
    assert!(!was_reached, "the address was called");
}
