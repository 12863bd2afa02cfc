//! The stand-in's answers against captured answers of the service, by their ids in `tests/it/client/answers.ndjson`.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::super::{BodyForm, DuplicateCode, Effect, ErrorCodes, Fault, Limits, Options, Status, Table};
use super::{Answer, Bench, EMPLOYEE};

const ANSWERS: &str = include_str!("../../../../it/client/answers.ndjson");

/// Status and error object of the captured answer.
fn captured(id: &str) -> (u16, Value) {
    let lines = ANSWERS.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
    let line = lines.into_iter().find(|line| line["id"] == id).unwrap_or_else(|| panic!("there is no {id}"));
    let status = line["status"].as_u64().and_then(|status| status.try_into().ok()).expect("a status");
    let body: Value = serde_json::from_str(line["body"].as_str().expect("a body")).expect("JSON");
    (status, body["error"].clone())
}

/// The captured answer up to the stack trace in its text.
fn without_trace(id: &str) -> (u16, Value) {
    let (status, mut error) = captured(id);
    let text = error["message"].as_str().and_then(|text| text.split("\r\n   at ").next()).expect("a text").to_owned();
    error["message"] = text.into();
    (status, error)
}

fn error(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.body["error"].clone())
}

async fn with_codes(error_codes: ErrorCodes) -> Bench {
    let bench = Bench::start(Options { error_codes, ..Options::default() }).await;
    let audits = Table::new("new_technicalaudits", "new_technicalaudit", "new_technicalauditid").text("new_code", 9);
    let audits = audits.key_in_progress(&["new_code"]);
    bench.dataverse.define(audits);
    let things = Table::new("new_things", "new_thing", "new_thingid").text("new_code", 9).text("new_name", 100);
    let things = things.lookup("new_auditid", "_new_auditid_value", "new_technicalaudits").key(&["new_code"]);
    bench.dataverse.define(things);
    bench
}

#[tokio::test]
async fn unknown_keys_segments_and_properties_have_the_code_of_today() {
    let bench = with_codes(ErrorCodes::Current).await;
    assert_eq!(error(&bench.get("controlconfigurations").await), captured("404-segment-new"));
    let bind = json!({ "new_auditid@odata.bind": "/new_technicalaudits(new_code='1')" });
    let no_key = captured("400-key-not-valid-bind");
    assert_eq!(error(&bench.patch("new_things(new_code='1')", &bind).await), no_key, "a key that is not Active");
    assert_eq!(error(&bench.patch("new_technicalaudits(new_code='1')", &json!({})).await), no_key);
    let no_such_key = bench.patch("new_technicalaudits(new_name='1')", &json!({})).await;
    assert_eq!(error(&no_such_key), no_key, "no such key");
    assert_eq!(error(&bench.get("accounts?$skip=2").await), captured("400-skip"));
    assert_eq!(bench.get("accounts?$select=Name").await.verdict(), (400, "0x80060888"));
    assert_eq!(bench.patch(EMPLOYEE, &json!({ "Name": "x" })).await.verdict(), (400, "0x80060888"));
}

#[tokio::test]
async fn unknown_keys_segments_and_properties_can_have_the_older_codes() {
    let bench = with_codes(ErrorCodes::Older).await;
    let (status, mut segment) = captured("404-segment-emptycode");
    segment["code"] = "0x8006088a".into();
    assert_eq!(error(&bench.get("contactscontacts").await), (status, segment));
    assert_eq!(error(&bench.get("accounts(name='x')").await), captured("400-key-not-defined"));
    assert_eq!(error(&bench.get("accounts?$select=Name").await), captured("400-property-0x0"));
    let unknown = bench.send(Method::POST, "accounts", &[], Some(&json!({ "Name": "x" }))).await;
    assert_eq!(error(&unknown), without_trace("400-body-property"));
    let bind = json!({ "parentcustomerid_account@odata.bind": "/accounts(accountnumber='a/b')" });
    assert_eq!(error(&bench.patch(EMPLOYEE, &bind).await), captured("400-query-syntax"));
}

#[tokio::test]
async fn a_missing_row_is_named_as_captured() {
    let bench = Bench::quick().await;
    let gone = bench.send(Method::DELETE, "contacts(00000000-0000-0000-0000-000000000001)", &[], None).await;
    assert_eq!(error(&gone), captured("404-row-delete"));
    let missing =
        bench.send(Method::PATCH, "accounts(accountnumber='1')", &[("if-match", "*")], Some(&json!({}))).await;
    assert_eq!(error(&missing), captured("404-key-patch-batch"));
    let requirements = "msdyn_requirementresourcecategory";
    bench.dataverse.define(Table::new("set", requirements, "id").text("key", 9).key(&["key"]));
    bench.dataverse.define(Table::new("things", "thing", "thingid").text("code", 9).lookup("nav", "_nav_value", "set"));
    let bind = json!({ "nav@odata.bind": "/set(key='1')" });
    assert_eq!(error(&bench.send(Method::POST, "things", &[], Some(&bind)).await), captured("404-bind-target"));
}

#[tokio::test]
async fn a_value_of_the_wrong_type_or_length_is_refused_as_captured() {
    let bench = with_codes(ErrorCodes::Current).await;
    let kind = super::super::Kind::Choice(vec![1]);
    bench.dataverse.define(Table::new("new_orgs", "new_org", "new_orgid").column("new_kind", kind));
    let wrong = bench.send(Method::POST, "new_orgs", &[], Some(&json!({ "new_kind": "Charity" }))).await;
    let (status, text) = (wrong.status, wrong.body["error"]["message"].as_str().expect("a text"));
    let (expected, error_of_line) = captured("400-literal");
    assert_eq!((status, &wrong.body["error"]["code"]), (expected, &error_of_line["code"]));
    assert!(error_of_line["message"].as_str().is_some_and(|line| line.starts_with(text)), "{text}");
    let long = bench.send(Method::POST, "new_things", &[], Some(&json!({ "new_name": "x".repeat(101) }))).await;
    assert_eq!(error(&long), captured("400-length"));
}

#[tokio::test]
async fn every_answer_has_the_ids_and_cookies_of_a_captured_one() {
    let bench = Bench::quick().await;
    let line = ANSWERS.lines().find(|line| line.contains(r#""id": "200-whoami-headers""#)).expect("the line");
    let line: Value = serde_json::from_str(line).expect("JSON");
    let names = |cookies: &[&str]| -> Vec<String> {
        cookies.iter().map(|cookie| cookie.split('=').next().unwrap_or_default().to_owned()).collect()
    };
    let listed = line["headers"]["Set-Cookie"].as_array().expect("a list").iter();
    let listed: Vec<_> = listed.filter_map(Value::as_str).collect();
    for answer in [bench.get("WhoAmI").await, bench.patch(EMPLOYEE, &json!({})).await, bench.get("nowhere").await] {
        let all = |name: &str| -> Vec<&str> {
            answer.headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
        };
        assert_eq!(names(&all("set-cookie")), names(&listed));
        let ids = all("x-ms-service-request-id");
        let [first, second] = ids[..] else { panic!("two ids: {ids:?}") };
        assert_ne!(first, second);
        assert_eq!(answer.header("req_id"), second);
    }
    let journal = bench.dataverse.journal();
    assert_ne!(journal[0].request_id, "");
}

#[tokio::test]
async fn limits_refuse_in_the_words_that_were_captured() {
    let brief = Limits { requests: 8_000, execution: Duration::from_millis(1), ..Limits::default() };
    for (limits, id, ours, theirs) in [
        (Limits { requests: 0, ..Limits::default() }, "429-requests", "of 0 over", "of 6000 over"),
        (brief, "429-time", "of 1  milli", "of 1,200,000  milli"),
        (Limits { concurrent: 0, ..Limits::default() }, "429-concurrency", "of 0.", "of 52."),
    ] {
        let bench = Bench::start(Options { limits: Some(limits), ..Options::default() }).await;
        // It takes longer than a millisecond.
        bench.patch(EMPLOYEE, &json!({})).await;
        let (status, mut refused) = error(&bench.get("WhoAmI").await);
        refused["message"] = refused["message"].as_str().expect("a text").replace(ours, theirs).into();
        assert_eq!((status, refused), captured(id));
    }
}

#[tokio::test]
async fn a_fault_can_be_a_wrapped_deadlock_a_sandbox_without_workers_or_a_refusal_of_a_plug_in() {
    let bench = Bench::quick().await;
    let struck = async |effect: Effect| {
        bench.dataverse.fault(Fault::new(effect));
        error(&bench.patch(EMPLOYEE, &json!({})).await)
    };
    let deadlock = captured("500-deadlock");
    assert_eq!(struck(Effect::Deadlock).await, deadlock);
    let (status, wrapped) = struck(Effect::WrappedDeadlock).await;
    assert_eq!((status, &wrapped["code"]), (400, &json!("0x80040265")));
    let (text, inner) = (wrapped["message"].as_str(), deadlock.1["message"].as_str().expect("a text"));
    assert!(text.is_some_and(|text| text.ends_with(inner)), "{wrapped}");
    assert_eq!(struck(Effect::Sandbox).await, without_trace("500-sandbox-annotated"));
    for (chosen, id) in [(404, "404-virtual-isvaborted-map"), (409, "409-virtual-etag"), (400, "400-search-disabled")] {
        let (status, refused) = struck(Effect::PluginStatus(chosen)).await;
        let (expected, line) = captured(id);
        assert_eq!((status, &refused["code"]), (expected, &line["code"]));
    }
    assert!(bench.dataverse.rows("contacts").is_empty());
}

#[tokio::test]
async fn a_status_fault_can_have_the_members_of_any_captured_answer() {
    let bench = Bench::quick().await;
    for id in ["400-plugin-doc", "400-communication-sender", "412-entitykey-annotated"] {
        let (status, line) = captured(id);
        let text = |name: &str| line[name].as_str().expect("a text");
        let mut fault = Status::new(status, text("code"), text("message"));
        fault.members = line.as_object().expect("an object").clone();
        fault.members.retain(|name, _| name.starts_with('@'));
        bench.dataverse.fault(Fault::new(Effect::Status(fault)));
        assert_eq!(error(&bench.patch(EMPLOYEE, &json!({})).await), (status, line));
    }
    let (status, line) = captured("412-ifnonematch-innererror");
    let mut fault = Status::new(status, "", "A record with matching key values already exists.");
    fault.form = BodyForm::InnerError;
    bench.dataverse.fault(Fault::new(Effect::Status(fault)));
    let (sent, error) = error(&bench.patch(EMPLOYEE, &json!({})).await);
    assert_eq!((sent, &error["code"], &error["message"]), (status, &line["code"], &line["message"]));
    assert_eq!(error["innererror"]["type"], line["innererror"]["type"]);
    let names = |error: &Value| error["innererror"].as_object().expect("an object").keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&error), names(&line));
}

#[tokio::test]
async fn a_taken_key_is_annotated_if_annotations_are_asked_for() {
    let options =
        Options { duplicate_code: DuplicateCode::EntityKey, race_window: Duration::ZERO, ..Options::default() };
    let bench = Bench::start(options).await;
    let table = Table::new("new_reviewers", "new_reviewer", "new_reviewerid").text("new_emailaddress", 99);
    bench.dataverse.define(table.key(&["new_emailaddress"]));
    bench.dataverse.insert("new_reviewers", &json!({ "new_emailaddress": "dup@example.invalid" }));
    let body = json!({ "new_emailaddress": "dup@example.invalid" });
    let all = [("prefer", "odata.include-annotations=\"*\"")];
    let (status, taken) = error(&bench.send(Method::POST, "new_reviewers", &all, Some(&body)).await);
    let (expected, line) = captured("412-entitykey-annotated");
    let ours = line.to_string().replace("Email Address", "new_emailaddress");
    let mut line: Value = serde_json::from_str(&ours).expect("JSON");
    // The service names the row being written, not the one that has the key.
    line.as_object_mut().expect("an object").remove("@Microsoft.PowerApps.CDS.ErrorDetails.DuplicateEntity");
    assert_eq!((status, taken), (expected, line));
    let bare = bench.send(Method::POST, "new_reviewers", &[], Some(&body)).await;
    let names: Vec<_> = bare.body["error"].as_object().expect("an object").keys().collect();
    assert_eq!(names, ["code", "message"]);
}
