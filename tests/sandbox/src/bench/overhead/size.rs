//! CPU time per message by kind: large or small columns, a new record, TLS.
//!
//! Sixteen messages in flight, as many as a batch of the queue, and a network without latency. A record of 32 KiB is compared with
//! one of 1 KiB, less the time to copy the difference: see `copy.rs`.

use std::time::Duration;

use indicatif::ProgressBar;

use super::copy;
use crate::bench::driver::{Keys, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::{Cpu, Spent};
use crate::bench::null_server::Blobs;
use crate::bench::runs::{Limit, Runs, Samples, compared};
use crate::bench::scene::{LOAD, Scene, TARGET_CORE};
use crate::bench::target::Target;
use crate::bench::{Measurement, cores, microseconds, number};

const IN_FLIGHT: u64 = 16;
const MESSAGES: u64 = 3_000;
const WARM_UP: u64 = 200;

/// A copy takes little time, so more are measured.
const COPIES: u32 = 3_000;

const SMALL: usize = 1_024;
const LARGE: usize = 32 * 1_024;

const KNOWN: &str = "CPU per message, columns of 1 KiB";
const NEW: &str = "the same, lock seen for the first time";
const MANY: &str = "CPU per message, columns of 32 KiB, hundreds of them";
const TEXT: &str = "CPU per message, columns of 32 KiB, one long text";
const TLS: &str = "CPU per message, columns of 1 KiB, TLS to both services";
const COPY: &str = "copy of the additional bytes of 32 KiB";
const RATIO: &str = "32 KiB less the copy, relative to 1 KiB";
const TEXT_RATIO: &str = "the same, one long text";

/// A kind of message.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    columns: Columns,
    blobs: Blobs,
    tls: bool,
}

const KINDS: [Kind; 5] = [
    Kind { name: KNOWN, columns: Columns::Many(SMALL), blobs: Blobs::Known, tls: false },
    Kind { name: NEW, columns: Columns::Many(SMALL), blobs: Blobs::New, tls: false },
    Kind { name: MANY, columns: Columns::Many(LARGE), blobs: Blobs::Known, tls: false },
    Kind { name: TEXT, columns: Columns::LongText(LARGE), blobs: Blobs::Known, tls: false },
    Kind { name: TLS, columns: Columns::Many(SMALL), blobs: Blobs::Known, tls: true },
];

/// The networks of one target, without and with TLS.
struct Side {
    clear: Scene,
    tls: Scene,
}

impl Side {
    async fn set(target: &Target) -> anyhow::Result<Self> {
        let (clear, tls) = (Scene::apart(target).await?, Scene::set(target, true).await?);
        tls.load_on(LOAD)?;
        Ok(Self { clear, tls })
    }
}

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    cores::must_be_apart()?;
    let by_target = runs.in_turn(bar, Side::set, async |side, samples| lap(side, runs, samples).await).await?;
    Ok(measurements(&by_target))
}

/// The time to copy the extra bytes of a message with large columns, in and out.
fn copied() -> anyhow::Result<Duration> {
    let bytes = |size| Template::new(Columns::Many(size)).length();
    let large = copy::through(bytes(LARGE), LARGE, COPIES)?;
    Ok(large.saturating_sub(copy::through(bytes(SMALL), SMALL, COPIES)?))
}

async fn lap(side: &Side, runs: &Runs, samples: &mut Samples) -> anyhow::Result<()> {
    let mut costs = Vec::with_capacity(KINDS.len());
    for kind in KINDS {
        let cost = cost(if kind.tls { &side.tls } else { &side.clear }, kind, runs).await?;
        samples.add(kind.name, microseconds(cost));
        costs.push(cost);
    }
    let copy = microseconds(copied()?);
    let less_the_copy = |at: usize| (microseconds(costs[at]) - copy) / microseconds(costs[0]);
    samples.add(COPY, copy);
    samples.add(RATIO, less_the_copy(2));
    samples.add(TEXT_RATIO, less_the_copy(3));
    Ok(())
}

/// The CPU time of one message of a kind, in a new process.
async fn cost(scene: &Scene, kind: Kind, runs: &Runs) -> anyhow::Result<Duration> {
    let template = Template::new(kind.columns);
    scene.null_server.knows(Blobs::Known);
    let running = scene.running_on(Some(TARGET_CORE)).await?;
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.drive(Load::of(&running, &template, IN_FLIGHT, WARM_UP)).await?;
    scene.null_server.knows(kind.blobs);
    let messages = runs.messages(MESSAGES).max(IN_FLIGHT);
    let mut load = Load::of(&running, &template, IN_FLIGHT, messages);
    load.keys = Keys::Fresh(0);
    let before = Cpu::of(running.pid()?)?;
    scene.drive(load).await?;
    let Spent { total, .. } = Cpu::of(running.pid()?)?.since(&before);
    running.stop().await?;
    Ok(total.div_f64(number(messages)))
}

fn measurements(by_target: &[(&'static str, Samples)]) -> Vec<Measurement> {
    let mut all = compared(by_target, KNOWN, "µs", Limit::None);
    for name in [NEW, TLS, MANY, TEXT] {
        all.extend(compared(by_target, name, "µs", Limit::None));
    }
    // The same for every target.
    all.extend(compared(&by_target[..1], COPY, "µs", Limit::None));
    all.extend(compared(by_target, RATIO, "×", Limit::None));
    all.extend(compared(by_target, TEXT_RATIO, "×", Limit::None));
    all
}
