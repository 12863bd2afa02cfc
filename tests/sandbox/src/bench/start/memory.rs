//! The room that the handler takes: on the disk, and in memory when it idles, under load, and after a great many messages.
//!
//! Resident memory counts the executable's own pages too; what the process has made itself (heap and stacks) is told beside it.

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
use crate::bench::runs::{Book, compared};
use crate::bench::scene::{Scene, WIDEST};
use crate::bench::target::{Running, Subject};
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

/// What is told to be the same may differ by this much: an allocator's rounding.
const SAME: f64 = 2.0;

/// Start-up is over by then.
const SETTLED: Duration = Duration::from_millis(300);

/// Messages stay in flight long enough to be there all at once.
const SLOW: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(500) };
const ROUNDS: u64 = 4;

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(10);

const FIRST: u64 = 10_000;
const IN_FLIGHT: u64 = 48;

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    let set = async |subject: &Subject| Scene::set(subject, false).await;
    let mut books = plan.runs.in_turn(bar, set, one).await?;
    for (subject, (_, book)) in plan.runs.subjects.iter().zip(&mut books) {
        many(&set(subject).await?, plan.messages, book, bar).await?;
    }
    Ok(measurements(&books))
}

/// A process that idles and then has its hands full.
async fn one(scene: &Scene, book: &mut Book) -> anyhow::Result<()> {
    book.note(EXECUTABLE, megabytes(fs::metadata(&scene.subject.path).context("looking at the executable")?.len()));
    let running = scene.running(scene.start.clone()).await?;
    sleep(SETTLED).await;
    let idle = Memory::of(running.pid()?)?;
    book.note(IDLE, megabytes(idle.resident));
    book.note(IDLE_OWN, megabytes(idle.anonymous));
    let template = Template::new(Columns::Many(1_024));
    scene.sink.pace(Pace::default());
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.sink.pace(SLOW);
    let full = most(scene, &running, &template).await?;
    book.note(FULL, megabytes(full.resident));
    book.note(FULL_OWN, megabytes(full.anonymous));
    running.stop().await
}

/// The most memory that it has while the load lasts.
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

/// A process that has a great many messages, each for a record of its own.
async fn many(scene: &Scene, messages: u64, book: &mut Book, bar: &ProgressBar) -> anyhow::Result<()> {
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
    book.note(MESSAGES, number(messages));
    book.note(EARLY, resident[0]);
    book.note(LATE, resident[1]);
    book.note(GROWTH, resident[1] - resident[0]);
    running.stop().await
}

fn measurements(books: &[(&'static str, Book)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for (name, most) in [
        (EXECUTABLE, Some(12.0)),
        (IDLE, Some(15.0)),
        (IDLE_OWN, None),
        (FULL, Some(40.0)),
        (FULL_OWN, None),
        (EARLY, None),
        (LATE, None),
        (GROWTH, Some(SAME)),
    ] {
        all.extend(compared(books, name, "MB", most.map(Bound::AtMost)));
    }
    all.extend(compared(&books[..1], MESSAGES, "messages", None));
    all
}
