//! Keys that no URL can contain: the row is looked up by a filter, then written by its primary key.

use super::*;

const ID: &str = "9b2e0c3a-1111-4222-8333-444455556666";
const ROW: Answer =
    Answer::Row(r#"{"@odata.etag":"W/\"1\"","employeeid":"R&D/1","contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#);
const SAME: Answer = Answer::Row(r#"{"contactid":"9b2e0c3a-1111-4222-8333-444455556666","firstname":"Ada"}"#);
const OTHER: Answer = Answer::Row(r#"{"contactid":"9b2e0c3a-1111-4222-8333-444455556666","firstname":"Eve"}"#);
const CREATED: Answer = Answer::Wrote(Written::Created);
const UPDATED: Answer = Answer::Wrote(Written::Updated);

fn unaddressable(fields: &Json) -> Record {
    let mut all = json!({ "key": { "employeeid": "R&D/1" } });
    for (name, value) in fields.as_object().expect("fields are an object") {
        all[name] = value.clone();
    }
    contact(&all)
}

async fn settle(fields: &Json, answers: impl IntoIterator<Item = Answer>) -> (Reason, Vec<String>) {
    let world = World::new(answers);
    let reason = world.reason(&unaddressable(fields), FIRST).await;
    (reason, world.store.requests())
}

fn gone() -> Answer {
    Answer::refused(404, 0x8004_0217)
}

#[tokio::test(start_paused = true)]
async fn the_row_is_read_first_and_written_by_its_primary_key() {
    let found = |verb: &str| vec!["read employeeid".to_owned(), format!("{verb} {ID}")];
    let missing = |verb: &str| vec!["read employeeid".to_owned(), verb.to_owned()];
    for (operation, row, written, reason, requests) in [
        ("upsert", ROW, Some(UPDATED), Reason::Updated, found("update found")),
        ("upsert", Answer::NoRow, Some(CREATED), Reason::Created, missing("create")),
        ("create", Answer::NoRow, Some(CREATED), Reason::Created, missing("create")),
        ("update", ROW, Some(UPDATED), Reason::Updated, found("update")),
        ("update", Answer::NoRow, None, Reason::NotFound, vec!["read employeeid".to_owned()]),
        ("delete", ROW, Some(Answer::Wrote(Written::Deleted)), Reason::Deleted, found("delete")),
        ("delete", Answer::NoRow, None, Reason::AlreadyAbsent, vec!["read employeeid".to_owned()]),
    ] {
        let settled = settle(&json!({ "operation": operation }), [row].into_iter().chain(written)).await;
        assert_eq!(settled, (reason, requests), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_race_is_settled_as_for_every_other_key() {
    let lost = || Answer::refused(412, DUPLICATE);
    for (policy, then, reason) in [
        ("verify", vec![SAME], Reason::AlreadyWritten),
        ("verify", vec![OTHER, ROW, UPDATED], Reason::Updated),
        ("verify", vec![Answer::NoRow, Answer::NoRow, lost()], Reason::KeyCollision),
        ("skip", vec![SAME], Reason::AlreadyWritten),
        ("retry", vec![ROW, UPDATED], Reason::Updated),
    ] {
        let answers = [Answer::NoRow, lost()].into_iter().chain(then.clone());
        let (found, _) = settle(&json!({ "onConflict": policy }), answers).await;
        assert_eq!(found, reason, "{policy} {then:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_create_reads_the_row_first() {
    for (row, delivery, reason) in [
        (SAME, FIRST, Reason::Exists),
        (SAME, SECOND_TIME, Reason::AlreadyWritten),
        (OTHER, SECOND_TIME, Reason::Exists),
    ] {
        let world = World::new([ROW, row.clone()]);
        let found = world.reason(&unaddressable(&json!({ "operation": "create" })), delivery).await;
        assert_eq!(found, reason, "{row:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_was_deleted_meanwhile_is_read_again_a_bounded_number_of_times() {
    let (reason, _) = settle(&json!({}), [ROW, gone(), Answer::NoRow, CREATED]).await;
    assert_eq!(reason, Reason::Created);
    let (reason, _) = settle(&json!({}), (0..5).flat_map(|_| [ROW, gone()])).await;
    assert_eq!(reason, Reason::Conflict);
    let bound = json!({ "columns": { "p@odata.bind": "/accounts(accountnumber='7')" } });
    let (reason, _) = settle(&bound, [ROW, gone(), Answer::NoRow, Answer::NoRow, CREATED]).await;
    assert_eq!(reason, Reason::Created);
    let (reason, _) = settle(&bound, [ROW, gone(), ROW]).await;
    assert_eq!(reason, Reason::ParentMissing);
}

#[tokio::test(start_paused = true)]
async fn two_rows_with_one_key_are_a_collision() {
    let world = World::new([Answer::Fails(Error::Ambiguous)]);
    let outcome = world.settle(&unaddressable(&json!({}))).await;
    assert_eq!(outcome.reason, Reason::KeyCollision);
    assert!(outcome.detail.is_some_and(|detail| detail.contains("more than one row")));
}

#[tokio::test(start_paused = true)]
async fn a_row_without_its_primary_key_is_retried() {
    for row in [
        r#"{"employeeid":"R&D/1"}"#,
        r#"{"a":"9b2e0c3a-1111-4222-8333-444455556666","b":"9b2e0c3a-1111-4222-8333-444455556667"}"#,
    ] {
        let (reason, _) = settle(&json!({}), [Answer::Row(row)]).await;
        assert_eq!(reason, Reason::Unavailable, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn versions_and_tombstones_hold_for_unaddressable_rows_too() {
    let seven = || {
        Answer::Row(r#"{"@odata.etag":"W/\"1\"","new_version":7,"contactid":"9b2e0c3a-1111-4222-8333-444455556666"}"#)
    };
    let settled = settle(&json!({ "version": 8 }), [seven(), UPDATED]).await;
    let expected = ["read new_version".to_owned(), format!("update {ID} W/\"1\" new_version=8")];
    assert_eq!(settled, (Reason::Updated, expected.to_vec()));
    let (reason, _) = settle(&json!({ "version": 7 }), [seven()]).await;
    assert_eq!(reason, Reason::Superseded);
    let world = World::new([seven(), Answer::Wrote(Written::Deleted), Answer::NoRow]);
    assert_eq!(
        world.settle(&unaddressable(&json!({ "version": 8, "operation": "delete" }))).await.reason,
        Reason::Deleted
    );
    assert_eq!(world.reason(&unaddressable(&json!({ "version": 7 })), FIRST).await, Reason::Superseded);
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_create_is_settled_by_the_row() {
    let (reason, _) = settle(&json!({}), [Answer::NoRow, Answer::lost(true), SAME]).await;
    assert_eq!(reason, Reason::Upserted);
    let (reason, _) = settle(&json!({}), [Answer::NoRow, Answer::lost(true), Answer::NoRow]).await;
    assert_eq!(reason, Reason::Unavailable);
}
