//! Valid and invalid responses, and the queue messages made from outputs.

use super::*;

fn answered(status: u16, reason: &str, content_type: &str, body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
    read(&Response { status, reason: reason.to_owned(), headers, body: body.as_bytes().to_vec() })
}

fn json(body: &str) -> Answer {
    answered(200, "OK", "application/json; charset=utf-8", body)
}

fn binding() -> QueueBinding {
    QueueBinding { name: "deadLetter".to_owned(), queue: "dead".to_owned(), connection: "C".to_owned() }
}

fn texts(value: Value) -> Result<Vec<(String, String)>, String> {
    let outputs = Map::from_iter([("deadLetter".to_owned(), value)]);
    let bindings = [binding()];
    let bound = bind(outputs, &bindings, Encoding::Base64)?;
    Ok(bound.into_iter().map(|output| (output.text, output.raw)).collect())
}

#[test]
fn an_answer_gives_its_logs_and_outputs() {
    let answer = json(r#"{"Outputs":{"deadLetter":"x"},"Logs":["a","b"],"ReturnValue":null}"#);
    let outputs = Map::from_iter([("deadLetter".to_owned(), "x".into())]);
    assert_eq!(answer, Answer::Done { logs: vec!["a".to_owned(), "b".to_owned()], outputs });
}

#[test]
fn an_empty_body_and_null_complete_nothing() {
    assert_eq!(json(""), Answer::Never);
    assert_eq!(json("null"), Answer::Never);
    assert_eq!(answered(204, "No Content", "", ""), Answer::Never);
}

#[test]
fn a_refusal_is_known_by_its_reason_phrase_alone() {
    let answer = answered(500, "throttled", "application/json", r#"{"Logs":["lost"]}"#);
    let expected = "Response status code does not indicate success: 500 (throttled).";
    assert_eq!(answer, Answer::Failed(expected.to_owned()));
}

#[test]
fn a_body_that_is_no_json_object_fails_the_invocation() {
    for body in ["[]", "1", "{", "done", r#"{"Logs":"one"}"#, r#"{"Outputs":[]}"#] {
        assert!(matches!(json(body), Answer::Failed(_)), "{body}");
    }
    assert!(matches!(answered(200, "OK", "text/plain", "{}"), Answer::Failed(_)));
}

#[test]
fn an_object_becomes_its_json_wrapped_in_base64() {
    let expected = ("{\"a\":1}".to_owned(), STANDARD.encode("{\"a\":1}"));
    assert_eq!(texts(serde_json::json!({"a": 1})), Ok(vec![expected]));
}

#[test]
fn a_string_that_is_base64_is_decoded_first() {
    assert_eq!(texts("aGVs\nbG8=".into()), Ok(vec![("hello".to_owned(), "aGVsbG8=".to_owned())]));
    assert_eq!(texts("not base64".into()), Ok(vec![("not base64".to_owned(), STANDARD.encode("not base64"))]));
}

#[test]
fn every_item_of_an_array_is_a_message() {
    assert_eq!(texts(serde_json::json!(["a b", {}])).expect("it is small").len(), 2);
}

#[test]
fn null_and_unknown_outputs_are_ignored() {
    assert_eq!(texts(Value::Null), Ok(Vec::new()));
    let unknown = Map::from_iter([("other".to_owned(), "x".into())]);
    assert_eq!(bind(unknown, &[binding()], Encoding::None), Ok(Vec::new()));
}

#[test]
fn an_output_over_64_kib_after_wrapping_fails_the_invocation() {
    assert!(texts("!".repeat(49_152).into()).is_ok());
    assert!(texts("!".repeat(49_153).into()).is_err());
}

#[test]
fn a_message_that_is_not_wrapped_is_not_read() {
    assert_eq!(decode("{\"a\":1}", Encoding::Base64), None);
    assert_eq!(decode("{\"a\":1}", Encoding::None).as_deref(), Some("{\"a\":1}"));
    assert_eq!(decode("e30=", Encoding::Base64).as_deref(), Some("{}"));
}
