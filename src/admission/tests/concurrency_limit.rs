//! The concurrency limit on its own.

use super::super::concurrency_limit::{ANSWERS_PER_PROBE, ConcurrencyLimit};
use super::*;

fn new_limit(ceiling: u64) -> (ConcurrencyLimit, Instant) {
    let now = Instant::now();
    (ConcurrencyLimit::new(ceiling, now), now)
}

/// Reports `count` answers, each while more requests were waiting.
fn answer(limit: &mut ConcurrencyLimit, now: Instant, count: u64) {
    for _ in 0..count {
        limit.answered(now, true);
    }
}

/// The average limit over many answers, because a fractional limit is spread over them.
fn average(limit: &mut ConcurrencyLimit, now: Instant) -> f64 {
    let limits: u32 = (0..1_000)
        .map(|_| {
            limit.answered(now, false);
            u32::try_from(limit.limit()).expect("small")
        })
        .sum();
    f64::from(limits) / 1_000.0
}

#[test]
fn starts_low_and_grows_by_one_per_round() {
    let (mut limit, now) = new_limit(52);
    let mut limits = Vec::new();
    for round in 4..=10 {
        limits.push(limit.limit());
        answer(&mut limit, now, round + 1);
    }
    assert!(limits.iter().zip(4..).all(|(limit, least)| (least..=least + 1).contains(limit)), "{limits:?}");
}

#[test]
fn grows_only_while_it_is_the_limit() {
    let (mut limit, now) = new_limit(52);
    for _ in 0..1_000 {
        limit.answered(now, false);
    }
    assert!(limit.limit() <= 4);
}

#[test]
fn never_exceeds_its_ceiling_nor_falls_below_one() {
    for ceiling in [0, 1, 2, 52] {
        let (mut limit, mut now) = new_limit(ceiling);
        limit.hinted(200);
        answer(&mut limit, now, 10_000);
        assert_eq!(limit.limit(), ceiling.max(1));
        for run in [0, 1, 100, 10_000] {
            for delay in [0, 1, 300] {
                now += run * SECOND;
                let kind = if run == 1 { LimitKind::Concurrency } else { LimitKind::Rate };
                let extra = limit.throttled(now, kind, ceiling.max(1), delay * SECOND);
                limit.stopped();
                assert!(extra <= 7 * SECOND, "{extra:?}");
                assert!((1..=ceiling.max(1)).contains(&limit.limit()));
                limit.resumed(now + delay * SECOND);
                answer(&mut limit, now, 3);
                assert!((1..=ceiling.max(1)).contains(&limit.limit()));
            }
        }
    }
}

#[test]
fn starts_at_half_of_the_first_hint() {
    let (mut limit, now) = new_limit(52);
    limit.hinted(20);
    assert_eq!(limit.limit(), 10);
    answer(&mut limit, now, 11);
    assert!((10..=12).contains(&limit.limit()), "one more with each round: {}", limit.limit());
    limit.hinted(60);
    assert_eq!(limit.limit(), 30, "the environment grew");
}

#[test]
fn a_hint_below_the_start_lowers_it_and_a_smaller_hint_is_ignored() {
    let (mut limit, now) = new_limit(52);
    limit.hinted(4);
    assert_eq!(limit.limit(), 2);
    answer(&mut limit, now, 100);
    let grown = limit.limit();
    limit.hinted(2);
    assert_eq!(limit.limit(), grown);
}

#[test]
fn throttling_lowers_it_and_it_grows_back_to_just_below_the_observed_ceiling() {
    let (mut limit, start) = new_limit(20);
    answer(&mut limit, start, 1_000);
    assert_eq!(limit.limit(), 20);
    let now = start + 1_000 * SECOND;
    limit.throttled(now, LimitKind::Rate, 20, SECOND);
    assert!((13..=15).contains(&limit.limit()), "{}", limit.limit());
    answer(&mut limit, now, 149);
    let back = average(&mut limit, now);
    assert!((19.0..20.0).contains(&back), "{back}");
}

#[test]
fn a_long_pause_after_a_short_run_shows_the_sustainable_limit() {
    let (mut limit, start) = new_limit(50);
    answer(&mut limit, start, 2_000);
    let now = start + 60 * SECOND;
    limit.throttled(now, LimitKind::Rate, 50, 240 * SECOND);
    answer(&mut limit, now, 100);
    // A fifth of the time was spent sending, so a fifth of the limit is sustainable.
    let lasting = average(&mut limit, now);
    assert!((9.9..=10.1).contains(&lasting), "{lasting}");
}

#[test]
fn a_run_of_seconds_shows_it_too_if_many_were_answered_and_otherwise_the_limit_is_halved() {
    for (answers, expected) in [(2_000, 1.9..=2.1), (70, 17.5..=19.5)] {
        let (mut limit, start) = new_limit(50);
        answer(&mut limit, start, 10_000);
        limit.throttled(start + 1_000 * SECOND, LimitKind::Rate, 50, SECOND);
        let resumed = start + 1_001 * SECOND;
        limit.resumed(resumed);
        answer(&mut limit, resumed, answers);
        limit.throttled(resumed + 12 * SECOND, LimitKind::Rate, 50, 288 * SECOND);
        let lasting = average(&mut limit, resumed);
        assert!(expected.contains(&lasting), "{answers}: {lasting}");
    }
}

#[test]
fn under_a_concurrency_limit_a_sixteenth_fewer_are_sent_whatever_the_run_and_the_pause_were() {
    for (run, delay) in [(1, 5), (100, 5), (100, 300)] {
        let (mut limit, start) = new_limit(50);
        answer(&mut limit, start, 2_000);
        let now = start + run * SECOND;
        limit.throttled(now, LimitKind::Concurrency, 48, delay * SECOND);
        assert_eq!(limit.limit(), 45);
        answer(&mut limit, now + 59 * SECOND, 10_000);
        let later = average(&mut limit, now);
        assert!((44.9..=45.1).contains(&later), "no probe yet: {later}");
    }
}

#[test]
fn throttling_right_after_a_pause_does_not_lower_the_limit() {
    let (mut limit, now) = new_limit(20);
    answer(&mut limit, now, 1_000);
    limit.throttled(now + 1_000 * SECOND, LimitKind::Rate, 20, SECOND);
    limit.stopped();
    let returned = now + 1_001 * SECOND;
    limit.resumed(returned);
    let extra = limit.throttled(returned, LimitKind::Rate, 1, SECOND);
    limit.stopped();
    assert!(extra >= SECOND, "the pause was too short");
    answer(&mut limit, returned, 30);
    assert!(limit.limit() > 10, "{}", limit.limit());
}

#[test]
fn a_probe_needs_time_and_answers_and_a_won_one_doubles_the_step() {
    let (mut limit, start) = new_limit(52);
    answer(&mut limit, start, 10_000);
    let now = start + 1_000 * SECOND;
    limit.throttled(now, LimitKind::Rate, 20, SECOND);
    answer(&mut limit, now, 5_000);
    let plateau = average(&mut limit, now);
    let mut now = now + LONG;
    let mut steps = Vec::new();
    for _ in 0..3 {
        now += LONG;
        answer(&mut limit, now, ANSWERS_PER_PROBE);
        steps.push(average(&mut limit, now) - plateau);
    }
    assert!(steps[0] > 0.4 && steps[1] > steps[0] + 0.9 && steps[2] > steps[1] + 1.9, "{plateau} {steps:?}");
}

#[test]
fn probes_end_at_the_ceiling() {
    let (mut limit, mut now) = new_limit(52);
    limit.throttled(now, LimitKind::Rate, 4, SECOND);
    for _ in 0..200 {
        now += LONG;
        answer(&mut limit, now, 1_000);
    }
    assert_eq!(limit.limit(), 52);
}
