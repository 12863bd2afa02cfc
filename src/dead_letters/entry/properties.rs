//! Whatever text a message of the poison queue has, it is read, selected, counted, shown, exported and copied without a panic.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use time::macros::datetime;

use super::*;
use crate::dead_letters::filter::Filter;
use crate::dead_letters::replay::copy_text;
use crate::dead_letters::summary::Summary;

const ENCODINGS: [MessageEncoding; 2] = [MessageEncoding::None, MessageEncoding::Base64];

/// Everything that the commands do with a message besides their requests.
fn pass_through_all_commands(text: &str) {
    for encoding in ENCODINGS {
        let entry = Entry::example_stored_as(text.to_owned(), encoding);
        let mut summary = Summary::default();
        summary.add(&entry);
        summary.add(&Entry::example(b"{}"));
        summary.add(&entry);
        assert_eq!(summary.table(None).lines().next().map(|line| line.starts_with("messages")), Some(true));
        serde_json::to_string(&summary).expect("plain data");
        for filter in Filter::examples() {
            filter.matches(&entry, datetime!(2026-11-24 12:00 UTC));
        }
        let (line, shown) = (entry.to_json(), entry.to_string());
        assert!(serde_json::from_str::<serde_json::Value>(&line).is_ok_and(|line| line["id"] == "5f0c"), "{line}");
        assert!(shown.starts_with("dead letter 5f0c\n"), "{shown}");
        assert!(!line.contains(char::is_control) && !shown.contains(|c: char| c.is_control() && c != '\n'), "{shown}");
        for copy_as in ENCODINGS {
            copy_text(copy_as, &entry);
        }
    }
}

/// Texts that read as times, at and beyond the ends of what the `time` crate and RFC 3339 hold.
fn times() -> impl Strategy<Value = String> {
    let offset = prop_oneof![
        Just("Z".to_owned()),
        (select(&["+", "-"][..]), 0..26_u8, 0..62_u8)
            .prop_map(|(sign, hour, minute)| format!("{sign}{hour:02}:{minute:02}")),
    ];
    let moment = select(
        &[
            "0000-01-01T00:00:00",
            "9999-12-31T23:59:59",
            "9999-12-31T23:59:60",
            "9999-12-31 23:59:59.99999999999999999999",
            "2024-02-29T24:00:00",
            "2026-06-30T23:59:60",
            "2026-13-01T00:00:00",
        ][..],
    );
    (moment, offset).prop_map(|(moment, offset)| format!("{moment}{offset}"))
}

/// The text of a member: of another kind, too long, not writable, or base64 of gzip, also where it is cut or a bomb.
fn values() -> impl Strategy<Value = serde_json::Value> {
    let bomb = DeadLetter::packed_for_test(&" ".repeat(4 * 1024 * 1024));
    let good = DeadLetter::packed_for_test(r#"{"table":"contacts","key":{"a":1},"columns":{}}"#);
    let cut = good[..good.len() / 2].to_owned();
    prop_oneof![
        times().prop_map(Into::into),
        any::<String>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        any::<u64>().prop_map(Into::into),
        any::<f64>().prop_map(|number| json!(number)),
        vec(any::<u8>(), 0..40).prop_map(|bytes| STANDARD.encode(bytes).into()),
        select(vec![
            json!(null),
            json!(true),
            json!([]),
            json!({}),
            json!("exists"),
            json!("\u{fffe}\u{1b}[2J\u{202e}"),
            json!("x".repeat(70_000)),
            json!(bomb),
            json!(good),
            json!(cut),
            json!({ "status": 70_000, "code": 7 }),
            json!({ "status": 412, "code": "0x1\n", "message": "\u{85}", "requestId": "" }),
            json!(
                r#"{"table":"contacts","key":{"a":1e999999999999},"columns":{},"version":"9999-12-31T23:59:59-23:59"}"#
            ),
            json!(r#"{"specversion":"1.0","source":"s","id":"i","data":{"specversion":"1.0","data":{}}}"#),
        ]),
    ]
}

/// A letter with a hostile value in any of its members, often in one only.
fn letters() -> impl Strategy<Value = String> {
    const NAMES: [&str; 8] =
        ["message", "messageGzip", "reason", "detail", "dataverse", "attempts", "invocationId", "at"];
    let good = json!({ "message": "{}", "reason": "exists", "at": "2026-11-24T09:00:00Z" });
    let hostile = vec((select(&NAMES[..]), option::weighted(0.9, values())), 0..4);
    (times(), any::<bool>(), hostile).prop_map(move |(at, strange_time, hostile)| {
        let mut letter = good.clone();
        if strange_time {
            letter["at"] = at.into();
        }
        for (name, value) in hostile {
            match value {
                Some(value) => letter[name] = value,
                None => drop(letter.as_object_mut().map(|letter| letter.remove(name))),
            }
        }
        letter.to_string()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    #[test]
    fn no_letter_stops_a_command(letter in letters(), in_base64 in any::<bool>()) {
        pass_through_all_commands(&if in_base64 { STANDARD.encode(&letter) } else { letter });
    }

    #[test]
    fn no_text_stops_a_command(text in any::<String>(), bytes in vec(any::<u8>(), 0..100)) {
        pass_through_all_commands(&text);
        pass_through_all_commands(&STANDARD.encode(bytes));
    }
}

#[test]
fn a_time_that_does_not_exist_in_utc_is_shown_as_it_was_written() {
    let letter = r#"{"message":"x","reason":"exists","at":"9999-12-31T23:59:59-23:59"}"#;
    pass_through_all_commands(letter);
    let shown = Entry::example(letter.as_bytes()).to_string();
    assert!(shown.contains("  rejected    9999-12-31T23:59:59-23:59\n"), "{shown}");
}

/// Each level would take a part of the stack, and a pass over all that is within it.
#[test]
fn an_event_within_an_event_is_not_read() {
    let levels = 5_000;
    let event = format!("{}{{}}{}", r#"{"specversion":"1.0","data":"#.repeat(levels), "}".repeat(levels));
    let letter =
        json!({ "messageGzip": DeadLetter::packed_for_test(&event), "reason": "exists", "at": "2026-11-24T09:00:00Z" });
    let entry = Entry::example(letter.to_string().as_bytes());
    assert_eq!((entry.reason(), entry.original.len()), (Some("exists"), event.len()));
    pass_through_all_commands(&letter.to_string());
}
