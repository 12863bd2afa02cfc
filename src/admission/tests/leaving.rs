//! Whoever stops waiting, wherever it stands, takes nothing along.

use super::*;

/// The gate is as if nobody had been there.
fn assert_sound(gate: &Gate, ceiling: usize) {
    assert_eq!(gate.waiting(), 0);
    assert_eq!(room(gate), ceiling);
    assert_eq!(room(gate), ceiling, "and they have left again");
}

#[tokio::test(start_paused = true)]
async fn in_the_line_of_a_full_gate() {
    let gate = Gate::new(1);
    let (mut first, mut leaver, mut last) = (patient(&gate), patient(&gate), patient(&gate));
    let inside = first.enter().await.expect("open");
    let mut leaving = Box::pin(leaver.enter());
    let mut staying = Box::pin(last.enter());
    assert!(leaving.as_mut().now_or_never().is_none());
    assert!(staying.as_mut().now_or_never().is_none());
    drop(leaving);
    assert_eq!(gate.waiting(), 1);
    drop(inside);
    drop(staying.await.expect("the next in line"));
    assert_sound(&gate, 1);
}

/// The place is on its way and nobody looks for it any more.
#[tokio::test(start_paused = true)]
async fn with_a_place_on_its_way() {
    let gate = Gate::new(1);
    let (mut first, mut leaver, mut last) = (patient(&gate), patient(&gate), patient(&gate));
    let inside = first.enter().await.expect("open");
    let mut leaving = Box::pin(leaver.enter());
    let mut staying = Box::pin(last.enter());
    assert!(leaving.as_mut().now_or_never().is_none());
    assert!(staying.as_mut().now_or_never().is_none());
    drop(inside);
    assert!(staying.as_mut().now_or_never().is_none(), "it is the leaver's turn");
    drop(leaving);
    drop(staying.await.expect("the place came back"));
    assert_sound(&gate, 1);
}

#[tokio::test(start_paused = true)]
async fn in_a_pause() {
    let gate = Gate::new(1);
    throttle(&gate, SECOND).await;
    let mut leaver = patient(&gate);
    assert!(leaver.enter().now_or_never().is_none());
    sleep(2 * SECOND).await;
    assert_sound(&gate, 1);
}

#[tokio::test(start_paused = true)]
async fn in_its_own_rest() {
    let gate = Gate::new(1);
    let mut leaver = patient(&gate);
    leaver.enter().await.expect("open").throttled(None, LimitKind::Rate);
    assert!(leaver.enter().now_or_never().is_none());
    assert_sound(&gate, 1);
    leaver.enter().await.expect("it still may").succeeded(None);
}

#[tokio::test(start_paused = true)]
async fn aside_and_on_the_way_back() {
    let gate = Gate::new(1);
    let (mut first, mut second) = (patient(&gate), patient(&gate));
    let mut aside = first.enter().await.expect("open");
    aside.step_aside();
    let inside = second.enter().await.expect("there is room");
    assert!(aside.step_back().now_or_never().is_none());
    assert_eq!(gate.waiting(), 0, "it stopped waiting");
    let mut back = Box::pin(aside.step_back());
    assert!(back.as_mut().now_or_never().is_none());
    drop(inside);
    drop(back);
    drop(aside);
    assert_sound(&gate, 1);
}

#[tokio::test(start_paused = true)]
async fn at_the_very_moment_in_which_its_patience_ends() {
    let gate = Gate::new(1);
    let mut first = patient(&gate);
    let inside = first.enter().await.expect("open");
    let mut waits = visit(&gate, Instant::now() + SECOND, false);
    let leaves = async {
        sleep(SECOND).await;
        drop(inside);
    };
    let (entered, ()) = tokio::join!(waits.enter(), leaves);
    drop(entered);
    assert_sound(&gate, 1);
}

/// Every message stops at a random moment, and whoever stays gets in.
#[tokio::test(start_paused = true)]
async fn anywhere_at_any_time() {
    for seed in 0..200 {
        fastrand::seed(seed);
        let gate = Gate::new(2);
        let message = async |number: u64| {
            let mut visit = patient(&gate);
            sleep(SECOND.mul_f64(fastrand::f64())).await;
            for _ in 0..3 {
                let mut permit = visit.enter().await.expect("patient");
                sleep(SECOND.mul_f64(fastrand::f64())).await;
                if fastrand::bool() {
                    permit.step_aside();
                    sleep(SECOND.mul_f64(fastrand::f64())).await;
                    if permit.step_back().await.is_err() {
                        continue;
                    }
                }
                match fastrand::u8(..4) {
                    0 => permit.throttled(Some(SECOND.mul_f64(fastrand::f64())), LimitKind::Rate),
                    1 => permit.failed(&super::outage::trouble(Scope::One(number)), None),
                    2 => permit.succeeded(Some(4)),
                    _ => drop(permit),
                }
            }
        };
        let patience =
            |number: u64| if number.is_multiple_of(3) { 2 * LONG } else { SECOND.mul_f64(6.0 * fastrand::f64()) };
        let messages = (0..12).map(|number| tokio::time::timeout(patience(number), message(number)));
        let ended = join_all(messages).await;
        assert!(ended.iter().step_by(3).all(Result::is_ok), "seed {seed}: who stays gets in");
        // Out of whatever it is in, by one success.
        let mut last = patient(&gate);
        last.enter().await.expect("patient").succeeded(None);
        last.enter().await.expect("patient").succeeded(None);
        assert_eq!((gate.waiting(), room(&gate) >= 1), (0, true), "seed {seed}");
        let inside = gate.line.with_state(|state| state.inside());
        assert_eq!(inside, 0, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn when_the_gate_is_stopped_who_waits_is_told_at_once_and_who_is_inside_stays() {
    let gate = Gate::new(1);
    let (mut first, mut second, mut third) = (patient(&gate), patient(&gate), patient(&gate));
    third.enter().await.expect("open").throttled(None, LimitKind::Rate);
    let inside = first.enter().await.expect("open");
    let begun = Instant::now();
    let stop = async {
        sleep(SECOND / 10).await;
        gate.stop();
    };
    let (waited, rested, ()) = tokio::join!(second.enter(), third.enter(), stop);
    assert!(waited.is_err() && rested.is_err());
    assert_eq!(begun.elapsed(), SECOND / 10);
    inside.succeeded(None);
}
