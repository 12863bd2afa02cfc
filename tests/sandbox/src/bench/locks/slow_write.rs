//! A write that takes longer than a lease, in three concurrent variants: with renewals, and with the renewals cut off
//! by an error (503) or by a missing response. A second process contends for the same key.
//!
//! With renewals, the write completes under one lease, and the other process's lease follows. When they are cut off,
//! the work stops with `lock_lost` before the lease ends, and the lease is left to expire: the write may still be in
//! flight, so no other holder may start early. The abandoned write then overlaps in Dataverse; a lease is not a fence,
//! so the journal is not checked for that.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::contest::{Contest, LeaseInterval};
use super::{Plan, extra_listener, last_blob, world};
use crate::bench::process::{Answer, Process, store};
use crate::bench::{Bound, Measurement, median, number, report};
use stand_ins::dataverse;
use stand_ins::storage::{Effect, Fault, LeaseEvent, Op, Storage};

/// The shortest possible lease.
const LIFE: Duration = Duration::from_secs(15);

/// Leases are renewed after a third of their duration.
const RENEWAL: Duration = Duration::from_secs(5);

/// Longer than any lease; after it the connection is closed.
const SILENCE: Duration = Duration::from_mins(2);

/// The limit for the second process to get the lock after the first has responded.
const PATIENCE: Duration = Duration::from_mins(1);

const LOOK: Duration = Duration::from_millis(20);
const KEY: &str = "S-1";

/// How the renewals are cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cut {
    Refused,
    Silent,
}

/// The slow write and the write that waits for it.
struct Pair {
    /// The slow write's response, and when it arrived.
    slow: Answer,
    answered: Instant,
    contest: Contest,
    overlaps: usize,
    /// The slow process's caller in the lease history.
    caller: String,
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    // The progress bar shows the time of the slow write.
    let all = async {
        let renewed = renewed(plan);
        let (refused, silent) = (cut_off(plan, Cut::Refused), cut_off(plan, Cut::Silent));
        let (renewed, refused, silent) = tokio::try_join!(renewed, refused, silent)?;
        anyhow::Ok([renewed, refused, silent].concat())
    };
    let showing = async {
        report::pass(bar, plan.slow_write).await;
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        measured = all => measured,
        never = showing => match never {},
    }
}

async fn renewed(plan: &Plan) -> anyhow::Result<Vec<Measurement>> {
    let pair = Pair::run(plan, plan.slow_write, None).await?;
    let intervals: Vec<&LeaseInterval> = pair.intervals().collect();
    let renewals = intervals.iter().map(|interval| interval.renewed.len()).sum::<usize>();
    let intervals: Vec<f64> =
        intervals.iter().flat_map(|interval| interval.intervals()).map(|interval| interval.as_secs_f64()).collect();
    // Each renewal is slightly late, so the last one of a long write may be missing.
    let expected = (plan.slow_write.as_secs_f64() / RENEWAL.as_secs_f64()).floor();
    let expected = Bound::Between((expected * 0.9).floor(), expected);
    let name = |what: &str| format!("write of {} s, renewed: {what}", plan.slow_write.as_secs());
    Ok(vec![
        Measurement::bounded(name("status"), pair.slow.status.into(), "", Bound::Exactly(200.0)),
        Measurement::bounded(name("leases it took"), number(intervals.len()), "leases", Bound::Exactly(1.0)),
        Measurement::bounded(name("renewals"), number(renewals), "renewals", expected),
        Measurement::bounded(name("between two, median"), median(&intervals), "s", Bound::Between(4.5, 5.5)),
        Measurement::bounded(name("writes that overlapped"), number(pair.overlaps), "pairs", Bound::Exactly(0.0)),
        Measurement::bounded(name("leases that overlapped"), pair.overlapping(), "pairs", Bound::Exactly(0.0)),
    ])
}

async fn cut_off(plan: &Plan, cut: Cut) -> anyhow::Result<Vec<Measurement>> {
    let pair = Pair::run(plan, plan.slow_write.max(3 * LIFE), Some(cut)).await?;
    let lost = pair.intervals().next().context("the slow write had no lease")?;
    // Even if it was released: the write's outcome is unknown, so the lease must be left to expire.
    let ends = lost.runs_out(LIFE);
    let stopped_by = signed_seconds(pair.answered, ends);
    let after = |other: &LeaseInterval| signed_seconds(ends, other.begun);
    let next = pair.contest.intervals.iter().find(|other| other.caller != pair.caller).map_or(f64::NAN, after);
    let kind = match cut {
        Cut::Refused => "503",
        Cut::Silent => "silence",
    };
    let name = |what: &str| format!("renewals cut off by {kind}: {what}");
    let lock_lost = pair.slow.status == 503 && pair.slow.reason == "lock_lost";
    Ok(vec![
        Measurement::bounded(name("answered lock_lost"), f64::from(u8::from(lock_lost)), "", Bound::Exactly(1.0)),
        Measurement::bounded(name("stopped before the lease's end by"), stopped_by, "s", Bound::AtLeast(0.0)),
        Measurement::bounded(name("the other's lease began after it by"), next, "s", Bound::AtLeast(0.0)),
        Measurement::bounded(name("leases that overlapped"), pair.overlapping(), "pairs", Bound::Exactly(0.0)),
    ])
}

impl Pair {
    async fn run(plan: &Plan, takes: Duration, cut: Option<Cut>) -> anyhow::Result<Self> {
        let world = world(plan, Duration::ZERO).await?;
        let store = store(&world)?;
        let doors = [extra_listener(store).await?, extra_listener(store).await?];
        let connection = |at: usize| [("AzureWebJobsStorage", doors[at].connection_string())];
        let slow = Process::start(&world, "slow", &connection(0)).await?;
        let other = Process::start(&world, "other", &connection(1)).await?;
        other.apply(KEY).await?;
        let (blob, begun, caller) = (last_blob(store)?, Instant::now(), doors[0].authority());
        world.dataverse.fault(dataverse::Fault::new(dataverse::Effect::Slow(takes)).method("PATCH"));

        let first = async {
            let answer = slow.write(KEY).await?;
            anyhow::Ok((answer, Instant::now()))
        };
        let second = async {
            seen(store, 1, |event| event.caller == caller && event.status == Some(201)).await?;
            insist(&other, takes + PATIENCE).await
        };
        let ((slow_answer, answered), (), ()) = tokio::try_join!(first, second, cut_in(plan, store, cut))?;
        let mut history = store.lease_history();
        history.events.retain(|event| event.at >= begun);
        let contest = Contest::read(&history.events, &blob, Instant::now());
        let overlaps = world.dataverse.overlaps().len();
        slow.stop().await;
        other.stop().await;
        Ok(Self { slow: slow_answer, answered, contest, overlaps, caller })
    }

    /// The slow process's lease intervals.
    fn intervals(&self) -> impl Iterator<Item = &LeaseInterval> {
        self.contest.intervals.iter().filter(|interval| interval.caller == self.caller)
    }

    /// The number of lease pairs in which the second began before the first had ended.
    fn overlapping(&self) -> f64 {
        let pairs = self.contest.intervals.windows(2);
        number(pairs.filter(|pair| pair[1].begun < pair[0].ends(LIFE)).count())
    }
}

impl Cut {
    fn effect(self) -> Effect {
        match self {
            Self::Refused => Effect::Status { code: 503, error_code: "ServerBusy", retry_after: None },
            Self::Silent => Effect::Hang(SILENCE),
        }
    }
}

/// Cuts the renewals off permanently, after some of them.
async fn cut_in(plan: &Plan, store: &Storage, cut: Option<Cut>) -> anyhow::Result<()> {
    let Some(cut) = cut else { return Ok(()) };
    seen(store, plan.renewals_before_cut, |event| event.op == Op::Renew).await?;
    store.fault(Fault::until_cleared(Op::Renew, cut.effect()));
    Ok(())
}

/// Repeats the write until it gets the lock.
async fn insist(process: &Process, limit: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let answer = process.write(KEY).await?;
        if answer.status == 200 {
            return Ok(());
        }
        ensure!(answer.reason == "lock_busy", "the second process was answered {answer:?}");
        ensure!(begun.elapsed() < limit, "the second process never got the lock");
    }
}

/// Waits until `count` lease events of this kind have happened.
async fn seen(store: &Storage, count: usize, kind: impl Fn(&LeaseEvent) -> bool) -> anyhow::Result<()> {
    let begun = Instant::now();
    while store.lease_history().events.iter().filter(|event| kind(event)).count() < count {
        ensure!(begun.elapsed() < PATIENCE, "the slow write took no lease, or did not renew it");
        sleep(LOOK).await;
    }
    Ok(())
}

/// From `from` to `to`, in seconds; negative when `to` came first.
fn signed_seconds(from: Instant, to: Instant) -> f64 {
    to.saturating_duration_since(from).as_secs_f64() - from.saturating_duration_since(to).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_that_runs_backwards_is_negative() {
        let now = Instant::now();
        let later = now + Duration::from_secs(2);
        assert!((signed_seconds(now, later) - 2.0).abs() < 1e-9);
        assert!((signed_seconds(later, now) + 2.0).abs() < 1e-9);
    }
}
