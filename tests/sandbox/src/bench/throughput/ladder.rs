//! The rate by messages in flight, on one core: in step with them until the core is full.

use std::time::Duration;

use indicatif::ProgressBar;

use crate::bench::chart::{Chart, Line, Point, Series};
use crate::bench::driver::{Answers, Load};
use crate::bench::message::{Columns, Template};
use crate::bench::meter::{Cpu, Spent};
use crate::bench::runs::{Book, Runs, compared, series};
use crate::bench::scene::{SUBJECT, Scene};
use crate::bench::sink::Pace;
use crate::bench::subject::Running;
use crate::bench::{Bound, Findings, Measurement, cores, number};

const RUNGS: [u64; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// Short enough for 256 in flight to fill a core, and long enough for a few not to.
const PACE: Pace = Pace { storage: Duration::from_millis(3), dataverse: Duration::from_millis(10) };

/// What a message waits for; they begin one after the other over this time, or they would all wait, and all work, together.
const ROUND_TRIPS: Duration = PACE.storage.saturating_add(PACE.dataverse);

/// Each connection's messages; a rung lasts for so many round trips.
const TURNS: u64 = 40;

/// Without any wait these fill the core.
const FULL: u64 = 64;
const FULL_MESSAGES: u64 = 5_000;

pub(super) const FULL_RATE: &str = "messages a full core does";
const FULL_SHARE: &str = "of the time the core was the handler's";

/// Percent.
const LEAST_IN_STEP: f64 = 80.0;

fn step_at(rung: u64) -> String {
    format!("in step, {rung} in flight")
}

fn rate_at(rung: u64) -> String {
    format!("messages, {rung} in flight")
}

fn share_at(rung: u64) -> String {
    format!("of the core, {rung} in flight")
}

pub(super) async fn measure(runs: &Runs, bar: &ProgressBar) -> anyhow::Result<Findings> {
    cores::must_be_apart()?;
    let books = runs.in_turn(bar, Scene::apart, async |scene, book| lap(scene, runs, book).await).await?;
    Ok(Findings { measurements: measurements(&books), charts: charts(&books), note: None })
}

/// One process, and every rung once.
async fn lap(scene: &Scene, runs: &Runs, book: &mut Book) -> anyhow::Result<()> {
    let template = Template::new(Columns::Many(1_024));
    let running = scene.running_on(Some(SUBJECT)).await?;
    scene.sink.pace(Pace::default());
    scene.drive(Load::of(&running, &template, 1, 4)).await?;
    scene.drive(Load::of(&running, &template, FULL, 10 * FULL)).await?;
    let load = Load::of(&running, &template, FULL, runs.messages(FULL_MESSAGES));
    let (answers, spent) = timed(scene, &running, load).await?;
    let full = rate(&answers);
    book.note(FULL_RATE, full);
    book.note(FULL_SHARE, share(&answers, spent));
    scene.sink.pace(PACE);
    let mut first = None;
    for rung in RUNGS {
        let messages = rung * runs.messages(TURNS).max(2);
        let load = Load { spread: ROUND_TRIPS, ..Load::of(&running, &template, rung, messages) };
        let (answers, spent) = timed(scene, &running, load).await?;
        let rate = rate(&answers);
        let one = *first.get_or_insert(rate);
        book.note(step_at(rung), in_step(rate, rung, one, full));
        book.note(rate_at(rung), rate);
        book.note(share_at(rung), share(&answers, spent));
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

/// In percent of what so many in flight could do: as many times what one does, up to what a full core does.
fn in_step(rate: f64, rung: u64, one: f64, full: f64) -> f64 {
    100.0 * rate / (one * number(rung)).min(full)
}

fn measurements(books: &[(&'static str, Book)]) -> Vec<Measurement> {
    let mut all = compared(books, FULL_RATE, "/s", None);
    all.extend(compared(books, FULL_SHARE, "%", None));
    for rung in RUNGS {
        if rung != RUNGS[0] {
            all.extend(compared(books, &step_at(rung), "%", Some(Bound::AtLeast(LEAST_IN_STEP))));
        }
        all.extend(compared(books, &rate_at(rung), "/s", None));
        all.extend(compared(books, &share_at(rung), "%", None));
    }
    all
}

fn charts(books: &[(&'static str, Book)]) -> Vec<Chart> {
    let names = |name: fn(u64) -> String| RUNGS.map(name).to_vec();
    let one = books[0].1.median(&rate_at(1));
    let in_step = RUNGS.map(|rung| Point::of(&[one * number(rung)])).to_vec();
    let mut rates = series(books, "", &names(rate_at));
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
    let full = Line::at(books[0].1.median(FULL_RATE), "a full core");
    vec![
        chart("Messages per second on one core", "messages/s", true, rates, vec![full]),
        chart("How full the handler's core is", "%", false, series(books, "", &names(share_at)), Vec::new()),
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
    fn a_rate_that_falls_when_the_core_is_full_is_out_of_step() {
        is(50.0, 256, 2_500.0);
    }
}
