//! A message's text stays unchanged from the envelope to the dead letter, whatever it is and however it was encoded.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Arbitrary text, and texts that look like the envelope's own encodings.
fn texts() -> impl Strategy<Value = String> {
    let awkward =
        select(vec![RECORD, "", "\"", "\"a\"", "\"\\ud800\"", "null", "7", "[1]", "{", "\u{0}\u{1f600}\u{fffd}"]);
    let awkward = awkward.prop_map(str::to_owned);
    prop_oneof![any::<String>(), awkward.clone(), (awkward, 1..4_usize).prop_map(|(text, times)| encoded(&text, times))]
}

fn encoded(text: &str, times: usize) -> String {
    (0..times).fold(text.to_owned(), |text, _| json!(text).to_string())
}

/// JSON objects with spaces in unusual places.
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
    let Answer::Done(body) = Answer::new(
        &Outcome::new(Reason::InvalidMessage),
        message,
        "id",
        datetime!(2026-11-23 10:00 UTC),
        None,
        Vec::new,
    ) else {
        panic!("a rejected message is finished");
    };
    let body: Json = serde_json::from_str(&body).expect("JSON");
    let letter = DeadLetter::parse(body["Outputs"]["deadLetter"].to_string().as_bytes());
    letter.expect("a dead letter").message.into()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn a_text_that_the_host_encoded_is_unchanged_in_the_dead_letter(text in texts()) {
        let message = read(&json!(encoded(&text, 1)), &json!({})).message;
        prop_assert_eq!(dead_letter(&message), json!(text));
    }

    #[test]
    fn a_text_in_a_plain_string_is_too_unless_it_is_such_an_encoding_itself(text in texts()) {
        let message = read(&json!(text), &json!({})).message;
        let inner: Option<String> = serde_json::from_str(&text).ok();
        prop_assert_eq!(dead_letter(&message), json!(inner.unwrap_or(text)));
    }

    #[test]
    fn an_object_is_too_byte_for_byte(object in objects()) {
        let envelope = format!(r#"{{"Data":{{"record":{object}}},"Metadata":{{}}}}"#);
        let message = Invocation::parse(envelope.as_bytes(), None).expect("an invocation").message;
        prop_assert_eq!(dead_letter(&message), json!(object));
    }

    #[test]
    fn whatever_the_message_contains_a_count_is_the_hosts(
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
    fn any_bytes_are_an_invocation_or_an_error(body in vec(any::<u8>(), 0..300)) {
        if let Ok(invocation) = Invocation::parse(&body, None) {
            prop_assert_eq!(dead_letter(&invocation.message), json!(invocation.message));
        }
    }

    #[test]
    fn a_truncated_envelope_is_an_error_and_a_damaged_one_keeps_its_message_or_is_an_error(
        text in any::<String>(),
        end in any::<Index>(),
        byte in any::<u8>(),
    ) {
        let mut body = envelope(&json!(encoded(&text, 1)), &json!({ "DequeueCount": "1" }));
        let at = end.index(body.len());
        prop_assert!(Invocation::parse(&body[..at], None).is_err());
        body[at] = byte;
        if let Ok(invocation) = Invocation::parse(&body, None) {
            prop_assert_eq!(dead_letter(&invocation.message), json!(invocation.message));
        }
    }
}
