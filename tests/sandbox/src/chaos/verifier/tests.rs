//! A small run that balances; then a piece of the evidence is changed, and the judge has to miss exactly that.

use std::time::Duration;

use super::super::evidence::{Delivery, Lease, Letter};
use super::super::workload::Doom;
use super::*;

const V: &str = "canary-V-0";
const P: &str = "canary-P-0";

/// Places in the ledger, and so the messages' numbers.
const OLDER: usize = 0;
const NEWER: usize = 1;
const PLAIN: usize = 2;
const DOOMED: usize = 3;
const FIRST: usize = 4;
const SECOND: usize = 5;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(number: usize, family: Family, key: &str, operation: Operation, version: Option<i64>) -> Message {
    let (source, policy, at) = ("hr", None, seconds(1));
    Message { number, family, key: key.into(), source, operation, version, policy, at, copies: 1, text: String::new() }
}

fn ledger() -> Ledger {
    use Operation::{Create, Upsert};
    let doomed = Family::Doomed(Doom::TooLong);
    let messages = vec![
        message(OLDER, Family::Versioned, V, Upsert, Some(1)),
        message(NEWER, Family::Versioned, V, Upsert, Some(2)),
        message(PLAIN, Family::Plain, P, Upsert, None),
        message(DOOMED, doomed, "canary-D-3", Upsert, None),
        message(FIRST, Family::Created, "canary-C-0", Create, None),
        message(SECOND, Family::Created, "canary-C-0", Create, None),
    ];
    Ledger { messages }
}

/// The delivery of each message took from second 2 to second 4.
fn said(message: usize, text: &str) -> Delivery {
    let (host, invocation) = ("one".to_owned(), format!("i-{message}"));
    let end = End::Said(format!("{text} key=0123 table=contacts"));
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

fn letter(message: usize, reason: Option<&str>) -> Letter {
    let invocation = format!("i-{message}");
    Letter { message: Some(message), reason: reason.map(str::to_owned), at: seconds(4), invocation }
}

fn evidence() -> Evidence {
    Evidence {
        deliveries: vec![
            said(NEWER, "applied/created"),
            said(OLDER, "skipped/superseded"),
            said(PLAIN, "applied/upserted"),
            said(DOOMED, "rejected/invalid_data"),
            said(FIRST, "applied/created"),
            said(SECOND, "rejected/exists"),
        ],
        writes: vec![
            write(NEWER, V, Change::Created, 2),
            write(PLAIN, P, Change::Created, 2),
            write(FIRST, "canary-C-0", Change::Created, 2),
        ],
        overlaps: Vec::new(),
        rows: vec![row(V, NEWER, Some(2)), row(P, PLAIN, None), row("canary-C-0", FIRST, None)],
        letters: vec![letter(DOOMED, Some("invalid_data")), letter(SECOND, Some("exists"))],
        waiting: Vec::new(),
        leases: vec![lease("one", V, 1), lease("one", P, 1)],
        leaks: Vec::new(),
    }
}

/// The differences after a change of the evidence.
fn differences(change: impl FnOnce(&mut Evidence)) -> Vec<Difference> {
    let mut evidence = evidence();
    change(&mut evidence);
    judge(&ledger(), &evidence).differences
}

/// Asserts that there is one difference, about these messages and with these words.
fn one(change: impl FnOnce(&mut Evidence), messages: &[usize], words: &str) {
    let found = differences(change);
    assert_eq!(found.len(), 1, "{words}: {found:?}");
    assert_eq!((found[0].messages.as_slice(), found[0].what.contains(words)), (messages, true), "{found:?}");
}

#[test]
fn books_that_balance_have_no_difference_and_every_message_has_its_fate() {
    let judgement = judge(&ledger(), &evidence());
    assert_eq!(judgement.differences, []);
    let fates: Vec<String> = judgement.fates.iter().map(Fate::to_string).collect();
    let rejected = ["dead letter/invalid_data", "applied/created", "dead letter/exists"];
    assert_eq!(fates[..3], ["skipped/superseded", "applied/created", "applied/upserted"]);
    assert_eq!(fates[3..], rejected);
}

#[test]
fn a_message_that_nobody_knows_of_is_lost() {
    one(|evidence| drop(evidence.deliveries.remove(2)), &[PLAIN], "nobody says what became of it");
}

#[test]
fn a_message_that_is_still_there_is_stuck_and_one_that_is_raw_in_poison_unexplained() {
    one(|evidence| evidence.waiting.push(PLAIN), &[PLAIN], "still in the queue");
    one(|evidence| evidence.letters.push(letter(PLAIN, None)), &[PLAIN], "raw in the poison queue");
}

#[test]
fn a_row_with_an_older_version_is_wrong() {
    let older = |evidence: &mut Evidence| evidence.rows[0] = row(V, OLDER, Some(1));
    one(older, &[NEWER, OLDER], "it has version 1, and version 2 is the last word");
    one(|evidence| drop(evidence.rows.remove(0)), &[NEWER], "there is none, and version 2 is the last word");
}

#[test]
fn a_row_that_is_missing_mixed_doubled_or_nobodys_is_wrong() {
    one(|evidence| drop(evidence.rows.remove(1)), &[PLAIN], "no upsert is in it");
    one(|evidence| evidence.rows[1].whole = false, &[PLAIN], "values of several messages");
    one(|evidence| evidence.rows.push(row(P, PLAIN, None)), &[PLAIN], "has 2 rows");
    one(|evidence| evidence.rows[1].message = Some(NEWER), &[NEWER], "what a message for another key says");
    one(|evidence| evidence.rows.push(row("canary-X", PLAIN, None)), &[PLAIN], "has a row and no message");
    one(|evidence| evidence.rows.push(row("canary-D-3", DOOMED, None)), &[DOOMED], "its message can never work");
}

#[test]
fn a_second_creation_of_one_key_is_a_difference() {
    let again = |evidence: &mut Evidence| evidence.writes.push(write(SECOND, "canary-C-0", Change::Created, 3));
    one(again, &[FIRST, SECOND], "2 creates were committed");
}

#[test]
fn what_was_said_needs_a_proof() {
    let no_commit = |evidence: &mut Evidence| drop(evidence.writes.remove(1));
    one(no_commit, &[PLAIN], "applied/upserted was said, but its values were not committed");
    let too_late = |evidence: &mut Evidence| evidence.writes[1].commit = Some(seconds(9));
    one(too_late, &[PLAIN], "its values were not committed");
    let nonsense = |evidence: &mut Evidence| evidence.deliveries[2] = said(PLAIN, "applied/deleted");
    one(nonsense, &[PLAIN], "fits nothing that it asked for");
    let absent = |evidence: &mut Evidence| evidence.deliveries[2] = said(PLAIN, "skipped/superseded");
    assert_eq!(differences(absent), [], "its own values were committed before");
}

#[test]
fn superseded_needs_a_version_that_is_newer() {
    let alone = |evidence: &mut Evidence| {
        evidence.deliveries[0] = said(NEWER, "skipped/superseded");
        evidence.writes[0] = write(OLDER, V, Change::Created, 2);
        evidence.deliveries[1] = said(OLDER, "applied/created");
    };
    let found = differences(alone);
    assert!(found.iter().any(|difference| difference.what.contains("no such version was there")), "{found:?}");
}

#[test]
fn a_dead_letter_needs_a_cause_that_fits() {
    let other = |evidence: &mut Evidence| evidence.letters[0] = letter(DOOMED, Some("not_found"));
    one(other, &[DOOMED], "it can only be invalid_data");
    let fine = |evidence: &mut Evidence| evidence.letters.push(letter(PLAIN, Some("invalid_data")));
    one(fine, &[PLAIN], "nothing about it is wrong");
    let early = |evidence: &mut Evidence| evidence.letters[1].at = seconds(1);
    one(early, &[SECOND], "there was no row");
    let applied = |evidence: &mut Evidence| drop(evidence.letters.remove(0));
    let found = differences(applied);
    assert!(found.iter().any(|difference| difference.what.contains("no dead letter of it is there")), "{found:?}");
    let strange = |evidence: &mut Evidence| evidence.letters.push(Letter { message: None, ..letter(PLAIN, None) });
    one(strange, &[], "no message that was sent");
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
fn writes_that_overlap_while_both_were_sure_of_their_lease_are_a_difference() {
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
fn writes_that_overlap_after_a_lost_lease_are_counted_and_no_difference() {
    let taken = Lease { taken: Some(seconds(20)), ..lease("one", V, 10) };
    for lost in [taken, Lease { until: seconds(21), ..lease("one", V, 6) }] {
        let mut evidence = evidence();
        overlapping(&mut evidence, lost, lease("two", V, 20));
        let judgement = judge(&ledger(), &evidence);
        assert_eq!((judgement.differences.len(), judgement.late_overlaps), (0, 1), "{:?}", judgement.differences);
    }
}

#[test]
fn a_deleted_row_is_back_only_by_a_write_that_had_lost_its_lease() {
    let mut ledger = ledger();
    ledger.messages[NEWER] = message(NEWER, Family::Versioned, V, Operation::Delete, Some(2));
    let mut evidence = evidence();
    evidence.deliveries[0] = said(NEWER, "skipped/already_absent");
    evidence.deliveries[1] = said(OLDER, "applied/created");
    evidence.writes[0] = write(OLDER, V, Change::Created, 3);
    evidence.rows[0] = row(V, OLDER, Some(1));
    let sure = judge(&ledger, &evidence);
    assert_eq!((sure.differences.len(), sure.brought_back), (1, 0), "{:?}", sure.differences);
    assert!(sure.differences[0].what.contains("version 2 is the last word"));
    evidence.leases[0].taken = Some(seconds(2));
    let late = judge(&ledger, &evidence);
    assert_eq!((late.differences, late.brought_back), (vec![], 1));
}

#[test]
fn an_update_of_a_missing_row_is_refused_rightly_only_while_the_row_is_missing() {
    let mut ledger = ledger();
    ledger.messages[NEWER] = message(NEWER, Family::Versioned, V, Operation::Update, Some(2));
    let mut evidence = evidence();
    evidence.deliveries[0] = said(NEWER, "rejected/not_found");
    evidence.deliveries[1] = said(OLDER, "applied/created");
    evidence.letters.push(letter(NEWER, Some("not_found")));
    evidence.writes[0] = write(OLDER, V, Change::Created, 3);
    evidence.rows[0] = row(V, OLDER, Some(1));
    assert_eq!(judge(&ledger, &evidence).differences, [], "it came while the row was missing");
    evidence.writes[0] = write(OLDER, V, Change::Created, 1);
    let differences = judge(&ledger, &evidence).differences;
    assert!(differences.iter().any(|difference| difference.what.contains("the row was there all the time")));
}

#[test]
fn a_value_in_a_log_is_a_difference() {
    one(|evidence| evidence.leaks.push("one: canary-2".to_owned()), &[], "a log holds what it must not");
}
