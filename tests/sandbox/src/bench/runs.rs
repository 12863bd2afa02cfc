//! Runs that alternate between the handler and what it is compared with, and what each of them showed.
//!
//! Side by side means in turn: whatever else this machine does meanwhile meets both. A [`Book`] keeps every run's figures by
//! name; a median is taken of them at the end and never before.

use std::path::PathBuf;

use anyhow::Context as _;

use super::chart::{Point, Series};
use super::subject::Subject;
use super::{Bound, Frame, Ground, Measurement, median};

/// What the rooms that compare are told on the command line.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct Comparison {
    /// How many runs; values are medians of them.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(super) runs: u32,
    /// Another custom handler that speaks the same contract: it gets the same load, run by run in turn with the handler.
    #[arg(long, value_name = "PATH")]
    pub(super) baseline: Option<PathBuf>,
    #[command(flatten)]
    pub(super) frame: Frame,
}

impl Comparison {
    /// The handler, and what it is compared with; then where it is measured.
    pub(super) fn subjects(&self) -> anyhow::Result<(Vec<Subject>, Ground)> {
        let (handler, ground) = self.frame.handler()?;
        let handler = handler.canonicalize().context("--handler")?;
        let mut subjects = vec![Subject::handler(&handler)];
        if let Some(path) = &self.baseline {
            subjects.push(Subject::baseline(&path.canonicalize().context("--baseline")?));
        }
        Ok((subjects, ground))
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
