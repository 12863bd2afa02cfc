//! The width alone, as a table of what happens and what it comes to.

use super::super::concurrency_limit::{ANSWERS_PER_BET, Width};
use super::*;

fn width(ceiling: u64) -> (Width, Instant) {
    let now = Instant::now();
    (Width::new(ceiling, now), now)
}

/// So many answers while more would have been sent.
fn answer(width: &mut Width, now: Instant, count: u64) {
    for _ in 0..count {
        width.answered(now, true);
    }
}

/// The limit on average over many answers: a part of one is spread over them.
fn average(width: &mut Width, now: Instant) -> f64 {
    let limits: u32 = (0..1_000)
        .map(|_| {
            width.answered(now, false);
            u32::try_from(width.limit()).expect("small")
        })
        .sum();
    f64::from(limits) / 1_000.0
}

#[test]
fn it_starts_low_and_grows_by_one_per_round() {
    let (mut width, now) = width(52);
    let mut limits = Vec::new();
    for round in 4..=10 {
        limits.push(width.limit());
        answer(&mut width, now, round + 1);
    }
    assert!(limits.iter().zip(4..).all(|(limit, least)| (least..=least + 1).contains(limit)), "{limits:?}");
}

#[test]
fn it_grows_only_while_it_is_the_limit() {
    let (mut width, now) = width(52);
    for _ in 0..1_000 {
        width.answered(now, false);
    }
    assert!(width.limit() <= 4);
}

#[test]
fn it_never_exceeds_its_ceiling_nor_falls_below_one() {
    for ceiling in [0, 1, 2, 52] {
        let (mut width, mut now) = width(ceiling);
        width.hinted(200);
        answer(&mut width, now, 10_000);
        assert_eq!(width.limit(), ceiling.max(1));
        for run in [0, 1, 100, 10_000] {
            for delay in [0, 1, 300] {
                now += run * SECOND;
                let excess = if run == 1 { LimitKind::Concurrency } else { LimitKind::Rate };
                let extra = width.throttled(now, excess, ceiling.max(1), delay * SECOND);
                width.closed();
                assert!(extra <= 64 * SECOND, "{extra:?}");
                assert!((1..=ceiling.max(1)).contains(&width.limit()));
                width.opened(now + delay * SECOND);
                answer(&mut width, now, 3);
                assert!((1..=ceiling.max(1)).contains(&width.limit()));
            }
        }
    }
}

#[test]
fn the_first_hint_seeds_half_of_it_because_others_share_it_and_the_rest_is_earned() {
    let (mut width, now) = width(52);
    width.hinted(20);
    assert_eq!(width.limit(), 10);
    answer(&mut width, now, 11);
    assert!((10..=12).contains(&width.limit()), "one more with each round: {}", width.limit());
    width.hinted(60);
    assert_eq!(width.limit(), 30, "the environment grew");
}

#[test]
fn a_hint_below_the_start_lowers_it_and_one_that_shrinks_changes_nothing() {
    let (mut width, now) = width(52);
    width.hinted(4);
    assert_eq!(width.limit(), 2);
    answer(&mut width, now, 100);
    let grown = width.limit();
    width.hinted(2);
    assert_eq!(width.limit(), grown);
}

#[test]
fn throttling_narrows_it_and_it_grows_back_to_just_below_where_it_was_met() {
    let (mut width, start) = width(20);
    answer(&mut width, start, 1_000);
    assert_eq!(width.limit(), 20);
    let now = start + 1_000 * SECOND;
    width.throttled(now, LimitKind::Rate, 20, SECOND);
    assert!((13..=15).contains(&width.limit()), "{}", width.limit());
    answer(&mut width, now, 149);
    let back = average(&mut width, now);
    assert!((19.0..20.0).contains(&back), "{back}");
}

#[test]
fn a_long_pause_after_a_short_run_says_what_pace_would_have_lasted() {
    let (mut width, start) = width(50);
    answer(&mut width, start, 2_000);
    let now = start + 60 * SECOND;
    width.throttled(now, LimitKind::Rate, 50, 240 * SECOND);
    answer(&mut width, now, 100);
    // A fifth of the time was spent sending, so a fifth of the width lasts.
    let lasting = average(&mut width, now);
    assert!((9.9..=10.1).contains(&lasting), "{lasting}");
}

#[test]
fn where_requests_at_once_are_the_limit_a_sixteenth_fewer_are_sent_however_long_the_run_and_the_pause_were() {
    for (run, delay) in [(1, 5), (100, 5), (100, 300)] {
        let (mut width, start) = width(50);
        answer(&mut width, start, 2_000);
        let now = start + run * SECOND;
        width.throttled(now, LimitKind::Concurrency, 48, delay * SECOND);
        assert_eq!(width.limit(), 45);
        answer(&mut width, now + 59 * SECOND, 10_000);
        let later = average(&mut width, now);
        assert!((44.9..=45.1).contains(&later), "no bet yet: {later}");
    }
}

#[test]
fn nothing_is_learnt_about_the_width_right_after_a_return() {
    let (mut width, now) = width(20);
    answer(&mut width, now, 1_000);
    width.throttled(now + 1_000 * SECOND, LimitKind::Rate, 20, SECOND);
    width.closed();
    let returned = now + 1_001 * SECOND;
    width.opened(returned);
    let extra = width.throttled(returned, LimitKind::Rate, 1, SECOND);
    width.closed();
    assert!(extra >= SECOND, "the pause was too short");
    answer(&mut width, returned, 30);
    assert!(width.limit() > 10, "{}", width.limit());
}

#[test]
fn a_bet_beyond_the_crest_wants_time_and_answers_and_a_won_one_doubles_the_stake() {
    let (mut width, start) = width(52);
    answer(&mut width, start, 10_000);
    let now = start + 1_000 * SECOND;
    width.throttled(now, LimitKind::Rate, 20, SECOND);
    answer(&mut width, now, 5_000);
    let plateau = average(&mut width, now);
    let mut now = now + LONG;
    let mut steps = Vec::new();
    for _ in 0..3 {
        now += LONG;
        answer(&mut width, now, ANSWERS_PER_BET);
        steps.push(average(&mut width, now) - plateau);
    }
    assert!(steps[0] > 0.4 && steps[1] > steps[0] + 0.9 && steps[2] > steps[1] + 1.9, "{plateau} {steps:?}");
}

#[test]
fn bets_end_at_the_ceiling() {
    let (mut width, mut now) = width(52);
    width.throttled(now, LimitKind::Rate, 4, SECOND);
    for _ in 0..200 {
        now += LONG;
        answer(&mut width, now, 1_000);
    }
    assert_eq!(width.limit(), 52);
}
