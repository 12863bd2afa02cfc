//! Readers that stop reading, and files that never end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use futures::future::join_all;
use tokio::process::Command;
use tokio::time::timeout;

use super::super::target::Launch;
use super::super::{Bound, Samples, number};
use super::Fixture;
use super::calls::{Caller, record};

/// Calls, of which each writes a line: several times what a pipe holds. The lines of a queue message go into its answer.
const MESSAGES: u32 = 1_000;

const IN_FLIGHT: u32 = 16;

/// A call that is not answered in this time is stuck.
const TIMEOUT: Duration = Duration::from_secs(8);

/// Longer than the drain of a handler that has nothing to do.
const STOP_TIMEOUT: Duration = Duration::from_secs(15);

/// SIGTERM, as a shell gives it.
const TERMINATED: f64 = 143.0;

/// A process whose standard output and error are pipes that are never read.
pub(super) async fn logs(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let running = Launch { unread: true, ..fixture.launch() }.start().await?;
    let (caller, next, begun) = (Caller::of(&running), AtomicU32::new(0), Instant::now());
    let connection = async || {
        let mut settled = 0_u32;
        loop {
            let message = next.fetch_add(1, Ordering::Relaxed);
            let record = record(&message.to_string()).to_string();
            if message >= MESSAGES || !timeout(TIMEOUT, caller.post(record)).await.is_ok_and(|end| end.is_written()) {
                return settled;
            }
            settled += 1;
        }
    };
    let settled: u32 = join_all((0..IN_FLIGHT).map(|_| connection())).await.into_iter().sum();
    samples.bounded("calls answered", "calls", number(settled), Bound::Exactly(MESSAGES.into()));
    samples.add("until the last one", "s", begun.elapsed().as_secs_f64());
    let begun = Instant::now();
    let code = running.terminate(STOP_TIMEOUT).await?;
    samples.bounded("exit code after SIGTERM", "", code.map_or(f64::NAN, f64::from), Bound::Exactly(TERMINATED));
    samples.add("from SIGTERM to the end", "s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Commands and the start in a folder whose host.json is a pipe without a writer.
pub(super) async fn fifo(fixture: &Fixture<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let made = Command::new("mkfifo").arg(folder.path().join("host.json")).status().await.context("running mkfifo")?;
    ensure!(made.success(), "mkfifo failed");
    let launch = || {
        let launch = Launch::new(&fixture.context.target.path, folder.path(), &fixture.world.settings);
        Launch { time_limit: TIMEOUT, ..launch }
    };
    for (name, arguments) in [("doctor", &["doctor"][..]), ("dead-letters list", &["dead-letters", "list"])] {
        let begun = Instant::now();
        let ended = timeout(TIMEOUT, launch().command().args(arguments).status()).await;
        let ended = ended.is_ok_and(|status| status.is_ok_and(|status| status.code().is_some()));
        add(samples, name, ended, begun);
    }
    let begun = Instant::now();
    let started = launch().start().await;
    add(samples, "the start", started.is_ok(), begun);
    if let Ok(running) = started {
        running.stop().await?;
    }
    Ok(())
}

fn add(samples: &mut Samples, name: &str, ended: bool, begun: Instant) {
    samples.bounded(format!("{name}: gets past it"), "", f64::from(u8::from(ended)), Bound::Exactly(1.0));
    samples.add(format!("{name}: after"), "s", begun.elapsed().as_secs_f64());
}
