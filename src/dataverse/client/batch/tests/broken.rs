//! Batches that get no answer, where single requests get one.

use super::*;

const LOST: Error = Error::NoAnswer { sent: true, problem: "the connection was closed" };

#[tokio::test(start_paused = true)]
async fn rows_without_an_answer_go_alone_the_next_time() {
    let world = World::new(1, |_| Err(LOST), |_| Ok(())).with_size(9);
    let lost = LOST.to_string();
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok", &lost, &lost]);
    assert_eq!(ended(world.send_all("x a b").await).await, ["ok"; 3]);
    assert_eq!(world.sent(), ["x", "a b", "x", "a", "b"]);
}

#[tokio::test(start_paused = true)]
async fn only_the_parts_without_an_answer_go_alone_the_next_time() {
    let world = World::new(1, |_| Ok(()), |row| if row == "b" { Err(LOST) } else { Ok(()) }).with_size(9);
    for _ in 0..2 {
        ended(world.send_all("x a b c").await).await;
    }
    assert_eq!(world.sent(), ["x", "a b c", "x", "a c", "b"]);
}

#[tokio::test(start_paused = true)]
async fn batches_that_fail_again_and_again_where_single_requests_work_are_switched_off_for_an_hour() {
    let world = World::new(1, |_| Err(LOST), |_| Ok(())).with_size(9);
    for rows in ["x1 a1 b1", "x2 a2 b2", "x3 a3 b3", "x4 a4 b4"] {
        ended(world.send_all(rows).await).await;
    }
    let batches = || world.sent().iter().filter(|rows| rows.contains(' ')).count();
    assert_eq!(batches(), 3, "{:?}", world.sent());
    sleep(OFF_FOR).await;
    ended(world.send_all("x5 a5 b5").await).await;
    assert_eq!(batches(), 4, "{:?}", world.sent());
}

#[tokio::test(start_paused = true)]
async fn one_batch_with_an_answer_shows_that_they_work() {
    let breaks = |rows: &str| if rows.contains("bad") { Err(LOST) } else { Ok(()) };
    let world = World::new(1, breaks, |_| Ok(())).with_size(9);
    for number in 0..9 {
        ended(world.send_all(&format!("x{number} a{number} bad{number}")).await).await;
        ended(world.send_all(&format!("y{number} c{number} d{number}")).await).await;
    }
    assert_eq!(world.sent().iter().filter(|rows| rows.contains(' ')).count(), 18, "{:?}", world.sent());
}

#[tokio::test(start_paused = true)]
async fn rows_whose_callers_have_left_are_not_sent_when_the_token_comes() {
    let World { service, .. } = World::healthy(1);
    let service = Arc::into_inner(service).expect("nobody else has it");
    let world = World::of(Service { token_time: Duration::from_secs(15), ..service }, 1).with_size(9);
    let sending = world.send_all("x a b c").await;
    sleep(Duration::from_secs(1)).await;
    sending[1].abort();
    sleep(Duration::from_mins(1)).await;
    assert_eq!(world.sent(), ["x", "b c"]);
}
