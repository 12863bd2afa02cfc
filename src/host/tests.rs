mod properties;

use serde_json::{Value as Json, json};
use time::macros::datetime;

use super::*;
use crate::outcome::Reason;

const RECORD: &str = r#"{"table":"contacts","key":{"a":"x"},"columns":{"n":1.50}}"#;

fn envelope(item: &Json, metadata: &Json) -> Vec<u8> {
    json!({ "Data": { "record": item }, "Metadata": metadata }).to_string().into_bytes()
}

fn read(item: &Json, metadata: &Json) -> Invocation {
    Invocation::parse(&envelope(item, metadata), None).expect("an invocation")
}

#[test]
fn the_three_encodings_of_an_item_give_one_message() {
    let object: Json = serde_json::from_str(RECORD).expect("JSON");
    let once = json!(RECORD);
    let twice = json!(json!(RECORD).to_string());
    assert_eq!(read(&once, &json!({})).message, RECORD);
    assert_eq!(read(&twice, &json!({})).message, RECORD);
    let kept: Json = serde_json::from_str(&read(&object, &json!({})).message).expect("JSON");
    assert_eq!(kept, object);
}

#[test]
fn an_object_is_kept_byte_for_byte() {
    let body = r#"{"Data":{"record": { "table" : "contacts", "n":1.50 } }}"#;
    assert_eq!(
        Invocation::parse(body.as_bytes(), None).expect("an invocation").message,
        r#"{ "table" : "contacts", "n":1.50 }"#
    );
}

#[test]
fn what_the_last_delivery_does_not_settle_becomes_a_dead_letter_with_its_cause() {
    let outcome = |reason| Outcome { attempts: Some(10), ..Outcome::new(reason) };
    let answer =
        |outcome, message: &str| Answer::new(&outcome, message, "id", datetime!(2026-11-23 10:00 UTC), None, Vec::new);
    for reason in Reason::ALL.into_iter().filter(|reason| reason.disposition() == Disposition::Retry) {
        let phrase = format!("retry/{}", reason.code());
        assert_eq!(answer(outcome(reason), RECORD), Answer::Failed { reason_phrase: phrase.clone() }, "not the last");
        let Answer::Done(body) = answer(outcome(reason).on_last_attempt(), RECORD) else { panic!("{reason:?}") };
        let body: Json = serde_json::from_str(&body).expect("JSON");
        let letter = &body["Outputs"]["deadLetter"];
        assert_eq!((&letter["reason"], &letter["message"]), (&json!(reason.code()), &json!(RECORD)));
        assert_eq!(letter["detail"], "this was the last attempt, number 10");
        // A letter that does not fit is left to the host.
        let mut state = 1_u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            char::from(b'!' + u8::try_from(state >> 24).expect("a byte") % 90)
        };
        let long: String = (0..60_000).map(|_| next()).collect();
        let reason_phrase = phrase + " last attempt dead letter too large";
        assert_eq!(answer(outcome(reason).on_last_attempt(), &long), Answer::Failed { reason_phrase });
    }
    let settled = outcome(Reason::Upserted).on_last_attempt();
    assert_eq!(settled.detail, None, "a record that is settled needs no more attempts");
}

#[test]
fn keeps_messages_that_are_not_json() {
    for message in ["hello", "", "{broken", "\"quoted\"", "\u{fffd}\u{0}\u{1}", "[1,2]", "7"] {
        let twice = json!(json!(message).to_string());
        assert_eq!(read(&twice, &json!({})).message, message);
    }
}

#[test]
fn keeps_an_item_with_half_of_a_surrogate_pair_as_written() {
    let body = r#"{"Data":{"record":"\ud83d{\"table\":1}"},"Metadata":{"DequeueCount":"\udc00"}}"#;
    let invocation = Invocation::parse(body.as_bytes(), None).expect("an invocation");
    assert_eq!(invocation.message, r#""\ud83d{\"table\":1}""#);
    assert_eq!((invocation.dequeue_count, invocation.insertion_time), (None, None));
}

#[test]
fn the_dequeue_count_is_read_in_every_notation() {
    for count in [json!("3"), json!("\"3\""), json!(3)] {
        assert_eq!(read(&json!(RECORD), &json!({ "DequeueCount": count })).dequeue_count, Some(3));
    }
    assert_eq!(read(&json!(RECORD), &json!({})).dequeue_count, None);
    assert_eq!(read(&json!(RECORD), &json!({ "DequeueCount": "many" })).dequeue_count, None);
}

#[test]
fn a_message_cannot_set_its_dequeue_count() {
    for message in [
        r#"{"table":"contacts","DequeueCount":"1"}"#,
        r#"{"table":"contacts","dequeuecount":9}"#,
        r#"{"\u0044equeueCount":"1"}"#,
        r#"{"DequeueCount":1,"DequeueCount":2}"#,
        r#"{"\u0044equeueCount":1,"a":1,"a":2}"#,
        r#"/* a comment */{"DequeueCount":1}"#,
        r#"{"DEQUEUECOUNT":1,"#,
        r#"{"\u0044equeueCount":1,"#,
    ] {
        let twice = json!(json!(message).to_string());
        assert_eq!(read(&twice, &json!({ "DequeueCount": "1" })).dequeue_count, None, "{message}");
    }
}

#[test]
fn a_message_that_cannot_have_set_the_count_keeps_it() {
    for message in
        [r#"{"table":"contacts","columns":{"DequeueCount":1}}"#, r#"{"table":"#, "hello", "[1]", r#"{"a":1,"a":2}"#]
    {
        let twice = json!(json!(message).to_string());
        assert_eq!(read(&twice, &json!({ "DequeueCount": "2" })).dequeue_count, Some(2), "{message}");
    }
}

#[test]
fn the_insertion_time_is_read_in_every_notation() {
    for time in [json!("2026-11-28T22:37:45+01:00"), json!("\"2026-11-28T21:37:45Z\"")] {
        let found = read(&json!(RECORD), &json!({ "InsertionTime": time })).insertion_time;
        assert_eq!(found, Some(datetime!(2026-11-28 21:37:45 UTC)), "{time}");
    }
    for metadata in [json!({}), json!({ "InsertionTime": null }), json!({ "InsertionTime": "11/28/2026 21:37:45" })] {
        assert_eq!(read(&json!(RECORD), &metadata).insertion_time, None, "{metadata}");
    }
}

#[test]
fn a_message_cannot_set_its_insertion_time_and_one_value_does_not_hide_the_other() {
    let metadata = json!({ "DequeueCount": "2", "InsertionTime": "2026-11-28T21:37:45+00:00" });
    let time = Some(datetime!(2026-11-28 21:37:45 UTC));
    for (message, insertion_time, dequeue_count) in [
        (RECORD, time, Some(2)),
        ("hello", time, Some(2)),
        (r#"{"insertiontime":"2020-01-01T00:00:00Z"}"#, None, Some(2)),
        (r#"{"\u0049nsertionTime":"2020-01-01T00:00:00Z"}"#, None, Some(2)),
        (r"{'InsertionTime':'2020-01-01T00:00:00Z'}", None, Some(2)),
        (r#"{"dequeueCount":9}"#, time, None),
        (r"{'\u0049nsertionTime':1}", None, None),
    ] {
        let found = read(&json!(json!(message).to_string()), &metadata);
        assert_eq!((found.insertion_time, found.dequeue_count), (insertion_time, dequeue_count), "{message}");
    }
}

#[test]
fn rejects_a_body_that_is_not_an_invocation() {
    let problem = |body: &[u8]| Invocation::parse(body, None).expect_err("not an invocation");
    assert!(problem(b"nonsense").contains("invalid JSON, line 1"));
    assert!(problem(b"{}").contains("unexpected JSON"));
    assert!(problem(br#"{"Data":{"item":"x"}}"#).contains("no `record`"));
}

fn answer(reason: Reason) -> Answer {
    let mut outcome = Outcome::new(reason).detail("because");
    outcome.key_hash = Some("0123456789ab".to_owned());
    outcome.attempts = Some(2);
    let lines = || vec!["record settled outcome=applied".to_owned()];
    Answer::new(&outcome, "{the \"original\"\n", "id-1", datetime!(2026-11-23 10:00 UTC), None, lines)
}

#[test]
fn every_reason_phrase_is_short_and_printable() {
    for reason in Reason::ALL.into_iter().filter(|reason| reason.disposition() == Disposition::Retry) {
        let mut outcome = Outcome::new(reason).detail("canary\r\n\u{1b}").on_last_attempt();
        (outcome.key_hash, outcome.table) = (Some("0123456789ab".to_owned()), Some("canary".to_owned()));
        outcome.disposition = Disposition::Retry;
        let text = reason_phrase(&outcome);
        assert_eq!(text, format!("retry/{} key=0123456789ab last attempt", reason.code()));
        assert!(text.len() <= 64 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)), "{text}");
    }
}

#[test]
fn a_retry_fails_with_its_reason_in_the_reason_phrase() {
    assert_eq!(
        answer(Reason::LockBusy),
        Answer::Failed { reason_phrase: "retry/lock_busy key=0123456789ab".to_owned() }
    );
}

#[test]
fn a_settled_message_is_answered_with_the_object_that_the_host_requires() {
    let Answer::Done(body) = answer(Reason::Upserted) else { panic!("settled") };
    let body: Json = serde_json::from_str(&body).expect("JSON");
    assert_eq!(body, json!({ "Outputs": {}, "Logs": ["record settled outcome=applied"], "ReturnValue": null }));
}

#[test]
fn a_rejected_message_is_kept_unchanged_in_the_dead_letter() {
    let Answer::Done(body) = answer(Reason::InvalidMessage) else { panic!("settled") };
    let body: Json = serde_json::from_str(&body).expect("JSON");
    assert_eq!(
        body["Outputs"]["deadLetter"],
        json!({
            "message": "{the \"original\"\n", "reason": "invalid_message", "detail": "because", "attempts": 2,
            "invocationId": "id-1", "at": "2026-11-23T10:00:00Z",
        })
    );
}
