//! The public interface of admission, with paused time: which messages are admitted, and when.

mod cancelled;
mod concurrency_limit;
mod outage;
pub(crate) mod protection;

use futures::FutureExt as _;
use futures::future::join_all;
use tokio::time::sleep;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_mins(10);

fn entry(admission: &Admission, until: Instant, fail_fast: bool) -> Entry {
    admission
        .entry(Subjects { table: 0, row: 0, keys: Box::default() }, WaitBudget { until, queue_until: until, fail_fast })
}

/// A message about this row, which is in a table of its own.
fn about(admission: &Admission, row: u64) -> Entry {
    about_table(admission, row, row)
}

fn about_table(admission: &Admission, table: u64, row: u64) -> Entry {
    with_keys(admission, table, row, &[])
}

/// A message about this row that uses these keys.
fn with_keys(admission: &Admission, table: u64, row: u64, keys: &[u64]) -> Entry {
    let until = Instant::now() + LONG;
    let subjects = Subjects { table, row, keys: keys.into() };
    admission.entry(subjects, WaitBudget { until, queue_until: until, fail_fast: false })
}

/// The number of waiting messages.
fn waiting(admission: &Admission) -> u64 {
    let [_, _, waiting] = admission.figures();
    waiting
}

pub(crate) fn patient(admission: &Admission) -> Entry {
    entry(admission, Instant::now() + LONG, false)
}

fn patients(admission: &Admission, count: usize) -> Vec<Entry> {
    (0..count).map(|_| patient(admission)).collect()
}

/// The permits of the entries admitted at once, in order, up to the first that has to wait.
fn at_once(entries: &mut [Entry]) -> Vec<Permit<'_>> {
    entries.iter_mut().map_while(|entry| entry.enter().now_or_never()?.ok()).collect()
}

/// How many messages are admitted at once.
fn free_slots(admission: &Admission) -> usize {
    at_once(&mut patients(admission, 100)).len()
}

/// Admits one message and reports it as throttled.
async fn throttle(admission: &Admission, delay: Duration) {
    patient(admission).enter().await.expect("open").throttled(Some(delay), LimitKind::Rate);
}

#[tokio::test(start_paused = true)]
async fn admits_no_more_than_its_ceiling_at_once() {
    let admission = Admission::new(2, 4);
    let mut entries = patients(&admission, 2);
    let mut inside = at_once(&mut entries);
    assert_eq!(inside.len(), 2);
    let rejected = entry(&admission, Instant::now() + SECOND, false).enter().await.expect_err("full");
    assert_eq!(rejected, NotAdmitted { reason: RejectReason::Full, retry_after: None });
    drop(inside.pop());
    patient(&admission).enter().await.expect("one has left");
}

#[tokio::test(start_paused = true)]
async fn the_budgets_for_outages_and_for_the_queue_are_separate() {
    let admission = Admission::new(1, 4);
    let now = Instant::now();
    let (mut short, mut long) = (patient(&admission), patient(&admission));
    short.budget = WaitBudget { until: now, queue_until: now + 5 * SECOND, fail_fast: false };
    let inside = long.enter().await.expect("open");
    assert_eq!(short.enter().await.expect_err("full").reason, RejectReason::Full);
    assert_eq!(now.elapsed(), 5 * SECOND, "the queue budget");
    short.budget.queue_until = now + LONG;
    inside.throttled(Some(SECOND), LimitKind::Rate);
    assert_eq!(short.enter().await.expect_err("closed").reason, RejectReason::Paused);
    assert_eq!(now.elapsed(), 5 * SECOND, "at once");
}

#[tokio::test(start_paused = true)]
async fn admits_in_order_of_arrival() {
    let admission = Admission::new(1, 4);
    let mut first = patient(&admission);
    let inside = first.enter().await.expect("open");
    let order = std::sync::Mutex::new(Vec::new());
    let come = async |number: u64| {
        sleep(SECOND * u32::try_from(number).expect("few")).await;
        let mut entry = patient(&admission);
        let permit = entry.enter().await.expect("patient");
        order.lock().expect("no panic").push(number);
        sleep(SECOND).await;
        permit.succeeded(None);
    };
    let leave = async {
        sleep(20 * SECOND).await;
        assert_eq!(waiting(&admission), 8);
        drop(inside);
    };
    tokio::join!(leave, join_all((0..8).map(come)));
    assert!(order.into_inner().expect("no panic").into_iter().eq(0..8));
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_all_messages_until_it_ends_with_jitter() {
    let times = [(SECOND, state::MIN_JITTER), (3 * SECOND, 3 * SECOND / 5), (LONG, state::MAX_JITTER)];
    for (delay, most_jitter) in times.into_iter().cycle().take(60) {
        let admission = Admission::new(4, 4);
        throttle(&admission, delay).await;
        let begun = Instant::now();
        let mut entry = entry(&admission, begun + 2 * LONG, false);
        entry.enter().await.expect("the pause is shorter").succeeded(None);
        // Timers have a resolution of 1 ms.
        let latest = delay + most_jitter + Duration::from_millis(1);
        assert!((delay..=latest).contains(&begun.elapsed()), "{delay:?}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn two_processes_do_not_resume_in_step() {
    let returns = (0..20).map(|_| async {
        let admission = Admission::new(4, 4);
        throttle(&admission, 60 * SECOND).await;
        let begun = Instant::now();
        patient(&admission).enter().await.expect("the pause is shorter").succeeded(None);
        begun.elapsed().as_millis()
    });
    let mut returns = join_all(returns).await;
    returns.sort_unstable();
    let spread = returns[19] - returns[0];
    returns.dedup();
    assert!(returns.len() >= 15 && spread >= 400, "{returns:?}");
}

#[tokio::test(start_paused = true)]
async fn after_a_pause_the_limit_grows_from_one_by_one_with_each_answer() {
    let admission = Admission::new(20, 4);
    let mut entries = patients(&admission, 9);
    let mut inside = at_once(&mut entries);
    assert_eq!(inside.len(), 4);
    inside.pop().expect("four").throttled(Some(SECOND), LimitKind::Rate);
    drop(inside);
    sleep(2 * SECOND).await;
    for expected in [1, 2] {
        assert_eq!(free_slots(&admission), expected);
        patient(&admission).enter().await.expect("open").succeeded(None);
    }
}

#[tokio::test(start_paused = true)]
async fn fail_fast_rejects_at_once_when_a_pause_outlasts_the_budget_and_a_message_waits() {
    let admission = Admission::new(2, 4);
    throttle(&admission, 60 * SECOND).await;
    let begun = Instant::now();
    let rejected = entry(&admission, begun + 20 * SECOND, true).enter().await.expect_err("closed");
    assert_eq!((rejected.reason, begun.elapsed()), (RejectReason::Paused, Duration::ZERO));
    let rest = rejected.retry_after.expect("the end of the pause is known");
    assert!((60 * SECOND..=70 * SECOND).contains(&rest), "{rest:?}");
    let rejected = entry(&admission, begun + 20 * SECOND, false).enter().await.expect_err("closed");
    assert_eq!((rejected.reason, begun.elapsed()), (RejectReason::Paused, 20 * SECOND));
    assert_eq!(rejected.retry_after.map(|left| left + 20 * SECOND), Some(rest));
}

#[tokio::test(start_paused = true)]
async fn a_shorter_pause_does_not_end_a_longer_one_and_a_longer_one_extends_it() {
    let admission = Admission::new(3, 4);
    let mut entries = patients(&admission, 3);
    let begun = Instant::now();
    for (permit, seconds) in at_once(&mut entries).into_iter().zip([60, 1, 120]) {
        permit.throttled(Some(seconds * SECOND), LimitKind::Rate);
    }
    patient(&admission).enter().await.expect("it ends");
    assert!(begun.elapsed() >= 120 * SECOND, "{:?}", begun.elapsed());
}

/// A message queued before the pause has no timer for its end yet.
#[tokio::test(start_paused = true)]
async fn queued_messages_notice_the_end_of_a_pause() {
    let admission = Admission::new(1, 4);
    let mut first = patient(&admission);
    let inside = first.enter().await.expect("open");
    let waiters = (0..5).map(|_| async { patient(&admission).enter().await.map(|permit| permit.succeeded(None)) });
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
async fn a_throttled_message_keeps_its_position() {
    let admission = Admission::new(1, 4);
    let (mut first, mut second) = (patient(&admission), patient(&admission));
    let inside = first.enter().await.expect("open");
    let mut waiting = Box::pin(second.enter());
    assert!(waiting.as_mut().now_or_never().is_none());
    inside.throttled(Some(SECOND), LimitKind::Rate);
    let again = first.enter().await.expect("the pause is short");
    assert!(waiting.as_mut().now_or_never().is_none());
    again.succeeded(None);
    waiting.await.expect("admitted").succeeded(None);
}

#[tokio::test(start_paused = true)]
async fn throttling_without_a_delay_makes_only_the_message_itself_back_off() {
    let admission = Admission::new(4, 4);
    let mut entry = patient(&admission);
    entry.enter().await.expect("open").throttled(None, LimitKind::Rate);
    assert!(patient(&admission).enter().now_or_never().is_some_and(|entered| entered.is_ok()));
    let begun = Instant::now();
    entry.enter().await.expect("open").succeeded(None);
    assert!(begun.elapsed() >= circuit_breaker::FIRST_BACK_OFF / 2, "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_released_slot_is_free_for_others_and_is_reacquired_before_all_that_wait() {
    let admission = Admission::new(1, 4);
    let (mut first, mut second, mut third) = (patient(&admission), patient(&admission), patient(&admission));
    let mut permit = first.enter().await.expect("open");
    permit.release_slot();
    let inside = second.enter().await.expect("there is room");
    let mut waiting = Box::pin(third.enter());
    assert!(waiting.as_mut().now_or_never().is_none());
    let mut back = Box::pin(permit.reacquire_slot());
    assert!(back.as_mut().now_or_never().is_none(), "full");
    inside.succeeded(None);
    back.await.expect("it goes first");
    assert!(waiting.as_mut().now_or_never().is_none(), "the slot is taken again");
    permit.succeeded(None);
    waiting.await.expect("admitted");
}

#[tokio::test(start_paused = true)]
async fn reacquiring_a_slot_during_a_pause_fails_at_once() {
    let admission = Admission::new(1, 4);
    let mut entry = patient(&admission);
    let mut permit = entry.enter().await.expect("open");
    permit.release_slot();
    throttle(&admission, 5 * SECOND).await;
    let begun = Instant::now();
    assert_eq!(permit.reacquire_slot().await.expect_err("closed").reason, RejectReason::Paused);
    assert_eq!(begun.elapsed(), Duration::ZERO);
    drop(permit);
    entry.enter().await.expect("after the pause");
}

#[tokio::test(start_paused = true)]
async fn batches_let_more_records_in_but_the_limit_is_one_of_requests() {
    let admission = Admission::new(52, 4);
    assert_eq!((free_slots(&admission), admission.request_limit()), (4, Some(4)));
    admission.set_batch_size(10);
    assert_eq!((free_slots(&admission), admission.request_limit()), (50, Some(4)));

    let (mut entries, mut others) = (patients(&admission, 50), patients(&admission, 90));
    let mut inside = at_once(&mut entries);
    let mut waiting: Vec<_> = others.iter_mut().map(|entry| Box::pin(entry.enter())).collect();
    assert!(waiting.iter_mut().all(|entry| entry.now_or_never().is_none()), "full");
    for permit in inside.drain(..) {
        permit.succeeded(None);
    }
    assert_eq!(admission.request_limit(), Some(5), "after five answers, not fifty");

    let mut inside: Vec<_> = waiting.iter_mut().filter_map(|entry| entry.now_or_never()?.ok()).collect();
    assert_eq!(inside.len(), 60);
    inside.pop().expect("they are inside").throttled(Some(SECOND), LimitKind::Rate);
    assert!(admission.is_paused() && admission.stops() == 1);
    assert_eq!(admission.request_limit(), Some(1), "it ramps up");
    drop(inside);
}
