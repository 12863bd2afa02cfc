//! CPU time per message and time added, with 1, 16, 48 and 256 messages in flight, where the network takes its time and where it
//! takes none.

use std::time::Duration;

use indicatif::ProgressBar;

use super::Plan;
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Book, compared};
use crate::bench::scene::{LOAD, SUBJECT, Scene};
use crate::bench::sink::Pace;
use crate::bench::subject::Running;
use crate::bench::{Bound, Measurement, cores, microseconds, milliseconds, number, quantile, report};

/// How the network is.
pub(super) const FIXED: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(80) };
pub(super) const NONE: Pace = Pace { storage: Duration::ZERO, dataverse: Duration::ZERO };

/// One load.
#[derive(Debug, Clone, Copy)]
struct Step {
    pace: Pace,
    in_flight: u64,
    messages: u64,
}

const STEPS: [Step; 8] = [
    Step { pace: FIXED, in_flight: 1, messages: 12 },
    Step { pace: FIXED, in_flight: 16, messages: 192 },
    Step { pace: FIXED, in_flight: 48, messages: 1_152 },
    Step { pace: FIXED, in_flight: 256, messages: 2_560 },
    Step { pace: NONE, in_flight: 1, messages: 1_000 },
    Step { pace: NONE, in_flight: 16, messages: 4_000 },
    Step { pace: NONE, in_flight: 48, messages: 4_000 },
    Step { pace: NONE, in_flight: 256, messages: 4_000 },
];

impl Step {
    fn name(self, what: &str) -> String {
        let network = if self.pace == NONE { "no latency" } else { "3 + 80 ms" };
        format!("{what}, {} in flight, {network}", self.in_flight)
    }

    fn messages(self, plan: &Plan) -> u64 {
        (self.messages / plan.shorter).max(self.in_flight)
    }
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Vec<Measurement>> {
    cores::must_be_apart()?;
    let mut scenes = Vec::new();
    for subject in &plan.subjects {
        let scene = Scene::set(subject, false).await?;
        scene.load_on(LOAD)?;
        scenes.push((scene, Book::default()));
    }
    report::begin(bar, plan.runs * number_of(&scenes), "runs");
    for run in 0..plan.runs {
        for (scene, book) in &mut scenes {
            lap(scene, plan, run == 0, book).await?;
            bar.inc(1);
        }
    }
    let books: Vec<_> = scenes.into_iter().map(|(scene, book)| (scene.subject.name, book)).collect();
    Ok(measurements(&books))
}

fn number_of<T>(all: &[T]) -> u64 {
    u64::try_from(all.len()).unwrap_or(u64::MAX)
}

/// One process, and every step once.
async fn lap(scene: &Scene, plan: &Plan, first: bool, book: &mut Book) -> anyhow::Result<()> {
    let template = Template::new(Columns::Many(1_024));
    let running = scene.running_on(Some(SUBJECT)).await?;
    scene.sink.pace(NONE);
    if first {
        scene.learn(&running, &template).await?;
    }
    // The first message brings the hint that widens the gate.
    scene.drive(scene.load(&running, &template, 1, 20)).await?;
    for step in STEPS {
        scene.sink.pace(step.pace);
        scene.drive(scene.load(&running, &template, step.in_flight, step.in_flight)).await?;
        take(scene, &running, &template, step, step.messages(plan), book).await?;
    }
    running.stop().await
}

async fn take(
    scene: &Scene,
    running: &Running,
    template: &Template,
    step: Step,
    messages: u64,
    book: &mut Book,
) -> anyhow::Result<()> {
    let mut load = scene.load(running, template, step.in_flight, messages);
    load.own_times = Some(scene.sink.own_times());
    let before = Cpu::of(running.pid()?)?;
    let answers = scene.drive(load).await?;
    let spent = Cpu::of(running.pid()?)?.since(&before);
    let each = |time: Duration| microseconds(time) / number(messages);
    book.note(step.name("CPU per message"), each(spent.total));
    book.note(step.name("of it in the kernel"), each(spent.system));
    let added: Vec<f64> = answers.added.iter().map(|added| milliseconds(*added)).collect();
    book.note(step.name("time added, median"), quantile(&added, 0.5));
    book.note(step.name("time added, p99"), quantile(&added, 0.99));
    book.note(step.name("messages"), number(messages) / answers.lasted.as_secs_f64());
    Ok(())
}

fn measurements(books: &[(&'static str, Book)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for step in STEPS {
        let judged = step.in_flight == 48 && step.pace == FIXED;
        let bound = |most| judged.then_some(Bound::AtMost(most));
        all.extend(compared(books, &step.name("CPU per message"), "µs", bound(150.0)));
        all.extend(compared(books, &step.name("of it in the kernel"), "µs", None));
        all.extend(compared(books, &step.name("time added, median"), "ms", bound(1.0)));
        all.extend(compared(books, &step.name("time added, p99"), "ms", bound(5.0)));
        all.extend(compared(books, &step.name("messages"), "/s", None));
    }
    all
}
