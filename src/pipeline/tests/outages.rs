//! Transient and operator-fixable failures: the message waits in place without a slot or a lease, and is retried.

use tokio::time::sleep;

use super::*;
use crate::lock::Locks as _;
use crate::lock::tests::memory::{Fault as StorageFault, Request};

const UPSERTED: Answer = Answer::Wrote(Written::Upserted);

/// A queue message with a long wait budget.
const PATIENT: Delivery = Delivery { wait_budget: Duration::from_mins(8), ..FIRST };

/// An HTTP caller's record.
const CALL: Delivery = Delivery { wait_budget: Duration::from_secs(20), fail_fast: true, ..FIRST };

fn no_token(refused: bool) -> Answer {
    Answer::Fails(Error::NoToken { refused, problem: "no answer".to_owned() })
}

fn row(number: u32) -> Record {
    contact(&json!({ "key": { "employeeid": format!("E{number}") } }))
}

#[tokio::test(start_paused = true)]
async fn transient_failures_are_retried_in_place() {
    for answer in [
        Answer::wait(503, None),
        Answer::wait(429, Some(SECOND)),
        Answer::wait(429, None),
        Answer::refused(401, 0x8004_0277),
        Answer::refused(403, 0x8004_0220),
        Answer::lost(false),
        no_token(true),
        no_token(false),
    ] {
        let world = World::new([answer.clone(), answer.clone(), UPSERTED]);
        assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted, "{answer:?}");
        assert_eq!(world.locks.count(Request::Release), 3, "no lease is held meanwhile: {answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_lock_storage_are_retried_in_place() {
    let world = World::new([UPSERTED]);
    world.locks.fail(Request::Acquire, [StorageFault::Refused, StorageFault::Unreachable]);
    assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn final_verdicts_are_not_retried_in_place() {
    let missing_parent = Answer::refused(404, MISSING);
    for (answers, reason) in [
        (vec![missing_parent], Reason::ParentMissing),
        (vec![Answer::refused(412, STALE)], Reason::Conflict),
        (vec![Answer::refused(400, 0x8004_4331)], Reason::InvalidData),
    ] {
        let begun = Instant::now();
        let world = World::new(answers);
        assert_eq!(world.reason(&bound_contact("upsert"), PATIENT).await, reason);
        assert_eq!(begun.elapsed(), Duration::ZERO, "{}", reason.code());
    }
    let world = World::new([]);
    let _rival = world.locks.try_acquire(&LockName::new(contact(&json!({})).key.lock_name("", "contacts"))).await;
    assert_eq!(world.reason(&contact(&json!({})), CALL).await, Reason::LockBusy);
}

#[tokio::test(start_paused = true)]
async fn the_wait_budget_covers_all_attempts() {
    let world = World::new((0..100).map(|_| Answer::wait(503, None)));
    let begun = Instant::now();
    let outcome = world.pipeline.settle(&contact(&json!({})), PATIENT).await;
    assert_eq!((outcome.reason, begun.elapsed()), (Reason::Unavailable, PATIENT.wait_budget));
    assert_eq!(outcome.dataverse.and_then(|answer| answer.status), Some(503), "the reason that it last met");
    let counters = 100 - world.store.answers_left();
    assert!((16..40).contains(&counters), "{counters}: twice as long each time, up to half a minute");
}

#[tokio::test(start_paused = true)]
async fn fail_fast_ends_before_a_pause_that_exceeds_the_budget_and_names_its_end() {
    let world = World::new([Answer::wait(429, Some(42 * SECOND))]);
    let begun = Instant::now();
    let outcome = world.pipeline.settle(&contact(&json!({})), CALL).await;
    assert_eq!((outcome.reason, outcome.retry_after), (Reason::Throttled, Some(42 * SECOND)));
    sleep(SECOND).await;
    let next = world.pipeline.settle(&contact(&json!({})), CALL).await;
    let rest = next.retry_after.expect("the delay is known");
    assert_eq!((next.reason, begun.elapsed()), (Reason::Throttled, SECOND), "at once");
    assert!((41 * SECOND..51 * SECOND).contains(&rest), "{rest:?}");
    assert_eq!(next.detail.as_deref(), Some("Dataverse asked for a pause that is not over"));
}

#[tokio::test(start_paused = true)]
async fn during_a_pause_no_message_requests_a_lock() {
    let throttled_write = vec![Answer::wait(429, Some(30 * SECOND))];
    let throttled_read = vec![Answer::refused(412, DUPLICATE), Answer::wait(429, Some(30 * SECOND))];
    for answers in [throttled_write, throttled_read] {
        let world = World::new(answers.into_iter().chain([UPSERTED]));
        assert_eq!(world.settle(&contact(&json!({}))).await.reason, Reason::Throttled);
        let locked = world.locks.count_all();
        assert_eq!(world.pipeline.settle(&contact(&json!({})), CALL).await.reason, Reason::Throttled);
        assert_eq!((world.store.answers_left(), world.locks.count_all()), (1, locked), "no request was sent");
        let begun = Instant::now();
        assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted);
        assert!((30 * SECOND..37 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_token_other_messages_are_not_tried_and_return_the_cause() {
    let world = World::new([no_token(true)]);
    let first = world.settle(&row(1)).await;
    let second = world.pipeline.settle(&row(2), FIRST).await;
    assert_eq!((first.reason, second.reason), (Reason::Unauthorized, Reason::Unauthorized));
    let detail = "not tried, because others fail: there is no Entra ID token: no answer";
    assert_eq!(second.detail.as_deref(), Some(detail));
    assert!(second.retry_after.is_some_and(|rest| rest <= SECOND), "when the next probe is due");
}

#[tokio::test(start_paused = true)]
async fn fail_fast_ends_in_an_outage_when_the_next_probe_is_due_too_late() {
    let world = World::new((0..20).map(|_| no_token(false)));
    let begun = Instant::now();
    let outcome = world.pipeline.settle(&row(1), CALL).await;
    let (waited, rest) = (begun.elapsed(), outcome.retry_after.expect("the delay is known"));
    assert_eq!(outcome.reason, Reason::Unavailable);
    assert!(waited <= CALL.wait_budget && waited + rest >= CALL.wait_budget, "{waited:?} {rest:?}");
    assert!(rest <= 30 * SECOND, "{rest:?}");
}

#[tokio::test(start_paused = true)]
async fn a_table_without_a_privilege_does_not_stop_the_others() {
    let refused = || Answer::refused(403, 0x8004_0220);
    let world = World::new([refused(), refused(), refused(), refused(), UPSERTED]);
    for number in 1..=4 {
        assert_eq!(world.settle(&row(number)).await.reason, Reason::Unauthorized);
    }
    assert_eq!(world.reason(&contact(&json!({ "table": "accounts" })), FIRST).await, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_is_only_locked_is_not_failing() {
    let world = World::new([UPSERTED]);
    let record = |table: &str| contact(&json!({ "table": table }));
    for table in ["accounts", "contacts", "leads"] {
        let _rival = world.locks.try_acquire(&LockName::new(record(table).key.lock_name("", table))).await;
        assert_eq!(world.settle(&record(table)).await.reason, Reason::LockBusy);
    }
    assert_eq!(world.reason(&record("accounts"), FIRST).await, Reason::Upserted, "three tables are no outage");
}

#[tokio::test(start_paused = true)]
async fn in_an_outage_one_message_at_a_time_is_tried_and_all_are_applied_afterwards() {
    let down = (0..7).map(|_| Answer::wait(503, None));
    let world = World::new(down.chain((0..10).map(|_| UPSERTED)));
    let records: Vec<_> = (0..10).map(row).collect();
    let outcomes = futures::future::join_all(records.iter().map(|record| world.pipeline.settle(record, PATIENT))).await;
    assert!(outcomes.iter().all(|outcome| outcome.reason == Reason::Upserted));
    assert_eq!(world.store.answers_left(), 0, "seven counters in all while it was down");
}

#[tokio::test(start_paused = true)]
async fn an_ambiguous_write_is_retried_after_its_lease_has_expired() {
    let world = World::new([Answer::wait(504, None), Answer::NoRow, UPSERTED]);
    let begun = Instant::now();
    assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted);
    assert!((15 * SECOND..17 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    assert_eq!(world.locks.count(Request::Release), 1, "the first lease lapsed by itself");
}

/// A slow, unanswered write whose lease was renewed: the lease expires one life after its last renewal.
#[tokio::test(start_paused = true)]
async fn the_lease_expires_after_its_last_renewal() {
    let silence = Error::NoAnswer { sent: true, problem: "no answer in time" };
    let world = World::new([Answer::SlowlyFails(20 * SECOND, silence), Answer::NoRow, UPSERTED]);
    let begun = Instant::now();
    assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted);
    assert!((30 * SECOND..37 * SECOND).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn fail_fast_does_not_wait_for_a_lease_that_expires_after_the_budget() {
    let world = World::new([Answer::wait(504, None), Answer::NoRow]);
    let begun = Instant::now();
    let hurried = Delivery { wait_budget: 10 * SECOND, ..CALL };
    assert_eq!(world.reason(&contact(&json!({})), hurried).await, Reason::Unavailable);
    assert_eq!(begun.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_retried_create_accepts_the_row_of_its_own_first_attempt() {
    let create = contact(&json!({ "operation": "create" }));
    let meets_its_row = || [Answer::refused(412, DUPLICATE), Answer::Row(r#"{"firstname":"Ada"}"#)];
    let unknown = [Answer::lost(true)].into_iter().chain(meets_its_row());
    assert_eq!(World::new(unknown).reason(&create, PATIENT).await, Reason::AlreadyWritten);
    let known = [Answer::wait(503, None)].into_iter().chain(meets_its_row());
    assert_eq!(World::new(known).reason(&create, PATIENT).await, Reason::Exists, "the first try made nothing");
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_connection_drops_is_sent_again_once_and_its_lease_expires() {
    for (operation, answer, reason) in [
        ("upsert", UPSERTED, Reason::Upserted),
        ("update", Answer::Wrote(Written::Updated), Reason::Updated),
        ("delete", Answer::Wrote(Written::Deleted), Reason::Deleted),
        // The first attempt already deleted the row.
        ("delete", Answer::refused(404, MISSING), Reason::Deleted),
        ("update", Answer::refused(404, MISSING), Reason::NotFound),
        ("upsert", Answer::refused(400, 0x8004_4331), Reason::InvalidData),
    ] {
        let world = World::new([Answer::lost(true), answer]);
        let begun = Instant::now();
        assert_eq!(world.reason(&contact(&json!({ "operation": operation })), FIRST).await, reason);
        // Dataverse refuses a second deletion beside the first.
        let pause = if operation == "delete" { SECOND..=2 * SECOND } else { Duration::ZERO..=Duration::ZERO };
        assert!(pause.contains(&begun.elapsed()), "{operation}: {:?}", begun.elapsed());
        assert_eq!((world.locks.count(Request::Acquire), world.locks.count(Request::Release)), (1, 0), "{operation}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_is_proven_by_a_null_only_where_the_column_is_readable() {
    for (access, expected) in [
        (ReadAccess::Granted, None),
        (ReadAccess::Denied, Some(Reason::Unavailable)),
        (ReadAccess::Unknown, Some(Reason::Unavailable)),
    ] {
        for (operation, written) in [("upsert", Reason::Upserted), ("update", Reason::Updated)] {
            let world = World::new([Answer::lost(true), Answer::lost(true), Answer::Row(r#"{"ssn":null}"#)]);
            world.store.set_access(access);
            let record = contact(&json!({ "operation": operation, "columns": { "ssn": null } }));
            assert_eq!(world.reason(&record, FIRST).await, expected.unwrap_or(written), "{operation} {access:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_drops_late_is_not_tried_again_in_place() {
    let silence = Error::NoAnswer { sent: true, problem: "no answer in time" };
    let world = World::new([Answer::SlowlyFails(30 * SECOND, silence), Answer::NoRow]);
    assert_eq!(world.reason(&contact(&json!({})), FIRST).await, Reason::Unavailable);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_and_a_pause_have_different_details() {
    let mut world = World::new([Answer::Hangs]);
    world.pipeline.admission = Admission::new(1, 4);
    world.pipeline.locks = None;
    let record = contact(&json!({}));
    let mut stuck = Box::pin(world.settle(&record));
    assert!(stuck.as_mut().now_or_never().is_none());
    let begun = Instant::now();
    let outcome = world.pipeline.settle(&record, CALL).await;
    assert_eq!((outcome.reason, begun.elapsed()), (Reason::Throttled, CALL.wait_budget));
    assert_eq!(outcome.detail.as_deref(), Some("too many requests are under way, and none ended in time"));
}

#[tokio::test(start_paused = true)]
async fn a_long_wait_for_a_lock_releases_the_slot() {
    let mut world = World::new([UPSERTED, UPSERTED]);
    world.pipeline.admission = Admission::new(1, 4);
    let (contested, free) = (row(1), row(2));
    let rival = world.locks.try_acquire(&LockName::new(contested.key.lock_name("", "contacts"))).await.expect("free");
    let Some(rival) = rival else { panic!("the lock is free") };
    let begun = Instant::now();
    let others = async {
        sleep(SECOND / 10).await;
        let reason = world.pipeline.settle(&free, CALL).await.reason;
        assert_eq!((reason, begun.elapsed()), (Reason::Upserted, SECOND / 10));
        world.locks.release(rival).await;
    };
    let (outcome, ()) = tokio::join!(world.pipeline.settle(&contested, CALL), others);
    assert_eq!(outcome.reason, Reason::Upserted);
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_granted_during_a_pause_is_released_and_requested_again() {
    let world = World::new([Answer::wait(429, Some(10 * SECOND)), UPSERTED]);
    let (contested, throttled) = (row(1), row(2));
    let rival = world.locks.try_acquire(&LockName::new(contested.key.lock_name("", "contacts"))).await.expect("free");
    let Some(rival) = rival else { panic!("the lock is free") };
    let begun = Instant::now();
    let others = async {
        sleep(SECOND / 10).await;
        assert_eq!(world.settle(&throttled).await.reason, Reason::Throttled);
        world.locks.release(rival).await;
        sleep(3 * SECOND).await;
        assert!(
            !world.locks.is_held(&LockName::new(contested.key.lock_name("", "contacts"))),
            "none waits with a lease"
        );
    };
    let (outcome, ()) = tokio::join!(world.pipeline.settle(&contested, PATIENT), others);
    assert_eq!(outcome.reason, Reason::Upserted);
    assert!(begun.elapsed() >= 10 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_was_withheld_is_sent_after_its_message_was_admitted_again() {
    let world = World::new([Answer::Fails(Error::Withheld), UPSERTED]);
    assert_eq!(world.reason(&contact(&json!({})), PATIENT).await, Reason::Upserted);
    assert_eq!(world.store.requests().len(), 2);
}
