//! Runs that alternate between the handler and the baseline, and the samples of each.
//!
//! The targets alternate run by run, so other load on the machine affects both alike. [`Samples`] keeps the values of
//! every run by name; medians are taken at the end.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use indicatif::ProgressBar;

use super::chart::{Point, Series};
use super::target::Target;
use super::{Bound, Measurement, median, report};

/// The options of the benchmarks that compare two executables.
#[derive(Debug, Clone, clap::Args)]
pub struct Comparison {
    /// The number of runs; values are their medians.
    #[arg(long, default_value_t = Runs::ENOUGH, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    runs: u64,
    /// The handler of another commit: it gets the same load in alternating runs, and the relative bounds are checked against it.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
}

/// The targets, the number of runs, and their length.
#[derive(Debug, Clone)]
pub(super) struct Runs {
    /// The handler, then the baseline if there is one.
    pub(super) targets: Vec<Target>,
    count: u64,
    /// The factor by which the number of messages is reduced.
    shorter: u64,
}

impl Runs {
    /// The bounds apply to this many runs or more.
    const ENOUGH: u64 = 10;

    /// The runs that the command line asks for.
    pub(super) fn new(handler: &Path, comparison: &Comparison) -> anyhow::Result<Self> {
        let mut targets = vec![Target::handler(&handler.canonicalize().context("--handler")?)];
        if let Some(path) = &comparison.baseline {
            targets.push(Target::baseline(&path.canonicalize().context("--baseline")?));
        }
        Ok(Self { targets, count: comparison.runs, shorter: 1 })
    }

    /// One short run.
    pub(super) fn quick(handler: &Path) -> Self {
        Self { targets: vec![Target::handler(handler)], count: 1, shorter: 20 }
    }

    /// The same runs with another target of this name in place of the baseline.
    pub(super) fn beside(&self, name: &'static str) -> Self {
        let handler = self.targets[0].clone();
        let other = Target { name, ..handler.clone() };
        Self { targets: vec![handler, other], ..*self }
    }

    /// Whether there are too few runs for the bounds.
    pub(super) fn are_few(&self) -> bool {
        self.count < Self::ENOUGH
    }

    /// `full`, reduced in short runs.
    pub(super) fn messages(&self, full: u64) -> u64 {
        full / self.shorter
    }

    /// Sets up a stage for each target, then runs one lap of each in turn, `count` times. Returns the samples by target.
    pub(super) async fn in_turn<Stage>(
        &self,
        bar: &ProgressBar,
        set: impl AsyncFn(&Target) -> anyhow::Result<Stage>,
        lap: impl AsyncFn(&Stage, &mut Samples) -> anyhow::Result<()>,
    ) -> anyhow::Result<Vec<(&'static str, Samples)>> {
        let (mut stages, mut by_target) = (Vec::new(), Vec::new());
        for target in &self.targets {
            stages.push(set(target).await?);
            by_target.push((target.name, Samples::default()));
        }
        report::begin(bar, self.count * u64::try_from(stages.len())?, "runs");
        for _ in 0..self.count {
            for (stage, (_, samples)) in stages.iter().zip(&mut by_target) {
                lap(stage, samples).await?;
                bar.inc(1);
            }
        }
        Ok(by_target)
    }
}

/// The values of one target's runs by name, in the order in which the names were first added.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples(Vec<(String, Vec<f64>)>);

impl Samples {
    /// Adds the value of one run.
    pub(super) fn add(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name, vec![value])),
        }
    }

    /// The values of all runs; empty for an unknown name.
    pub(super) fn values(&self, name: &str) -> &[f64] {
        self.0.iter().find(|(known, _)| known == name).map_or(&[], |(_, values)| values)
    }

    /// The median of all runs; NaN for an unknown name.
    pub(super) fn median(&self, name: &str) -> f64 {
        median(self.values(name))
    }
}

/// The check of a compared value.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Nothing: the value is printed.
    None,
    /// The handler's value, always.
    Absolute(Bound),
    /// The handler's value in a run with a baseline; without one it is printed.
    BesideBaseline(Bound),
    /// The handler's value, at most this many times the baseline's; without a baseline it is printed.
    TimesBaseline(f64),
}

/// The values of this name as measurements: the handler's, then the other target's and the ratio of the two.
pub(super) fn compared(
    by_target: &[(&'static str, Samples)],
    name: &str,
    unit: &'static str,
    limit: Limit,
) -> Vec<Measurement> {
    let [(_, handler), others @ ..] = by_target else { return Vec::new() };
    let value = Measurement::of_runs(name, handler.values(name), unit);
    let value = match limit {
        Limit::Absolute(bound) => value.with_bound(bound),
        Limit::BesideBaseline(bound) if !others.is_empty() => value.with_bound(bound),
        _ => value,
    };
    let mut measurements = vec![value];
    for (target, samples) in others {
        measurements.push(Measurement::of_runs(format!("{target}: {name}"), samples.values(name), unit));
        let ratio = handler.median(name) / samples.median(name);
        let ratio = Measurement::unbounded(format!("handler ÷ {target}: {name}"), ratio, "×");
        measurements.push(match limit {
            Limit::TimesBaseline(most) => ratio.with_bound(Bound::AtMost(most)),
            _ => ratio,
        });
    }
    measurements
}

/// One series for each target, with a point for each of these names.
pub(super) fn series(by_target: &[(&'static str, Samples)], what: &str, names: &[String]) -> Vec<Series> {
    let one = |(target, samples): &(&'static str, Samples)| {
        let points = names.iter().map(|name| Point::of(samples.values(name))).collect();
        let name = if what.is_empty() { (*target).to_owned() } else { format!("{target}, {what}") };
        Series { name, points }
    };
    by_target.iter().map(one).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn samples_keep_every_run_by_name() {
        let mut samples = Samples::default();
        for value in [3.0, 1.0, 2.0] {
            samples.add("start", value);
        }
        assert_eq!((samples.values("start"), samples.values("end")), (&[3.0, 1.0, 2.0][..], &[][..]));
        assert!((samples.median("start") - 2.0).abs() < 1e-9 && samples.median("end").is_nan());
    }

    #[tokio::test]
    async fn targets_take_turns_each_with_its_own_stage_and_samples() {
        let targets = ["handler", "baseline"].map(|name| Target { name, path: PathBuf::new() }).to_vec();
        let (runs, turns) = (Runs { targets, count: 2, shorter: 1 }, Mutex::new(Vec::new()));
        let set = async |target: &Target| Ok(target.name);
        let lap = async |stage: &&'static str, samples: &mut Samples| {
            turns.lock().expect("no lap panics").push(*stage);
            samples.add(*stage, 1.0);
            Ok(())
        };
        let by_target = runs.in_turn(&ProgressBar::hidden(), set, lap).await.expect("nothing fails");
        assert_eq!(*turns.lock().expect("no lap panics"), ["handler", "baseline", "handler", "baseline"]);
        for (name, samples) in by_target {
            assert_eq!((samples.0.len(), samples.values(name)), (1, &[1.0, 1.0][..]), "{name}");
        }
    }

    fn samples(values: &[f64]) -> Samples {
        let mut samples = Samples::default();
        for value in values {
            samples.add("CPU", *value);
        }
        samples
    }

    #[test]
    fn an_absolute_bound_applies_to_the_handler_and_not_to_the_baseline() {
        let by_target = [("handler", samples(&[100.0, 110.0, 90.0])), ("baseline", samples(&[400.0, 300.0, 200.0]))];
        let measurements = compared(&by_target, "CPU", "µs", Limit::Absolute(Bound::AtMost(150.0)));
        let names: Vec<_> = measurements.iter().map(|measurement| measurement.name.as_str()).collect();
        assert_eq!(names, ["CPU", "baseline: CPU", "handler ÷ baseline: CPU"]);
        assert!(measurements[0].held && measurements[0].bound.is_some());
        assert!(measurements[1].bound.is_none() && measurements[2].bound.is_none());
        assert_eq!(measurements[0].runs.map(|runs| (runs.count, runs.least, runs.most)), Some((3, 90.0, 110.0)));
    }

    #[test]
    fn a_relative_bound_is_checked_only_against_a_baseline() {
        let limit = Limit::TimesBaseline(2.5);
        let alone = compared(&[("handler", samples(&[100.0]))], "CPU", "µs", limit);
        assert!(alone.len() == 1 && alone[0].bound.is_none());
        for (handler, held) in [(250.0, true), (251.0, false)] {
            let by_target = [("handler", samples(&[handler])), ("baseline", samples(&[100.0]))];
            let measurements = compared(&by_target, "CPU", "µs", limit);
            assert!(measurements[0].bound.is_none() && measurements[2].bound.is_some());
            assert_eq!(measurements[2].held, held, "{handler}");
        }
    }

    #[test]
    fn a_bound_beside_a_baseline_is_not_checked_without_one() {
        let limit = Limit::BesideBaseline(Bound::AtMost(1.0));
        let alone = [("handler", samples(&[2.0]))];
        assert!(compared(&alone, "CPU", "ms", limit)[0].held);
        let by_target = [("handler", samples(&[2.0])), ("baseline", samples(&[2.0]))];
        let measurements = compared(&by_target, "CPU", "ms", limit);
        assert!(!measurements[0].held && measurements[1].held && measurements[2].held);
    }
}
