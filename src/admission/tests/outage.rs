//! Outages: when the circuit opens, which messages are probes, and how traffic resumes.

use super::*;

/// A failure of one row.
pub(super) fn row_failure() -> OutageCause {
    let scope = FailureScope::Row;
    OutageCause { reason: Reason::Unavailable, message: "down".to_owned(), scope, delay: None }
}

/// Fails a write of this row, which is in a table of its own.
async fn fail(admission: &Admission, row: u64) {
    assert!(!about(admission, row).enter().await.expect("open").failed(&row_failure(), None), "no check is due");
}

async fn succeed(admission: &Admission) {
    patient(admission).enter().await.expect("open").succeeded(None);
}

fn is_open(admission: &Admission) -> bool {
    patient(admission).enter().now_or_never().is_some_and(|entered| entered.is_ok())
}

/// An admission whose circuit was opened by failures of three rows.
async fn held() -> Admission {
    let admission = Admission::new(8, 4);
    for row in 1..=3 {
        fail(&admission, row).await;
    }
    admission
}

#[tokio::test(start_paused = true)]
async fn three_different_tables_without_a_success_open_the_circuit_and_fewer_do_not() {
    for (failures, closes) in [
        (&[Some(1), Some(2), Some(3)][..], true),
        (&[Some(1), Some(2)], false),
        (&[Some(1), Some(1), Some(1), Some(1), Some(2), Some(2)], false),
        (&[Some(1), Some(2), None, Some(3), Some(4)], false),
        (&[Some(1), Some(2), None, Some(3), Some(4), Some(5)], true),
    ] {
        let admission = Admission::new(8, 4);
        for failure in failures {
            match failure {
                Some(row) => fail(&admission, *row).await,
                None => succeed(&admission).await,
            }
        }
        assert_eq!(is_open(&admission), !closes, "{failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_environment_opens_the_circuit_at_once() {
    let admission = Admission::new(8, 4);
    let no_token = OutageCause { reason: Reason::Unauthorized, scope: FailureScope::Environment, ..row_failure() };
    let _ = patient(&admission).enter().await.expect("open").failed(&no_token, None);
    let rejected = entry(&admission, Instant::now(), true).enter().await.expect_err("closed");
    assert_eq!(rejected.reason, RejectReason::CircuitOpen(no_token));
    assert!(
        rejected.retry_after.is_some_and(|rest| rest <= circuit_breaker::FIRST_BACK_OFF),
        "when the next probe is due"
    );
}

#[tokio::test(start_paused = true)]
async fn three_rows_of_one_table_ask_for_a_check_whose_result_decides() {
    let everything = || OutageCause { scope: FailureScope::Environment, ..row_failure() };
    for (outage, is_still_open) in [(None, true), (Some(everything()), false)] {
        let admission = Admission::new(8, 4);
        let fail_row =
            async |row| about_table(&admission, 7, row).enter().await.expect("open").failed(&row_failure(), None);
        assert_eq!([fail_row(1).await, fail_row(2).await, fail_row(3).await], [false, false, true]);
        assert!(!is_open(&admission), "the others wait for its result");
        admission.checked(outage);
        assert_eq!(is_open(&admission), is_still_open);
    }
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_for_failing_tables_hold_a_limited_number_of_seats() {
    let admission = Admission::new(8, 2);
    let refused = OutageCause { scope: FailureScope::Table, reason: Reason::Unauthorized, ..row_failure() };
    let message = |row| about_table(&admission, 7, row);
    let mut first = message(1);
    let _ = first.enter().await.expect("open").failed(&refused, None);
    let (mut second, mut third) = (message(2), message(3));
    assert!(first.enter().now_or_never().is_none(), "it takes a seat");
    assert!(second.enter().now_or_never().is_none(), "so does the next");
    let rejected = third.enter().await.expect_err("no seat is left");
    assert_eq!(rejected.reason, RejectReason::Failing(refused.clone()));
    succeed(&admission).await;
    drop(second);
    assert!(third.enter().now_or_never().is_none(), "a seat became free");
    let begun = Instant::now();
    third.enter().await.expect("due").succeeded(None);
    assert!(begun.elapsed() <= SECOND);
    first.enter().await.expect("the table works again").succeeded(None);
    assert!(begun.elapsed() <= SECOND);
}

#[tokio::test(start_paused = true)]
async fn a_failing_key_holds_back_all_that_use_it_in_any_table_and_opens_no_circuit() {
    let admission = Admission::new(8, 8);
    let refused = OutageCause { scope: FailureScope::Key(1), reason: Reason::Unauthorized, ..row_failure() };
    for table in 1..=4 {
        let mut message = with_keys(&admission, table, table, &[10 + table, 7]);
        let entered = message.enter().now_or_never();
        if table == 1 {
            assert!(!entered.expect("open").expect("open").failed(&refused, None), "nothing to check");
        } else {
            assert!(entered.is_none(), "table {table} uses the key that failed");
        }
    }
    succeed(&admission).await;
    for keys in [&[][..], &[11], &[1]] {
        let mut message = with_keys(&admission, 1, 2, keys);
        assert!(message.enter().now_or_never().is_some_and(|entered| entered.is_ok()), "not by {keys:?}");
    }
    let mut other_position = with_keys(&admission, 7, 9, &[7]);
    assert!(other_position.enter().now_or_never().is_none());
    sleep(SECOND).await;
    other_position.enter().await.expect("due").succeeded(None);
    let mut message = with_keys(&admission, 3, 3, &[13, 7]);
    assert!(message.enter().now_or_never().is_some_and(|entered| entered.is_ok()), "the key works again");
}

#[tokio::test(start_paused = true)]
async fn one_message_at_a_time_tries_a_failing_row() {
    let admission = Admission::new(8, 4);
    let _ = about(&admission, 1).enter().await.expect("open").failed(&row_failure(), None);
    let (mut one, mut other) = (about(&admission, 1), about(&admission, 1));
    sleep(SECOND).await;
    let trying = one.enter().await.expect("due");
    assert!(other.enter().now_or_never().is_none(), "it waits for the answer");
    trying.succeeded(None);
    assert!(other.enter().now_or_never().is_some_and(|entered| entered.is_ok()));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_a_table_refuses_ends_an_outage_of_the_environment() {
    let admission = Admission::new(8, 4);
    let everything = OutageCause { scope: FailureScope::Environment, ..row_failure() };
    let refused = OutageCause { scope: FailureScope::Table, ..row_failure() };
    let _ = patient(&admission).enter().await.expect("open").failed(&everything, None);
    sleep(SECOND).await;
    let _ = about(&admission, 1).enter().await.expect("due").failed(&refused, None);
    assert!(is_open(&admission));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waited_for_its_lock_is_held_back_when_its_row_failed_meanwhile() {
    let admission = Admission::new(8, 4);
    let (mut failing, mut waiting) = (about(&admission, 1), about(&admission, 1));
    let failing = failing.enter().await.expect("open");
    let mut waiting = waiting.enter().await.expect("open");
    waiting.release_slot();
    sleep(SECOND).await;
    let _ = failing.failed(&row_failure(), None);
    let rejected = waiting.reacquire_slot().await.expect_err("its row fails");
    assert_eq!(rejected.reason, RejectReason::Failing(row_failure()));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_by_itself_backs_off_longer_each_time_and_takes_no_slot() {
    let admission = Admission::new(1, 4);
    let mut sick = about(&admission, 7);
    sick.budget.until += 10 * LONG;
    for doubled in [1, 2, 4, 8, 16, 30, 30] {
        let _ = sick.enter().await.expect("open").failed(&row_failure(), None);
        let begun = Instant::now();
        let mut again = Box::pin(sick.enter());
        assert!(again.as_mut().now_or_never().is_none());
        succeed(&admission).await;
        drop(again.await.expect("open"));
        let rest = begun.elapsed();
        let longest = doubled * SECOND;
        assert!((longest / 2..=longest + SECOND / 100).contains(&rest), "{doubled} s: {rest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_backs_off_for_the_named_delay_and_until_its_lease_has_expired() {
    let admission = Admission::new(1, 4);
    let mut entry = about(&admission, 7);
    let named = OutageCause { delay: Some(7 * SECOND), ..row_failure() };
    let begun = Instant::now();
    let _ = entry.enter().await.expect("open").failed(&named, None);
    let permit = entry.enter().await.expect("open");
    assert_eq!(begun.elapsed(), 7 * SECOND);
    let _ = permit.failed(&row_failure(), Some(begun + 22 * SECOND));
    entry.enter().await.expect("open").succeeded(None);
    assert_eq!(begun.elapsed(), 22 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_message_at_a_time_is_a_probe_another_each_time_with_growing_pauses() {
    let admission = held().await;
    let begun = Instant::now();
    let probes = std::sync::Mutex::new(Vec::new());
    let message = async |number: u64| {
        let mut entry = about(&admission, number);
        loop {
            let permit = entry.enter().await.expect("patient");
            probes.lock().expect("no panic").push((begun.elapsed(), number));
            if begun.elapsed() > 120 * SECOND {
                return permit.succeeded(None);
            }
            let _ = permit.failed(&row_failure(), None);
        }
    };
    join_all((0..20).map(message)).await;
    let probes = probes.into_inner().expect("no panic");
    let pauses: Vec<_> = probes.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).take(7).collect();
    for (pause, longest) in pauses.iter().zip([2, 4, 8, 16, 30, 30, 30]) {
        let longest = longest * SECOND;
        assert!((longest / 2..=longest + SECOND / 100).contains(pause), "{pauses:?}");
    }
    assert!(probes.iter().map(|(_, number)| *number).take(8).eq(0..8), "{probes:?}");
    assert!(begun.elapsed() < 160 * SECOND, "once one has succeeded the rest go on");
}

#[tokio::test(start_paused = true)]
async fn traffic_resumes_gradually() {
    let admission = held().await;
    sleep(2 * SECOND).await;
    let mut probe = patient(&admission);
    let probe = probe.enter().await.expect("due");
    assert_eq!(free_slots(&admission), 0);
    probe.succeeded(None);
    for expected in [2, 3, 4] {
        assert_eq!(free_slots(&admission), expected);
        succeed(&admission).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_answer_does_not_block_the_next_and_its_late_answer_counts() {
    let admission = held().await;
    sleep(SECOND).await;
    let (mut slow, mut next) = (patient(&admission), patient(&admission));
    let slow = slow.enter().await.expect("due");
    let begun = Instant::now();
    let _ = next.enter().await.expect("due as well").failed(&row_failure(), None);
    assert_eq!(begun.elapsed(), circuit_breaker::PROBE_TIMEOUT);
    slow.succeeded(None);
    assert!(is_open(&admission));
}

#[tokio::test(start_paused = true)]
async fn after_an_inconclusive_or_cancelled_probe_the_next_is_sent_at_once() {
    let admission = held().await;
    sleep(SECOND).await;
    for _ in 0..3 {
        drop(patient(&admission).enter().now_or_never().expect("due").expect("due"));
    }
    let mut probe = patient(&admission);
    let mut probe = probe.enter().await.expect("due");
    probe.release_slot();
    assert_eq!(free_slots(&admission), 0, "a probe keeps its slot");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_throttled_ends_the_outage_and_begins_a_pause() {
    let admission = held().await;
    sleep(SECOND).await;
    throttle(&admission, 5 * SECOND).await;
    let rejected = entry(&admission, Instant::now(), true).enter().await.expect_err("closed");
    assert_eq!(rejected.reason, RejectReason::Paused);
    sleep(7 * SECOND).await;
    assert!(is_open(&admission));
}

#[tokio::test(start_paused = true)]
async fn answers_to_requests_from_before_the_outage_do_not_close_the_circuit() {
    let admission = Admission::new(8, 4);
    let mut early = patient(&admission);
    let early = early.enter().await.expect("open");
    let mut late: Vec<_> = (1..=3).map(|row| about(&admission, row)).collect();
    for permit in at_once(&mut late) {
        let _ = permit.failed(&row_failure(), None);
    }
    early.succeeded(None);
    assert!(!is_open(&admission), "it was sent before the outage");
}

#[tokio::test(start_paused = true)]
async fn a_waiting_message_returns_the_cause_when_its_budget_ends() {
    let admission = held().await;
    let mut probe = patient(&admission);
    let _probe = probe.enter().await.expect("due");
    let begun = Instant::now();
    let rejected = entry(&admission, begun + 5 * SECOND, false).enter().await.expect_err("held");
    assert_eq!((rejected.reason, begun.elapsed()), (RejectReason::CircuitOpen(row_failure()), 5 * SECOND));
    assert_eq!(rejected.retry_after.map(|rest| rest + 5 * SECOND), Some(circuit_breaker::PROBE_TIMEOUT));
}

/// Messages that wait for a lock have released their slots, so they see a lock storage outage without one.
#[tokio::test(start_paused = true)]
async fn failures_without_a_slot_count_as_well() {
    let admission = Admission::new(8, 4);
    for row in 1..=3 {
        let mut entry = about(&admission, row);
        let mut permit = entry.enter().await.expect("open");
        permit.release_slot();
        let _ = permit.failed(&row_failure(), None);
    }
    assert!(!is_open(&admission));
    assert_eq!(admission.queue.with_state(|state| state.in_flight), 0);
}
