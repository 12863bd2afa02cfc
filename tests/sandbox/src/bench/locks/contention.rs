//! Two processes contending for one key, each saturated with calls for it: fairness, hand-over time and polling.
//!
//! Writes are read from Dataverse's journal, holders and requests from the storage's lease log, which has the exact times of grants
//! and releases. A write takes 100 ms, as in Microsoft's sample timings.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use futures::future::try_join_all;
use tokio::time::Instant;

use super::{Process, world};
use crate::bench::benchmark::Context;
use crate::bench::{Bound, Samples, median, milliseconds, number, quantile, report};
use stand_ins::dataverse::Entry;
use stand_ins::storage::{LeaseEvent, Op};

/// The duration of a write in Dataverse.
const WRITE: Duration = Duration::from_millis(100);

/// Calls in flight of each process.
const BACKLOG: usize = 12;

const KEY: &str = "F-1";

pub(super) async fn measure(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let time = Duration::from_secs(context.or_quick(60, 10));
    let world = world(context, WRITE).await?;
    let store = world.storage.embedded().context("leases are logged by the embedded storage")?;
    // A listener of its own for each process, which identifies it in the lease log.
    let listeners = [store.extra_listener().await?, store.extra_listener().await?];
    let connection = |at: usize| [("AzureWebJobsStorage", listeners[at].connection_string())];
    let left = Process::start(&world, "left", &connection(0)).await?;
    let processes = [left, Process::start(&world, "right", &connection(1)).await?];
    for process in &processes {
        process.write(KEY).await?;
    }
    let blob = store.lease_history().events.pop().context("no lease was requested: are the locks enabled?")?.blob;
    let (written_before, begun) = (world.dataverse.journal().len(), Instant::now());
    let busy = AtomicU32::new(0);
    let calls = processes.iter().flat_map(|process| (0..BACKLOG).map(|_| keep_writing(process, &busy)));
    tokio::select! {
        failed = try_join_all(calls) => drop(failed?),
        () = report::pass(context.bar, time) => {}
    }
    let until = begun + time;
    let (mut log, mut writes) = (store.lease_history(), world.dataverse.journal().split_off(written_before));
    ensure!(log.dropped == 0, "the lease log is too short: {} events are gone", log.dropped);
    log.events.retain(|event| (begun..until).contains(&event.at) && event.blob == blob);
    writes.retain(|entry| entry.commit.is_some());

    let leases = leases(&log.events);
    let callers = listeners.map(|listener| listener.authority());
    let written = processes.each_ref().map(|process| {
        let own = |entry: &&Entry| entry.values.get("jobtitle").is_some_and(|name| name == process.name);
        writes.iter().filter(own).count()
    });
    let held = callers.each_ref().map(|caller| leases.iter().filter(|lease| lease.caller == *caller).count());
    let handovers: Vec<f64> = handovers(&leases, until).into_iter().map(milliseconds).collect();
    let took: Vec<f64> = writes.iter().map(|entry| milliseconds(entry.end.saturating_sub(entry.start))).collect();
    let asked = callers.each_ref().map(|caller| {
        let acquires = log.events.iter().filter(|event| event.caller == *caller && event.op == Op::Acquire).count();
        number(acquires) / time.saturating_sub(held_by(&leases, caller, until)).as_secs_f64()
    });
    samples.bounded("smaller share of the writes", "%", share(written), Bound::AtLeast(35.0));
    samples.bounded("smaller share of the leases", "%", share(held), Bound::AtLeast(35.0));
    let times = median(&handovers) / median(&took);
    samples.bounded("release to the other's grant: median, times a write", "×", times, Bound::AtMost(1.5));
    samples.add("release to the other's grant: median", "ms", median(&handovers));
    samples.add("release to the other's grant: 95 of 100", "ms", quantile(&handovers, 0.95));
    samples.bounded("lease requests per second of waiting", "/s", asked[0].max(asked[1]), Bound::AtMost(3.0));
    samples.bounded("writes that overlapped", "pairs", number(world.dataverse.overlaps().len()), Bound::Exactly(0.0));
    samples.add("calls written", "/s", number(writes.len()) / time.as_secs_f64());
    samples.add("calls answered lock_busy", "calls", busy.into_inner().into());
    for process in processes {
        process.host.stop().await;
    }
    Ok(())
}

/// Makes calls in sequence and counts those that are answered `lock_busy`.
async fn keep_writing(process: &Process, busy: &AtomicU32) -> anyhow::Result<Infallible> {
    loop {
        let answer = process.write(KEY).await?;
        if answer.reason == "lock_busy" {
            busy.fetch_add(1, Ordering::Relaxed);
        } else {
            ensure!(answer.is_applied(), "{} answered {answer:?}", process.name);
        }
    }
}

/// A lease of the key.
struct Lease<'a> {
    /// The host and port of the storage that the holder calls.
    caller: &'a str,
    granted: Instant,
    /// `None`: still held.
    released: Option<Instant>,
}

/// The leases of one blob, in the order of the grants.
fn leases(events: &[LeaseEvent]) -> Vec<Lease<'_>> {
    let mut all: Vec<Lease<'_>> = Vec::new();
    for LeaseEvent { op, status, caller, at, .. } in events {
        let held = all.last_mut().filter(|held| held.caller == caller && held.released.is_none());
        match (op, status, held) {
            (Op::Release, Some(200), Some(held)) => held.released = Some(*at),
            // An acquire whose response was lost is repeated: that is one lease.
            (Op::Acquire, Some(201), None) => all.push(Lease { caller, granted: *at, released: None }),
            _ => {}
        }
    }
    all
}

/// For each release: the time until the other caller was granted the lease, even if the same caller got it first, or `until`.
fn handovers(leases: &[Lease<'_>], until: Instant) -> Vec<Duration> {
    let handover = |(at, lease): (usize, &Lease<'_>)| {
        let next = leases[at..].iter().find(|next| next.caller != lease.caller);
        Some(next.map_or(until, |next| next.granted) - lease.released?)
    };
    leases.iter().enumerate().filter_map(handover).collect()
}

/// How long the caller held the lease. Both are saturated: each waits whenever it does not hold it.
fn held_by(leases: &[Lease<'_>], caller: &str, until: Instant) -> Duration {
    let own = leases.iter().filter(|lease| lease.caller == caller);
    own.map(|lease| lease.released.unwrap_or(until) - lease.granted).sum()
}

/// The smaller of two counts, in percent of both.
fn share([left, right]: [usize; 2]) -> f64 {
    100.0 * number(left.min(right)) / number(left + right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_over_lasts_from_each_release_to_the_others_grant() {
        let begun = Instant::now();
        let event = |(ms, caller, op, status): (u64, &str, Op, u16)| LeaseEvent {
            at: begun + Duration::from_millis(ms),
            op,
            container: "locks".to_owned(),
            blob: "one".to_owned(),
            lease: None,
            status: Some(status),
            caller: caller.to_owned(),
        };
        let events = [
            (0, "a", Op::Acquire, 201),
            (5, "a", Op::Acquire, 201),
            (10, "b", Op::Acquire, 409),
            (100, "a", Op::Release, 200),
            (101, "a", Op::Acquire, 201),
            (200, "a", Op::Release, 200),
            (250, "b", Op::Acquire, 201),
            (300, "b", Op::Release, 200),
        ]
        .map(event);
        let (leases, until) = (leases(&events), begun + Duration::from_secs(1));
        let handovers: Vec<_> = handovers(&leases, until).iter().map(Duration::as_millis).collect();
        assert_eq!(handovers, [150, 50, 700]);
        assert_eq!(["a", "b"].map(|caller| held_by(&leases, caller, until).as_millis()), [199, 50]);
    }

    #[test]
    fn the_smaller_share_is_a_part_of_both_and_nothing_has_no_shares() {
        assert!((share([30, 10]) - 25.0).abs() < 1e-9 && share([0, 10]).abs() < 1e-9 && share([0, 0]).is_nan());
    }
}
