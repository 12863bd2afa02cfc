//! Rows that take minutes, beside others that do not.

use super::*;

#[tokio::test(start_paused = true)]
async fn slow_requests_keep_no_other_from_being_sent() {
    let world = World::healthy(52).with_size(12);
    let slow = world.send_all("slow1 slow2 slow3 slow4").await;
    world.gate.admitted.store(24, Ordering::Relaxed);
    let (begun, others) = (Instant::now(), world.send_all("a b c").await);
    assert_eq!(ended(others).await, ["ok"; 3]);
    assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
    assert_eq!(ended(slow).await, ["ok"; 4]);
}

#[tokio::test(start_paused = true)]
async fn the_last_slot_waits_for_no_others_beside_slow_requests_alone() {
    let world = World::healthy(3).with_size(12);
    let slow = world.send_all("slow1 slow2").await;
    world.gate.admitted.store(9, Ordering::Relaxed);
    let (begun, other) = (Instant::now(), world.send("a").await);
    assert_eq!(ended(vec![other]).await, ["ok"]);
    assert!(begun.elapsed() < 2 * SLOW, "{:?}", begun.elapsed());
    assert_eq!(ended(slow).await, ["ok"; 2]);
}

#[tokio::test(start_paused = true)]
async fn a_row_whose_request_was_slow_goes_alone_the_next_time() {
    let lost = || Error::NoAnswer { sent: true, problem: "no answer in time" };
    let breaks = move |rows: &str| if rows.contains("slow1 slow2") { Err(lost()) } else { Ok(()) };
    let world = World::new(1, breaks, |_| Ok(())).with_size(9);
    let lost = lost().to_string();
    assert_eq!(ended(world.send_all("x a slow1 slow2").await).await, ["ok", &lost, &lost, &lost]);
    assert_eq!(world.gate.batch_size.load(Ordering::Relaxed), 1, "it took so long, although there was no answer");
    let mut world = world;
    for sent in [2, 5] {
        (0..60).for_each(|_| world.batches.learn(|size| size.answered(1, MOMENT)));
        world = world.with_size(9);
        ended(world.send_all("x b slow1 c").await).await;
        assert_eq!(world.sent()[sent..], ["x", "b c", "slow1"]);
    }
}
