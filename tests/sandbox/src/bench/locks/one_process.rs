//! Two hundred concurrent messages for one key in one process: how many lease requests the local queue saves.

use std::time::Duration;

use futures::stream::{FuturesUnordered, TryStreamExt as _};
use indicatif::ProgressBar;

use super::{Plan, world};
use crate::bench::process::{Process, store};
use crate::bench::{Bound, Measurement, number, report};

const MESSAGES: u32 = 200;

/// A lock without a local queue needs two requests per message.
const MOST_REQUESTS: f64 = 40.0;

/// Long enough for the last waiting message, even with a debug build on a busy machine.
const WAIT: (&str, &str) = ("LOCK_WAIT_SECONDS", "60");

const KEY: &str = "P-1";

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let world = world(plan, Duration::from_millis(10)).await?;
    let store = store(&world)?;
    let process = Process::start(&world, "alone", &[WAIT]).await?;
    process.apply(KEY).await?;
    report::begin(bar, MESSAGES.into(), "messages");
    let before = store.counts();
    let writes: FuturesUnordered<_> = (0..MESSAGES).map(|_| process.write(KEY)).collect();
    let applied = writes
        .try_fold(0_u32, |applied, answer| {
            bar.inc(1);
            std::future::ready(Ok(applied + u32::from(answer.status == 200)))
        })
        .await?;
    let spent = store.counts().since(&before);
    let overlaps = world.dataverse.overlaps().len();
    process.stop().await;
    Ok(vec![
        Measurement::bounded("messages applied", applied.into(), "messages", Bound::Exactly(MESSAGES.into())),
        Measurement::bounded("lease requests", number(spent.leases()), "requests", Bound::AtMost(MOST_REQUESTS)),
        Measurement::bounded("writes that overlapped", number(overlaps), "pairs", Bound::Exactly(0.0)),
    ])
}
