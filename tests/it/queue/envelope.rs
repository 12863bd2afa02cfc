//! The envelope, posted to the handler as each version of the host writes it.

use serde_json::{Value, json};
use stand_ins::host::Host;
use stand_ins::net::http_client;

use super::scene;
use crate::caller::{Answer, answer, contact};

async fn invoke(host: &Host, body: String) -> Answer {
    let request = http_client().post(format!("http://127.0.0.1:{}/SyncQueue", host.port_of_handler()));
    let request = request.header("X-Azure-Functions-InvocationId", "11111111-2222-4333-8444-555555555555");
    answer(request.header("content-type", "application/json").body(body)).await
}

fn envelope(item: &Value, metadata: &Value) -> String {
    json!({ "Data": { "record": item }, "Metadata": metadata }).to_string()
}

#[tokio::test]
async fn all_three_encodings_of_the_item_are_one_record() {
    let (world, host) = scene(&[]).await;
    for layers in 0..3 {
        let key = format!("C{layers}");
        let mut item = contact(&key, &json!({ "firstname": "Ada \"the first\" \\ \u{e4}" }));
        for _ in 0..layers {
            item = json!(item.to_string());
        }
        let answer = invoke(&host, envelope(&item, &json!({ "DequeueCount": "2" }))).await;
        assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")), "{}", answer.text);
        assert_eq!((&answer.body["Outputs"], answer.body.get("ReturnValue")), (&json!({}), Some(&Value::Null)));
        let line = answer.body["Logs"][0].as_str().expect("one line");
        assert!(line.contains(" outcome=applied reason=upserted ") && line.contains(" attempt=2 "), "{line}");
        let row = world.dataverse.row("contacts", &[("employeeid", &key)]).expect("it was written");
        assert_eq!(row["firstname"], "Ada \"the first\" \\ \u{e4}");
    }
}

#[tokio::test]
async fn a_rejected_item_is_in_the_dead_letter_as_it_was_before_the_host_encoded_it() {
    let (_world, host) = scene(&[]).await;
    let message = "{ \"table\" : \"contacts\",\n\"colums\":1.50}";
    let raw_object = format!(r#"{{"Data":{{"record":{message}}},"Metadata":{{"DequeueCount":3}}}}"#);
    let strings = [json!(message), json!(json!(message).to_string())];
    let mut bodies: Vec<String> = strings.iter().map(|item| envelope(item, &json!({ "DequeueCount": "3" }))).collect();
    bodies.push(raw_object);
    for body in bodies {
        let answer = invoke(&host, body).await;
        let letter = &answer.body["Outputs"]["deadLetter"];
        assert_eq!((answer.status, &letter["message"]), (200, &json!(message)), "{}", answer.text);
        assert_eq!((&letter["reason"], &letter["attempts"]), (&json!("invalid_message"), &json!(3)));
        assert_eq!(letter["invocationId"], "11111111-2222-4333-8444-555555555555");
    }
}

#[tokio::test]
async fn without_metadata_only_the_count_is_missing() {
    let (_world, host) = scene(&[]).await;
    let item = contact("C1", &json!({ "firstname": "Ada" })).to_string();
    let answer = invoke(&host, json!({ "Data": { "record": item } }).to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let line = answer.body["Logs"][0].as_str().expect("one line");
    assert!(line.contains(" table=contacts ") && !line.contains("attempt="), "{line}");
}

#[tokio::test]
async fn a_request_that_is_not_an_invocation_fails_so_that_no_message_is_lost() {
    let (world, host) = scene(&[]).await;
    for body in ["", "null", "{}", "[]", r#"{"Data":{"item":"x"}}"#, r#"{"Data":"record"}"#] {
        let answer = invoke(&host, body.to_owned()).await;
        assert_eq!((answer.status, answer.text.trim_end()), (500, "retry/internal not an invocation"), "{body}");
    }
    assert_eq!(world.dataverse.requests().total(), 0);
}
