//! An uncontended write: what the lock costs in requests to the storage.
//!
//! One process writes each key twice, in sequence; the container exists. Requests are counted after each write, once no lease is
//! held.

use std::time::Duration;

use anyhow::ensure;
use indicatif::ProgressBar;
use tokio::time::{Instant, sleep};

use super::{Plan, world};
use crate::bench::process::{Process, store};
use crate::bench::{Bound, Measurement, number, report};
use stand_ins::storage::{Counts, LeaseState, Storage};

const KEYS: u64 = 100;

/// A lease still held this long after its write counts as not released.
const PATIENCE: Duration = Duration::from_secs(5);

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let world = world(plan, Duration::ZERO).await?;
    let store = store(&world)?;
    let process = Process::start(&world, "alone", &[]).await?;
    process.apply("U-first").await?;
    report::begin(bar, 2 * KEYS, "writes");
    let new = round(&process, store, bar).await?;
    let known = round(&process, store, bar).await?;
    process.stop().await;
    let requests = |counts: &Counts| counts.blob();
    let extreme = |rounds: &[Counts], most: bool| {
        let all = rounds.iter().map(requests);
        if most { all.max() } else { all.min() }.map_or(f64::NAN, number)
    };
    let (fewest, most, new) = (extreme(&known, false), extreme(&known, true), extreme(&new, true));
    Ok(vec![
        Measurement::bounded("storage requests per write, known blob: fewest", fewest, "requests", Bound::Exactly(2.0)),
        Measurement::bounded("storage requests per write, known blob: most", most, "requests", Bound::Exactly(2.0)),
        Measurement::bounded("storage requests per write, new blob: most", new, "requests", Bound::AtMost(4.0)),
    ])
}

/// The storage requests of each write.
async fn round(process: &Process, store: &Storage, bar: &ProgressBar) -> anyhow::Result<Vec<Counts>> {
    let mut rounds = Vec::new();
    for key in 0..KEYS {
        let before = settled(store).await?;
        process.apply(&format!("U-{key}")).await?;
        rounds.push(settled(store).await?.since(&before));
        bar.inc(1);
    }
    Ok(rounds)
}

/// The counts once no lease is held.
async fn settled(store: &Storage) -> anyhow::Result<Counts> {
    let begun = Instant::now();
    while store.leases().iter().any(|lease| lease.state == LeaseState::Leased) {
        ensure!(begun.elapsed() < PATIENCE, "a lease is still held {} s after the write", PATIENCE.as_secs());
        sleep(Duration::from_millis(2)).await;
    }
    Ok(store.counts())
}
