//! The results of a benchmark: values with bounds, and the environment in which they were measured.
//!
//! A value that could not be obtained is NaN and breaks every bound; a case that could not be measured has failed. Results that may
//! be unreliable (a busy machine, few runs) carry a warning.

use std::cmp::Ordering;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::samples::{Samples, compared};
use super::{median, meter};
use crate::stage;

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
}

impl Bound {
    /// Whether `value` keeps the bound; NaN never does.
    pub fn holds(self, value: f64) -> bool {
        match self {
            Self::Exactly(wanted) => value.partial_cmp(&wanted).is_some_and(Ordering::is_eq),
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }
}

/// A measured value with its bound.
#[derive(Debug, Clone, Serialize)]
pub struct Measurement {
    /// What was measured.
    pub name: String,
    /// The median of the runs; null in JSON if it could not be obtained.
    pub value: f64,
    /// The unit.
    pub unit: &'static str,
    /// The bound; `None` if the value is only printed.
    pub bound: Option<Bound>,
    /// Whether the bound was kept; true without one.
    pub held: bool,
    /// The value of each run.
    pub runs: Vec<f64>,
}

impl Measurement {
    /// The median of these runs.
    pub(super) fn new(name: String, runs: &[f64], unit: &'static str, bound: Option<Bound>) -> Self {
        let value = median(runs);
        let held = bound.is_none_or(|bound| bound.holds(value));
        Self { name, value, unit, bound, held, runs: runs.to_vec() }
    }
}

/// The result of one case.
#[derive(Debug, Clone, Serialize)]
pub struct CaseResult {
    /// The case's name on the command line.
    pub case: String,
    /// How long it took.
    pub seconds: f64,
    /// In the order of the table.
    pub measurements: Vec<Measurement>,
    /// Why it could not be measured.
    pub problem: Option<String>,
    /// The values by target, for the plots.
    #[serde(skip)]
    pub(super) samples: Vec<(&'static str, Samples)>,
}

/// The samples by target, or why they could not be measured.
pub(super) type Outcome = anyhow::Result<Vec<(&'static str, Samples)>>;

impl CaseResult {
    /// The result of a case that took this long.
    pub(super) fn new(case: &str, took: Duration, outcome: Outcome) -> Self {
        let problem = outcome.as_ref().err().map(|error| format!("{error:#}"));
        let samples = outcome.unwrap_or_default();
        let (case, seconds, measurements) = (case.to_owned(), took.as_secs_f64(), compared(&samples));
        Self { case, seconds, measurements, problem, samples }
    }

    /// Whether it was measured and every bound was kept.
    pub fn held(&self) -> bool {
        self.problem.is_none() && self.measurements.iter().all(|measurement| measurement.held)
    }
}

/// Above this load, in percent of all cores, measurements are disturbed.
const BUSY: f64 = 15.0;

/// The handler's build and the machine; what cannot be determined is `unknown`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Environment {
    /// The handler's build: `release` or `given`.
    pub(super) handler: &'static str,
    /// The processor, the number of cores, and the operating system.
    pub(super) machine: String,
    /// The commit of the workspace, and whether there are uncommitted changes.
    pub(super) commit: String,
    /// The load of other processes before the benchmark, in percent of all cores; null in JSON if unknown.
    pub(super) others: f64,
    /// When the benchmark began.
    pub(super) begun: String,
}

impl Environment {
    /// This machine now, and a handler of this build.
    pub(super) fn new(handler: &'static str) -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let cores = thread::available_parallelism().map_or(1, usize::from);
        let system = output("uname", &["-srm"]);
        Self {
            handler,
            machine: format!("{}, {cores} cores, {system}", model.map_or("unknown", |(_, name)| name)),
            commit: output("git", &["describe", "--always", "--dirty", "--exclude=*"]),
            others: meter::busy(Duration::from_millis(250)).unwrap_or(f64::NAN),
            begun: OffsetDateTime::now_utc().truncate_to_second().format(&Rfc3339).unwrap_or_default(),
        }
    }
}

/// What a program prints in the workspace, or `unknown`.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).current_dir(stage::workspace()).output();
    let output = output.ok().filter(|output| output.status.success());
    output.map_or_else(|| "unknown".to_owned(), |output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The results of a benchmark.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Results {
    /// The benchmark.
    pub(super) bench: &'static str,
    /// The summary in one line.
    pub(super) finding: String,
    /// Whether everything was measured and every bound was kept.
    pub(super) held: bool,
    /// Whether it was too short for the bounds.
    pub(super) quick: bool,
    /// The handler's build and the machine.
    pub(super) environment: Environment,
    /// The cases, in the order in which they ran.
    pub(super) cases: Vec<CaseResult>,
}

impl Results {
    /// Sums up these cases.
    pub(super) fn new(bench: &'static str, environment: Environment, quick: bool, cases: Vec<CaseResult>) -> Self {
        let count = |counts: fn(&Measurement) -> bool| {
            cases.iter().flat_map(|case| &case.measurements).filter(|measurement| counts(measurement)).count()
        };
        let (bounds, broken) = (count(|found| found.bound.is_some()), count(|found| !found.held));
        let failed = cases.iter().filter(|case| case.problem.is_some()).count();
        let verdict = match (failed, broken, bounds) {
            (0, 0, 0) => "measured, no bounds".to_owned(),
            (0, 0, _) => format!("all {bounds} bounds kept"),
            (0, ..) => format!("{broken} of {bounds} bounds broken"),
            _ => format!("{failed} cases could not be measured, {broken} of {bounds} bounds broken"),
        };
        let finding = format!("{bench}: {verdict}");
        Self { bench, finding, held: cases.iter().all(CaseResult::held), quick, environment, cases }
    }

    /// Warnings about the reliability of the results.
    pub(super) fn warnings(&self) -> Vec<&'static str> {
        let busy =
            "The machine was busy with other work: counts and CPU times are about right, times and rates are not.";
        let short = "Too short, or too few runs for the bounds: this is a smoke test.";
        let all = [(self.environment.others > BUSY, busy), (self.quick, short)];
        all.into_iter().filter(|(applies, _)| *applies).map(|(_, text)| text).collect()
    }
}

#[cfg(test)]
mod tests {
    use anyhow::anyhow;

    use super::*;

    #[test]
    fn a_bound_includes_its_own_value_and_nan_breaks_it() {
        for (bound, kept, broken) in
            [(Bound::Exactly(2.0), 2.0, 2.1), (Bound::AtMost(40.0), 40.0, 41.0), (Bound::AtLeast(35.0), 35.0, 34.9)]
        {
            assert!(bound.holds(kept) && !bound.holds(broken) && !bound.holds(f64::NAN), "{bound:?}");
        }
        assert!(!Bound::Exactly(f64::NAN).holds(f64::NAN));
    }

    #[test]
    fn results_hold_if_every_case_was_measured_and_no_bound_was_broken() {
        let case = |outcome: anyhow::Result<f64>| {
            let samples = outcome.map(|value| {
                let mut samples = Samples::default();
                samples.bounded("requests", "requests", value, Bound::Exactly(2.0));
                vec![("handler", samples)]
            });
            CaseResult::new("uncontended", Duration::from_secs(1), samples)
        };
        for (outcomes, held, finding) in [
            (vec![Ok(2.0)], true, "locks: all 1 bounds kept"),
            (vec![Ok(2.0), Ok(f64::NAN)], false, "locks: 1 of 2 bounds broken"),
            (vec![Err(anyhow!("gone"))], false, "locks: 1 cases could not be measured, 0 of 0 bounds broken"),
        ] {
            let cases = outcomes.into_iter().map(case).collect();
            let results = Results::new("locks", Environment::new("given"), true, cases);
            assert_eq!((results.held, results.finding.as_str()), (held, finding));
            assert!(serde_json::to_value(&results).is_ok_and(|json| json["held"] == held));
        }
    }
}
