//! CPU time per message and time added, with 1, 16, 48 and 256 messages in flight, where the network takes its time and where it
//! takes none.

use std::time::Duration;

use indicatif::ProgressBar;

use super::Plan;
use crate::bench::chart::{Chart, Line};
use crate::bench::driver::Load;
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::runs::{Book, compared, series};
use crate::bench::scene::{SUBJECT, Scene};
use crate::bench::sink::Pace;
use crate::bench::subject::Running;
use crate::bench::{Bound, Findings, Measurement, cores, microseconds, milliseconds, number, quantile};

/// How the network is.
pub(super) const FIXED: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(80) };
pub(super) const NONE: Pace = Pace { storage: Duration::ZERO, dataverse: Duration::ZERO };

const CPU: &str = "CPU per message";
const KERNEL: &str = "of it in the kernel";
const MEDIAN: &str = "time added, median";
const P99: &str = "time added, p99";
const RATE: &str = "messages";

/// Microseconds, and milliseconds.
const MOST_CPU: f64 = 150.0;
const MOST_ADDED: f64 = 1.0;
const MOST_ADDED_P99: f64 = 5.0;

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
        plan.runs.messages(self.messages).max(self.in_flight)
    }
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let books = plan.runs.in_turn(bar, Scene::apart, async |scene, book| lap(scene, plan, book).await).await?;
    Ok(Findings { measurements: measurements(&books), charts: charts(&books), note: None })
}

/// One process, and every step once.
async fn lap(scene: &Scene, plan: &Plan, book: &mut Book) -> anyhow::Result<()> {
    let template = Template::new(Columns::Many(1_024));
    let running = scene.running_on(Some(SUBJECT)).await?;
    scene.sink.pace(NONE);
    if scene.sink.own_times().known() == 0 {
        scene.learn(&running, &template, plan.widest).await?;
    }
    // The first message brings the hint that widens the gate.
    scene.drive(Load::of(&running, &template, 1, 20)).await?;
    for step in STEPS.into_iter().filter(|step| step.in_flight <= plan.widest) {
        scene.sink.pace(step.pace);
        scene.drive(Load::of(&running, &template, step.in_flight, step.in_flight)).await?;
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
    let mut load = Load::of(running, template, step.in_flight, messages);
    load.own_times = Some(scene.sink.own_times());
    load.spread = step.pace.storage + step.pace.dataverse;
    let before = Cpu::of(running.pid()?)?;
    let answers = scene.drive(load).await?;
    let spent = Cpu::of(running.pid()?)?.since(&before);
    let each = |time: Duration| microseconds(time) / number(messages);
    book.note(step.name(CPU), each(spent.total));
    book.note(step.name(KERNEL), each(spent.system));
    let added: Vec<f64> = answers.added.iter().map(|added| milliseconds(*added)).collect();
    book.note(step.name(MEDIAN), quantile(&added, 0.5));
    book.note(step.name(P99), quantile(&added, 0.99));
    book.note(step.name(RATE), number(messages) / answers.lasted.as_secs_f64());
    Ok(())
}

/// What the room's finding names.
pub(super) fn judged() -> [String; 2] {
    let judged = Step { pace: FIXED, in_flight: 48, messages: 0 };
    [judged.name(CPU), judged.name(MEDIAN)]
}

fn measurements(books: &[(&'static str, Book)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for step in STEPS {
        let judged = step.in_flight == 48 && step.pace == FIXED;
        let bound = |most| judged.then_some(Bound::AtMost(most));
        all.extend(compared(books, &step.name(CPU), "µs", bound(MOST_CPU)));
        all.extend(compared(books, &step.name(KERNEL), "µs", None));
        all.extend(compared(books, &step.name(MEDIAN), "ms", bound(MOST_ADDED)));
        all.extend(compared(books, &step.name(P99), "ms", bound(MOST_ADDED_P99)));
        all.extend(compared(books, &step.name(RATE), "/s", None));
    }
    all
}

/// The steps of one network, as places.
fn along(pace: Pace, what: &str) -> Vec<String> {
    STEPS.iter().filter(|step| step.pace == pace).map(|step| step.name(what)).collect()
}

fn charts(books: &[(&'static str, Book)]) -> Vec<Chart> {
    let chart = |title: &str, unit, doubling, series, lines| Chart {
        title: title.to_owned(),
        across: "messages in flight",
        unit,
        doubling,
        places: STEPS.iter().filter(|step| step.pace == FIXED).map(|step| step.in_flight.to_string()).collect(),
        series,
        lines,
    };
    let both = |what: &str| {
        let with = |pace, network| series(books, network, &along(pace, what));
        [with(FIXED, "network of 3 + 80 ms"), with(NONE, "no latency")].concat()
    };
    let added =
        [("median", MEDIAN), ("p99", P99)].map(|(name, what)| series(books, name, &along(FIXED, what))).concat();
    let lines = vec![Line::at(MOST_ADDED, "median ≤ 1 ms"), Line::at(MOST_ADDED_P99, "p99 ≤ 5 ms")];
    vec![
        chart("CPU time of a message", "µs", false, both(CPU), vec![Line::at(MOST_CPU, "≤ 150 µs")]),
        chart("Time added to that of the network's own calls (3 + 80 ms)", "ms", true, added, lines),
    ]
}
