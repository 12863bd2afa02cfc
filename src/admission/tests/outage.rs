//! Trouble: whose it is, who waits where, and how the traffic comes back.

use super::*;

pub(super) fn trouble(scope: Scope) -> Trouble {
    Trouble { reason: Reason::Unavailable, said: "down".to_owned(), scope, delay: None }
}

/// Somebody goes in, and it fails for this row.
async fn fail(gate: &Gate, row: u64) {
    patient(gate).enter().await.expect("open").failed(&trouble(Scope::One(row)), None);
}

async fn succeed(gate: &Gate) {
    patient(gate).enter().await.expect("open").succeeded(None);
}

fn is_open(gate: &Gate) -> bool {
    patient(gate).enter().now_or_never().is_some_and(|entered| entered.is_ok())
}

/// A gate that three rows have closed.
async fn held() -> Gate {
    let gate = Gate::new(8);
    for row in 1..=3 {
        fail(&gate, row).await;
    }
    gate
}

#[tokio::test(start_paused = true)]
async fn three_different_rows_without_a_success_close_it_and_fewer_do_not() {
    for (failures, closes) in [
        (&[Some(1), Some(2), Some(3)][..], true),
        (&[Some(1), Some(2)], false),
        (&[Some(1), Some(1), Some(1), Some(1), Some(2), Some(2)], false),
        (&[Some(1), Some(2), None, Some(3), Some(4)], false),
        (&[Some(1), Some(2), None, Some(3), Some(4), Some(5)], true),
    ] {
        let gate = Gate::new(8);
        for failure in failures {
            match failure {
                Some(row) => fail(&gate, *row).await,
                None => succeed(&gate).await,
            }
        }
        assert_eq!(is_open(&gate), !closes, "{failures:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_can_only_be_everybodys_closes_it_at_once() {
    let gate = Gate::new(8);
    let no_token = Trouble { reason: Reason::Unauthorized, ..trouble(Scope::Everybody) };
    patient(&gate).enter().await.expect("open").failed(&no_token, None);
    let closed = visit(&gate, Instant::now(), true).enter().await.expect_err("closed");
    assert_eq!(closed.why, Why::Held(no_token));
    assert!(closed.retry_after.is_some_and(|rest| rest <= circuit_breaker::FIRST_PAUSE), "when the next probe is due");
}

/// Sick rows at night, with one good message now and then.
#[tokio::test(start_paused = true)]
async fn messages_that_failed_before_while_others_succeed_do_not_close_it() {
    let gate = Gate::new(8);
    let mut sick = patients(&gate, 3);
    for round in 0..5 {
        for (row, visit) in (0..).zip(&mut sick) {
            visit.enter().await.expect("open").failed(&trouble(Scope::One(row)), None);
            if round == 0 {
                succeed(&gate).await;
            }
        }
        assert!(is_open(&gate), "round {round}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_by_itself_rests_longer_each_time_and_takes_no_place() {
    let gate = Gate::new(1);
    let mut sick = visit(&gate, Instant::now() + 10 * LONG, false);
    for doubled in [1, 2, 4, 8, 16, 30, 30] {
        sick.enter().await.expect("open").failed(&trouble(Scope::One(1)), None);
        let begun = Instant::now();
        let mut again = Box::pin(sick.enter());
        assert!(again.as_mut().now_or_never().is_none());
        succeed(&gate).await;
        drop(again.await.expect("open"));
        let rest = begun.elapsed();
        let longest = doubled * SECOND;
        assert!((longest / 2..=longest + SECOND / 100).contains(&rest), "{doubled} s: {rest:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_stays_away_as_long_as_it_is_told_and_until_its_lease_has_lapsed() {
    let gate = Gate::new(1);
    let mut visit = patient(&gate);
    let named = Trouble { delay: Some(7 * SECOND), ..trouble(Scope::One(1)) };
    let begun = Instant::now();
    visit.enter().await.expect("open").failed(&named, None);
    let permit = visit.enter().await.expect("open");
    assert_eq!(begun.elapsed(), 7 * SECOND);
    permit.failed(&trouble(Scope::One(1)), Some(begun + 22 * SECOND));
    visit.enter().await.expect("open").succeeded(None);
    assert_eq!(begun.elapsed(), 22 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn one_at_a_time_tests_the_water_another_each_time_and_more_and_more_seldom() {
    let gate = held().await;
    let begun = Instant::now();
    let probes = std::sync::Mutex::new(Vec::new());
    let message = async |number: u64| {
        let mut visit = patient(&gate);
        loop {
            let permit = visit.enter().await.expect("patient");
            probes.lock().expect("no panic").push((begun.elapsed(), number));
            if begun.elapsed() > 120 * SECOND {
                return permit.succeeded(None);
            }
            permit.failed(&trouble(Scope::One(number)), None);
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
async fn the_traffic_comes_back_gradually() {
    let gate = held().await;
    sleep(2 * SECOND).await;
    let mut probe = patient(&gate);
    let probe = probe.enter().await.expect("due");
    assert_eq!(room(&gate), 0);
    probe.succeeded(None);
    for expected in [2, 3, 4] {
        assert_eq!(room(&gate), expected);
        succeed(&gate).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_probe_without_an_answer_does_not_keep_the_next_from_being_sent_and_its_own_still_counts() {
    let gate = held().await;
    sleep(SECOND).await;
    let (mut slow, mut next) = (patient(&gate), patient(&gate));
    let slow = slow.enter().await.expect("due");
    let begun = Instant::now();
    next.enter().await.expect("due as well").failed(&trouble(Scope::One(9)), None);
    assert_eq!(begun.elapsed(), circuit_breaker::PROBE_PATIENCE);
    slow.succeeded(None);
    assert!(is_open(&gate));
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_learnt_nothing_or_was_cancelled_makes_way_for_the_next_at_once() {
    let gate = held().await;
    sleep(SECOND).await;
    for _ in 0..3 {
        drop(patient(&gate).enter().now_or_never().expect("due").expect("due"));
    }
    let mut probe = patient(&gate);
    let mut probe = probe.enter().await.expect("due");
    probe.step_aside();
    assert_eq!(room(&gate), 0, "a probe never steps aside");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_throttled_ends_the_outage_and_begins_a_pause() {
    let gate = held().await;
    sleep(SECOND).await;
    throttle(&gate, 5 * SECOND).await;
    let closed = visit(&gate, Instant::now(), true).enter().await.expect_err("closed");
    assert_eq!(closed.why, Why::Paused);
    sleep(7 * SECOND).await;
    assert!(is_open(&gate));
}

#[tokio::test(start_paused = true)]
async fn answers_to_what_was_sent_before_are_old_news() {
    let gate = Gate::new(8);
    let (mut early, mut late) = (patient(&gate), patients(&gate, 3));
    let early = early.enter().await.expect("open");
    for (row, permit) in (1..).zip(at_once(&mut late)) {
        permit.failed(&trouble(Scope::One(row)), None);
    }
    early.succeeded(None);
    assert!(!is_open(&gate), "it was sent before the outage");
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_is_told_the_reason_when_its_patience_ends() {
    let gate = held().await;
    let mut probe = patient(&gate);
    let _probe = probe.enter().await.expect("due");
    let begun = Instant::now();
    let closed = visit(&gate, begun + 5 * SECOND, false).enter().await.expect_err("held");
    assert_eq!((closed.why, begun.elapsed()), (Why::Held(trouble(Scope::One(3))), 5 * SECOND));
    assert_eq!(closed.retry_after.map(|rest| rest + 5 * SECOND), Some(circuit_breaker::PROBE_PATIENCE));
}

/// Lock storage that does not answer is noticed by those who lend their places while they wait for it.
#[tokio::test(start_paused = true)]
async fn what_fails_aside_counts_as_well() {
    let gate = Gate::new(8);
    for row in 1..=3 {
        let mut visit = patient(&gate);
        let mut aside = visit.enter().await.expect("open");
        aside.step_aside();
        aside.failed(&trouble(Scope::One(row)), None);
    }
    assert!(!is_open(&gate));
    assert_eq!(gate.line.with_state(|state| state.inside()), 0);
}
