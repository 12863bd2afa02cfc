//! The rules of single kinds: each accepts a valid result and reports the losses that it is for.

use super::super::super::workload::unanswered;
use super::*;

/// What is found about one key.
fn differences(messages: &[Message], events: &[Event], rows: &[Row]) -> Vec<String> {
    let history = History { messages: messages.to_vec(), events: events.to_vec(), rows: rows.to_vec() };
    let evidence = Evidence { keys: [(V.to_owned(), history)].into(), ..Evidence::default() };
    verify(&evidence).differences.remove(V).unwrap_or_default()
}

fn right(messages: &[Message], events: &[Event], rows: &[Row]) {
    assert_eq!(differences(messages, events, rows), [""; 0]);
}

fn wrong(messages: &[Message], events: &[Event], rows: &[Row], words: &str) {
    let found = differences(messages, events, rows);
    assert!(found.len() == 1 && found[0].contains(words), "{words}: {found:?}");
}

fn deleted(at: u64) -> Event {
    Event { message: None, ..event(0, What::Committed(Change::Deleted), at) }
}

#[test]
fn of_every_kind_with_versions_the_newest_is_in_the_one_row_and_none_in_poison() {
    let states = Kind::State { versions: true };
    for kind in [Kind::Versioned, Kind::Hot, Kind::Spelled, Kind::Recreated, Kind::Denied, states] {
        let messages = [OLDER, NEWER].map(|number| message(number, kind, Operation::Upsert, Some(number.into())));
        let applied = |number| reported(number, "applied/created");
        let events = [created(OLDER, 2), created(NEWER, 3), applied(OLDER), applied(NEWER)];
        let (older, newer) = (row(OLDER, Some(0)), row(NEWER, Some(1)));
        right(&messages, &events, std::slice::from_ref(&newer));
        wrong(&messages, &events, std::slice::from_ref(&older), "m-1 must win");
        wrong(&messages, &events, &[], "m-1 must win");
        wrong(&messages, &events, &[newer.clone(), older.clone()], "the row is wrong");
        wrong(&messages, &events, &[row(NEWER, Some(0))], "m-1 must win");
        for reason in ["lock_busy", "unauthorized", "exists"] {
            let poison = [created(OLDER, 2), applied(OLDER), dead_letter(NEWER, reason)];
            wrong(&messages, &poison, std::slice::from_ref(&older), "without a cause");
        }
    }
}

#[test]
fn after_the_newest_deletion_there_is_no_row_and_after_a_newer_upsert_there_is_one() {
    for kind in [Kind::Spelled, Kind::Recreated] {
        let upsert = |number| message(number, kind, Operation::Upsert, Some(number.into()));
        let mut messages = [upsert(0), message(1, kind, Operation::Delete, Some(1)), upsert(2)];
        let events = [created(0, 2), deleted(3), created(2, 4)]
            .into_iter()
            .chain([0, 2].map(|n| reported(n, "applied/created")));
        let events: Vec<Event> = events.chain([reported(1, "applied/deleted")]).collect();
        right(&messages, &events, &[row(2, Some(2))]);
        wrong(&messages, &events, &[], "m-2 must win");
        // The deletion is the newest.
        (messages[1].version, messages[2].version) = (Some(2), Some(1));
        right(&messages, &events, &[]);
        wrong(&messages, &events, &[row(2, Some(1))], "the row is wrong");
    }
}

#[test]
fn a_deletion_by_one_source_does_not_end_what_the_other_sends_later() {
    let two = |number, source, operation, version| Message {
        source,
        ..message(number, Kind::TwoColumns, operation, Some(version))
    };
    let messages = [
        two(0, "hr", Operation::Upsert, 1),
        two(1, "hr", Operation::Delete, 2),
        two(2, "org", Operation::Upsert, 1),
        two(3, "org", Operation::Upsert, 2),
    ];
    let applied = |number| reported(number, "applied/created");
    let outcomes = [applied(0), reported(1, "applied/deleted"), applied(2), applied(3)];
    let events = |commits: &[Event]| commits.iter().cloned().chain(outcomes.clone()).collect::<Vec<_>>();
    let both = |main, org| Row { main, org, state: None };
    let (none, old, new) = (|| part(None, None), || part(Some(2), Some(1)), || part(Some(3), Some(2)));

    let later = events(&[created(0, 2), deleted(3), created(2, 4), created(3, 4)]);
    right(&messages, &later, &[both(none(), new())]);
    for row in [both(none(), old()), both(part(Some(0), Some(1)), new()), both(part(None, Some(1)), new())] {
        wrong(&messages, &later, &[row], "the row is wrong");
    }
    wrong(&messages, &later, &[], "the row is wrong");

    // What was written before the deletion went with the row.
    let earlier = events(&[created(0, 2), created(2, 2), created(3, 2), deleted(3)]);
    right(&messages, &earlier, &[]);
    wrong(&messages, &earlier, &[both(none(), new())], "the row is wrong");
    let between = events(&[created(0, 2), created(3, 2), deleted(3), created(2, 4)]);
    right(&messages, &between, &[both(none(), old())]);

    // The other source's version must not supersede this one's.
    let skipped = [created(0, 2), deleted(3), created(3, 4), reported(2, "skipped/superseded")];
    let skipped: Vec<Event> = skipped.into_iter().chain([applied(0), outcomes[1].clone(), applied(3)]).collect();
    right(&messages, &skipped, &[both(none(), new())]);
    let newest = [created(0, 2), deleted(3), reported(3, "skipped/superseded")];
    let newest: Vec<Event> = newest.into_iter().chain([applied(0), outcomes[1].clone()]).collect();
    wrong(
        &[&messages[..2], &messages[3..]].concat(),
        &newest,
        &[],
        "m-3: skipped/superseded was reported without proof",
    );
}

#[test]
fn a_row_has_the_state_that_was_sent() {
    for (kind, version) in [(true, Some(1)), (false, None)].map(|(versions, of)| (Kind::State { versions }, of)) {
        let messages = [Message { state: Some((1, 2)), ..message(0, kind, Operation::Upsert, version) }];
        let events = [created(0, 2), reported(0, "applied/created")];
        let in_state = |state| [Row { state, ..row(0, version) }];
        right(&messages, &events, &in_state(Some((1, 2))));
        for state in [Some((0, 1)), Some((1, 4)), None] {
            wrong(&messages, &events, &in_state(state), "the row is wrong");
        }
    }
}

#[test]
fn a_message_whose_first_response_was_lost_has_its_effect_and_no_dead_letter() {
    let of = |operation| [message(0, unanswered(operation), operation, None)];
    let committed = [created(0, 2), reported(0, "skipped/already_written")];
    right(&of(Operation::Create), &committed, &[row(0, None)]);
    wrong(&of(Operation::Create), &committed, &[], "the row is wrong");
    let exists = [created(0, 2), dead_letter(0, "exists"), reported(0, "rejected/exists")];
    wrong(&of(Operation::Create), &exists, &[row(0, None)], "dead letter/exists without a cause");
    let gone = [deleted(2), reported(0, "applied/deleted")];
    right(&of(Operation::Delete), &gone, &[]);
    let unwritten = Row { main: part(None, None), org: part(None, None), state: None };
    wrong(&of(Operation::Delete), &gone, std::slice::from_ref(&unwritten), "the row is wrong");
    wrong(&of(Operation::Update), &committed, &[unwritten], "the row is wrong");
}

#[test]
fn a_create_is_rejected_for_a_row_of_its_own_only_if_it_was_sent_twice() {
    let rejected = |copies| {
        let messages = [Message { copies, ..message(0, Kind::Created, Operation::Create, None) }];
        let events = [created(0, 2), dead_letter(0, "exists"), reported(0, "rejected/exists")];
        differences(&messages, &events, &[row(0, None)])
    };
    assert_eq!(rejected(2), [""; 0]);
    assert_eq!(rejected(1), ["m-0: dead letter/exists without a cause"]);
}

#[test]
fn a_create_that_a_later_delivery_of_it_overtakes_is_rejected() {
    let verdict = |host: &str, is_first: bool| {
        let messages = [message(0, Kind::Created, Operation::Create, None)];
        let written = Event { host: host.to_owned(), ..created(0, 3) };
        let rejected = Event { is_first, ..reported(0, "rejected/exists") };
        let letter = Event { is_first: false, ..dead_letter(0, "exists") };
        differences(&messages, &[written, letter, rejected], &[row(0, None)])
    };
    assert_eq!(verdict("two", true), [""; 0]);
    for (host, is_first) in [("one", true), ("two", false)] {
        assert_eq!(verdict(host, is_first), ["m-0: dead letter/exists without a cause"], "it knows of the write");
    }
}

#[test]
fn other_tables_do_not_wait_for_a_missing_privilege() {
    let settled = |number: u64, in_time: u64| {
        let mut evidence = Evidence { only_denied: seconds(1)..seconds(60), ..Evidence::default() };
        for (number, to) in (0..number).map(|of| (of, if of < in_time { 50 } else { 70 })) {
            let number = u32::try_from(number).expect("a small number");
            let events = vec![created(number, 3), Event { to: seconds(to), ..reported(number, "applied/upserted") }];
            let messages = vec![message(number, Kind::Plain, Operation::Upsert, None)];
            evidence.keys.insert(format!("key {number}"), History { messages, events, rows: vec![row(number, None)] });
        }
        verify(&evidence).differences.remove("").unwrap_or_default()
    };
    assert_eq!(settled(10, 3), [""; 0]);
    assert_eq!(settled(10, 2), ["only 2 of 10 messages of other tables were settled while a privilege was missing"]);
}
