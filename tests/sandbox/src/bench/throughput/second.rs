//! What a second core adds.
//!
//! With one core the handler has it to itself. With two there is none left for the load, which has to share them; so the rate
//! is not what a machine with two cores for the handler would do. It is computed from two figures of the operating system:
//! the CPU time that a message takes with threads on both cores (what they do to each other is in it), and how much of both cores'
//! time it and its load used while there was work (what its threads wait for each other is in that, and whatever else this
//! machine did).

use std::time::Duration;

use indicatif::ProgressBar;

use super::Plan;
use crate::bench::cores::Cores;
use crate::bench::driver::Load;
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Book, compared};
use crate::bench::scene::{LOAD, SUBJECT, Scene};
use crate::bench::{Bound, Measurement, cores, microseconds, number, report};

/// More than both cores can do at once.
const IN_FLIGHT: u64 = 64;
const MESSAGES: u64 = 8_000;
const WARM_UP: u64 = 500;

const ONE: &str = "CPU per message, one core";
const TWO: &str = "CPU per message, two cores";
const BUSY: &str = "of both cores used by handler and load";
pub(super) const ADDS: &str = "a second core adds";
pub(super) const BY_ONE: &str = "messages by one core";
const BY_TWO: &str = "messages by two cores";

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    cores::must_be_apart()?;
    let mut scenes = Vec::new();
    for subject in &plan.subjects {
        scenes.push((Scene::set(subject, false).await?, Book::default()));
    }
    report::begin(bar, plan.runs * u64::try_from(scenes.len())?, "runs");
    for _ in 0..plan.runs {
        for (scene, book) in &mut scenes {
            lap(scene, plan, book).await?;
            bar.inc(1);
        }
    }
    let books: Vec<_> = scenes.into_iter().map(|(scene, book)| (scene.subject.name, book)).collect();
    let mut all = compared(&books, ADDS, "%", Some(Bound::AtLeast(70.0)));
    for (name, unit) in [(BY_ONE, "/s"), (BY_TWO, "/s"), (ONE, "µs"), (TWO, "µs"), (BUSY, "%")] {
        all.extend(compared(&books, name, unit, None));
    }
    Ok(all)
}

async fn lap(scene: &Scene, plan: &Plan, book: &mut Book) -> anyhow::Result<()> {
    let (one, _) = with(scene, plan, SUBJECT, LOAD).await?;
    let (two, busy) = with(scene, plan, Cores::Both, Cores::Both).await?;
    book.note(ONE, microseconds(one));
    book.note(TWO, microseconds(two));
    book.note(BUSY, 100.0 * busy);
    let (by_one, by_two) = (one.as_secs_f64().recip(), 2.0 * busy / two.as_secs_f64());
    book.note(BY_ONE, by_one);
    book.note(BY_TWO, by_two);
    book.note(ADDS, 100.0 * (by_two / by_one - 1.0));
    Ok(())
}

/// The CPU time of a message, and the share of both cores' time that the subject and its load used.
async fn with(scene: &Scene, plan: &Plan, subject: Cores, load: Cores) -> anyhow::Result<(Duration, f64)> {
    scene.load_on(load)?;
    let template = Template::new(Columns::Many(1_024));
    let running = scene.running_on(Some(subject)).await?;
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.drive(Load::of(&running, &template, IN_FLIGHT, WARM_UP)).await?;
    let messages = plan.messages(MESSAGES);
    let (before, load_before) = (Cpu::of(running.pid()?)?, Cpu::of(std::process::id())?);
    let answers = scene.drive(Load::of(&running, &template, IN_FLIGHT, messages)).await?;
    let spent = Cpu::of(running.pid()?)?.since(&before);
    let by_load = Cpu::of(std::process::id())?.since(&load_before);
    running.stop().await?;
    Ok((spent.total.div_f64(number(messages)), (spent.total + by_load.total).div_duration_f64(2 * answers.lasted)))
}
