//! Runs that alternate between the handler and what it is compared with, and what each of them showed.
//!
//! Side by side means in turn: whatever else this machine does meanwhile meets both. A [`Book`] keeps every run's figures by
//! name; a median is taken of them at the end and never before.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::chart::{Point, Series};
use super::target::Subject;
use super::{Bound, Measurement, median, report};

/// What the rooms that compare are told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub struct Comparison {
    /// How many runs; values are medians of them.
    #[arg(long, default_value_t = Runs::ENOUGH, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    runs: u64,
    /// Another custom handler that speaks the same contract: it gets the same load, run by run in turn with the handler.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
}

/// Who runs, how often, and how much there is to do in each run.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    /// The handler, and what it is compared with.
    pub(super) subjects: Vec<Subject>,
    count: u64,
    /// Messages are so many times fewer than the bounds are meant for.
    shorter: u64,
}

impl Runs {
    /// The bounds are meant for as many.
    const ENOUGH: u64 = 10;

    /// As the command line says.
    pub(super) fn new(handler: &Path, comparison: &Comparison) -> anyhow::Result<Self> {
        let mut subjects = vec![Subject::handler(&handler.canonicalize().context("--handler")?)];
        if let Some(path) = &comparison.baseline {
            subjects.push(Subject::baseline(&path.canonicalize().context("--baseline")?));
        }
        Ok(Self { subjects, count: comparison.runs, shorter: 1 })
    }

    /// One, as short as it can be.
    pub(super) fn quick(handler: &Path) -> Self {
        Self { subjects: vec![Subject::handler(handler)], count: 1, shorter: 20 }
    }

    /// As many of the handler, in turn with those of something else that is set up with its help.
    pub(super) fn beside(&self, name: &'static str) -> Self {
        let handler = self.subjects[0].clone();
        let other = Subject { name, ..handler.clone() };
        Self { subjects: vec![handler, other], ..*self }
    }

    /// Whether they are fewer than the bounds are meant for.
    pub(super) fn are_few(&self) -> bool {
        self.count < Self::ENOUGH
    }

    /// So many messages, or fewer.
    pub(super) fn messages(&self, full: u64) -> u64 {
        full / self.shorter
    }

    /// Sets a stage for each subject, and then has one after the other do its lap, again and again; gives what each showed.
    pub(super) async fn in_turn<Stage>(
        &self,
        bar: &ProgressBar,
        set: impl AsyncFn(&Subject) -> anyhow::Result<Stage>,
        lap: impl AsyncFn(&Stage, &mut Book) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<(&'static str, Book)>> {
        let (mut stages, mut books) = (Vec::new(), Vec::new());
        for subject in &self.subjects {
            stages.push(set(subject).await?);
            books.push((subject.name, Book::default()));
        }
        report::begin(bar, self.count * u64::try_from(stages.len())?, "runs");
        for _ in 0..self.count {
            for (stage, (_, book)) in stages.iter().zip(&mut books) {
                lap(stage, book).await?;
                bar.inc(1);
            }
        }
        Ok(books)
    }
}

/// The figures of one subject's runs, by name, in the order in which the names came up.
#[derive(Debug, Clone, Default)]
pub(super) struct Book(Vec<(String, Vec<f64>)>);

impl Book {
    /// One run showed this.
    pub(super) fn note(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    /// What all runs showed; nothing for a name that never came up.
    pub(super) fn values(&self, name: &str) -> &[f64] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, values)| values)
    }

    /// The median of all runs; not a number for a name that never came up.
    pub(super) fn median(&self, name: &str) -> f64 {
        median(self.values(name))
    }
}

/// The figure of this name as a measurement: the handler's, with its bound; then the baseline's and how they compare.
pub(super) fn compared(
    books: &[(&'static str, Book)],
    name: &str,
    unit: &'static str,
    bound: Option<Bound>,
) -> Vec<Measurement> {
    let mut measurements = Vec::new();
    for (subject, book) in books {
        let is_handler = measurements.is_empty();
        let title = if is_handler { name.to_owned() } else { format!("{subject}: {name}") };
        let measurement = Measurement::of_runs(title, book.values(name), unit);
        measurements.push(match bound {
            Some(bound) if is_handler => measurement.bounded(bound),
            _ => measurement,
        });
        if !is_handler {
            let ratio = book.median(name) / books[0].1.median(name);
            measurements.push(Measurement::told(format!("{subject} ÷ handler: {name}"), ratio, "×"));
        }
    }
    measurements
}

/// One series for each subject: what its runs showed under these names, in this order.
pub(super) fn series(books: &[(&'static str, Book)], what: &str, names: &[String]) -> Vec<Series> {
    let one = |(subject, book): &(&'static str, Book)| {
        let points = names.iter().map(|name| Point::of(book.values(name))).collect();
        let name = if what.is_empty() { (*subject).to_owned() } else { format!("{subject}, {what}") };
        Series { name, points }
    };
    books.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn a_book_keeps_every_run_by_name() {
        let mut book = Book::default();
        for value in [3.0, 1.0, 2.0] {
            book.note("start", value);
        }
        assert_eq!((book.values("start"), book.values("end")), (&[3.0, 1.0, 2.0][..], &[][..]));
        assert!((book.median("start") - 2.0).abs() < 1e-9 && book.median("end").is_nan());
    }

    #[tokio::test]
    async fn subjects_take_turns_on_a_stage_and_with_a_book_of_their_own() {
        let subjects = ["handler", "baseline"].map(|name| Subject { name, path: PathBuf::new() }).to_vec();
        let (runs, turns) = (Runs { subjects, count: 2, shorter: 1 }, Mutex::new(Vec::new()));
        let set = async |subject: &Subject| Ok(subject.name);
        let lap = async |stage: &&'static str, book: &mut Book| {
            turns.lock().expect("nobody panicked").push(*stage);
            book.note(*stage, 1.0);
            Ok(())
        };
        let books = runs.in_turn(&ProgressBar::hidden(), set, lap).await.expect("nothing fails");
        assert_eq!(*turns.lock().expect("nobody panicked"), ["handler", "baseline", "handler", "baseline"]);
        for (name, book) in books {
            assert_eq!((book.0.len(), book.values(name)), (1, &[1.0, 1.0][..]), "{name}");
        }
    }

    #[test]
    fn the_handler_alone_is_judged_and_the_baseline_is_told_with_its_ratio() {
        let book = |values: &[f64]| {
            let mut book = Book::default();
            for value in values {
                book.note("CPU", *value);
            }
            book
        };
        let books = [("handler", book(&[100.0, 110.0, 90.0])), ("baseline", book(&[400.0, 300.0, 200.0]))];
        let measurements = compared(&books, "CPU", "µs", Some(Bound::AtMost(150.0)));
        let names: Vec<_> = measurements.iter().map(|measurement| measurement.name.as_str()).collect();
        assert_eq!(names, ["CPU", "baseline: CPU", "baseline ÷ handler: CPU"]);
        assert!(measurements[0].held && measurements[0].bound.is_some());
        assert!(measurements[1].bound.is_none() && (measurements[2].value - 3.0).abs() < 1e-9);
        assert_eq!(measurements[0].runs.map(|runs| (runs.count, runs.least, runs.most)), Some((3, 90.0, 110.0)));
    }
}
