//! A lost create race under each policy. Retry delays pass on the paused clock.

use super::*;

fn lost() -> Answer {
    Answer::refused(412, DUPLICATE)
}

const SAME: Answer = Answer::Row(r#"{"firstname":"Ada"}"#);
const OTHER: Answer = Answer::Row(r#"{"firstname":"Eve"}"#);
const UPSERTED: Answer = Answer::Wrote(Written::Upserted);

async fn settle(policy: &str, answers: impl IntoIterator<Item = Answer>) -> (Reason, Vec<String>) {
    let world = World::new(answers);
    let reason = world.reason(&contact(&json!({ "onConflict": policy })), FIRST).await;
    (reason, world.store.requests())
}

fn requests(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}

#[tokio::test(start_paused = true)]
async fn verify_skips_when_the_row_holds_our_values() {
    let settled = settle("verify", [lost(), SAME]).await;
    assert_eq!(settled, (Reason::AlreadyWritten, requests(&["upsert", "read firstname"])));
}

#[tokio::test(start_paused = true)]
async fn verify_sends_again_when_the_row_differs() {
    let settled = settle("verify", [lost(), OTHER, UPSERTED]).await;
    assert_eq!(settled, (Reason::Upserted, requests(&["upsert", "read firstname", "upsert"])));
}

#[tokio::test(start_paused = true)]
async fn verify_rejects_a_412_on_a_row_that_was_already_there() {
    let settled = settle("verify", [lost(), OTHER, lost()]).await;
    let expected = requests(&["upsert", "read firstname", "upsert"]);
    assert_eq!(settled, (Reason::KeyCollision, expected), "that was an update, so the key is another one");
}

#[tokio::test(start_paused = true)]
async fn two_more_requests_distinguish_a_collision_from_a_race() {
    for policy in ["verify", "skip"] {
        let world = World::new([lost(), Answer::NoRow, lost()]);
        let outcome = world.settle(&contact(&json!({ "onConflict": policy }))).await;
        assert_eq!((outcome.reason, world.store.requests().len()), (Reason::KeyCollision, 3), "{policy}");
        assert!(outcome.detail.is_some_and(|detail| detail.contains("another unique key")), "{policy}");
    }
}

#[tokio::test(start_paused = true)]
async fn verify_writes_the_row_whose_winner_rolled_back() {
    let (reason, _) = settle("verify", [lost(), Answer::NoRow, UPSERTED]).await;
    assert_eq!(reason, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn verify_sends_again_what_it_cannot_compare() {
    let binding = json!({ "p@odata.bind": "/accounts(accountnumber='7')" });
    for columns in [json!({ "x_activity_parties": [{}] }), binding] {
        let world = World::new([lost(), Answer::Row("{}"), UPSERTED]);
        assert_eq!(world.reason(&contact(&json!({ "columns": columns })), FIRST).await, Reason::Upserted);
        assert_eq!(world.store.requests(), ["upsert", "read employeeid", "upsert"]);
    }
}

#[tokio::test(start_paused = true)]
async fn verify_reads_all_columns_when_one_cannot_be_selected() {
    let columns = json!({ "parent_account": null });
    let world = World::new([lost(), Answer::wait(400, None), Answer::Row("{}"), UPSERTED]);
    assert_eq!(world.reason(&contact(&json!({ "columns": columns })), FIRST).await, Reason::Upserted);
    assert_eq!(world.store.requests(), ["upsert", "read parent_account", "read", "upsert"]);
}

#[tokio::test(start_paused = true)]
async fn a_null_in_a_column_that_may_be_hidden_proves_nothing() {
    for policy in ["verify", "skip"] {
        for access in [ReadAccess::Denied, ReadAccess::Unknown, ReadAccess::NoMetadata] {
            let world = World::new([lost(), Answer::Row(r#"{"ssn":null}"#), UPSERTED]);
            world.store.set_access(access);
            let record = contact(&json!({ "onConflict": policy, "columns": { "ssn": null } }));
            assert_eq!(world.reason(&record, FIRST).await, Reason::Upserted, "{policy} {access:?}");
            assert_eq!(world.store.requests(), ["upsert", "read ssn", "upsert"], "{policy} {access:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn verify_accepts_the_row_when_only_the_key_was_sent() {
    let world = World::new([lost(), Answer::Row("{}")]);
    assert_eq!(world.reason(&contact(&json!({ "columns": {} })), FIRST).await, Reason::AlreadyWritten);
    assert_eq!(world.store.requests(), ["upsert", "read employeeid"]);
}

/// A lost race whose request was sent at 12:00:05 at the latest.
fn lost_after_five() -> Answer {
    let sent_at = time::OffsetDateTime::parse("2026-01-31T12:00:05Z", &time::format_description::well_known::Rfc3339);
    let (status, code) = (412, Some(DUPLICATE));
    let (message, request_id, retry_after) = (None, None, None);
    Answer::Fails(Error::Answered { status, code, message, request_id, retry_after, sent_at: sent_at.ok() })
}

async fn skip_without_locks(answers: impl IntoIterator<Item = Answer>) -> (Reason, Vec<String>) {
    let mut world = World::new(answers);
    world.pipeline.locks = None;
    let reason = world.reason(&contact(&json!({ "onConflict": "skip" })), FIRST).await;
    (reason, world.store.requests())
}

#[tokio::test(start_paused = true)]
async fn skip_needs_our_values_or_a_row_that_was_created_after_our_request() {
    assert_eq!(settle("skip", [lost(), SAME]).await.0, Reason::AlreadyWritten);
    let later = Answer::Row(r#"{"firstname":"Eve","createdon":"2026-01-31T12:00:06Z"}"#);
    let settled = skip_without_locks([lost_after_five(), OTHER, later.clone()]).await;
    assert_eq!(settled, (Reason::WrittenElsewhere, requests(&["upsert", "read firstname", "read"])));
    let settled = settle("skip", [lost_after_five(), OTHER, lost()]).await;
    let expected = requests(&["upsert", "read firstname", "upsert"]);
    assert_eq!(settled, (Reason::KeyCollision, expected), "under a lock no other instance created it");
    assert_eq!(skip_without_locks([lost(), OTHER, lost()]).await.0, Reason::KeyCollision, "the answer had no date");
    for created in [
        Answer::Row(r#"{"createdon":"2026-01-31T12:00:05Z"}"#),
        Answer::Row(r#"{"createdon":"2020-01-31T12:00:06Z"}"#),
        Answer::Row(r#"{"createdon":null}"#),
        Answer::Row("{}"),
        Answer::NoRow,
        Answer::wait(503, None),
    ] {
        let answers = [lost_after_five(), OTHER, created.clone(), lost()];
        assert_eq!(skip_without_locks(answers).await.0, Reason::KeyCollision, "{created:?}");
        let answers = [lost_after_five(), OTHER, created.clone(), UPSERTED];
        assert_eq!(skip_without_locks(answers).await.0, Reason::Upserted, "{created:?}");
    }
}

/// A row that holds `firstname` and was created by this user.
fn created_by(user: &str) -> Answer {
    Answer::Row(format!(r#"{{"_createdby_value":"{user}"}}"#).leak())
}

#[tokio::test(start_paused = true)]
async fn a_redelivered_create_finds_the_row_that_it_created_itself() {
    let create = contact(&json!({ "operation": "create", "columns": { "firstname": "Ada", "ssn": "7" } }));
    let hidden = Answer::Row(r#"{"firstname":"Ada","ssn":null}"#);
    let (ours, other) = (created_by(store::OUR_USER), created_by("0c7b3f3e-1111-4222-8333-444455550001"));
    for (delivery, answers, reason, reads) in [
        (SECOND_TIME, vec![hidden.clone(), ours.clone()], Reason::AlreadyWritten, vec!["creator", "read"]),
        (SECOND_TIME, vec![hidden.clone(), other], Reason::Exists, vec!["creator", "read"]),
        (SECOND_TIME, vec![hidden.clone(), Answer::NoRow], Reason::Exists, vec!["creator", "read"]),
        (SECOND_TIME, vec![hidden.clone(), Answer::wait(503, None)], Reason::Unavailable, vec!["creator", "read"]),
        (SECOND_TIME, vec![Answer::Row(r#"{"firstname":"Eve","ssn":null}"#)], Reason::Exists, vec![]),
        (SECOND_TIME, vec![Answer::Row(r#"{"firstname":"Ada","ssn":"7"}"#)], Reason::AlreadyWritten, vec![]),
        (FIRST, vec![hidden], Reason::Exists, vec![]),
    ] {
        let world = World::new([lost()].into_iter().chain(answers.clone()));
        assert_eq!(world.reason(&create, delivery).await, reason, "{answers:?}");
        let requests = world.store.requests();
        assert_eq!(requests, [vec!["create", "read firstname,ssn"], reads].concat(), "{answers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn skip_never_skips_without_a_row() {
    let (reason, _) = settle("skip", [lost(), Answer::NoRow, UPSERTED]).await;
    assert_eq!(reason, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn retry_sends_again_without_a_read() {
    let settled = settle("retry", [lost(), lost(), UPSERTED]).await;
    assert_eq!(settled, (Reason::Upserted, requests(&["upsert", "upsert", "upsert"])));
}

#[tokio::test(start_paused = true)]
async fn retry_goes_back_to_the_host_after_three_more_attempts() {
    let settled = settle("retry", (0..4).map(|_| lost())).await;
    assert_eq!(settled, (Reason::Conflict, requests(&["upsert"; 4])));
}

#[tokio::test(start_paused = true)]
async fn the_setting_decides_for_records_that_do_not() {
    let mut world = World::new((0..4).map(|_| lost()));
    world.pipeline.on_conflict = OnConflict::Retry;
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Conflict);
    let mut world = World::new([lost(), SAME]);
    world.pipeline.on_conflict = OnConflict::Retry;
    assert_eq!(world.reason(&contact(&json!({ "onConflict": "verify" })), FIRST).await, Reason::AlreadyWritten);
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_settles_the_race_with_its_error() {
    for (answer, reason) in [
        (Answer::wait(503, None), Reason::Unavailable),
        (Answer::wait(429, None), Reason::Throttled),
        (Answer::wait(403, None), Reason::Unauthorized),
        (Answer::lost(true), Reason::Unavailable),
    ] {
        let (found, _) = settle("verify", [lost(), answer.clone()]).await;
        assert_eq!(found, reason, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_read_of_the_race_is_repeated_like_a_write() {
    let (found, requests) = settle("verify", [lost(), deadlock(), deadlock(), SAME]).await;
    assert_eq!(found, Reason::AlreadyWritten);
    assert_eq!(requests.len(), 4);
    let (found, _) = settle("verify", [lost()].into_iter().chain((0..4).map(|_| deadlock()))).await;
    assert_eq!(found, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn rivals_pause_longer_each_time_and_not_in_step() {
    let (begun, longest) = (Instant::now(), Duration::from_millis(80 + 160 + 320));
    settle("retry", (0..4).map(|_| lost())).await;
    // Each sleep ends on the timer's next whole millisecond.
    assert!((longest / 2..=longest + Duration::from_millis(3)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn deadlocks_do_not_count_as_resends() {
    let answers = [deadlock(), lost(), deadlock(), lost(), deadlock(), lost(), UPSERTED];
    let (reason, _) = settle("retry", answers).await;
    assert_eq!(reason, Reason::Upserted);
}
