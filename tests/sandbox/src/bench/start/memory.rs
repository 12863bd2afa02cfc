//! The size of the executable, and the handler's memory: idle, under load, and after very many messages.
//!
//! Resident memory includes the executable's own pages; heap and stacks are printed beside it.

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use indicatif::ProgressBar;
use tokio::time::sleep;

use super::Plan;
use crate::bench::driver::{Keys, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Memory;
use crate::bench::null_server::Pace;
use crate::bench::runs::{Limit, Samples, compared};
use crate::bench::scene::{Scene, WIDEST};
use crate::bench::target::{Running, Target};
use crate::bench::{Bound, Measurement, megabytes, number, report};

const EXECUTABLE: &str = "executable";
pub(super) const IDLE: &str = "resident, idle";
const IDLE_OWN: &str = "of it heap and stacks, idle";
pub(super) const FULL: &str = "resident, the most with 256 in flight";
const FULL_OWN: &str = "of it heap and stacks, with 256 in flight";
const EARLY: &str = "resident after 10,000 messages";
const LATE: &str = "resident after the last message";
const GROWTH: &str = "growth from there to the last message";
const MESSAGES: &str = "messages";

/// In megabytes. The allowed growth is allocator rounding: memory does not depend on the number of keys seen.
const MAX_EXECUTABLE: f64 = 12.0;
const MAX_FULL: f64 = 45.0;
const MAX_GROWTH: f64 = 2.0;

/// The start is finished by then.
const SETTLED: Duration = Duration::from_millis(300);

/// Latency long enough for all messages to be in flight together.
const SLOW: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(500) };
const ROUNDS: u64 = 4;

/// The interval between two readings of the memory.
const LOOK: Duration = Duration::from_millis(10);

const FIRST: u64 = 10_000;
const IN_FLIGHT: u64 = 48;

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let set = async |target: &Target| Scene::set(target, false).await;
    let mut by_target = plan.runs.in_turn(bar, set, one).await?;
    for (target, (_, samples)) in plan.runs.targets.iter().zip(&mut by_target) {
        many(&set(target).await?, plan.messages, samples, bar).await?;
    }
    Ok(measurements(&by_target))
}

/// Measures a process that idles and then gets the full load.
async fn one(scene: &Scene, samples: &mut Samples) -> anyhow::Result<()> {
    samples.add(EXECUTABLE, megabytes(fs::metadata(&scene.target.path).context("looking at the executable")?.len()));
    let running = scene.running(scene.start.clone()).await?;
    sleep(SETTLED).await;
    let idle = Memory::of(running.pid()?)?;
    samples.add(IDLE, megabytes(idle.resident));
    samples.add(IDLE_OWN, megabytes(idle.anonymous));
    let template = Template::new(Columns::Many(1_024));
    scene.null_server.pace(Pace::default());
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.null_server.pace(SLOW);
    let full = most(scene, &running, &template).await?;
    samples.add(FULL, megabytes(full.resident));
    samples.add(FULL_OWN, megabytes(full.anonymous));
    running.stop().await
}

/// The peak memory during the load.
async fn most(scene: &Scene, running: &Running, template: &Template) -> anyhow::Result<Memory> {
    let (pid, mut most) = (running.pid()?, Memory::default());
    let driven = scene.drive(Load::of(running, template, WIDEST, ROUNDS * WIDEST));
    let looking = async {
        loop {
            sleep(LOOK).await;
            let now = Memory::of(pid)?;
            most.resident = most.resident.max(now.resident);
            most.anonymous = most.anonymous.max(now.anonymous);
        }
    };
    tokio::select! {
        driven = driven => driven.map(|_| most),
        failed = looking => failed,
    }
}

/// Measures a process that gets very many messages, each for another record.
async fn many(scene: &Scene, messages: u64, samples: &mut Samples, bar: &ProgressBar) -> anyhow::Result<()> {
    let running = scene.running(scene.start.clone()).await?;
    let template = Template::new(Columns::Many(1_024));
    report::begin(bar, messages, "messages");
    let first = FIRST.min(messages / 2);
    let mut resident = Vec::new();
    for (from, to) in [(0, first), (first, messages)] {
        let mut load = Load::of(&running, &template, IN_FLIGHT, to - from);
        load.keys = Keys::Fresh(from);
        load.bar = bar.clone();
        scene.drive(load).await?;
        sleep(SETTLED).await;
        resident.push(megabytes(Memory::of(running.pid()?)?.resident));
    }
    samples.add(MESSAGES, number(messages));
    samples.add(EARLY, resident[0]);
    samples.add(LATE, resident[1]);
    samples.add(GROWTH, resident[1] - resident[0]);
    running.stop().await
}

fn measurements(by_target: &[(&'static str, Samples)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for (name, most) in [
        (EXECUTABLE, Some(MAX_EXECUTABLE)),
        (IDLE, None),
        (IDLE_OWN, None),
        (FULL, Some(MAX_FULL)),
        (FULL_OWN, None),
        (EARLY, None),
        (LATE, None),
        (GROWTH, Some(MAX_GROWTH)),
    ] {
        let limit = most.map_or(Limit::None, |most| Limit::Absolute(Bound::AtMost(most)));
        all.extend(compared(by_target, name, "MB", limit));
    }
    all.extend(compared(&by_target[..1], MESSAGES, "messages", Limit::None));
    all
}
