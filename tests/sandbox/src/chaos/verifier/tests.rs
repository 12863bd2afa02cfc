//! A small consistent run; each test changes a piece of the evidence and expects exactly that difference.

use std::time::Duration;

use super::super::evidence::{DeadLetter, Delivery, Lease};
use super::super::workload::Defect;
use super::*;

const V: &str = "canary-V-0";
const P: &str = "canary-P-0";

/// Indices into the workload: the messages' numbers.
const OLDER: usize = 0;
const NEWER: usize = 1;
const PLAIN: usize = 2;
const INVALID: usize = 3;
const FIRST: usize = 4;
const SECOND: usize = 5;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(number: usize, family: Family, key: &str, operation: Operation, version: Option<i64>) -> Message {
    let (source, policy, at) = ("hr", None, seconds(1));
    Message { number, family, key: key.into(), source, operation, version, policy, at, copies: 1, text: String::new() }
}

fn workload() -> Workload {
    use Operation::{Create, Upsert};
    let invalid = Family::Invalid(Defect::TooLong);
    let messages = vec![
        message(OLDER, Family::Versioned, V, Upsert, Some(1)),
        message(NEWER, Family::Versioned, V, Upsert, Some(2)),
        message(PLAIN, Family::Plain, P, Upsert, None),
        message(INVALID, invalid, "canary-D-3", Upsert, None),
        message(FIRST, Family::Created, "canary-C-0", Create, None),
        message(SECOND, Family::Created, "canary-C-0", Create, None),
    ];
    Workload { messages }
}

/// The delivery of each message took from second 2 to second 4.
fn reported(message: usize, text: &str) -> Delivery {
    let (host, invocation) = ("one".to_owned(), format!("i-{message}"));
    let end = End::Reported(format!("{text} key=0123 table=contacts"));
    Delivery { message, host, count: 1, started: seconds(2), ended: seconds(4), invocation, end }
}

fn write(message: usize, key: &str, change: Change, start: u64) -> Write {
    let commit = Some(seconds(start));
    let (start, end) = (seconds(start), seconds(start + 1));
    let (host, key) = ("one".to_owned(), Some(key.to_owned()));
    Write { host, message: Some(message), key, start, end, commit, change: Some(change), status: Some(204) }
}

fn lease(host: &str, key: &str, granted: u64) -> Lease {
    let (until, granted) = (seconds(granted + 15), seconds(granted));
    Lease { host: host.into(), key: key.into(), id: "l".into(), granted, until, released: None, taken: None }
}

fn row(key: &str, message: usize, version: Option<i64>) -> Row {
    Row { key: key.to_owned(), message: Some(message), whole: true, version }
}

fn letter(message: usize, reason: Option<&str>) -> DeadLetter {
    let invocation = format!("i-{message}");
    DeadLetter { message: Some(message), reason: reason.map(str::to_owned), at: seconds(4), invocation }
}

fn evidence() -> Evidence {
    Evidence {
        deliveries: vec![
            reported(NEWER, "applied/created"),
            reported(OLDER, "skipped/superseded"),
            reported(PLAIN, "applied/upserted"),
            reported(INVALID, "rejected/invalid_data"),
            reported(FIRST, "applied/created"),
            reported(SECOND, "rejected/exists"),
        ],
        writes: vec![
            write(NEWER, V, Change::Created, 2),
            write(PLAIN, P, Change::Created, 2),
            write(FIRST, "canary-C-0", Change::Created, 2),
        ],
        overlaps: Vec::new(),
        rows: vec![row(V, NEWER, Some(2)), row(P, PLAIN, None), row("canary-C-0", FIRST, None)],
        dead_letters: vec![letter(INVALID, Some("invalid_data")), letter(SECOND, Some("exists"))],
        waiting: Vec::new(),
        leases: vec![lease("one", V, 1), lease("one", P, 1)],
        leaks: Vec::new(),
    }
}

/// The differences after a change of the evidence.
fn differences(change: impl FnOnce(&mut Evidence)) -> Vec<Difference> {
    let mut evidence = evidence();
    change(&mut evidence);
    verify(&workload(), &evidence).differences
}

/// Asserts that there is one difference, about these messages and with these words.
fn one(change: impl FnOnce(&mut Evidence), messages: &[usize], words: &str) {
    let found = differences(change);
    assert_eq!(found.len(), 1, "{words}: {found:?}");
    assert_eq!((found[0].messages.as_slice(), found[0].what.contains(words)), (messages, true), "{found:?}");
}

#[test]
fn consistent_evidence_has_no_differences_and_every_message_has_a_final_state() {
    let verification = verify(&workload(), &evidence());
    assert_eq!(verification.differences, []);
    let final_states: Vec<String> = verification.final_states.iter().map(FinalState::to_string).collect();
    let rejected = ["dead letter/invalid_data", "applied/created", "dead letter/exists"];
    assert_eq!(final_states[..3], ["skipped/superseded", "applied/created", "applied/upserted"]);
    assert_eq!(final_states[3..], rejected);
}

#[test]
fn a_message_without_any_evidence_is_lost() {
    one(|evidence| drop(evidence.deliveries.remove(2)), &[PLAIN], "without a reported outcome");
}

#[test]
fn a_message_in_the_queue_is_stuck_and_a_raw_one_in_poison_has_no_reason() {
    one(|evidence| evidence.waiting.push(PLAIN), &[PLAIN], "still in the queue");
    one(|evidence| evidence.dead_letters.push(letter(PLAIN, None)), &[PLAIN], "in the poison queue without a reason");
}

#[test]
fn a_row_with_an_older_version_is_a_difference() {
    let older = |evidence: &mut Evidence| evidence.rows[0] = row(V, OLDER, Some(1));
    one(older, &[NEWER, OLDER], "it has version 1, and version 2 must win");
    one(|evidence| drop(evidence.rows.remove(0)), &[NEWER], "there is no row, and version 2 must win");
}

#[test]
fn missing_mixed_duplicate_and_unexpected_rows_are_differences() {
    one(|evidence| drop(evidence.rows.remove(1)), &[PLAIN], "it holds no upsert");
    one(|evidence| evidence.rows[1].whole = false, &[PLAIN], "values of several messages");
    one(|evidence| evidence.rows.push(row(P, PLAIN, None)), &[PLAIN], "has 2 rows");
    one(|evidence| evidence.rows[1].message = Some(NEWER), &[NEWER], "the values of a message for another key");
    one(|evidence| evidence.rows.push(row("canary-X", PLAIN, None)), &[PLAIN], "has a row and no message");
    one(|evidence| evidence.rows.push(row("canary-D-3", INVALID, None)), &[INVALID], "its message is invalid");
}

#[test]
fn a_second_create_of_one_key_is_a_difference() {
    let again = |evidence: &mut Evidence| evidence.writes.push(write(SECOND, "canary-C-0", Change::Created, 3));
    one(again, &[FIRST, SECOND], "2 creates were committed");
}

#[test]
fn a_reported_outcome_needs_proof() {
    let no_commit = |evidence: &mut Evidence| drop(evidence.writes.remove(1));
    one(no_commit, &[PLAIN], "applied/upserted was reported, but its values were not committed");
    let too_late = |evidence: &mut Evidence| evidence.writes[1].commit = Some(seconds(9));
    one(too_late, &[PLAIN], "its values were not committed");
    let nonsense = |evidence: &mut Evidence| evidence.deliveries[2] = reported(PLAIN, "applied/deleted");
    one(nonsense, &[PLAIN], "does not match the operation");
    let absent = |evidence: &mut Evidence| evidence.deliveries[2] = reported(PLAIN, "skipped/superseded");
    assert_eq!(differences(absent), [], "its own values were committed before");
}

#[test]
fn superseded_needs_a_newer_version() {
    let alone = |evidence: &mut Evidence| {
        evidence.deliveries[0] = reported(NEWER, "skipped/superseded");
        evidence.writes[0] = write(OLDER, V, Change::Created, 2);
        evidence.deliveries[1] = reported(OLDER, "applied/created");
    };
    let found = differences(alone);
    assert!(found.iter().any(|difference| difference.what.contains("no such version was committed")), "{found:?}");
}

#[test]
fn a_dead_letter_needs_a_matching_cause() {
    let other = |evidence: &mut Evidence| evidence.dead_letters[0] = letter(INVALID, Some("not_found"));
    one(other, &[INVALID], "the only valid reason is invalid_data");
    let fine = |evidence: &mut Evidence| evidence.dead_letters.push(letter(PLAIN, Some("invalid_data")));
    one(fine, &[PLAIN], "the message is valid");
    let early = |evidence: &mut Evidence| evidence.dead_letters[1].at = seconds(1);
    one(early, &[SECOND], "there was no row");
    let applied = |evidence: &mut Evidence| drop(evidence.dead_letters.remove(0));
    let found = differences(applied);
    assert!(found.iter().any(|difference| difference.what.contains("its dead letter is missing")), "{found:?}");
    let strange =
        |evidence: &mut Evidence| evidence.dead_letters.push(DeadLetter { message: None, ..letter(PLAIN, None) });
    one(strange, &[], "not a message that was sent");
}

/// A second write of the versioned row, a second after the first and by another host.
fn overlapping(evidence: &mut Evidence, first: Lease, second: Lease) {
    let (mut a, mut b) = (write(OLDER, V, Change::Updated, 20), write(NEWER, V, Change::Updated, 21));
    (a.commit, a.change, b.commit, b.change) = (None, None, None, None);
    (a.end, b.host) = (seconds(30), "two".to_owned());
    let place = evidence.writes.len();
    evidence.writes.extend([a, b]);
    evidence.overlaps.push((place, place + 1));
    evidence.leases.extend([first, second]);
}

#[test]
fn overlapping_writes_under_valid_leases_are_a_difference() {
    let sure = |evidence: &mut Evidence| overlapping(evidence, lease("one", V, 10), lease("two", V, 20));
    one(sure, &[OLDER, NEWER], "each under its lease");
    let given_back = Lease { released: Some(seconds(20)), ..lease("one", V, 10) };
    one(|evidence| overlapping(evidence, given_back, lease("two", V, 20)), &[OLDER, NEWER], "each under its lease");
    let without = |evidence: &mut Evidence| {
        overlapping(evidence, lease("one", P, 10), lease("two", P, 20));
        evidence.leases.remove(0);
    };
    one(without, &[OLDER, NEWER], "each under its lease");
}

#[test]
fn overlapping_writes_after_a_lost_lease_are_counted_and_are_not_a_difference() {
    let taken = Lease { taken: Some(seconds(20)), ..lease("one", V, 10) };
    for lost in [taken, Lease { until: seconds(21), ..lease("one", V, 6) }] {
        let mut evidence = evidence();
        overlapping(&mut evidence, lost, lease("two", V, 20));
        let verification = verify(&workload(), &evidence);
        assert_eq!(
            (verification.differences.len(), verification.late_overlaps),
            (0, 1),
            "{:?}",
            verification.differences
        );
    }
}

#[test]
fn only_a_write_that_had_lost_its_lease_may_restore_a_deleted_row() {
    let mut workload = workload();
    workload.messages[NEWER] = message(NEWER, Family::Versioned, V, Operation::Delete, Some(2));
    let mut evidence = evidence();
    evidence.deliveries[0] = reported(NEWER, "skipped/already_absent");
    evidence.deliveries[1] = reported(OLDER, "applied/created");
    evidence.writes[0] = write(OLDER, V, Change::Created, 3);
    evidence.rows[0] = row(V, OLDER, Some(1));
    let sure = verify(&workload, &evidence);
    assert_eq!((sure.differences.len(), sure.brought_back), (1, 0), "{:?}", sure.differences);
    assert!(sure.differences[0].what.contains("version 2 must win"));
    evidence.leases[0].taken = Some(seconds(2));
    let late = verify(&workload, &evidence);
    assert_eq!((late.differences, late.brought_back), (vec![], 1));
}

#[test]
fn an_update_may_be_rejected_only_while_its_row_is_missing() {
    let mut workload = workload();
    workload.messages[NEWER] = message(NEWER, Family::Versioned, V, Operation::Update, Some(2));
    let mut evidence = evidence();
    evidence.deliveries[0] = reported(NEWER, "rejected/not_found");
    evidence.deliveries[1] = reported(OLDER, "applied/created");
    evidence.dead_letters.push(letter(NEWER, Some("not_found")));
    evidence.writes[0] = write(OLDER, V, Change::Created, 3);
    evidence.rows[0] = row(V, OLDER, Some(1));
    assert_eq!(verify(&workload, &evidence).differences, [], "it came while the row was missing");
    evidence.writes[0] = write(OLDER, V, Change::Created, 1);
    let differences = verify(&workload, &evidence).differences;
    assert!(differences.iter().any(|difference| difference.what.contains("the row existed all the time")));
}

#[test]
fn a_value_in_a_log_is_a_difference() {
    one(|evidence| evidence.leaks.push("one: canary-2".to_owned()), &[], "a log contains a value or a secret");
}
