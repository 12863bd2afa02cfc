//! CPU time per message and time added with 1, 16, 48 and 256 messages in flight, with and without network latency.

use std::sync::LazyLock;
use std::time::Duration;

use indicatif::ProgressBar;

use super::Plan;
use crate::bench::chart::{Chart, Line};
use crate::bench::driver::{Answers, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::Cpu;
use crate::bench::null_server::Pace;
use crate::bench::runs::{Limit, Runs, Samples, compared, series};
use crate::bench::scene::{Scene, TARGET_CORE};
use crate::bench::{Bound, Findings, Measurement, cores, microseconds, milliseconds, number, quantile};

/// The network, with latency and without.
pub(super) const FIXED: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(80) };
pub(super) const NONE: Pace = Pace { storage: Duration::ZERO, dataverse: Duration::ZERO };

const CPU: &str = "CPU per message";
const KERNEL: &str = "of it in the kernel";
const MEDIAN: &str = "time added, median";
const P99: &str = "time added, p99";
const RATE: &str = "messages";

/// CPU time per message, in multiples of the baseline's.
const MAX_CPU_RATIO: f64 = 2.5;

/// Median of the time added, in milliseconds.
const MAX_ADDED: f64 = 1.0;

/// One load step.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pace: Pace,
    in_flight: u64,
    messages: u64,
}

/// 48 in flight, with and without latency.
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

    /// Sets the network's latency and opens the connections; returns the load.
    pub(super) async fn ready(self, scene: &Scene, port: u16, runs: &Runs) -> anyhow::Result<Load> {
        let template = template();
        scene.null_server.pace(self.pace);
        scene.drive(Load::to(port, &template, self.in_flight, self.in_flight)).await?;
        let messages = runs.messages(self.messages).max(self.in_flight);
        let (latency, spread) = (Some(scene.null_server.latency()), self.pace.storage + self.pace.dataverse);
        Ok(Load { spread, latency, ..Load::to(port, &template, self.in_flight, messages) })
    }

    /// Adds the samples of one run, with the CPU time of all its messages.
    pub(super) fn record(self, answers: &Answers, cpu: Duration, samples: &mut Samples) {
        let messages = number(answers.took.len());
        samples.add(self.name(CPU), microseconds(cpu) / messages);
        let added: Vec<f64> = answers.added.iter().map(|added| milliseconds(*added)).collect();
        samples.add(self.name(MEDIAN), quantile(&added, 0.5));
        samples.add(self.name(P99), quantile(&added, 0.99));
        samples.add(self.name(RATE), messages / answers.lasted.as_secs_f64());
    }
}

/// The message of every step: one for all, because the number of digits in its timestamp varies.
static TEMPLATE: LazyLock<Template> = LazyLock::new(|| Template::new(Columns::Many(1_024)));

pub(super) fn template() -> Template {
    TEMPLATE.clone()
}

pub(super) async fn measure(plan: &Plan, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let steps: Vec<_> = STEPS.into_iter().filter(|step| step.in_flight <= plan.widest).collect();
    let lap = async |scene: &Scene, samples: &mut Samples| lap(scene, &plan.runs, &steps, samples).await;
    let by_target = plan.runs.in_turn(bar, Scene::apart, lap).await?;
    Ok(Findings { measurements: measurements(&by_target), charts: charts(&by_target), note: None })
}

/// Runs every step once in a new process.
pub(super) async fn lap(scene: &Scene, runs: &Runs, steps: &[Step], samples: &mut Samples) -> anyhow::Result<()> {
    let running = scene.running_on(Some(TARGET_CORE)).await?;
    let (port, pid) = (running.port(), running.pid()?);
    begin(scene, port, steps).await?;
    for step in steps {
        let load = step.ready(scene, port, runs).await?;
        let before = Cpu::of(pid)?;
        let answers = scene.drive(load).await?;
        let spent = Cpu::of(pid)?.since(&before);
        step.record(&answers, spent.total, samples);
        samples.add(step.name(KERNEL), microseconds(spent.system) / number(answers.took.len()));
    }
    running.stop().await
}

/// Maps lock blobs to records once, and sends the first messages, whose answers raise the concurrency limit.
pub(super) async fn begin(scene: &Scene, port: u16, steps: &[Step]) -> anyhow::Result<()> {
    let template = template();
    scene.null_server.pace(NONE);
    if scene.null_server.latency().known() == 0 {
        let widest = steps.iter().map(|step| step.in_flight).max().unwrap_or_default();
        scene.learn(port, &template, widest).await?;
    }
    scene.drive(Load::to(port, &template, 1, 20)).await.map(drop)
}

/// The values that the benchmark's finding quotes.
pub(super) fn quoted() -> [String; 2] {
    [AT_48[0].name(CPU), AT_48[0].name(MEDIAN)]
}

fn measurements(by_target: &[(&'static str, Samples)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for step in STEPS {
        let (cpu, added) = if step.in_flight == 48 && step.pace == FIXED {
            (Limit::TimesBaseline(MAX_CPU_RATIO), Limit::BesideBaseline(Bound::AtMost(MAX_ADDED)))
        } else {
            (Limit::None, Limit::None)
        };
        all.extend(compared(by_target, &step.name(CPU), "µs", cpu));
        all.extend(compared(by_target, &step.name(KERNEL), "µs", Limit::None));
        all.extend(compared(by_target, &step.name(MEDIAN), "ms", added));
        all.extend(compared(by_target, &step.name(P99), "ms", Limit::None));
        all.extend(compared(by_target, &step.name(RATE), "/s", Limit::None));
    }
    all
}

/// CPU time and time added, without bounds.
pub(super) fn unbounded(by_target: &[(&'static str, Samples)], steps: &[Step]) -> Vec<Measurement> {
    let of = |step: &Step| {
        [(CPU, "µs"), (MEDIAN, "ms"), (P99, "ms")]
            .map(|(what, unit)| compared(by_target, &step.name(what), unit, Limit::None))
            .concat()
    };
    steps.iter().flat_map(of).collect()
}

/// The names of one network's steps, in chart order.
fn along(pace: Pace, what: &str) -> Vec<String> {
    STEPS.iter().filter(|step| step.pace == pace).map(|step| step.name(what)).collect()
}

fn charts(by_target: &[(&'static str, Samples)]) -> Vec<Chart> {
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
        let with = |pace, network| series(by_target, network, &along(pace, what));
        [with(FIXED, "network of 3 + 80 ms"), with(NONE, "no latency")].concat()
    };
    let added =
        [("median", MEDIAN), ("p99", P99)].map(|(name, what)| series(by_target, name, &along(FIXED, what))).concat();
    let lines = vec![Line::at(MAX_ADDED, "median ≤ 1 ms")];
    vec![
        chart("CPU time of a message", "µs", false, both(CPU), Vec::new()),
        chart("Time added to that of the network's own calls (3 + 80 ms)", "ms", true, added, lines),
    ]
}
