//! A small consistent run; each test changes a piece of the evidence and expects exactly that difference.

mod kinds;

use super::super::evidence::Lease;
use super::super::workload::invalid;
use super::*;

const V: &str = "canary-V-0";
const P: &str = "canary-P-0";
const C: &str = "canary-C-0";
const D: &str = "canary-D-3";

/// The messages' numbers.
const OLDER: u32 = 0;
const NEWER: u32 = 1;
const PLAIN: u32 = 2;
const INVALID: u32 = 3;
const FIRST: u32 = 4;
const SECOND: u32 = 5;

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn message(number: u32, kind: Kind, operation: Operation, version: Option<i64>) -> Message {
    let (key, text, source, policy, at) = (String::new(), String::new(), "hr", None, seconds(1));
    Message { number, kind, key, source, operation, version, state: None, policy, at, copies: 1, text }
}

/// What happened to a message from second 2 until this second.
fn event(message: u32, what: What, to: u64) -> Event {
    Event { message: Some(message), host: "one".to_owned(), from: seconds(2), to: seconds(to), is_first: true, what }
}

fn reported(message: u32, outcome: &str) -> Event {
    event(message, What::Reported(outcome.to_owned()), 4)
}

fn created(message: u32, at: u64) -> Event {
    event(message, What::Committed(Change::Created), at)
}

fn dead_letter(message: u32, reason: &str) -> Event {
    event(message, What::DeadLetter(Some(reason.to_owned())), 4)
}

fn row(message: u32, version: Option<i64>) -> Row {
    Row { main: part(Some(message), version), org: part(None, None), state: None }
}

fn part(message: Option<u32>, version: Option<i64>) -> Part {
    Part { message, whole: true, version }
}

fn lease(host: &str, granted: u64, lost: Option<u64>) -> Lease {
    let (host, key, id) = (host.to_owned(), V.to_owned(), String::new());
    Lease { host, key, id, granted: seconds(granted), lost: lost.map(seconds) }
}

fn evidence() -> Evidence {
    use Operation::{Create, Upsert};
    let versioned = |number, version| message(number, Kind::Versioned, Upsert, Some(version));
    let create = |number| message(number, Kind::Created, Create, None);
    let keys = [
        (
            V,
            vec![versioned(OLDER, 1), versioned(NEWER, 2)],
            vec![created(NEWER, 2), reported(NEWER, "applied/created"), reported(OLDER, "skipped/superseded")],
            vec![row(NEWER, Some(2))],
        ),
        (
            P,
            vec![message(PLAIN, Kind::Plain, Upsert, None)],
            vec![created(PLAIN, 2), reported(PLAIN, "applied/upserted")],
            vec![row(PLAIN, None)],
        ),
        (
            D,
            vec![message(INVALID, invalid("invalid_data", "", "", ""), Upsert, None)],
            vec![dead_letter(INVALID, "invalid_data"), reported(INVALID, "rejected/invalid_data")],
            vec![],
        ),
        (
            C,
            vec![create(FIRST), create(SECOND)],
            vec![
                created(FIRST, 2),
                reported(FIRST, "applied/created"),
                dead_letter(SECOND, "exists"),
                reported(SECOND, "rejected/exists"),
            ],
            vec![row(FIRST, None)],
        ),
    ];
    let keys = keys.map(|(key, messages, events, rows)| (key.to_owned(), History { messages, events, rows }));
    Evidence { keys: keys.into(), leases: vec![lease("one", 1, Some(16))], ..Evidence::default() }
}

fn verify_changed(change: impl FnOnce(&mut Evidence)) -> Verification {
    let mut evidence = evidence();
    change(&mut evidence);
    verify(&evidence)
}

/// Asserts that a change of the history of a key makes a difference with these words.
fn finds(key: &str, change: impl FnOnce(&mut History), words: &str) {
    let found = verify_changed(|evidence| change(evidence.keys.entry(key.to_owned()).or_default())).differences;
    let of_key = found.get(key).into_iter().flatten().any(|what| what.contains(words));
    assert!(of_key && found.len() == 1, "{words}: {found:?}");
}

#[test]
fn consistent_evidence_has_no_differences_and_every_message_has_a_state() {
    let verification = verify(&evidence());
    assert_eq!(verification.differences, BTreeMap::new());
    let states: Vec<&str> = verification.states.keys().map(|(_, state)| state.as_str()).collect();
    let expected = ["applied/created", "dead letter/exists", "dead letter/invalid_data", "applied/upserted"];
    assert_eq!((&states[..4], &states[4..]), (&expected[..], &["applied/created", "skipped/superseded"][..]));
}

#[test]
fn lost_and_stuck_messages_are_found() {
    finds(P, |plain| drop(plain.events.pop()), LOST);
    let stuck = verify_changed(|evidence| evidence.waiting = [PLAIN].into());
    assert_eq!(stuck.differences[P], [format!("m-2: {STUCK}")]);
}

#[test]
fn a_message_in_poison_needs_a_cause() {
    finds(P, |plain| plain.events.push(event(PLAIN, What::DeadLetter(None), 4)), RAW);
    finds(P, |plain| plain.events.push(dead_letter(PLAIN, "invalid_data")), "dead letter/invalid_data without a cause");
    finds(D, |invalid| invalid.events[0] = dead_letter(INVALID, "not_found"), "the only valid reason is invalid_data");
    finds(D, |invalid| drop(invalid.events.remove(0)), "rejected/invalid_data was reported without proof");
    finds(D, |invalid| invalid.events.push(created(INVALID, 3)), "dead letter/invalid_data without a cause");
    finds(C, |creates| creates.events[2].to = seconds(1), "dead letter/exists without a cause");
    let foreign = verify_changed(|evidence| evidence.foreign.push("{}".to_owned()));
    assert!(foreign.differences[""][0].contains("is not a message that was sent"));
}

#[test]
fn wrong_rows_are_found() {
    let wrong = |key, change: &dyn Fn(&mut History)| finds(key, change, "the row is wrong");
    finds(V, |versioned| versioned.rows[0] = row(OLDER, Some(1)), "m-1 must win");
    wrong(V, &|versioned| versioned.rows.clear());
    wrong(P, &|plain| plain.rows.clear());
    wrong(P, &|plain| plain.rows[0].main.message = None);
    wrong(P, &|plain| plain.rows[0].main.whole = false);
    wrong(P, &|plain| plain.rows[0].main.message = Some(NEWER));
    wrong(P, &|plain| plain.rows.push(row(PLAIN, None)));
    wrong(D, &|invalid| invalid.rows.push(row(INVALID, None)));
    wrong(C, &|creates| creates.events.push(created(SECOND, 3)));
    wrong("a key without messages", &|unknown| unknown.rows.push(row(PLAIN, None)));
}

#[test]
fn a_reported_outcome_needs_proof() {
    let without_proof = |key, change: &dyn Fn(&mut History)| finds(key, change, "without proof");
    without_proof(P, &|plain| drop(plain.events.remove(0)));
    without_proof(P, &|plain| plain.events[0].to = seconds(9));
    for outcome in ["applied/deleted", "skipped/already_absent", "skipped/written_elsewhere", "", "rejected/exists"] {
        without_proof(P, &|plain| plain.events[1] = reported(PLAIN, outcome));
    }
    let newer =
        |versioned: &mut History| versioned.events = vec![created(OLDER, 2), reported(NEWER, "skipped/superseded")];
    finds(V, newer, "m-1: skipped/superseded was reported without proof");
}

#[test]
fn overlapping_writes_are_found_unless_one_had_lost_its_lease() {
    let overlap = |granted, lost| {
        verify_changed(|evidence| {
            let [first, mut second] = [(OLDER, 20), (NEWER, 21)]
                .map(|(number, from)| Event { from: seconds(from), ..event(number, What::NotCommitted(None), 30) });
            second.host = "two".to_owned();
            evidence.overlaps.push((V.to_owned(), first, second));
            evidence.leases = vec![lease("one", granted, lost), lease("two", 20, Some(35))];
        })
    };
    for (granted, lost) in [(10, Some(25)), (10, None), (21, Some(21))] {
        assert!(overlap(granted, lost).differences[V][0].contains("neither had lost its lease"), "{granted} {lost:?}");
    }
    let lost = overlap(10, Some(21));
    assert_eq!((lost.differences.len(), lost.late_overlaps), (0, 1));
}

#[test]
fn only_a_write_that_had_lost_its_lease_may_restore_a_deleted_row() {
    let restored = |lost| {
        verify_changed(|evidence| {
            evidence.leases[0].lost = Some(seconds(lost));
            let versioned = evidence.keys.get_mut(V).expect("it is there");
            versioned.messages[1].operation = Operation::Delete;
            let outcomes = [reported(NEWER, "skipped/already_absent"), reported(OLDER, "applied/created")];
            versioned.events = [created(OLDER, 3)].into_iter().chain(outcomes).collect();
            versioned.rows[0] = row(OLDER, Some(1));
        })
    };
    assert!(restored(16).differences[V][0].contains("the row is wrong"));
    let late = restored(2);
    assert_eq!((late.differences.len(), late.restored), (0, 1));
}

#[test]
fn an_update_may_be_rejected_only_while_its_row_is_missing() {
    let rejected = |created_at| {
        verify_changed(|evidence| {
            let versioned = evidence.keys.get_mut(V).expect("it is there");
            versioned.messages[1].operation = Operation::Update;
            let letter = [dead_letter(NEWER, "not_found"), reported(NEWER, "rejected/not_found")];
            let older = [created(OLDER, created_at), reported(OLDER, "applied/created")];
            versioned.events = older.into_iter().chain(letter).collect();
            versioned.rows[0] = row(OLDER, Some(1));
        })
    };
    assert_eq!(rejected(3).differences, BTreeMap::new());
    assert_eq!(rejected(1).differences[V], ["m-1: dead letter/not_found without a cause"]);
}

#[test]
fn a_value_in_a_log_is_found() {
    let leak = verify_changed(|evidence| evidence.leaks.push("one: canary-2".to_owned()));
    assert_eq!(leak.differences[""], ["a log contains a value or a secret: one: canary-2"]);
}
