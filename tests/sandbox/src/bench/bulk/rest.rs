//! The time of one message at a time, with and without batches.

use std::time::Duration;

use futures::future::try_join_all;

use super::{MODES, Work};
use crate::bench::benchmark::Context;
use crate::bench::driver::{Keys, Load};
use crate::bench::limited::COLUMNS;
use crate::bench::message::Message;
use crate::bench::{Bound, Limit, Samples, median, milliseconds, quantile};
use stand_ins::dataverse;

/// The time of an execution, always the same.
const WRITE: Duration = Duration::from_millis(20);

/// Messages of one turn.
const TURN: u64 = 10;

/// Off and auto take turns, so that other work on the machine affects both alike.
pub(super) async fn measure(context: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
    let message = Message::new(COLUMNS);
    let settings = MODES.map(|mode| [("SYNC_BATCH", mode)]);
    let options = || dataverse::Options { race_window: WRITE, ..dataverse::Options::default() };
    let work = Work::new(20, None);
    let fleets = settings.each_ref().map(|settings| work.fleet(context, settings));
    let running = try_join_all(fleets.each_ref().map(|fleet| fleet.start(options()))).await?;
    let mut times = [Vec::new(), Vec::new()];
    // The first turn requests the token and makes the locks of its records.
    for turn in 0..=context.or_quick(100, 2) {
        for (running, times) in running.iter().zip(&mut times) {
            for host in &running.hosts {
                let keys = Keys::InTurn { first: 0, each: TURN };
                let load = Load { keys, ..Load::to(host.port_of_handler(), &message, 1, TURN) };
                let answers = load.send().await?;
                if turn > 0 {
                    times.extend(answers.took.into_iter().map(milliseconds));
                }
            }
        }
    }
    let [off, auto] = &times;
    let limit = |most| (!context.quick).then_some(Limit::Always(Bound::AtMost(most)));
    samples.add("median of auto, times that of off", "×", median(auto) / median(off)).limit(limit(1.05));
    let p99 = |times: &[f64]| quantile(times, 0.99);
    samples.add("p99 of auto, times that of off", "×", p99(auto) / p99(off)).limit(limit(1.2));
    for (mode, times) in MODES.iter().zip(&times) {
        samples.add(format!("median, {mode}"), "ms", median(times));
        samples.add(format!("p99, {mode}"), "ms", p99(times));
    }
    for running in running {
        running.stop().await;
    }
    Ok(())
}
