//! CPU time per message and time added, with 1, 16, 48 and 256 messages in flight, where the network takes its time and where it
//! takes none.

use std::sync::LazyLock;
use std::time::Duration;

use indicatif::ProgressBar;

use super::Plan;
use crate::bench::chart::{Chart, Line};
use crate::bench::driver::{Answers, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::null_server::Pace;
use crate::bench::runs::{Book, Runs, compared, series};
use crate::bench::scene::{SUBJECT, Scene};
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
pub(super) struct Step {
    pace: Pace,
    in_flight: u64,
    messages: u64,
}

/// With 48 in flight, where the network takes its time and where it takes none.
pub(super) const AT_48: [Step; 2] =
    [Step { pace: FIXED, in_flight: 48, messages: 1_152 }, Step { pace: NONE, in_flight: 48, messages: 4_000 }];

const STEPS: [Step; 8] = [
    Step { pace: FIXED, in_flight: 1, messages: 12 },
    Step { pace: FIXED, in_flight: 16, messages: 192 },
    AT_48[0],
    Step { pace: FIXED, in_flight: 256, messages: 2_560 },
    Step { pace: NONE, in_flight: 1, messages: 1_000 },
    Step { pace: NONE, in_flight: 16, messages: 4_000 },
    AT_48[1],
    Step { pace: NONE, in_flight: 256, messages: 4_000 },
];

impl Step {
    fn name(self, what: &str) -> String {
        let network = if self.pace == NONE { "no latency" } else { "3 + 80 ms" };
        format!("{what}, {} in flight, {network}", self.in_flight)
    }

    /// Sets the network's pace and opens the connections; gives the load.
    pub(super) async fn ready(self, scene: &Scene, port: u16, runs: &Runs) -> anyhow::Result<Load> {
        let template = template();
        scene.sink.pace(self.pace);
        scene.drive(Load::to(port, &template, self.in_flight, self.in_flight)).await?;
        let messages = runs.messages(self.messages).max(self.in_flight);
        let (own_times, spread) = (Some(scene.sink.own_times()), self.pace.storage + self.pace.dataverse);
        Ok(Load { spread, own_times, ..Load::to(port, &template, self.in_flight, messages) })
    }

    /// Notes what came of it, and the CPU time that it took in all.
    pub(super) fn note(self, answers: &Answers, cpu: Duration, book: &mut Book) {
        let messages = number(answers.took.len());
        book.note(self.name(CPU), microseconds(cpu) / messages);
        let added: Vec<f64> = answers.added.iter().map(|added| milliseconds(*added)).collect();
        book.note(self.name(MEDIAN), quantile(&added, 0.5));
        book.note(self.name(P99), quantile(&added, 0.99));
        book.note(self.name(RATE), messages / answers.lasted.as_secs_f64());
    }
}

/// The message of every step: one for all, because the time that is in it has more digits or fewer.
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(Columns::Many(1_024)));

pub(super) fn template() -> Template {
    TEMPLATE.clone()
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let steps: Vec<_> = STEPS.into_iter().filter(|step| step.in_flight <= plan.widest).collect();
    let lap = async |scene: &Scene, book: &mut Book| lap(scene, &plan.runs, &steps, book).await;
    let books = plan.runs.in_turn(bar, Scene::apart, lap).await?;
    Ok(Findings { measurements: measurements(&books), charts: charts(&books), note: None })
}

/// One process, and every step once.
pub(super) async fn lap(scene: &Scene, runs: &Runs, steps: &[Step], book: &mut Book) -> anyhow::Result<()> {
    let running = scene.running_on(Some(SUBJECT)).await?;
    let (port, pid) = (running.port(), running.pid()?);
    begin(scene, port, steps).await?;
    for step in steps {
        let load = step.ready(scene, port, runs).await?;
        let before = Cpu::of(pid)?;
        let answers = scene.drive(load).await?;
        let spent = Cpu::of(pid)?.since(&before);
        step.note(&answers, spent.total, book);
        book.note(step.name(KERNEL), microseconds(spent.system) / number(answers.took.len()));
    }
    running.stop().await
}

/// Learns which record is whose, once, and sends the first messages, which bring the hint that widens the gate.
pub(super) async fn begin(scene: &Scene, port: u16, steps: &[Step]) -> anyhow::Result<()> {
    let template = template();
    scene.sink.pace(NONE);
    if scene.sink.own_times().known() == 0 {
        let widest = steps.iter().map(|step| step.in_flight).max().unwrap_or_default();
        scene.learn(port, &template, widest).await?;
    }
    scene.drive(Load::to(port, &template, 1, 20)).await.map(drop)
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

/// CPU time and time added, told and not judged.
pub(super) fn told(books: &[(&'static str, Book)], steps: &[Step]) -> Vec<Measurement> {
    let of = |step: &Step| {
        [(CPU, "µs"), (MEDIAN, "ms"), (P99, "ms")]
            .map(|(what, unit)| compared(books, &step.name(what), unit, None))
            .concat()
    };
    steps.iter().flat_map(of).collect()
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
