//! The rate by messages in flight, on one core: proportional to them until the core is saturated.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::bench::chart::{Chart, Line, Point, Series};
use crate::bench::driver::{Answers, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::{Cpu, Spent};
use crate::bench::null_server::Pace;
use crate::bench::runs::{Limit, Runs, Samples, compared, series};
use crate::bench::scene::{Scene, TARGET_CORE};
use crate::bench::target::Running;
use crate::bench::{Findings, Measurement, cores, number};

const RUNGS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Short enough for 256 in flight to fill a core, and long enough for a few not to.
const PACE: Pace = Pace { storage: Duration::from_millis(2), dataverse: Duration::from_millis(6) };

/// The network latency of a message. Connections start staggered over this time; otherwise they would all wait and work
/// at the same time.
const ROUND_TRIPS: Duration = PACE.storage.saturating_add(PACE.dataverse);

/// Messages per connection, so the number of round trips of a rung.
const TURNS: u64 = 40;

/// Messages in flight that saturate the core without latency. Many of them do not fit into its caches, so a rung is
/// compared with a core saturated by at least as many.
const FULL: [u64; 2] = [64, 256];
const FULL_MESSAGES: u64 = 5_000;

fn step_at(rung: u64) -> String {
    format!("in step, {rung} in flight")
}

/// The rate that the benchmark's finding names.
pub(super) fn full_rate() -> String {
    full_rate_at(FULL[0])
}

fn full_rate_at(in_flight: u64) -> String {
    format!("messages a full core does, {in_flight} in flight")
}

fn full_share_at(in_flight: u64) -> String {
    format!("of the time the core was the handler's, {in_flight} in flight")
}

fn rate_at(rung: u64) -> String {
    format!("messages, {rung} in flight")
}

fn share_at(rung: u64) -> String {
    format!("of the core, {rung} in flight")
}

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let by_target = runs.in_turn(bar, Scene::apart, async |scene, samples| lap(scene, runs, samples).await).await?;
    Ok(Findings { measurements: measurements(&by_target), charts: charts(&by_target), note: None })
}

/// Runs every rung once in one process.
async fn lap(scene: &Scene, runs: &Runs, samples: &mut Samples) -> anyhow::Result<()> {
    let template = Template::new(Columns::Many(1_024));
    let running = scene.running_on(Some(TARGET_CORE)).await?;
    scene.null_server.pace(Pace::default());
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    let mut full = [0.0; FULL.len()];
    for (full, in_flight) in full.iter_mut().zip(FULL) {
        scene.drive(Load::of(&running, &template, in_flight, 10 * in_flight)).await?;
        let load = Load::of(&running, &template, in_flight, runs.messages(FULL_MESSAGES));
        let (answers, spent) = timed(scene, &running, load).await?;
        *full = rate(&answers);
        samples.add(full_rate_at(in_flight), *full);
        samples.add(full_share_at(in_flight), share(&answers, spent));
    }
    scene.null_server.pace(PACE);
    let mut first = None;
    for rung in RUNGS {
        let messages = rung * runs.messages(TURNS).max(2);
        let load = Load { spread: ROUND_TRIPS, ..Load::of(&running, &template, rung, messages) };
        let (answers, spent) = timed(scene, &running, load).await?;
        let rate = rate(&answers);
        let one = *first.get_or_insert(rate);
        samples.add(step_at(rung), in_step(rate, rung, one, full_at(rung, full)));
        samples.add(rate_at(rung), rate);
        samples.add(share_at(rung), share(&answers, spent));
    }
    running.stop().await
}

async fn timed(scene: &Scene, running: &Running, load: Load) -> anyhow::Result<(Answers, Spent)> {
    let before = Cpu::of(running.pid()?)?;
    let answers = scene.drive(load).await?;
    Ok((answers, Cpu::of(running.pid()?)?.since(&before)))
}

fn rate(answers: &Answers) -> f64 {
    number(answers.took.len()) / answers.lasted.as_secs_f64()
}

/// In percent of one core.
fn share(answers: &Answers, spent: Spent) -> f64 {
    100.0 * spent.total.div_duration_f64(answers.lasted)
}

/// The saturated core's rate with the fewest messages in flight that are at least the rung's.
fn full_at(rung: u64, rates: [f64; FULL.len()]) -> f64 {
    let found = FULL.iter().zip(rates).find(|(in_flight, _)| **in_flight >= rung);
    found.expect("the last is the highest rung").1
}

/// In percent of the ideal rate: `rung` times the rate of one in flight, at most that of a saturated core.
fn in_step(rate: f64, rung: u64, one: f64, full: f64) -> f64 {
    100.0 * rate / (one * number(rung)).min(full)
}

fn measurements(by_target: &[(&'static str, Samples)]) -> Vec<Measurement> {
    let mut all = Vec::new();
    for in_flight in FULL {
        all.extend(compared(by_target, &full_rate_at(in_flight), "/s", Limit::None));
        all.extend(compared(by_target, &full_share_at(in_flight), "%", Limit::None));
    }
    for rung in RUNGS {
        if rung != RUNGS[0] {
            all.extend(compared(by_target, &step_at(rung), "%", Limit::None));
        }
        all.extend(compared(by_target, &rate_at(rung), "/s", Limit::None));
        all.extend(compared(by_target, &share_at(rung), "%", Limit::None));
    }
    all
}

fn charts(by_target: &[(&'static str, Samples)]) -> Vec<Chart> {
    let names = |name: fn(u64) -> String| RUNGS.map(name).to_vec();
    let one = by_target[0].1.median(&rate_at(1));
    let in_step = RUNGS.map(|rung| Point::of(&[one * number(rung)])).to_vec();
    let mut rates = series(by_target, "", &names(rate_at));
    rates.push(Series { name: "in step with messages in flight".to_owned(), points: in_step });
    let chart = |title: &str, unit, doubling, series, lines| Chart {
        title: title.to_owned(),
        across: "messages in flight",
        unit,
        doubling,
        places: RUNGS.map(|rung| rung.to_string()).to_vec(),
        series,
        lines,
    };
    // Only one line: two would be too close together to read.
    let most = FULL[FULL.len() - 1];
    let full = Line::at(by_target[0].1.median(&full_rate_at(most)), "a full core");
    vec![
        chart("Messages per second on one core", "messages/s", true, rates, vec![full]),
        chart("How full the handler's core is", "%", false, series(by_target, "", &names(share_at)), Vec::new()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(percent: f64, rung: u64, rate: f64) {
        let found = in_step(rate, rung, 70.0, 5_000.0);
        assert!((found - percent).abs() < 1e-9, "{found}");
    }

    #[test]
    fn a_rung_is_in_step_with_the_first_until_the_core_is_full() {
        is(100.0, 2, 140.0);
        is(95.0, 4, 266.0);
        is(100.0, 256, 5_000.0);
    }

    #[test]
    fn a_full_core_has_at_least_as_many_in_flight_as_the_rung() {
        let found = [1, 32, 64, 128, 256].map(|rung| full_at(rung, [3.0, 2.0]) > 2.5);
        assert_eq!(found, [true, true, true, false, false]);
    }

    #[test]
    fn a_rate_that_falls_when_the_core_is_full_is_out_of_step() {
        is(50.0, 256, 2_500.0);
    }
}
