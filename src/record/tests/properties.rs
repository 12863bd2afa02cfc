//! Any bytes decode to a record that keeps its invariants, or to an error with a text, without a panic.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// Valid messages of every form, which the tests mutate.
const MESSAGES: [&str; 7] = [
    r#"{"table":"contacts","key":"9b2e0c3a-1111-4222-8333-444455556666","columns":{"firstname":"Ada","n":1.50e3}}"#,
    r#"{"table":"orders","key":{"n":-12.50,"r":"O'N\u00e4"},"columns":{"n":-1250e-2,"name":null,"o@odata.bind":["/x(1)"]}}"#,
    r#"{"table":"x","key":{"_p_value":"{9B2E0C3A-1111-4222-8333-444455556666}"},"operation":"delete"}"#,
    r#"{"table":"a","key":{"k":"v"},"columns":{"b@odata.bind":"/a(1)"},"version":17,"onConflict":"skip"}"#,
    r#"{"table":"a","key":{"k":"v"},"columns":{},"version":"2026-01-31T08:00:00+01:00","source":"hr","messageId":"m"}"#,
    r#"{"specversion":"1.0","source":"shop","id":"ev","data":{"table":"a","key":{"k":0},"columns":{"t":true}}}"#,
    r#"{"table":"a","key":{"k":"\ud83d\ude00"},"columns":{"half":"\ud83d"},"operation":"update"}"#,
];

/// Pieces of JSON that are inserted, besides random bytes.
const PIECES: &str = r#"{ } [ ] " : , \ \u \ud800 null true - 0 e99999999999 . {} "a":1,"#;

#[derive(Debug, Clone)]
enum Edit {
    Remove { at: Index, length: usize },
    Insert { at: Index, bytes: Vec<u8> },
    Repeat { at: Index, length: usize },
}

impl Edit {
    fn apply(&self, message: &mut Vec<u8>) {
        let (Self::Remove { at, .. } | Self::Insert { at, .. } | Self::Repeat { at, .. }) = self;
        let start = at.index(message.len() + 1);
        match self {
            Self::Remove { length, .. } => drop(message.drain(start..message.len().min(start + length))),
            Self::Insert { bytes, .. } => drop(message.splice(start..start, bytes.iter().copied())),
            Self::Repeat { length, .. } => message.extend_from_within(start..message.len().min(start + length)),
        }
    }
}

fn edits() -> impl Strategy<Value = Edit> {
    let pieces: Vec<_> = PIECES.split(' ').chain(["\u{0}", "\u{1F600}"]).collect();
    let piece = select(pieces).prop_map(|piece| piece.as_bytes().to_vec());
    let bytes = prop_oneof![3 => piece, 1 => vec(any::<u8>(), 1..4)];
    prop_oneof![
        (any::<Index>(), 1..9_usize).prop_map(|(at, length)| Edit::Remove { at, length }),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Edit::Insert { at, bytes }),
        (any::<Index>(), 1..99_usize).prop_map(|(at, length)| Edit::Repeat { at, length }),
    ]
}

fn keeps_its_invariants(message: &[u8]) -> Result<(), TestCaseError> {
    let record = match decode(&Bytes::copy_from_slice(message)) {
        Ok(record) => record,
        Err((error, _)) => {
            prop_assert!(!error.to_string().is_empty());
            return Ok(());
        }
    };
    let keys = record.key.columns();
    prop_assert!(keys.is_sorted_by(|a, b| a.name < b.name), "sorted, and each once");
    prop_assert!(record.columns.list().iter().all(|column| keys.iter().all(|key| key.name != column.name)));
    prop_assert!(record.table.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{}", record.table);
    let text = std::str::from_utf8(message).expect("a record is text");
    prop_assert!(text.contains(record.key_sent.get()), "the key is as it was sent");
    prop_assert!(record.columns.list().iter().all(|column| text.contains(column.value.get())), "and so is every value");
    prop_assert_eq!(record.key.lock_name("", &record.table).len(), record.table.len() + 65);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn any_bytes_are_a_record_or_an_error(message in vec(any::<u8>(), 0..300)) {
        keeps_its_invariants(&message)?;
    }

    #[test]
    fn any_text_in_braces_is_a_record_or_an_error(text in any::<String>()) {
        keeps_its_invariants(format!("{{{text}}}").as_bytes())?;
    }

    #[test]
    fn a_mutated_record_is_a_record_or_an_error(
        message in select(&MESSAGES[..]),
        edits in vec(edits(), 0..5),
    ) {
        let mut message = message.as_bytes().to_vec();
        for edit in &edits {
            edit.apply(&mut message);
        }
        keeps_its_invariants(&message)?;
    }
}

#[test]
fn the_messages_that_are_mutated_are_records() {
    for message in MESSAGES {
        record(message);
    }
}
