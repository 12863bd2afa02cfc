//! Records with a version: read, compare, write only what is newer.

use super::*;
use crate::lock::tests::memory::Request;

/// The row with version 7, as the service returns it.
const SEVEN: Answer = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":7}"#);
const EIGHT: Answer = Answer::Row(r#"{"@odata.etag":"W/\"2\"","new_version":8}"#);
const UPDATED: Answer = Answer::Wrote(Written::Updated);
const CREATED: Answer = Answer::Wrote(Written::Created);

fn stale() -> Answer {
    Answer::refused(412, STALE)
}

fn duplicate() -> Answer {
    Answer::refused(412, DUPLICATE)
}

fn versioned(operation: &str, version: impl Into<Json>) -> Record {
    contact(&json!({ "operation": operation, "version": version.into() }))
}

async fn settle(record: &Record, answers: impl IntoIterator<Item = Answer>) -> (Reason, Vec<String>) {
    let world = World::new(answers);
    let reason = world.reason(record, FIRST).await;
    (reason, world.store.requests())
}

fn requests(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_missing_row_is_created_with_its_version() {
    let settled = settle(&versioned("upsert", 7), [Answer::NoRow, CREATED]).await;
    assert_eq!(settled, (Reason::Created, requests(&["read new_version", "create new_version=7"])));
}

#[tokio::test(start_paused = true)]
async fn an_older_row_is_updated_if_it_is_still_the_same() {
    for operation in ["upsert", "update"] {
        let settled = settle(&versioned(operation, 8), [SEVEN, UPDATED]).await;
        assert_eq!(settled, (Reason::Updated, requests(&["read new_version", "update W/\"1\" new_version=8"])));
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_of_this_version_or_a_newer_one_is_left_alone() {
    for operation in ["upsert", "update", "delete"] {
        for version in [7, 6, -1] {
            let settled = settle(&versioned(operation, version), [SEVEN]).await;
            assert_eq!(settled, (Reason::Superseded, requests(&["read new_version"])), "{operation} {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_without_a_version_is_older_than_every_version() {
    for row in [r#"{"@odata.etag":"W/\"1\"","new_version":null}"#, r#"{"@odata.etag":"W/\"1\""}"#] {
        let world = World::readable([Answer::Row(row), UPDATED]);
        let reason = world.reason(&versioned("upsert", -(1_i64 << 53)), FIRST).await;
        assert_eq!(reason, Reason::Updated, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_missing_row_is_neither_updated_nor_deleted() {
    let (reason, _) = settle(&versioned("update", 7), [Answer::NoRow]).await;
    assert_eq!(reason, Reason::NotFound);
    let (reason, _) = settle(&versioned("delete", 7), [Answer::NoRow]).await;
    assert_eq!(reason, Reason::AlreadyAbsent);
}

#[tokio::test(start_paused = true)]
async fn an_older_row_is_deleted_if_it_is_still_the_same() {
    let (reason, requests) = settle(&versioned("delete", 8), [SEVEN, Answer::Wrote(Written::Deleted)]).await;
    assert_eq!(reason, Reason::Deleted);
    assert!(requests[1].starts_with("delete W/\"1\""));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_changed_is_read_again_and_judged_anew() {
    let settled = settle(&versioned("upsert", 9), [SEVEN, stale(), EIGHT, UPDATED]).await;
    let expected =
        ["read new_version", "update W/\"1\" new_version=9", "read new_version", "update W/\"2\" new_version=9"];
    assert_eq!(settled, (Reason::Updated, requests(&expected)));
    let (reason, _) = settle(&versioned("upsert", 8), [SEVEN, stale(), EIGHT]).await;
    assert_eq!(reason, Reason::Superseded);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_created_meanwhile_is_read_again() {
    let (reason, _) = settle(&versioned("upsert", 8), [Answer::NoRow, duplicate(), SEVEN, UPDATED]).await;
    assert_eq!(reason, Reason::Updated);
    let (reason, _) = settle(&versioned("upsert", 7), [Answer::NoRow, duplicate(), EIGHT]).await;
    assert_eq!(reason, Reason::Superseded);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_deleted_meanwhile_is_created_anew() {
    let gone = || Answer::refused(404, MISSING);
    let (reason, _) = settle(&versioned("upsert", 8), [SEVEN, gone(), Answer::NoRow, CREATED]).await;
    assert_eq!(reason, Reason::Created);
    let (reason, _) = settle(&versioned("update", 8), [SEVEN, gone(), Answer::NoRow]).await;
    assert_eq!(reason, Reason::NotFound);
    let (reason, _) = settle(&versioned("delete", 8), [SEVEN, gone(), Answer::NoRow]).await;
    assert_eq!(reason, Reason::AlreadyAbsent);
}

#[tokio::test(start_paused = true)]
async fn a_read_distinguishes_a_deleted_row_from_a_missing_parent() {
    let record = |operation: &str| Record { version: versioned("upsert", 8).version, ..bound_contact(operation) };
    let gone = || Answer::refused(404, MISSING);
    let (reason, _) = settle(&record("upsert"), [SEVEN, gone(), Answer::NoRow, Answer::NoRow, CREATED]).await;
    assert_eq!(reason, Reason::Created);
    let (reason, _) = settle(&record("update"), [SEVEN, gone(), Answer::NoRow, Answer::NoRow]).await;
    assert_eq!(reason, Reason::NotFound);
    let (reason, _) = settle(&record("upsert"), [SEVEN, gone(), Answer::Row("{}")]).await;
    assert_eq!(reason, Reason::ParentMissing);
    let (reason, _) = settle(&record("upsert"), [Answer::NoRow, gone()]).await;
    assert_eq!(reason, Reason::ParentMissing);
    let (reason, _) = settle(&record("upsert"), [SEVEN, gone(), Answer::wait(503, None)]).await;
    assert_eq!(reason, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_keeps_changing_goes_back_to_the_host() {
    let (reason, _) = settle(&versioned("upsert", 9), (0..5).flat_map(|_| [SEVEN, stale()])).await;
    assert_eq!(reason, Reason::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_duplicate_key_without_a_row_is_a_collision() {
    let (reason, requests) = settle(&versioned("upsert", 9), (0..2).flat_map(|_| [Answer::NoRow, duplicate()])).await;
    assert_eq!((reason, requests.len()), (Reason::KeyCollision, 4), "two more after the first refusal");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_read_once_is_not_a_collision() {
    let answers = [SEVEN, stale()].into_iter().chain((0..4).flat_map(|_| [Answer::NoRow, duplicate()]));
    let (reason, _) = settle(&versioned("upsert", 9), answers).await;
    assert_eq!(reason, Reason::Conflict);
}

#[tokio::test(start_paused = true)]
async fn deadlocks_under_a_version_are_bounded_as_well() {
    let (reason, _) = settle(&versioned("upsert", 9), [SEVEN, deadlock(), SEVEN, UPDATED]).await;
    assert_eq!(reason, Reason::Updated);
    let (reason, _) = settle(&versioned("upsert", 9), (0..4).flat_map(|_| [SEVEN, deadlock()])).await;
    assert_eq!(reason, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn versions_of_one_kind_compare_whatever_their_notation() {
    let time = "2026-01-31T08:00:00+01:00";
    for (version, row, reason) in [
        (json!(7), r#"{"new_version":"7"}"#, Reason::Superseded),
        (json!(7), r#"{"new_version":7.0000000000}"#, Reason::Superseded),
        (json!(time), r#"{"new_version":"2026-01-31T07:00:00Z"}"#, Reason::Superseded),
        (json!(time), r#"{"new_version":"2026-01-31T07:00:01Z"}"#, Reason::Superseded),
    ] {
        let (found, _) = settle(&versioned("upsert", version), [Answer::Row(row)]).await;
        assert_eq!(found, reason, "{row}");
    }
    let row = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":"2026-01-31T06:59:59Z"}"#);
    let (_, requests) = settle(&versioned("upsert", time), [row, UPDATED]).await;
    assert_eq!(requests[1], r#"update W/"1" new_version="2026-01-31T07:00:00Z""#);
}

#[tokio::test(start_paused = true)]
async fn a_number_and_a_time_cannot_be_compared() {
    for (version, row) in [
        (json!(7), r#"{"new_version":"2026-01-31T07:00:00Z"}"#),
        (json!("2026-01-31T07:00:00Z"), r#"{"new_version":7}"#),
        (json!(7), r#"{"new_version":"seven"}"#),
        (json!(7), r#"{"new_version":7.5}"#),
        (json!(7), r#"{"new_version":true}"#),
    ] {
        let (reason, _) = settle(&versioned("upsert", version), [Answer::Row(row)]).await;
        assert_eq!(reason, Reason::InvalidData, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_version_column_must_not_contradict_the_version() {
    for column in [json!(9), json!(null), json!("2026-01-31T07:00:00Z")] {
        let record = contact(&json!({ "version": 8, "columns": { "new_version": column } }));
        let world = World::new([]);
        assert_eq!(world.reason(&record, FIRST).await, Reason::InvalidMessage, "{column}");
    }
    let record = contact(&json!({ "version": 8, "columns": { "new_version": 8.0 } }));
    let settled = settle(&record, [SEVEN, UPDATED]).await;
    assert_eq!(settled, (Reason::Updated, requests(&["read new_version", "update W/\"1\""])), "it is sent once");
}

#[tokio::test(start_paused = true)]
async fn the_record_may_name_the_column_itself() {
    for column in [None, Some("new_version".to_owned())] {
        let record = contact(&json!({ "version": 8, "versionColumn": "new_own" }));
        let mut world = World::new([Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_own":7}"#), UPDATED]);
        world.pipeline.version_column = column;
        assert_eq!(world.reason(&record, FIRST).await, Reason::Updated);
        assert_eq!(world.store.requests(), ["read new_own", "update W/\"1\" new_own=8"]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_carries_its_version_and_needs_no_read() {
    let settled = settle(&versioned("create", 7), [CREATED]).await;
    assert_eq!(settled, (Reason::Created, requests(&["create new_version=7"])));
}

#[tokio::test(start_paused = true)]
async fn without_a_version_or_a_column_for_it_the_row_is_written_as_it_comes() {
    let settled = settle(&contact(&json!({})), [Answer::Wrote(Written::Upserted)]).await;
    assert_eq!(settled, (Reason::Upserted, requests(&["upsert"])));
    let mut world = World::new([Answer::Wrote(Written::Upserted)]);
    world.pipeline.version_column = None;
    assert_eq!(world.reason(&versioned("upsert", 7), FIRST).await, Reason::Upserted);
    assert_eq!(world.store.requests(), ["upsert"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_fails_writes_nothing() {
    for (answers, reason) in [
        (vec![Answer::wait(503, None)], Reason::Unavailable),
        (vec![Answer::refused(400, 0x8004_8D19)], Reason::InvalidData),
        (vec![Answer::refused(400, 0x8006_0890)], Reason::Unauthorized),
        (vec![Answer::refused(400, 0x8006_089D); 4], Reason::KeyCollision),
        (vec![Answer::refused(400, 0x8004_0224); 2], Reason::Unavailable),
    ] {
        let (found, _) = settle(&versioned("upsert", 8), answers).await;
        assert_eq!(found, reason);
    }
}

#[tokio::test(start_paused = true)]
async fn a_stored_version_that_no_record_could_have_is_logged_once_per_table() {
    let time = "2026-01-31T07:00:00Z";
    for (version, row, reason, is_logged) in [
        (json!(8), r#"{"new_version":9007199254740993}"#, Reason::Superseded, true),
        (json!(8), r#"{"new_version":"9223372036854775807"}"#, Reason::Superseded, true),
        (json!(8), r#"{"new_version":9007199254740992}"#, Reason::Superseded, false),
        (json!(time), r#"{"new_version":"9999-12-31T23:59:59-23:59"}"#, Reason::Superseded, true),
        (json!(time), r#"{"new_version":"2026-01-31T07:00:00Z"}"#, Reason::Superseded, false),
        (json!(8), r#"{"new_version":"2026-01-31T07:00:00Z"}"#, Reason::InvalidData, true),
        (json!(time), r#"{"new_version":1}"#, Reason::InvalidData, true),
        (json!(8), r#"{"new_version":true}"#, Reason::InvalidData, true),
    ] {
        let world = World::new([Answer::Row(row)]);
        assert_eq!(world.reason(&versioned("upsert", version), FIRST).await, reason, "{row}");
        assert_ne!(world.pipeline.implausible_versions.is_first("contacts".to_owned()), is_logged, "{row}");
        assert!(world.pipeline.implausible_versions.is_first("accounts".to_owned()));
    }
}

/// What the settings or the clock refuse costs neither a request nor a place in line.
#[tokio::test(start_paused = true)]
async fn a_record_that_is_refused_is_neither_locked_nor_sent() {
    let mut world = World::new([]);
    world.pipeline.tables = Tables::parse("contacts").expect("a list");
    let account = Record { table: "accounts".to_owned(), ..versioned("upsert", 8) };
    for record in [account, versioned("upsert", "9999-12-31T23:59:59Z")] {
        for behind in [None, Some(Reason::Throttled)] {
            let outcome = world.deliver(&record, Delivery { behind, ..FIRST }).await;
            assert_eq!((outcome.reason, outcome.table.as_ref()), (Reason::InvalidMessage, Some(&record.table)));
        }
    }
    assert_eq!(world.locks.count(Request::Acquire), 0);
}
