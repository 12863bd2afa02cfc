//! Two processes contending for one key, each saturated with messages for it: fairness, hand-over time and polling.
//!
//! Writes are read from Dataverse's journal, holders and waits from the storage's lease history; each process calls the storage
//! through its own listener. A write takes 100 ms, as in Microsoft's sample timings.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::ensure;
use futures::future::try_join_all;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::contest::Contest;
use super::{Plan, extra_listener, last_blob, world};
use crate::bench::process::{Process, store};
use crate::bench::{Bound, Measurement, median, milliseconds, number, quantile, report};
use stand_ins::dataverse::Entry;

/// The duration of a write in Dataverse.
const WRITE: Duration = Duration::from_millis(100);

/// Calls in flight of each process.
const BACKLOG: usize = 12;

const KEY: &str = "F-1";
const NAMES: [&str; 2] = ["left", "right"];

/// The result of the contention.
struct Race {
    contest: Contest,
    writes: Vec<Entry>,
    overlaps: usize,
    /// `lock_busy` responses.
    busy: u32,
    /// The two processes' callers in the lease history.
    callers: [String; 2],
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let race = race(plan.contention, plan, bar).await?;
    let seconds = plan.contention.as_secs_f64();
    let handovers: Vec<f64> = race.contest.handovers.iter().copied().map(milliseconds).collect();
    let asked = race.callers.iter().map(|caller| race.contest.asked_per_second(caller)).fold(0.0, f64::max);
    let waited = race.callers.iter().map(|caller| race.contest.waited(caller).as_secs_f64()).sum();
    let (least, median) = (Bound::AtLeast(35.0), median(&handovers));
    Ok(vec![
        Measurement::bounded("smaller share of the writes", share(race.writes_by()), "%", least),
        Measurement::bounded("smaller share of the intervals", share(race.intervals_by()), "%", least),
        Measurement::bounded("release to the other's acquire: median", median, "ms", Bound::AtMost(150.0)),
        Measurement::unbounded("release to the other's acquire: 95 of 100", quantile(&handovers, 0.95), "ms"),
        Measurement::bounded("lease requests per second of waiting", asked, "/s", Bound::AtMost(3.0)),
        Measurement::bounded("writes that overlapped", number(race.overlaps), "pairs", Bound::Exactly(0.0)),
        Measurement::unbounded("releases", number(handovers.len()), "releases"),
        Measurement::unbounded("both processes waited, together", waited, "s"),
        Measurement::unbounded("messages written", number(race.writes.len()) / seconds, "/s"),
        Measurement::unbounded("messages sent back as lock_busy", race.busy.into(), "messages"),
    ])
}

async fn race(time: Duration, plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Race> {
    let world = world(plan, WRITE).await?;
    let store = store(&world)?;
    let listeners = [extra_listener(store).await?, extra_listener(store).await?];
    let start = |at: usize| {
        let connection = ("AzureWebJobsStorage", listeners[at].connection_string());
        let world = &world;
        async move { Process::start(world, NAMES[at], &[connection]).await }
    };
    let processes = try_join_all([start(0), start(1)]).await?;
    for process in &processes {
        process.apply(KEY).await?;
    }
    let (blob, writes) = (last_blob(store)?, world.dataverse.journal().len());
    let begun = Instant::now();
    let busy = keep_busy(&processes, time, bar).await?;
    let until = begun + time;
    let (mut history, mut journal) = (store.lease_history(), world.dataverse.journal());
    for process in processes {
        process.stop().await;
    }
    ensure!(history.dropped == 0, "the lease history is too short: {} events are gone", history.dropped);
    history.events.retain(|event| event.at >= begun);
    Ok(Race {
        contest: Contest::read(&history.events, &blob, until),
        writes: journal.split_off(writes).into_iter().filter(|entry| entry.commit.is_some()).collect(),
        overlaps: world.dataverse.overlaps().len(),
        busy,
        callers: listeners.map(|listener| listener.authority()),
    })
}

/// Keeps every process busy for `time`; returns the number of `lock_busy` responses.
async fn keep_busy(processes: &[Process], time: Duration, bar: &ProgressBar) -> anyhow::Result<u32> {
    let busy = AtomicU32::new(0);
    let workers = processes.iter().flat_map(|process| (0..BACKLOG).map(|_| keep_writing(process, &busy)));
    tokio::select! {
        failed = try_join_all(workers) => drop(failed?),
        () = report::pass(bar, time) => {}
    }
    Ok(busy.into_inner())
}

/// Sends messages in sequence and counts the `lock_busy` responses.
async fn keep_writing(process: &Process, busy: &AtomicU32) -> anyhow::Result<Infallible> {
    loop {
        let answer = process.write(KEY).await?;
        match (answer.status, answer.reason.as_str()) {
            (200, _) => {}
            (503, "lock_busy") => {
                busy.fetch_add(1, Ordering::Relaxed);
            }
            _ => anyhow::bail!("{} answered {answer:?}", process.name()),
        }
    }
}

impl Race {
    fn writes_by(&self) -> [usize; 2] {
        let by = |entry: &&Entry, name| entry.values.get("jobtitle").and_then(|value| value.as_str()) == Some(name);
        NAMES.map(|name| self.writes.iter().filter(|entry| by(entry, name)).count())
    }

    fn intervals_by(&self) -> [usize; 2] {
        self.callers.each_ref().map(|caller| self.contest.intervals_of(caller))
    }
}

/// The smaller of two counts, in percent of both.
fn share([left, right]: [usize; 2]) -> f64 {
    100.0 * number(left.min(right)) / number(left + right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_smaller_share_is_a_part_of_both_and_nothing_has_no_shares() {
        assert!((share([30, 10]) - 25.0).abs() < 1e-9);
        assert!(share([0, 10]).abs() < 1e-9);
        assert!(share([0, 0]).is_nan());
    }
}
