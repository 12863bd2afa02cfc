//! Every refusal of a part of a batch equals that of a single request.

use reqwest::Method;
use serde_json::{Value, json};

use super::super::super::{BodyForm, Effect, Fault, Options, Status, Table};
use super::super::{Answer, Bench};
use super::{CONTINUE, part};

const JSON: (&str, &str) = ("content-type", "application/json");
const ID: &str = "11111111-2222-4333-8444-555555555555";

/// A request, and the fault that applies to it.
struct Case {
    method: Method,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: Option<&'static str>,
    effect: Option<Effect>,
}

fn case(method: Method, path: &'static str, headers: &[(&'static str, &'static str)], body: &'static str) -> Case {
    let (headers, body) = (headers.to_vec(), (!body.is_empty()).then_some(body));
    Case { method, path, headers, body, effect: None }
}

/// An upsert of a contact.
fn upsert(body: &'static str) -> Case {
    case(Method::PATCH, "contacts(employeeid='E1')", &[JSON], body)
}

fn struck(effect: Effect) -> Case {
    Case { effect: Some(effect), ..upsert("{}") }
}

fn cases() -> Vec<Case> {
    let status = |status, code: &str, form| Effect::Status(Status { form, ..Status::new(status, code, "No.") });
    let throttled = Status { retry_after: Some(7), ..Status::new(429, "0x80072322", "Number of requests") };
    let absent = "contacts(employeeid='none')";
    vec![
        upsert(r#"{"nosuch":1}"#),
        upsert(r#"{"firstname":1}"#),
        upsert(r#"{"firstname":"#),
        upsert("[]"),
        upsert(r#"{"numberofchildren":-1}"#),
        upsert(r#"{"parentcustomerid_account@odata.bind":"/accounts(accountnumber='none')"}"#),
        upsert(r#"{"nosuch@odata.bind":"/accounts(accountnumber='none')"}"#),
        upsert(r#"{"contactid":null}"#),
        case(Method::PATCH, "contacts(employeeid='E1')", &[("content-type", "text/plain")], "{}"),
        case(Method::PATCH, "contacts(employeeid='E1')", &[JSON, ("if-none-match", "*")], "{}"),
        case(Method::PATCH, "contacts(employeeid='E1')", &[JSON, ("if-match", r#"W/"99""#)], "{}"),
        case(Method::PATCH, "contacts(employeeid='E1')", &[JSON, ("if-match", "x")], "{}"),
        case(Method::PATCH, "contacts(employeeid='E1')", &[JSON, ("if-match", "*"), ("if-none-match", "*")], "{}"),
        case(Method::PATCH, "contacts(employeeid='E1')", &[JSON, ("odata-version", "5")], "{}"),
        case(Method::PATCH, absent, &[JSON, ("if-match", "*")], "{}"),
        case(Method::PATCH, absent, &[JSON], r#"{"contactid":"11111111-2222-4333-8444-555555555555"}"#),
        case(Method::PATCH, "contacts(nosuch='1')", &[JSON], "{}"),
        case(Method::PATCH, "contacts(employeeid='a:b')", &[JSON], "{}"),
        case(Method::PATCH, "contacts(employeeid='a%2Bb')", &[JSON], "{}"),
        case(Method::PATCH, "contacts(employeeid='a", &[JSON], "{}"),
        case(Method::PATCH, "contacts", &[JSON], "{}"),
        case(Method::PATCH, "nosuch(employeeid='E1')", &[JSON], "{}"),
        case(Method::PUT, "contacts(employeeid='E1')", &[JSON], "{}"),
        case(Method::POST, "contacts", &[JSON], r#"{"employeeid":"E1"}"#),
        case(Method::POST, "contacts/Microsoft.Dynamics.CRM.UpsertMultiple", &[JSON], "{}"),
        case(Method::DELETE, absent, &[], ""),
        case(Method::DELETE, "contacts(00000000-0000-0000-0000-000000000001)", &[], ""),
        case(Method::GET, absent, &[], ""),
        case(Method::GET, "contacts?$skip=1", &[], ""),
        case(Method::GET, "contacts?$expand=x", &[], ""),
        case(Method::PATCH, "/elsewhere", &[JSON], "{}"),
        struck(Effect::Status(throttled)),
        struck(status(503, "0x8004A001", BodyForm::Legacy)),
        struck(status(502, "", BodyForm::Html)),
        struck(status(401, "0x8004A101", BodyForm::InnerError)),
        struck(status(403, "0x80040220", BodyForm::Empty)),
        struck(status(500, "0x80040216", BodyForm::Truncated)),
        struck(Effect::Deadlock),
        struck(Effect::WrappedDeadlock),
        struck(Effect::Sandbox),
        struck(Effect::PluginStatus(404)),
        struck(Effect::DeletedMeanwhile),
    ]
}

async fn bench() -> Bench {
    let bench = Bench::start(Options { race_window: std::time::Duration::ZERO, ..Options::default() }).await;
    bench
        .dataverse
        .define(Table::new("new_orders", "new_order", "new_orderid").text("new_number", 9).key(&["new_number"]));
    bench.dataverse.insert("contacts", &json!({ "contactid": ID, "employeeid": "E1" }));
    bench
}

/// What a client sees of an answer, apart from addresses and ids of this run.
fn seen(answer: &Answer, bench: &Bench) -> (u16, String, String, Value) {
    let body = answer.body.to_string().replace(&bench.dataverse.url(), "");
    (answer.status, answer.header("content-type").into(), answer.header("retry-after").into(), body.into())
}

#[tokio::test]
async fn every_refusal_is_the_same_in_a_part_as_alone() {
    for Case { method, path, headers, body, effect } in cases() {
        let (single, batched) = (bench().await, bench().await);
        if let Some(effect) = &effect {
            for bench in [&single, &batched] {
                bench.dataverse.fault(Fault::new(effect.clone()).set("contacts"));
            }
        }
        let name = format!("{method} {path} {headers:?} {body:?} {effect:?}");
        let target = if path.starts_with('/') { path.to_owned() } else { format!("/api/data/v9.2/{path}") };
        let url = format!("{}{target}", single.dataverse.url());
        let mut request = single.http.request(method.clone(), url).bearer_auth("any");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let response = request.body(body.unwrap_or_default()).send().await.expect("the stand-in answers");
        let (status, given) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.expect("a body");
        let alone = Answer { status, headers: given, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) };
        assert!(alone.status >= 400, "{name}: {alone:?}");

        let parts = [part(&method, &target, &headers, body), part(&Method::GET, "WhoAmI", &[], None)];
        let response = batched.batch(&[CONTINUE], &parts).await;
        let [(_, answer), (_, next)] = &response.parts[..] else { panic!("{name}: {response:?}") };
        assert_eq!(seen(answer, &batched), seen(&alone, &single), "{name}");
        assert_eq!(next.status, 200, "{name}: the batch goes on");
        assert_eq!(single.dataverse.rows("contacts").len(), batched.dataverse.rows("contacts").len(), "{name}");
    }
}
