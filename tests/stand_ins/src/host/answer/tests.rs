//! Valid and invalid responses.

use super::*;

fn answered(status: u16, reason: &str, content_type: &str, body: &str) -> Answer {
    let headers = vec![("content-type".to_owned(), content_type.as_bytes().to_vec())];
    read(&Response { status, reason: reason.to_owned(), headers, body: body.as_bytes().to_vec() })
}

fn json(body: &str) -> Answer {
    answered(200, "OK", "application/json; charset=utf-8", body)
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

#[test]
fn an_answer_gives_its_logs_and_outputs() {
    let answer =
        json(r#"{"outputs":{"deadLetter":"x"},"LOGS":["a",1,"2026-11-23T10:00:00Z"],"ReturnValue":{"y":null}} x"#);
    let logs = ["a", "1", "2026-11-23T10:00:00Z"].map(str::to_owned).into();
    let named = vec![("deadLetter".to_owned(), text("x"))];
    assert_eq!(
        answer,
        Answer::Done { logs, outputs: Outputs { named, returned: vec![("y".to_owned(), Value::Null)] } }
    );
}

#[test]
fn what_is_missing_null_or_unknown_is_ignored() {
    for body in ["{}", r#"{"Outputs":null,"Logs":null,"ReturnValue":"x"}"#, r#"{"other":[]}"#] {
        assert_eq!(json(body), Answer::Done { logs: Vec::new(), outputs: Outputs::default() }, "{body}");
    }
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
    for body in ["[]", "1", "{", "done", r#"{"Logs":"one"}"#, r#"{"Logs":[{}]}"#, r#"{"Outputs":[]}"#] {
        assert!(matches!(json(body), Answer::Failed(_)), "{body}");
    }
    assert!(matches!(answered(200, "OK", "text/plain", "{}"), Answer::Failed(_)));
}
