//! Rows whose version or ETag does not come: column security may hide it, and a virtual table has none.

use super::*;

const SEVEN: Answer = Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":7}"#);
/// The same row, whether its version is empty or hidden.
const NULL: Answer =
    Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":null,"contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#);
const ABSENT: Answer = Answer::Row(r#"{"@odata.etag":"W/\"1\"","contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#);
const UPDATED: Answer = Answer::Wrote(Written::Updated);

fn versioned(operation: &str, version: i64) -> Record {
    contact(&json!({ "operation": operation, "version": version }))
}

#[tokio::test(start_paused = true)]
async fn no_version_is_older_than_every_version_only_where_the_column_is_readable() {
    for (access, reason) in [
        (ReadAccess::Granted, None),
        (ReadAccess::NoMetadata, None),
        (ReadAccess::Denied, Some(Reason::Unauthorized)),
        (ReadAccess::Unknown, Some(Reason::Unavailable)),
    ] {
        for (operation, done) in [("upsert", Reason::Updated), ("update", Reason::Updated), ("delete", Reason::Deleted)]
        {
            for row in [NULL, ABSENT] {
                let written = if operation == "delete" { Written::Deleted } else { Written::Updated };
                let world =
                    World::new([row.clone()].into_iter().chain(reason.is_none().then_some(Answer::Wrote(written))));
                world.store.set_access(access);
                let outcome = world.settle(&versioned(operation, 8)).await;
                assert_eq!(outcome.reason, reason.unwrap_or(done), "{access:?} {operation} {row:?}");
                assert_eq!((world.store.answers_left(), world.store.looks()), (0, 1), "{access:?} {operation} {row:?}");
                let names_it = outcome.detail.is_some_and(|detail| detail.contains("new_version"));
                assert_eq!(names_it, reason.is_some(), "{access:?} {operation}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_hidden_column_concerns_the_table() {
    let world = World::new([NULL]);
    world.store.set_access(ReadAccess::Denied);
    let (record, ends_at) = (versioned("upsert", 8), Instant::now() + Duration::from_mins(10));
    let settlement = Writer::new(&world.pipeline, &record, false, ends_at).run().await;
    assert_eq!((settlement.reason, settlement.scope), (Reason::Unauthorized, FailureScope::Table));
}

#[tokio::test(start_paused = true)]
async fn a_column_in_which_a_version_was_seen_needs_no_look() {
    let world = World::new([SEVEN, UPDATED, NULL, UPDATED]);
    for version in [8, 9] {
        assert_eq!(world.settle(&versioned("upsert", version)).await.reason, Reason::Updated);
    }
    assert_eq!((world.store.answers_left(), world.store.looks()), (0, 0));
    let other = contact(&json!({ "version": 8, "versionColumn": "org_version" }));
    for record in [other, contact(&json!({ "version": 8, "table": "accounts" }))] {
        let world = World::new([SEVEN, UPDATED, ABSENT]);
        world.settle(&versioned("upsert", 8)).await;
        assert_eq!(world.reason(&record, FIRST).await, Reason::Unavailable, "another column or table");
    }
}

#[tokio::test(start_paused = true)]
async fn a_known_deletion_supersedes_an_older_version_whatever_is_hidden() {
    let world = World::new([Answer::NoRow, NULL]);
    assert_eq!(world.settle(&versioned("delete", 8)).await.reason, Reason::AlreadyAbsent);
    assert_eq!(world.reason(&versioned("upsert", 7), FIRST).await, Reason::Superseded);
    assert_eq!(world.store.looks(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_look_that_does_not_end_leaves_time_for_a_write() {
    let world = World::new([NULL]);
    world.store.set_access_hanging();
    let begun = Instant::now();
    assert_eq!(world.reason(&versioned("upsert", 8), FIRST).await, Reason::Unavailable);
    assert_eq!(begun.elapsed() + MIN_WRITE_TIME, INVOCATION_GRACE);
}

#[tokio::test(start_paused = true)]
async fn a_row_without_an_etag_is_neither_written_nor_deleted() {
    for (operation, row) in [
        ("upsert", r#"{"new_version":7}"#),
        ("update", r#"{"new_version":null}"#),
        ("delete", r#"{"new_version":7}"#),
        ("upsert", r#"{"@odata.etag":null,"new_version":7}"#),
    ] {
        for (table_type, reason) in [
            (None, Reason::Unavailable),
            (Some("Standard"), Reason::Unavailable),
            (Some("Elastic"), Reason::Unavailable),
            (Some("Virtual"), Reason::InvalidData),
        ] {
            let world = World::readable([Answer::Row(row)]);
            if let Some(table_type) = table_type {
                world.store.set_table_type(table_type);
            }
            let outcome = world.settle(&versioned(operation, 8)).await;
            assert_eq!(outcome.reason, reason, "{operation} {row} {table_type:?}");
            let detail = outcome.detail.expect("a detail");
            assert!(
                detail.contains("ETag") && detail.contains("virtual") == (reason == Reason::InvalidData),
                "{detail}"
            );
            assert_eq!(world.store.requests(), ["read new_version"]);
        }
    }
    let world = World::new([Answer::Row(r#"{"new_version":9}"#)]);
    assert_eq!(world.reason(&versioned("upsert", 8), FIRST).await, Reason::Superseded, "nothing is to be written");
}
