//! What a benchmark gives: values, what they have to be, and where they were measured.
//!
//! It refuses to be kind: a value that could not be had is not a number, and keeps no bound; a case that could not be measured has
//! not held. What makes a figure doubtful (a busy machine, few runs, a debug build) is said with it.

use std::cmp::Ordering;
use std::time::Duration;

use serde::Serialize;

use super::chart::Chart;
use super::machine::Machine;
use super::{median, quantile};

/// What a value has to be.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Bound {
    /// This value.
    Exactly(f64),
    /// This value or less.
    AtMost(f64),
    /// This value or more.
    AtLeast(f64),
    /// One of these two or anything between.
    Between(f64, f64),
}

impl Bound {
    /// Whether `value` keeps the bound. What is not a number keeps none.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Exactly(wanted) => value.partial_cmp(&wanted).is_some_and(Ordering::is_eq),
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
            Self::Between(least, most) => (least..=most).contains(&value),
        }
    }
}

/// One value, and what it has to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// How much it was; JSON has null for what could not be had.
    pub value: f64,
    /// Of what.
    pub unit: &'static str,
    /// What it has to be; `None`: it is told and not judged.
    pub bound: Option<Bound>,
    /// Whether the bound was kept; true without one.
    pub held: bool,
    /// What it was made of, where it is the median of several runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub runs: Option<Spread>,
}

/// The runs that a median was taken of.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Spread {
    /// How many.
    pub count: usize,
    /// The smallest value.
    pub least: f64,
    /// The largest value.
    pub most: f64,
}

impl Measurement {
    /// A value that is told and not judged.
    pub fn told(name: impl Into<String>, value: f64, unit: &'static str) -> Self {
        Self { name: name.into(), value, unit, bound: None, held: true, runs: None }
    }

    /// A value with a bound.
    pub fn judged(name: impl Into<String>, value: f64, unit: &'static str, bound: Bound) -> Self {
        Self { bound: Some(bound), held: bound.holds(value), ..Self::told(name, value, unit) }
    }

    /// The median of several runs, told and not judged.
    pub(super) fn of_runs(name: impl Into<String>, values: &[f64], unit: &'static str) -> Self {
        let (least, most) = (quantile(values, 0.0), quantile(values, 1.0));
        let runs = (values.len() > 1).then_some(Spread { count: values.len(), least, most });
        Self { runs, ..Self::told(name, median(values), unit) }
    }

    /// The same value, judged.
    pub(super) fn bounded(self, bound: Bound) -> Self {
        Self { bound: Some(bound), held: bound.holds(self.value), ..self }
    }
}

/// What a case gives: values, and what is better seen than read.
#[derive(Debug, Default)]
pub struct Findings {
    pub(super) measurements: Vec<Measurement>,
    pub(super) charts: Vec<Chart>,
    /// How it was measured, where that depends on the machine.
    pub(super) note: Option<&'static str>,
}

impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, ..Self::default() }
    }
}

/// What came of one case.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CaseResult {
    /// The case's name on the command line.
    pub case: String,
    /// What it is about, in a few words.
    pub about: String,
    /// How long it took.
    pub seconds: f64,
    /// In the order of the table.
    pub measurements: Vec<Measurement>,
    /// What the terminal says below it; `about` ends with it.
    #[serde(skip)]
    pub(super) note: Option<&'static str>,
    /// What the page draws beside them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Why it could not be measured.
    pub problem: Option<String>,
}

impl CaseResult {
    /// Closes the books on a case.
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

/// What was measured, and where.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ground {
    /// The handler's build: `release`, `debug` or `given`.
    pub handler: &'static str,
    /// The machine.
    pub ran_on: Machine,
}

impl Ground {
    /// This machine and a handler of this build.
    pub fn new(handler: &'static str) -> Self {
        Self { handler, ran_on: Machine::look() }
    }
}

/// What came of a benchmark.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// The room.
    pub bench: &'static str,
    /// What was measured, and where.
    pub ground: Ground,
    /// Whether times were cut short; then it proves less.
    pub quick: bool,
    /// The cases, in the order in which they ran.
    pub cases: Vec<CaseResult>,
    /// What was found, in a few words; `None`: how many bounds were kept.
    pub(super) finding: Option<String>,
}

impl Results {
    /// The results of a room's cases.
    pub fn new(bench: &'static str, ground: Ground, quick: bool, cases: Vec<CaseResult>) -> Self {
        Self { bench, ground, quick, cases, finding: None }
    }

    /// Whether everything was measured and every bound was kept.
    pub fn held(&self) -> bool {
        self.cases.iter().all(CaseResult::held)
    }

    /// How many values were judged, and how many of them broke their bound.
    pub(super) fn judged(&self) -> (usize, usize) {
        let measurements = || self.cases.iter().flat_map(|case| &case.measurements);
        let judged = measurements().filter(|measurement| measurement.bound.is_some()).count();
        (judged, measurements().filter(|measurement| !measurement.held).count())
    }

    /// What was found, in a few words.
    pub(super) fn finding(&self) -> String {
        let (judged, broken) = self.judged();
        let usual = || match broken {
            0 if judged == 0 => format!("{}: told, nothing was judged", self.bench),
            0 => format!("{}: all {judged} bounds kept", self.bench),
            broken => format!("{}: {broken} of {judged} bounds broken", self.bench),
        };
        self.finding.clone().unwrap_or_else(usual)
    }

    /// A value by its name; not a number where it was not measured.
    pub(super) fn value(&self, name: &str) -> f64 {
        let mut all = self.cases.iter().flat_map(|case| &case.measurements);
        all.find(|measurement| measurement.name == name).map_or(f64::NAN, |measurement| measurement.value)
    }

    /// What a reader has to know before he believes a figure.
    pub(super) fn warnings(&self) -> Vec<String> {
        let others = self.ground.ran_on.others;
        let busy = format!(
            "The machine was busy with something else ({others:.0} % of all cores): counts and CPU times are right or nearly so, times and rates are not."
        );
        let short =
            "Cut short, or of fewer runs than the bounds are meant for: this finds what is broken and proves nothing.";
        let debug = "A build without optimisation: no figure of it is that of the program.";
        let all = [
            (self.ground.ran_on.was_busy(), busy),
            (self.quick, short.to_owned()),
            (self.ground.handler == "debug", debug.to_owned()),
        ];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
    }

    /// All of it as JSON.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Told<'a> {
            bench: &'a str,
            finding: String,
            held: bool,
            quick: bool,
            #[serde(flatten)]
            ground: &'a Ground,
            cases: &'a [CaseResult],
        }
        let (finding, held) = (self.finding(), self.held());
        let Self { bench, ground, quick, cases, .. } = self;
        serde_json::to_string_pretty(&Told { bench, finding, held, quick: *quick, ground, cases })
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
    fn what_is_not_a_number_keeps_no_bound() {
        let all = [Bound::Exactly(f64::NAN), Bound::AtMost(1.0), Bound::AtLeast(1.0), Bound::Between(0.0, 1.0)];
        assert!(!all.iter().any(|bound| bound.holds(median(&[]))));
    }

    #[test]
    fn results_hold_when_every_case_was_measured_and_no_bound_broken() {
        let case = |outcome| CaseResult::new("a", String::new(), Duration::from_secs(1), outcome);
        let kept = case(Ok(vec![Measurement::judged("requests", 2.0, "", Bound::Exactly(2.0))].into()));
        let told = case(Ok(vec![Measurement::told("requests", 2.0, "")].into()));
        let broken = case(Ok(vec![Measurement::judged("requests", 3.0, "", Bound::Exactly(2.0))].into()));
        let failed = case(Err(anyhow::anyhow!("no handler")));
        let results = |cases| Results::new("locks", Ground::new("debug"), true, cases);
        assert!(results(vec![kept.clone(), told]).held());
        assert!(!results(vec![kept.clone(), broken]).held());
        assert!(!results(vec![kept, failed]).held());
    }
}
