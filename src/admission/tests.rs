//! The gate from outside, with paused time: who gets in, and when.

mod concurrency_limit;
mod leaving;
mod outage;
mod protection;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::sleep;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_mins(10);

fn visit(gate: &Gate, until: Instant, leaves_early: bool) -> Visit {
    gate.visit(Patience { until, in_line_until: until, leaves_early })
}

fn patient(gate: &Gate) -> Visit {
    visit(gate, Instant::now() + LONG, false)
}

fn patients(gate: &Gate, count: usize) -> Vec<Visit> {
    (0..count).map(|_| patient(gate)).collect()
}

/// Those who get in at once, one after the other, as long as nobody has to wait.
fn at_once(visits: &mut [Visit]) -> Vec<Permit<'_>> {
    visits.iter_mut().map_while(|visit| visit.enter().now_or_never()?.ok()).collect()
}

/// How many get in at once.
fn room(gate: &Gate) -> usize {
    at_once(&mut patients(gate, 100)).len()
}

/// Somebody goes in and is throttled.
async fn throttle(gate: &Gate, delay: Duration) {
    patient(gate).enter().await.expect("open").throttled(Some(delay), LimitKind::Rate);
}

#[tokio::test(start_paused = true)]
async fn no_more_than_its_ceiling_get_in_at_once() {
    let gate = Gate::new(2);
    let mut visits = patients(&gate, 2);
    let mut inside = at_once(&mut visits);
    assert_eq!(inside.len(), 2);
    let closed = visit(&gate, Instant::now() + SECOND, false).enter().await.expect_err("full");
    assert_eq!(closed, Closed { why: Why::Full, retry_after: None });
    drop(inside.pop());
    patient(&gate).enter().await.expect("one has left");
}

#[tokio::test(start_paused = true)]
async fn patience_for_trouble_and_for_the_line_are_two() {
    let gate = Gate::new(1);
    let now = Instant::now();
    let (mut short, mut long) = (patient(&gate), patient(&gate));
    short.patience = Patience { until: now, in_line_until: now + 5 * SECOND, leaves_early: false };
    let inside = long.enter().await.expect("open");
    assert_eq!(short.enter().await.expect_err("full").why, Why::Full);
    assert_eq!(now.elapsed(), 5 * SECOND, "the line moved, or might have");
    short.patience.in_line_until = now + LONG;
    inside.throttled(Some(SECOND), LimitKind::Rate);
    assert_eq!(short.enter().await.expect_err("closed").why, Why::Paused);
    assert_eq!(now.elapsed(), 5 * SECOND, "at once");
}

#[tokio::test(start_paused = true)]
async fn who_came_first_gets_in_first() {
    let gate = Gate::new(1);
    let mut first = patient(&gate);
    let inside = first.enter().await.expect("open");
    let order = std::sync::Mutex::new(Vec::new());
    let come = async |number: u64| {
        sleep(SECOND * u32::try_from(number).expect("few")).await;
        let mut visit = patient(&gate);
        let permit = visit.enter().await.expect("patient");
        order.lock().expect("no panic").push(number);
        sleep(SECOND).await;
        permit.succeeded(None);
    };
    let leave = async {
        sleep(20 * SECOND).await;
        assert_eq!(gate.waiting(), 8);
        drop(inside);
    };
    tokio::join!(leave, join_all((0..8).map(come)));
    assert!(order.into_inner().expect("no panic").into_iter().eq(0..8));
}

#[tokio::test(start_paused = true)]
async fn a_pause_keeps_everybody_out_until_it_ends_and_a_little_longer() {
    let times = [(SECOND, state::LEAST_JITTER), (20 * SECOND, 4 * SECOND), (LONG, state::MOST_JITTER)];
    for (delay, most_jitter) in times.into_iter().cycle().take(60) {
        let gate = Gate::new(4);
        throttle(&gate, delay).await;
        let begun = Instant::now();
        let mut visit = visit(&gate, begun + 2 * LONG, false);
        visit.enter().await.expect("the pause is shorter").succeeded(None);
        // Timers count in milliseconds.
        let latest = delay + most_jitter + Duration::from_millis(1);
        assert!((delay..=latest).contains(&begun.elapsed()), "{delay:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn two_gates_do_not_return_in_step() {
    let returns = (0..20).map(|_| async {
        let gate = Gate::new(4);
        throttle(&gate, 60 * SECOND).await;
        let begun = Instant::now();
        patient(&gate).enter().await.expect("the pause is shorter").succeeded(None);
        begun.elapsed().as_millis()
    });
    let mut returns = join_all(returns).await;
    returns.sort_unstable();
    let spread = returns[19] - returns[0];
    returns.dedup();
    assert!(returns.len() >= 15 && spread >= 4_000, "{returns:?}");
}

#[tokio::test(start_paused = true)]
async fn the_return_is_gentle_one_at_first_and_one_more_with_each_answer() {
    let gate = Gate::new(20);
    let mut visits = patients(&gate, 9);
    let mut inside = at_once(&mut visits);
    assert_eq!(inside.len(), 4);
    inside.pop().expect("four").throttled(Some(SECOND), LimitKind::Rate);
    drop(inside);
    sleep(2 * SECOND).await;
    for expected in [1, 2] {
        assert_eq!(room(&gate), expected);
        patient(&gate).enter().await.expect("open").succeeded(None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_is_told_at_once_when_a_pause_outlasts_its_patience_and_a_message_waits() {
    let gate = Gate::new(2);
    throttle(&gate, 60 * SECOND).await;
    let begun = Instant::now();
    let closed = visit(&gate, begun + 20 * SECOND, true).enter().await.expect_err("closed");
    assert_eq!((closed.why, begun.elapsed()), (Why::Paused, Duration::ZERO));
    let rest = closed.retry_after.expect("the gate knows");
    assert!((60 * SECOND..=70 * SECOND).contains(&rest), "{rest:?}");
    let closed = visit(&gate, begun + 20 * SECOND, false).enter().await.expect_err("closed");
    assert_eq!((closed.why, begun.elapsed()), (Why::Paused, 20 * SECOND));
    assert_eq!(closed.retry_after.map(|left| left + 20 * SECOND), Some(rest));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_pause_does_not_end_a_longer_one_and_a_longer_one_extends_it() {
    let gate = Gate::new(3);
    let mut visits = patients(&gate, 3);
    let begun = Instant::now();
    for (permit, seconds) in at_once(&mut visits).into_iter().zip([60, 1, 120]) {
        permit.throttled(Some(seconds * SECOND), LimitKind::Rate);
    }
    patient(&gate).enter().await.expect("it ends");
    assert!(begun.elapsed() >= 120 * SECOND, "{:?}", begun.elapsed());
}

/// Who waits since before the pause has no timer for its end yet.
#[tokio::test(start_paused = true)]
async fn nobody_who_waits_sleeps_through_the_end_of_a_pause() {
    let gate = Gate::new(1);
    let mut first = patient(&gate);
    let inside = first.enter().await.expect("open");
    let waiters = (0..5).map(|_| async { patient(&gate).enter().await.map(|permit| permit.succeeded(None)) });
    let begun = Instant::now();
    let throttled = async {
        sleep(SECOND).await;
        inside.throttled(Some(5 * SECOND), LimitKind::Rate);
    };
    let ((), entered) = tokio::join!(throttled, join_all(waiters));
    assert!(entered.into_iter().all(|entered| entered.is_ok()));
    assert!(begun.elapsed() < 8 * SECOND, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_throttled_message_keeps_its_turn() {
    let gate = Gate::new(1);
    let (mut first, mut second) = (patient(&gate), patient(&gate));
    let inside = first.enter().await.expect("open");
    let mut waiting = Box::pin(second.enter());
    assert!(waiting.as_mut().now_or_never().is_none());
    inside.throttled(Some(SECOND), LimitKind::Rate);
    let again = first.enter().await.expect("the pause is short");
    assert!(waiting.as_mut().now_or_never().is_none());
    again.succeeded(None);
    waiting.await.expect("its turn").succeeded(None);
}

#[tokio::test(start_paused = true)]
async fn throttling_without_a_delay_leaves_the_gate_open_and_the_message_rests_by_itself() {
    let gate = Gate::new(4);
    let mut visit = patient(&gate);
    visit.enter().await.expect("open").throttled(None, LimitKind::Rate);
    assert!(patient(&gate).enter().now_or_never().is_some_and(|entered| entered.is_ok()));
    let begun = Instant::now();
    visit.enter().await.expect("open").succeeded(None);
    assert!(begun.elapsed() >= circuit_breaker::FIRST_PAUSE / 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_steps_aside_makes_room_and_comes_back_before_all_who_wait() {
    let gate = Gate::new(1);
    let (mut first, mut second, mut third) = (patient(&gate), patient(&gate), patient(&gate));
    let mut aside = first.enter().await.expect("open");
    aside.step_aside();
    let inside = second.enter().await.expect("there is room");
    let mut waiting = Box::pin(third.enter());
    assert!(waiting.as_mut().now_or_never().is_none());
    let mut back = Box::pin(aside.step_back());
    assert!(back.as_mut().now_or_never().is_none(), "full");
    inside.succeeded(None);
    back.await.expect("first in line");
    assert!(waiting.as_mut().now_or_never().is_none(), "it is inside again");
    aside.succeeded(None);
    waiting.await.expect("its turn");
}

#[tokio::test(start_paused = true)]
async fn who_comes_back_to_a_closed_gate_is_told_at_once() {
    let gate = Gate::new(1);
    let mut visit = patient(&gate);
    let mut aside = visit.enter().await.expect("open");
    aside.step_aside();
    throttle(&gate, 5 * SECOND).await;
    let begun = Instant::now();
    assert_eq!(aside.step_back().await.expect_err("closed").why, Why::Paused);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(aside);
    visit.enter().await.expect("after the pause");
}
