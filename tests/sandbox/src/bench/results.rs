//! The results of a benchmark: values with bounds, and the environment in which they were measured.
//!
//! A value that could not be obtained is NaN and breaks every bound; a case that could not be measured has failed. Results that may
//! be unreliable (a busy machine, few runs, a debug build) carry a warning.

use std::cmp::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::chart::Chart;
use super::machine::Machine;
use super::{median, quantile};

/// The bound of a value.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// This value.
    Exactly(f64),
    /// This value or less.
    AtMost(f64),
    /// This value or more.
    AtLeast(f64),
    /// Within this closed range.
    Between(f64, f64),
}

impl Bound {
    /// Whether `value` keeps the bound; NaN never does.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Exactly(wanted) => value.partial_cmp(&wanted).is_some_and(Ordering::is_eq),
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Between(least, most) => (least..=most).contains(&value),
        }
    }
}

/// A measured value with its bound.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The value; null in JSON if it could not be obtained.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The bound; `None` if the value is only printed.
    pub bound: Option<Bound>,
    /// Whether the bound was kept; true without one.
    pub held: bool,
    /// The spread, if it is the median of several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Spread>,
}

/// The spread of the runs behind a median.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// The number of runs.
    pub count: usize,
    /// The smallest value.
    pub least: f64,
    /// The largest value.
    pub most: f64,
}

impl Measurement {
    /// A value without a bound.
    pub fn unbounded(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, bound: None, held: true, runs: None }
    }

    /// A value with a bound.
    pub fn bounded(name: impl Into<String>, value: f64, unit: &'static str, bound: Bound) -> Self {
        Self { bound: Some(bound), held: bound.holds(value), ..Self::unbounded(name, value, unit) }
    }

    /// The median of several runs, without a bound.
    pub(super) fn of_runs(name: impl Into<String>, values: &[f64], unit: &'static str) -> Self {
        let (least, most) = (quantile(values, 0.0), quantile(values, 1.0));
        let runs = (values.len() > 1).then_some(Spread { count: values.len(), least, most });
        Self { runs, ..Self::unbounded(name, median(values), unit) }
    }

    /// The same value with a bound.
    pub(super) fn with_bound(self, bound: Bound) -> Self {
        Self { bound: Some(bound), held: bound.holds(self.value), ..self }
    }
}

/// The results of a case: values and charts.
#[derive(Debug, Default)]
pub struct Findings {
    pub(super) measurements: Vec<Measurement>,
    pub(super) charts: Vec<Chart>,
    /// How it was measured, if that depends on the machine.
    pub(super) note: Option<&'static str>,
}

impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, ..Self::default() }
    }
}

/// The result of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseResult {
    /// The case's name on the command line.
    pub case: String,
    /// A short description.
    pub about: String,
    /// How long it took.
    pub seconds: f64,
    /// In the order of the table.
    pub measurements: Vec<Measurement>,
    /// A note for the terminal; `about` ends with it.
    #[serde(skip)]
    pub(super) note: Option<&'static str>,
    /// The charts of the page.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Why it could not be measured.
    pub problem: Option<String>,
}

impl CaseResult {
    /// The result of a case that took this long.
    pub(super) fn new(case: &str, about: String, took: Duration, outcome: anyhow::Result<Findings>) -> Self {
        let (findings, problem) = match outcome {
            Ok(findings) => (findings, None),
            Err(error) => (Findings::default(), Some(format!("{error:#}"))),
        };
        let Findings { measurements, charts, note } = findings;
        let about = if let Some(note) = note { format!("{about}: {note}") } else { about };
        Self { case: case.to_owned(), about, seconds: took.as_secs_f64(), measurements, note, charts, problem }
    }

    /// Whether it was measured and every bound was kept.
    pub fn held(&self) -> bool {
        self.problem.is_none() && self.measurements.iter().all(|measurement| measurement.held)
    }
}

/// The handler's build and the machine.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Environment {
    /// The handler's build: `release`, `debug` or `given`.
    pub handler: &'static str,
    /// The machine.
    pub ran_on: Machine,
}

impl Environment {
    /// This machine and a handler of this build.
    pub fn new(handler: &'static str) -> Self {
        Self { handler, ran_on: Machine::look() }
    }
}

/// The results of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The benchmark.
    pub bench: &'static str,
    /// The handler's build and the machine.
    pub environment: Environment,
    /// Whether it was too short for the bounds.
    pub quick: bool,
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseResult>,
    /// A summary; `None`: the number of kept bounds.
    pub(super) finding: Option<String>,
}

impl Results {
    /// The results of these cases.
    pub fn new(bench: &'static str, environment: Environment, quick: bool, cases: Vec<CaseResult>) -> Self {
        Self { bench, environment, quick, cases, finding: None }
    }

    /// Whether everything was measured and every bound was kept.
    pub fn held(&self) -> bool {
        self.cases.iter().all(CaseResult::held)
    }

    /// The number of bounds, and how many of them were broken.
    pub(super) fn bounds(&self) -> (usize, usize) {
        let measurements = || self.cases.iter().flat_map(|case| &case.measurements);
        let bounds = measurements().filter(|measurement| measurement.bound.is_some()).count();
        (bounds, measurements().filter(|measurement| !measurement.held).count())
    }

    /// The summary.
    pub(super) fn finding(&self) -> String {
        let (bounds, broken) = self.bounds();
        let usual = || match broken {
            0 if bounds == 0 => format!("{}: measured, no bounds", self.bench),
            0 => format!("{}: all {bounds} bounds kept", self.bench),
            broken => format!("{}: {broken} of {bounds} bounds broken", self.bench),
        };
        self.finding.clone().unwrap_or_else(usual)
    }

    /// A value by name; NaN if it was not measured.
    pub(super) fn value(&self, name: &str) -> f64 {
        let mut all = self.cases.iter().flat_map(|case| &case.measurements);
        all.find(|measurement| measurement.name == name).map_or(f64::NAN, |measurement| measurement.value)
    }

    /// Warnings about the reliability of the results.
    pub(super) fn warnings(&self) -> Vec<String> {
        let others = self.environment.ran_on.others;
        let busy = format!(
            "The machine was busy with other work ({others:.0} % of all cores): counts and CPU times are about right, times and rates are not."
        );
        let short = "Too short, or too few runs for the bounds: this is a smoke test.";
        let debug = "A development build: its figures are not those of the deployed program.";
        let all = [
            (self.environment.ran_on.was_busy(), busy),
            (self.quick, short.to_owned()),
            (self.environment.handler == "debug", debug.to_owned()),
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Output<'a> {
            bench: &'a str,
            finding: String,
            held: bool,
            quick: bool,
            #[serde(flatten)]
            environment: &'a Environment,
            cases: &'a [CaseResult],
        }
        let (finding, held) = (self.finding(), self.held());
        let Self { bench, environment, quick, cases, .. } = self;
        serde_json::to_string_pretty(&Output { bench, finding, held, quick: *quick, environment, cases })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_includes_its_own_value() {
        for (bound, kept, broken) in [
            (Bound::Exactly(2.0), 2.0, 2.1),
            (Bound::AtMost(40.0), 40.0, 41.0),
            (Bound::AtLeast(35.0), 35.0, 34.9),
            (Bound::Between(4.0, 6.0), 6.0, 6.1),
        ] {
            assert!(bound.holds(kept) && !bound.holds(broken), "{bound:?}");
        }
    }

    #[test]
    fn nan_breaks_every_bound() {
        let all = [Bound::Exactly(f64::NAN), Bound::AtMost(1.0), Bound::AtLeast(1.0), Bound::Between(0.0, 1.0)];
        assert!(!all.iter().any(|bound| bound.holds(median(&[]))));
    }

    #[test]
    fn results_hold_if_every_case_was_measured_and_no_bound_was_broken() {
        let case = |outcome| CaseResult::new("a", String::new(), Duration::from_secs(1), outcome);
        let kept = case(Ok(vec![Measurement::bounded("requests", 2.0, "", Bound::Exactly(2.0))].into()));
        let unbounded = case(Ok(vec![Measurement::unbounded("requests", 2.0, "")].into()));
        let broken = case(Ok(vec![Measurement::bounded("requests", 3.0, "", Bound::Exactly(2.0))].into()));
        let failed = case(Err(anyhow::anyhow!("no handler")));
        let results = |cases| Results::new("locks", Environment::new("debug"), true, cases);
        assert!(results(vec![kept.clone(), unbounded]).held());
        assert!(!results(vec![kept.clone(), broken]).held());
        assert!(!results(vec![kept, failed]).held());
    }
}
