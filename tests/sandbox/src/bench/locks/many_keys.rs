//! A million distinct keys through one process: memory must not grow with the keys seen.
//!
//! The stand-ins would keep a blob and a row for each key, so a [`NullServer`], for which every key is new, replaces
//! them. The first thousand keys are sent many times, with the same size and concurrency as later, so that buffers,
//! thread stacks and the allocator's pools exist at the first reading. Only warnings are logged.

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use indicatif::ProgressBar;

use super::{Plan, world};
use crate::bench::null_server::{Blobs, NullServer};
use crate::bench::process::Process;
use crate::bench::{Bound, Measurement, megabytes, report};

/// Records per call and concurrent calls; the product is the first thousand keys.
const RECORDS: u64 = 250;
const CALLS: usize = 4;
const FIRST: u64 = 1_000;

/// How often the first keys are sent.
const WARM_UP: u64 = 40;

/// The memory is read after these numbers of keys.
const MARKS: [u64; 3] = [1_000, 10_000, 100_000];

/// Maximum growth of the process, in megabytes.
const MOST_GROWTH: f64 = 5.0;

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let null_server = NullServer::start(Blobs::New, None).await?;
    let world = world(plan, std::time::Duration::ZERO).await?;
    let (url, connection) = (null_server.url(), null_server.connection_string());
    let settings = [
        ("DATAVERSE_URL", url.as_str()),
        ("LOCK_STORAGE", "BenchSink"),
        ("BenchSink", connection.as_str()),
        ("RUST_LOG", "warn"),
    ];
    let process = Process::start(&world, "alone", &settings).await?;
    report::begin(bar, WARM_UP * FIRST, "records of warm-up");
    for _ in 0..WARM_UP {
        send(&process, 0, FIRST, bar).await?;
    }
    report::begin(bar, plan.keys, "keys");
    bar.set_position(FIRST);
    let marks: Vec<u64> = MARKS.into_iter().filter(|mark| *mark < plan.keys).chain([plan.keys]).collect();
    let (mut sent, mut read) = (FIRST, Vec::new());
    for mark in marks {
        send(&process, sent, mark, bar).await?;
        sent = mark.max(sent);
        read.push((mark, megabytes(process.resident()?)));
    }
    process.stop().await;
    anyhow::ensure!(null_server.leases() >= plan.keys, "only {} leases for {} keys", null_server.leases(), plan.keys);
    anyhow::ensure!(null_server.writes() >= plan.keys, "only {} rows for {} keys", null_server.writes(), plan.keys);
    Ok(measurements(&read))
}

fn measurements(read: &[(u64, f64)]) -> Vec<Measurement> {
    let unbounded =
        |(keys, memory): &(u64, f64)| Measurement::unbounded(format!("resident after {keys} keys"), *memory, "MB");
    let growth = match read {
        [(_, first), .., (_, last)] => last - first,
        _ => f64::NAN,
    };
    let growth = Measurement::bounded("growth from the first to the last", growth, "MB", Bound::AtMost(MOST_GROWTH));
    read.iter().map(unbounded).chain([growth]).collect()
}

/// Writes the keys from `from` to before `to`.
async fn send(process: &Process, from: u64, to: u64, bar: &ProgressBar) -> anyhow::Result<()> {
    let calls = (from..to).step_by(usize::try_from(RECORDS).unwrap_or(usize::MAX)).map(|first| async move {
        let keys: Vec<String> = (first..to.min(first + RECORDS)).map(|key| format!("M-{key:07}")).collect();
        process.apply_all(&keys).await?;
        bar.inc(number_of(&keys));
        Ok(())
    });
    stream::iter(calls).buffer_unordered(CALLS).try_collect().await
}

fn number_of(keys: &[String]) -> u64 {
    u64::try_from(keys.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_from_the_first_figure_to_the_last() {
        let measured = measurements(&[(1_000, 20.0), (10_000, 21.0), (1_000_000, 26.0)]);
        let growth = measured.last().expect("the growth");
        assert_eq!((measured.len(), growth.held), (4, false));
        assert!((growth.value - 6.0).abs() < 1e-9);
    }

    #[test]
    fn one_figure_alone_tells_no_growth() {
        assert!(measurements(&[(1_000, 20.0)]).last().is_some_and(|growth| growth.value.is_nan() && !growth.held));
    }
}
