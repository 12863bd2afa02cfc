//! Invariants of the five inputs (the host's request, a message, a dead letter, the body of an error response, the answer to a
//! batch) for any bytes.
//!
//! The fuzz targets in this folder call these functions with generated input; `tests/it/fuzz.rs` calls them with the
//! files in `corpus/`. A violation panics; the returned flag says whether the input was valid.

use dataverse_sync::classify::{Attempt, Verdict, is_known, judge};
use dataverse_sync::dataverse::client::multipart;
use dataverse_sync::dataverse::error_body::{self, MESSAGE_CAP};
use dataverse_sync::dataverse::{Error, WriteKind};
use dataverse_sync::dead_letters;
use dataverse_sync::host::{Answer, Invocation, MessageEncoding};
use dataverse_sync::outcome::{Disposition, Outcome, Reason};
use dataverse_sync::record::{Record, decode};
use serde_json::{Value, json};
use time::OffsetDateTime;

/// If the host's request is an invocation, its dead letter contains the message unchanged, and a replay delivers the
/// same message. Returns whether it was an invocation.
pub fn envelope(body: &[u8]) -> bool {
    let Ok(Invocation { message, .. }) = Invocation::parse(body, None) else { return false };
    if let Some(kept) = in_dead_letter(&message) {
        assert_eq!(kept, message, "the dead letter has another message");
    }
    // The host sends a queue message as a JSON string, encoded a second time.
    let envelope = json!({ "Data": { "record": json!(message).to_string() } }).to_string();
    let again = Invocation::parse(envelope.as_bytes(), None).expect("an invocation");
    assert_eq!(again.message, message, "the message changed when it was put again");
    record(message.as_bytes());
    true
}

/// The message in its dead letter, unless it is packed or too large.
fn in_dead_letter(message: &str) -> Option<String> {
    let rejected = Outcome::new(Reason::InvalidMessage).detail("because");
    let answer = Answer::new(&rejected, message, "id", OffsetDateTime::UNIX_EPOCH, None, Vec::new);
    let Answer::Done(answer) = answer else { return None };
    let answer: Value = serde_json::from_str(&answer).expect("the host needs JSON");
    let letter = &answer["Outputs"]["deadLetter"];
    assert_ne!(letter.get("message").is_some(), letter.get("messageGzip").is_some(), "one of the two: {letter}");
    letter["message"].as_str().map(str::to_owned)
}

/// A message decodes to a record that keeps its invariants, or to an error with a text. Returns whether it was a
/// record.
pub fn record(message: &[u8]) -> bool {
    let record = match decode(&message.to_vec().into()) {
        Ok(record) => record,
        Err((error, _)) => {
            assert!(!error.to_string().is_empty(), "an error without a text");
            return false;
        }
    };
    let columns = record.key.columns();
    assert!(columns.is_sorted_by(|a, b| a.name < b.name), "key columns are sorted and unique");
    assert!(
        record.columns.list().iter().all(|column| columns.iter().all(|key| key.name != column.name)),
        "a key column is left"
    );
    let name = record.key.lock_name("", &record.table);
    let (table, hash) = name.rsplit_once('-').expect("a table and a hash");
    assert!(table == record.table && hash.len() == 64, "{name} is not a lock's name");
    let again = decode(&written_again(&record).into()).unwrap_or_else(|(error, _)| panic!("not read again: {error}"));
    assert_eq!(again.key, record.key, "the key has changed");
    assert_eq!(again.key.lock_name("", &again.table), name, "equal keys have different locks");
    true
}

/// The smallest message with the same table, key and columns.
fn written_again(record: &Record) -> String {
    let columns = record.columns.list();
    let columns = columns.iter().map(|column| format!("{}:{}", json!(column.name), column.value.get()));
    let columns: Vec<_> = columns.collect();
    format!(r#"{{"table":{},"key":{},"columns":{{{}}}}}"#, json!(record.table), record.key_sent, columns.join(","))
}

/// Every command prints a message of the poison queue, whatever it is, without a character that controls a terminal, and a
/// dead letter's message is exported unchanged. Returns whether it was a dead letter.
pub fn letter(text: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(text) else { return false };
    let is_letter = [MessageEncoding::None, MessageEncoding::Base64].map(|encoding| {
        let [shown, exported, listed] = dead_letters::render(text, encoding);
        for lines in [shown, listed] {
            assert!(!lines.contains(|c: char| c.is_control() && c != '\n'), "{lines:?}");
        }
        exported_json(&exported)["reason"].is_string()
    });
    let wrapped = json!({ "message": text, "reason": "exists", "at": "2026-11-23T10:00:00Z" }).to_string();
    let [_, exported, _] = dead_letters::render(&wrapped, MessageEncoding::None);
    assert_eq!(exported_json(&exported)["message"], text, "the message has changed");
    is_letter.contains(&true)
}

fn exported_json(line: &str) -> Value {
    assert!(!line.contains(char::is_control), "{line:?}");
    serde_json::from_str(line).expect("one JSON object")
}

/// The statuses that each body is classified with: documented ones and some others.
const STATUSES: [u16; 20] =
    [302, 400, 401, 403, 404, 405, 407, 408, 409, 412, 413, 418, 425, 429, 500, 501, 502, 503, 504, 599];

const KINDS: [WriteKind; 7] = [
    WriteKind::Upsert,
    WriteKind::Create,
    WriteKind::Update,
    WriteKind::UpdateUnchanged,
    WriteKind::Delete,
    WriteKind::DeleteUnchanged,
    WriteKind::Read,
];

/// The code and text of an error body stay within their bounds, no prefix of the body gives another code, and the
/// verdict keeps the laws of [`dataverse_sync::classify`]. Returns whether there was a code.
pub fn error_body(body: &[u8]) -> bool {
    let error_body::ServiceError { code, message } = error_body::read(body);
    assert_ne!(code, Some(0), "zero is not a code");
    let length = message.as_ref().map(|text| text.chars().count());
    assert!(length.is_none_or(|length| length <= MESSAGE_CAP), "a text of {length:?} characters");
    for end in (0..body.len()).step_by(1 + body.len() / 64) {
        let early = error_body::read(&body[..end]).code;
        assert!(early.is_none() || code.is_none() || early == code, "a prefix has {early:x?}, all of it {code:x?}");
    }
    for status in STATUSES {
        let fault = Error::Answered {
            status,
            code,
            message: message.clone(),
            request_id: None,
            retry_after: None,
            sent_at: None,
        };
        for kind in KINDS {
            judged(&fault, status, code, kind);
        }
    }
    code.is_some()
}

fn judged(fault: &Error, status: u16, code: Option<u32>, kind: WriteKind) {
    for (binds, again) in [(false, 0), (true, 0), (false, u32::MAX)] {
        let verdict = judge(fault, Attempt { kind, binds, impersonates: again % 2 == 0, again });
        let Verdict::Settle(reason) = verdict else { continue };
        let disposition = reason.disposition();
        assert_ne!(disposition, Disposition::Applied, "an error response is not a success: {fault:?} {kind:?}");
        let mendable = matches!(status, 401 | 403 | 407 | 429) && !code.is_some_and(is_known);
        assert!(!mendable || disposition == Disposition::Retry, "the message is lost: {fault:?} {kind:?}");
    }
    let ends = judge(fault, Attempt { kind, binds: true, impersonates: false, again: u32::MAX });
    assert_ne!(ends, Verdict::Again, "it is sent again without end: {fault:?} {kind:?}");
}

/// The parts of an answer to a batch are within it and have a status, and a part that is known when the answer breaks off is
/// the same in the whole answer. The boundary is what the first line has after `--`, the number of requests the number of
/// `HTTP/1.1`. Returns whether an answer was read.
pub fn batch(answer: &[u8]) -> bool {
    let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let boundary = String::from_utf8_lossy(line.strip_prefix(b"--").unwrap_or_default());
    let content_type = format!("multipart/mixed; boundary={boundary}");
    let expected = answer.windows(8).filter(|window| window == b"HTTP/1.1").count();
    let read = |end: usize| multipart::read(&content_type, &answer[..end].to_vec().into(), expected);
    let whole = read(answer.len());
    assert_eq!(whole.len(), expected, "an outcome for each request");
    let length: usize = whole.iter().flatten().map(|part| part.body().len()).sum();
    assert!(length <= answer.len(), "{length} bytes of {}", answer.len());
    assert!(whole.iter().flatten().all(|part| (200..=599).contains(&part.status().as_u16())), "{whole:?}");
    for end in (0..answer.len()).step_by(1 + answer.len() / 64) {
        for (early, late) in read(end).iter().zip(&whole) {
            let (Some(early), Some(late)) = (early, late) else { continue };
            assert_eq!(
                (early.status(), early.body()),
                (late.status(), late.body()),
                "a prefix of {end} has another part"
            );
        }
    }
    whole.iter().any(Option::is_some)
}
