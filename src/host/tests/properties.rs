//! The original of a message is never lost: in at the envelope, out in the dead letter, whatever it is and however it came.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Any text, and texts that look like the envelope's own encodings.
fn texts() -> impl Strategy<Value = String> {
    let awkward =
        select(vec![RECORD, "", "\"", "\"a\"", "\"\\ud800\"", "null", "7", "[1]", "{", "\u{0}\u{1f600}\u{fffd}"]);
    let awkward = awkward.prop_map(str::to_owned);
    prop_oneof![any::<String>(), awkward.clone(), (awkward, 1..4_usize).prop_map(|(text, times)| encoded(&text, times))]
}

fn encoded(text: &str, times: usize) -> String {
    (0..times).fold(text.to_owned(), |text, _| json!(text).to_string())
}

/// JSON objects with spaces where nobody puts any.
fn objects() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        any::<f64>().prop_filter("JSON has no infinity", |number| number.is_finite()).prop_map(|n| json!(n)),
        any::<String>().prop_map(|text| json!(text)),
        Just(json!(null)),
        Just(json!([{ "a": [] }]))
    ];
    vec((any::<String>(), value, " {0,3}"), 0..5).prop_map(|members| {
        let members: Vec<_> =
            members.into_iter().map(|(name, value, space)| format!("{space}{}:{space}{value}", json!(name))).collect();
        format!("{{{}}}", members.join(","))
    })
}

fn dead_letter(message: &str) -> Json {
    let Answer::Done(body) =
        Answer::new(&Outcome::new(Reason::InvalidMessage), message, "id", datetime!(2026-11-23 10:00 UTC), Vec::new)
    else {
        panic!("a rejected message is done with");
    };
    let mut body: Json = serde_json::from_str(&body).expect("JSON");
    body["Outputs"]["deadLetter"]["message"].take()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_text_that_the_host_encoded_comes_out_of_the_dead_letter_unchanged(text in texts()) {
        let message = read(&json!(encoded(&text, 1)), &json!({})).message;
        prop_assert_eq!(dead_letter(&message), json!(text));
    }

    #[test]
    fn a_text_in_a_plain_string_does_too_unless_it_is_such_an_encoding_itself(text in texts()) {
        let message = read(&json!(text), &json!({})).message;
        let inner: Option<String> = serde_json::from_str(&text).ok();
        prop_assert_eq!(dead_letter(&message), json!(inner.unwrap_or(text)));
    }

    #[test]
    fn an_object_does_byte_for_byte(object in objects()) {
        let envelope = format!(r#"{{"Data":{{"record":{object}}},"Metadata":{{}}}}"#);
        let message = Invocation::read(envelope.as_bytes()).expect("an invocation").message;
        prop_assert_eq!(dead_letter(&message), json!(object));
    }

    #[test]
    fn whatever_the_message_says_a_count_is_the_hosts(
        text in texts(),
        object in objects(),
        count in any::<u32>(),
    ) {
        for message in [&text, &object] {
            let found = read(&json!(encoded(message, 1)), &json!({ "DequeueCount": count.to_string() })).dequeue_count;
            prop_assert!(found.is_none() || found == Some(count));
        }
    }

    #[test]
    fn the_usual_form_is_read_as_the_json_reader_reads_it(
        text in prop_oneof![texts(), objects()],
        place in any::<Index>(),
        piece in select(vec!["", "\\", "\"", "\\\"", "\\\\n", "\\u0022", "\n", "}", ",\"a\":1", "\\\"\"},\"Metadata\":{"]),
    ) {
        let request = envelope(&json!(encoded(&text, 1)), &json!({ "DequeueCount": "1", "Id": "x" }));
        let mut request = String::from_utf8(request).expect("JSON is text");
        let end = request.rfind("DequeueCount").expect("it is there");
        request.insert_str((0..=place.index(end)).rev().find(|at| request.is_char_boundary(*at)).unwrap_or(0), piece);
        // Behind the count it does not look, and accepts what is no JSON.
        if let (Some(usual), Ok(any)) = (Invocation::usual(&request), Invocation::any(&request)) {
            prop_assert_eq!(usual, any);
        }
        prop_assert!(!piece.is_empty() || Invocation::any(&request).is_ok());
    }

    #[test]
    fn any_bytes_are_an_invocation_or_an_error(body in vec(any::<u8>(), 0..300)) {
        if let Ok(invocation) = Invocation::read(&body) {
            prop_assert_eq!(dead_letter(&invocation.message), json!(invocation.message));
        }
    }

    #[test]
    fn an_envelope_that_breaks_off_is_an_error_and_one_that_goes_wrong_keeps_its_message_or_is_one(
        text in any::<String>(),
        end in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = envelope(&json!(encoded(&text, 1)), &json!({ "DequeueCount": "1" }));
        let at = end.index(body.len());
        prop_assert!(Invocation::read(&body[..at]).is_err());
        body[at] = byte;
        if let Ok(invocation) = Invocation::read(&body) {
            prop_assert_eq!(dead_letter(&invocation.message), json!(invocation.message));
        }
    }
}
