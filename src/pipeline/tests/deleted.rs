//! A deletion with a version leaves a tombstone, so an older message does not recreate the row.

use super::*;
use crate::lock::Locks as _;
use crate::lock::tests::memory::{Fault as StorageFault, Request};

const SEVEN: Answer = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":7}"#);
const DELETED: Answer = Answer::Wrote(Written::Deleted);
const CREATED: Answer = Answer::Wrote(Written::Created);

fn versioned(operation: &str, version: impl Into<Json>) -> Record {
    contact(&json!({ "operation": operation, "version": version.into() }))
}

/// A world in which the row was deleted with this version.
async fn deleted_at(version: impl Into<Json>, answers: impl IntoIterator<Item = Answer>) -> World {
    let world = World::readable([Answer::NoRow].into_iter().chain(answers));
    let outcome = world.settle(&versioned("delete", version)).await;
    assert_eq!(outcome.reason, Reason::AlreadyAbsent);
    world
}

/// The columns and versions of the tombstones, without the key.
async fn tombstone(world: &World) -> Option<String> {
    let name = LockName::new(versioned("delete", 1).key.lock_name("", "contacts"));
    let text = world.locks.tombstone(&name).await.expect("the storage answers")?;
    let without_key = |entry: &str| entry.split_once('/').map(|(_, rest)| rest.to_owned());
    text.split(' ').map(without_key).collect::<Option<Vec<_>>>().map(|entries| entries.join(" "))
}

#[tokio::test(start_paused = true)]
async fn an_older_message_does_not_create_a_deleted_row_again() {
    for operation in ["upsert", "create", "update"] {
        for version in [6, 8] {
            let reads = (operation != "create").then_some(Answer::NoRow);
            let world = World::new([SEVEN, DELETED].into_iter().chain(reads));
            assert_eq!(world.settle(&versioned("delete", 8)).await.reason, Reason::Deleted);
            let outcome = world.pipeline.settle(&versioned(operation, version), FIRST).await;
            assert_eq!((outcome.reason, world.store.answers_left()), (Reason::Superseded, 0), "{operation} {version}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_newer_message_creates_a_deleted_row_again() {
    let world = deleted_at(8, [Answer::NoRow, CREATED]).await;
    assert_eq!(world.reason(&versioned("upsert", 9), FIRST).await, Reason::Created);
    let world = deleted_at(8, [CREATED]).await;
    assert_eq!(world.reason(&versioned("create", 9), FIRST).await, Reason::Created);
    let world = deleted_at(8, [Answer::NoRow]).await;
    assert_eq!(world.reason(&versioned("update", 9), FIRST).await, Reason::NotFound);
}

#[tokio::test(start_paused = true)]
async fn the_tombstone_is_stored_before_the_delete_and_never_lowered() {
    let world = World::new([SEVEN, Answer::wait(503, None)]);
    assert_eq!(world.reason(&versioned("delete", 8), FIRST).await, Reason::Unavailable);
    assert_eq!(tombstone(&world).await.as_deref(), Some("new_version/8"), "whatever became of the deletion");
    let world = deleted_at(8, [Answer::NoRow]).await;
    assert_eq!(world.reason(&versioned("delete", 5), FIRST).await, Reason::AlreadyAbsent);
    assert_eq!(tombstone(&world).await.as_deref(), Some("new_version/8"));
}

#[tokio::test(start_paused = true)]
async fn times_are_versions_too_and_a_tombstone_of_the_other_kind_does_not_count() {
    let world = deleted_at("2026-01-31T08:00:00+01:00", [Answer::NoRow]).await;
    assert_eq!(tombstone(&world).await.as_deref(), Some("new_version/2026-01-31T07:00:00Z"));
    assert_eq!(world.reason(&versioned("upsert", "2026-01-31T06:59:59Z"), FIRST).await, Reason::Superseded);
    let world = deleted_at("2026-01-31T08:00:00Z", [Answer::NoRow, CREATED]).await;
    assert_eq!(world.reason(&versioned("upsert", 1), FIRST).await, Reason::Created);
}

#[tokio::test(start_paused = true)]
async fn without_an_answer_about_the_tombstone_nothing_is_written_or_deleted() {
    for (operation, answers, request) in [
        ("upsert", vec![Answer::NoRow], Request::Tombstone),
        ("create", vec![], Request::Tombstone),
        ("update", vec![Answer::NoRow], Request::Tombstone),
        ("delete", vec![SEVEN], Request::Tombstone),
        ("delete", vec![SEVEN], Request::PutTombstone),
        ("delete", vec![Answer::NoRow], Request::PutTombstone),
    ] {
        let world = World::new(answers);
        world.locks.fail(request, [StorageFault::Unreachable]);
        let reason = world.reason(&versioned(operation, 8), FIRST).await;
        assert_eq!(reason, Reason::StorageUnavailable, "{operation} {request:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_stores_no_tombstone_and_deletes_nothing() {
    let record = versioned("delete", 8);
    let name = LockName::new(record.key.lock_name("", "contacts"));
    let world = World::new([Answer::SlowRow(SECOND, r#"{"@odata.etag":"1","new_version":7}"#)]);
    let (outcome, ()) = tokio::join!(world.settle(&record), async {
        tokio::time::sleep(SECOND / 2).await;
        world.locks.break_lease(&name);
    });
    assert_eq!((outcome.reason, tombstone(&world).await), (Reason::LockLost, None));
    assert_eq!(world.store.requests(), ["read new_version"]);
}

#[tokio::test(start_paused = true)]
async fn without_locks_or_without_a_version_there_is_no_tombstone() {
    let mut world = World::new([SEVEN, DELETED, Answer::NoRow, CREATED]);
    world.pipeline.locks = None;
    assert_eq!(world.settle(&versioned("delete", 8)).await.reason, Reason::Deleted);
    assert_eq!(world.reason(&versioned("upsert", 7), FIRST).await, Reason::Created);
    let world = World::new([DELETED]);
    assert_eq!(world.reason(&contact(&json!({ "operation": "delete" })), FIRST).await, Reason::Deleted);
    assert_eq!(tombstone(&world).await, None);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_conditional_write_is_settled_by_the_rows_version() {
    let lost = || Answer::lost(true);
    for (operation, row, reason) in [
        ("upsert", Answer::Row(r#"{"new_version":8}"#), Reason::Upserted),
        ("update", Answer::Row(r#"{"new_version":8}"#), Reason::Upserted),
        ("upsert", SEVEN, Reason::Unavailable),
        ("upsert", Answer::NoRow, Reason::Unavailable),
        ("upsert", Answer::wait(503, None), Reason::Unavailable),
        ("delete", Answer::NoRow, Reason::Deleted),
        ("delete", SEVEN, Reason::Unavailable),
    ] {
        let world = World::new([SEVEN, lost(), row.clone()]);
        assert_eq!(world.reason(&versioned(operation, 8), FIRST).await, reason, "{operation} {row:?}");
        assert_eq!(world.locks.count(Request::Release), 0, "the request may still be under way");
    }
}

/// A row whose version column is empty.
const UNVERSIONED: Answer =
    Answer::Row(r#"{"@odata.etag":"1","new_version":null,"contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#);
const CREATED_AGAIN: Answer =
    Answer::Row(r#"{"@odata.etag":"9","new_version":null,"contactid":"9b2e0c3a-1111-4222-8333-444455557777"}"#);

#[tokio::test(start_paused = true)]
async fn a_deletion_counts_only_for_the_version_column_of_its_source() {
    let world = deleted_at(1700, [Answer::NoRow, CREATED]).await;
    let other = contact(&json!({ "version": 20, "versionColumn": "org_version" }));
    assert_eq!(world.reason(&other, FIRST).await, Reason::Created);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_by_time_does_not_replace_one_by_number() {
    let world = deleted_at(8, [Answer::NoRow, Answer::NoRow]).await;
    assert_eq!(world.settle(&versioned("delete", "2026-01-31T08:00:00Z")).await.reason, Reason::AlreadyAbsent);
    assert_eq!(world.reason(&versioned("upsert", 7), FIRST).await, Reason::Superseded);
    assert_eq!(tombstone(&world).await.as_deref(), Some("new_version/8 new_version/2026-01-31T08:00:00Z"));
}

#[tokio::test(start_paused = true)]
async fn a_row_that_another_source_created_again_still_rejects_the_older_versions_of_the_first() {
    for (operation, version, answers, reason) in [
        ("upsert", 1600, vec![CREATED_AGAIN], Reason::Superseded),
        ("update", 1700, vec![CREATED_AGAIN], Reason::Superseded),
        ("delete", 1600, vec![CREATED_AGAIN], Reason::Superseded),
        ("delete", 1700, vec![CREATED_AGAIN], Reason::Superseded),
        ("upsert", 1701, vec![CREATED_AGAIN, Answer::Wrote(Written::Updated)], Reason::Updated),
        ("delete", 1701, vec![CREATED_AGAIN, DELETED], Reason::Deleted),
    ] {
        let world = deleted_at(1700, answers).await;
        assert_eq!(world.reason(&versioned(operation, version), FIRST).await, reason, "{operation} {version}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_deletion_of_a_row_without_a_version_is_completed_but_not_made_twice() {
    let unavailable = || Answer::wait(503, None);
    let world = World::readable([UNVERSIONED, unavailable(), UNVERSIONED, DELETED, CREATED_AGAIN]);
    let record = versioned("delete", 8);
    assert_eq!(world.settle(&record).await.reason, Reason::Unavailable);
    assert_eq!(world.deliver(&record, SECOND_TIME).await.reason, Reason::Deleted, "the row is still there");
    assert_eq!(world.reason(&record, SECOND_TIME).await, Reason::Superseded, "it is another row");
}

#[tokio::test(start_paused = true)]
async fn keys_that_share_a_lock_have_tombstones_of_their_own() {
    let named = |name: &str, operation: &str, version: i64| {
        contact(&json!({ "operation": operation, "version": version, "key": { "lastname": name } }))
    };
    let world = World::new([Answer::NoRow, Answer::NoRow, CREATED, Answer::NoRow]);
    let lock = |name| named(name, "upsert", 1).key.lock_name("", "contacts");
    assert_eq!(lock("Müller"), lock("Muller"));
    assert_eq!(world.settle(&named("Müller", "delete", 8)).await.reason, Reason::AlreadyAbsent);
    assert_eq!(world.settle(&named("Muller", "upsert", 7)).await.reason, Reason::Created, "another row, perhaps");
    assert_eq!(world.reason(&named("MÜLLER ", "upsert", 7), FIRST).await, Reason::Superseded);
}

#[tokio::test(start_paused = true)]
async fn environments_that_share_lock_storage_share_neither_locks_nor_tombstones() {
    let world = deleted_at(8, []).await;
    let mut other = World::new([Answer::NoRow, CREATED]);
    other.pipeline.environment = "contoso-test.crm4.dynamics.com".to_owned();
    other.pipeline.locks = Some((LocalQueue::new(world.locks.clone(), WIDTH), 10 * SECOND));
    assert_eq!(other.reason(&versioned("upsert", 7), FIRST).await, Reason::Created);
}

#[tokio::test(start_paused = true)]
async fn a_tombstone_that_no_record_could_leave_is_logged() {
    for (stored, is_logged) in [(i64::MAX, true), (9, false)] {
        let world = World::new([Answer::NoRow]);
        let record = versioned("upsert", 8);
        let name = LockName::new(record.key.lock_name("", "contacts"));
        let lease = world.locks.try_acquire(&name).await.expect("the storage answers").expect("it is free");
        let text = format!("{}/new_version/{stored}", record.key.tombstone_name());
        assert_eq!(world.locks.put_tombstone(&name, lease.id(), &text).await, Ok(true));
        world.locks.release(lease).await;
        assert_eq!(world.reason(&record, FIRST).await, Reason::Superseded);
        assert_ne!(world.pipeline.implausible_versions.is_first("contacts".to_owned()), is_logged, "{stored}");
    }
}
