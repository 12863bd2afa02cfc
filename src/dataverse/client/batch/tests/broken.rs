//! Batches that get no answer, where single requests get one.

use super::*;

const LOST: Error = Error::NoAnswer { sent: true, problem: "the connection was closed" };

/// How many batches were sent.
fn batches(world: &World) -> usize {
    world.sent().iter().filter(|rows| rows.contains(' ')).count()
}

#[tokio::test(start_paused = true)]
async fn rows_without_an_answer_go_alone_until_they_have_one() {
    let breaks = |rows: &str| if rows.contains("a b") { Err(LOST) } else { Ok(()) };
    let world = World::new(1, breaks, |_| Ok(())).with_size(9);
    let lost = LOST.to_string();
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok", &lost, &lost]);
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok"; 3]);
    ended(world.send_all("x b c").await).await;
    assert_eq!(world.sent(), ["x", "a b", "x", "a", "b", "x", "b c"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_parts_without_an_answer_go_alone() {
    let world = World::new(1, |_| Ok(()), |row| if row == "b" { Err(LOST) } else { Ok(()) }).with_size(9);
    for _ in 0..3 {
        ended(world.send_all("x a b c").await).await;
    }
    assert_eq!(world.sent(), ["x", "a b c", "x", "a c", "b", "x", "a c", "b"], "alone it had none either");
}

#[tokio::test(start_paused = true)]
async fn a_row_that_breaks_its_own_request_takes_no_other_with_it() {
    let world = World::new(1, |_| Ok(()), |row| if row == "bad" { Err(LOST) } else { Ok(()) }).with_size(9);
    ended(world.send_all("bad").await).await;
    ended(world.send_all("x a bad b").await).await;
    assert_eq!(world.sent(), ["bad", "x", "a b", "bad"]);
}

#[tokio::test(start_paused = true)]
async fn neither_a_read_nor_a_pause_puts_a_row_back_into_batches() {
    let world = World::new(1, |_| Err(LOST), |_| Ok(())).with_size(9);
    ended(world.send_all("x a b").await).await;
    ended(vec![world.request(Method::GET, "a").await]).await;
    let withheld = world.send_all("y a").await;
    world.gate.stops.fetch_add(1, Ordering::Relaxed);
    world.gate.changed.notify_waiters();
    assert_eq!(ended(withheld).await, ["ok", &Error::Withheld.to_string()]);
    ended(world.send_all("z c a d").await).await;
    assert_eq!(world.sent(), ["x", "a b", "a", "y", "z", "c d", "a"]);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_is_no_reason_to_go_alone() {
    let refused = Error::NoAnswer { sent: false, problem: "no connection" };
    let world = World::new(1, move |_| Err(refused.clone()), |_| Ok(())).with_size(9);
    for _ in 0..9 {
        ended(world.send_all("x a b").await).await;
    }
    assert_eq!(batches(&world), 9);
}

#[tokio::test(start_paused = true)]
async fn batches_that_fail_again_and_again_where_single_requests_work_are_switched_off_for_an_hour() {
    let world = World::new(1, |_| Err(LOST), |_| Ok(())).with_size(9);
    for rows in ["x1 a1 b1", "x2 a2 b2", "x3 a3 b3", "x4 a4 b4"] {
        for _ in 0..2 {
            ended(world.send_all(rows).await).await;
        }
    }
    assert_eq!(batches(&world), 3, "{:?}", world.sent());
    sleep(OFF_FOR).await;
    ended(world.send_all("x5 a5 b5").await).await;
    assert_eq!(batches(&world), 4, "{:?}", world.sent());
}

#[tokio::test(start_paused = true)]
async fn one_batch_with_an_answer_shows_that_they_work() {
    let breaks = |rows: &str| if rows.contains("bad") { Err(LOST) } else { Ok(()) };
    let world = World::new(1, breaks, |_| Ok(())).with_size(9);
    for number in 0..9 {
        for _ in 0..2 {
            ended(world.send_all(&format!("x{number} a{number} bad{number}")).await).await;
        }
        ended(world.send_all(&format!("y{number} c{number} d{number}")).await).await;
    }
    assert_eq!(batches(&world), 18, "{:?}", world.sent());
}

#[tokio::test(start_paused = true)]
async fn where_a_single_request_hangs_until_its_caller_leaves_batches_are_not_the_cause() {
    let world = World::new(1, |_| Err(LOST), |_| Ok(())).with_size(9);
    for number in 0..9 {
        let rows = format!("x{number} a{number} slow{number}");
        ended(world.send_all(&rows).await).await;
        ended(world.send_all(&format!("x{number} a{number}")).await).await;
        let hanging = world.send(&format!("slow{number}")).await;
        sleep(SLOW_TIME / 2).await;
        hanging.abort();
        world.batches.learn(|size| *size = BatchSize::new());
        (0..60).for_each(|_| world.batches.learn(|size| size.answered(size.parts(), MOMENT)));
    }
    assert_eq!(batches(&world), 9, "{:?}", world.sent());
}

#[tokio::test(start_paused = true)]
async fn where_single_requests_fail_or_get_a_gateways_page_batches_are_not_the_cause() {
    for (one, other) in [("a", "bad"), ("page-a", "page-b")] {
        let lost = |row: &str| if row.starts_with("bad") { Err(LOST) } else { Ok(()) };
        let world = World::new(1, |_| Err(LOST), lost).with_size(9);
        for number in 0..9 {
            for _ in 0..2 {
                ended(world.send_all(&format!("x{number} {one}{number} {other}{number}")).await).await;
            }
        }
        assert_eq!(batches(&world), 9, "{:?}", world.sent());
    }
}

#[tokio::test(start_paused = true)]
async fn rows_whose_callers_have_left_are_not_sent_when_the_token_comes() {
    let World { service, .. } = World::healthy(1);
    let service = Arc::into_inner(service).expect("the only reference");
    let world = World::of(Service { token_time: Duration::from_secs(15), ..service }, 1).with_size(9);
    let sending = world.send_all("x a b c").await;
    sleep(Duration::from_secs(1)).await;
    sending[1].abort();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.sent(), ["x", "b c"]);
    let sending = world.send_all("x a b c").await;
    sending[1..].iter().for_each(JoinHandle::abort);
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.sent()[2..], ["x"]);
}
