//! A cancelled message leaks no slot, wherever it is cancelled.

use super::*;

/// Asserts that all slots are free.
fn assert_sound(admission: &Admission, ceiling: usize) {
    assert_eq!(waiting(admission), 0);
    assert_eq!(free_slots(admission), ceiling);
    assert_eq!(free_slots(admission), ceiling, "and free again");
}

#[tokio::test(start_paused = true)]
async fn cancelled_in_the_queue() {
    let admission = Admission::new(1, 4);
    let (mut first, mut leaver, mut last) = (patient(&admission), patient(&admission), patient(&admission));
    let inside = first.enter().await.expect("open");
    let mut leaving = Box::pin(leaver.enter());
    let mut staying = Box::pin(last.enter());
    assert!(leaving.as_mut().now_or_never().is_none());
    assert!(staying.as_mut().now_or_never().is_none());
    drop(leaving);
    assert_eq!(waiting(&admission), 1);
    drop(inside);
    drop(staying.await.expect("the next waiter"));
    assert_sound(&admission, 1);
}

/// The slot was sent but is never received.
#[tokio::test(start_paused = true)]
async fn cancelled_with_a_slot_in_transit() {
    let admission = Admission::new(1, 4);
    let (mut first, mut leaver, mut last) = (patient(&admission), patient(&admission), patient(&admission));
    let inside = first.enter().await.expect("open");
    let mut leaving = Box::pin(leaver.enter());
    let mut staying = Box::pin(last.enter());
    assert!(leaving.as_mut().now_or_never().is_none());
    assert!(staying.as_mut().now_or_never().is_none());
    drop(inside);
    assert!(staying.as_mut().now_or_never().is_none(), "the slot was sent to the first waiter");
    drop(leaving);
    drop(staying.await.expect("the slot was returned"));
    assert_sound(&admission, 1);
}

#[tokio::test(start_paused = true)]
async fn cancelled_in_a_pause() {
    let admission = Admission::new(1, 4);
    throttle(&admission, SECOND).await;
    let mut leaver = patient(&admission);
    assert!(leaver.enter().now_or_never().is_none());
    sleep(2 * SECOND).await;
    assert_sound(&admission, 1);
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_backs_off() {
    let admission = Admission::new(1, 4);
    let mut leaver = patient(&admission);
    leaver.enter().await.expect("open").throttled(None, LimitKind::Rate);
    assert!(leaver.enter().now_or_never().is_none());
    assert_sound(&admission, 1);
    leaver.enter().await.expect("it still may").succeeded(None);
}

#[tokio::test(start_paused = true)]
async fn cancelled_while_it_reacquires_its_slot() {
    let admission = Admission::new(1, 4);
    let (mut first, mut second) = (patient(&admission), patient(&admission));
    let mut permit = first.enter().await.expect("open");
    permit.release_slot();
    let inside = second.enter().await.expect("there is room");
    assert!(permit.reacquire_slot().now_or_never().is_none());
    assert_eq!(waiting(&admission), 0, "it stopped waiting");
    let mut back = Box::pin(permit.reacquire_slot());
    assert!(back.as_mut().now_or_never().is_none());
    drop(inside);
    drop(back);
    drop(permit);
    assert_sound(&admission, 1);
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_arrives_when_the_budget_ends_is_not_lost() {
    let admission = Admission::new(1, 4);
    let mut first = patient(&admission);
    let inside = first.enter().await.expect("open");
    let mut waits = entry(&admission, Instant::now() + SECOND, false);
    let leaves = async {
        sleep(SECOND).await;
        drop(inside);
    };
    let (entered, ()) = tokio::join!(waits.enter(), leaves);
    drop(entered);
    assert_sound(&admission, 1);
}

/// Messages are cancelled at random moments; the others are admitted.
#[tokio::test(start_paused = true)]
async fn cancelled_anywhere_at_any_time() {
    for seed in 0..200 {
        fastrand::seed(seed);
        let admission = Admission::new(2, 12);
        let message = async |number: u64| {
            let mut entry = about(&admission, number + 1);
            sleep(SECOND.mul_f64(fastrand::f64())).await;
            for _ in 0..3 {
                let mut permit = entry.enter().await.expect("patient");
                sleep(SECOND.mul_f64(fastrand::f64())).await;
                if fastrand::bool() {
                    permit.release_slot();
                    sleep(SECOND.mul_f64(fastrand::f64())).await;
                    if permit.reacquire_slot().await.is_err() {
                        continue;
                    }
                }
                match fastrand::u8(..4) {
                    0 => permit.throttled(Some(SECOND.mul_f64(fastrand::f64())), LimitKind::Rate),
                    1 => {
                        let _ = permit.failed(&super::outage::row_failure(), None);
                    }
                    2 => permit.succeeded(Some(4)),
                    _ => drop(permit),
                }
            }
        };
        let budget =
            |number: u64| if number.is_multiple_of(3) { 2 * LONG } else { SECOND.mul_f64(6.0 * fastrand::f64()) };
        let messages = (0..12).map(|number| tokio::time::timeout(budget(number), message(number)));
        let ended = join_all(messages).await;
        assert!(ended.iter().step_by(3).all(Result::is_ok), "seed {seed}: those that stay are admitted");
        // Two successes end any outage.
        let mut last = patient(&admission);
        last.enter().await.expect("patient").succeeded(None);
        last.enter().await.expect("patient").succeeded(None);
        assert_eq!((waiting(&admission), free_slots(&admission) >= 1), (0, true), "seed {seed}");
        let inside = admission.queue.with_state(|state| state.in_flight);
        assert_eq!(inside, 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn stop_rejects_waiting_messages_at_once_and_leaves_those_in_flight() {
    let admission = Admission::new(1, 4);
    let (mut first, mut second, mut third) = (patient(&admission), patient(&admission), patient(&admission));
    third.enter().await.expect("open").throttled(None, LimitKind::Rate);
    let inside = first.enter().await.expect("open");
    let begun = Instant::now();
    let stop = async {
        sleep(SECOND / 10).await;
        admission.stop();
    };
    let (waited, rested, ()) = tokio::join!(second.enter(), third.enter(), stop);
    assert!(waited.is_err() && rested.is_err());
    assert_eq!(begun.elapsed(), SECOND / 10);
    inside.succeeded(None);
}
