//! Benchmarks with bounds: what the program promises in numbers, measured on real `handler` processes: `cargo sandbox bench`.
//!
//! A room ([`locks`], [`outage`], [`gate`]) has cases; a case gives [`Measurement`]s, most of them with a [`Bound`]. The frame shows a bar
//! while a case runs, a table at the end, writes the same as JSON, and fails when a bound is broken or a case could not be
//! measured. It refuses to be kind: a value that could not be had is not a number, and keeps no bound.

pub mod chart;
mod cores;
mod driver;
pub mod gate;
pub mod locks;
pub mod machine;
mod message;
mod meter;
pub mod outage;
pub mod overhead;
mod page;
mod process;
pub(crate) mod report;
mod runs;
mod scene;
mod sink;
pub mod start;
mod subject;
pub mod throughput;

use std::cmp::Ordering;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::Instant;

use crate::stage::{self, Build};
use chart::Chart;
use machine::Machine;

/// `--help`, the text.
pub const ABOUT: &str = "\
Measures what the program promises in numbers; exits with 1 when a bound is broken.

Each benchmark runs real handler processes, shows a bar while it lasts, and ends with a table, a page to look at and the same as
JSON, in target/bench; target/bench/index.html leads to all of them. It says what it ran on.

Without a name it measures start, overhead and throughput, in this order: a quarter of an hour after the build.

Benchmarks:
  start       exec to the first answer, size of the executable, resident memory
  overhead    CPU time, allocations and time added per message, beyond what the network takes
  throughput  messages per second on one core, in step with messages in flight; what a second core adds
  locks       what the per-record lock costs, and whether it keeps its promises
  gate        what the gate makes of service protection limits, beside a client that does not adapt
  outage      what an outage of ten minutes costs, beside a queue trigger that is left alone";

/// `--help`, the end.
pub const EXAMPLES: &str = "\
Examples:
  cargo sandbox bench                                   start, overhead and throughput
  cargo sandbox bench overhead --only load --runs 3
  cargo sandbox bench start --baseline ../other/handler another custom handler gets the same load, in turn
  cargo sandbox bench locks --help                      each benchmark has a help of its own";

/// The command line.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    #[command(subcommand)]
    room: Option<Room>,
}

/// The benchmarks there are.
#[derive(Debug, clap::Subcommand)]
pub enum Room {
    /// What the per-record lock costs, and whether it keeps its promises.
    #[command(long_about = locks::ABOUT, after_long_help = locks::EXAMPLES)]
    Locks(locks::Arguments),
    /// What an outage of ten minutes costs, beside a queue trigger that is left alone.
    #[command(long_about = outage::ABOUT, after_long_help = outage::EXAMPLES)]
    Outage(outage::Arguments),
    /// How soon the handler is there, and how much room it takes.
    #[command(long_about = start::ABOUT, after_long_help = start::EXAMPLES)]
    Start(start::Arguments),
    /// What the handler adds to what the network costs: CPU time, allocations, and time.
    #[command(long_about = overhead::ABOUT, after_long_help = overhead::EXAMPLES)]
    Overhead(overhead::Arguments),
    /// How many messages a core does, and what a second one adds.
    #[command(long_about = throughput::ABOUT, after_long_help = throughput::EXAMPLES)]
    Throughput(throughput::Arguments),
    /// What the gate makes of service protection limits, beside a client that does not adapt.
    #[command(long_about = gate::ABOUT, after_long_help = gate::EXAMPLES)]
    Gate(gate::Arguments),
}

/// Runs a benchmark, or the three about speed and size; gives whether every bound was kept.
pub async fn run(arguments: Arguments) -> anyhow::Result<bool> {
    match arguments.room {
        Some(room) => room.run().await,
        None => run_all().await,
    }
}

impl Room {
    async fn run(self) -> anyhow::Result<bool> {
        match self {
            Self::Start(arguments) => Box::pin(start::run(arguments)).await,
            Self::Overhead(arguments) => Box::pin(overhead::run(arguments)).await,
            Self::Throughput(arguments) => Box::pin(throughput::run(arguments)).await,
            Self::Locks(arguments) => Box::pin(locks::run(arguments)).await,
            Self::Gate(arguments) => Box::pin(gate::run(arguments)).await,
            Self::Outage(arguments) => Box::pin(outage::run(arguments)).await,
        }
    }
}

/// All three, also when one has found a broken bound.
async fn run_all() -> anyhow::Result<bool> {
    let mut held = true;
    for name in ["start", "overhead", "throughput"] {
        eprintln!("\n{name}");
        let mut matches = <Room as clap::Subcommand>::augment_subcommands(clap::Command::new("bench"))
            .get_matches_from(["bench", name]);
        held &= <Room as clap::FromArgMatches>::from_arg_matches_mut(&mut matches)?.run().await?;
    }
    Ok(held)
}

/// What every benchmark is told on the command line.
#[derive(Debug, Clone, clap::Args)]
struct Frame {
    /// Builds the handler without optimisation, instead of as it is deployed.
    #[arg(long)]
    debug: bool,
    /// A handler that is built already, instead of building it.
    #[arg(long, value_name = "PATH", conflicts_with = "debug")]
    handler: Option<PathBuf>,
    /// Where the results go as JSON, instead of a file in target/bench; `-` prints them, and the table goes to stderr.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

impl Frame {
    /// The handler to measure and what build it is: the one that is given, or a new one.
    fn handler(&self) -> anyhow::Result<(PathBuf, Ground)> {
        // Before the build, which keeps the machine busy itself.
        let ran_on = Machine::look();
        let (path, handler) = match &self.handler {
            Some(path) => (path.clone(), "given"),
            None if self.debug => (stage::build(&Build::default())?, "debug"),
            None => (stage::build(&Build { release: true, target: None })?, "release"),
        };
        Ok((path, Ground { handler, ran_on }))
    }
}

/// Measures one case under a bar of its own, and says how it ended.
async fn measured<T: Into<Findings>>(
    case: impl clap::ValueEnum,
    measure: impl AsyncFnOnce(&ProgressBar) -> anyhow::Result<T>,
) -> CaseResult {
    let value = case.to_possible_value().expect("no case is hidden");
    let (case, about) = (value.get_name(), value.get_help().map(ToString::to_string).unwrap_or_default());
    let (begun, bar) = (Instant::now(), report::bar(case));
    let outcome = measure(&bar).await.map(Into::into);
    bar.finish_and_clear();
    let (outcome, charts) = match outcome {
        Ok(Findings { measurements, charts }) => (Ok(measurements), charts),
        Err(error) => (Err(error), Vec::new()),
    };
    let result = CaseResult { about, charts, ..CaseResult::new(case, begun.elapsed(), outcome) };
    report::ended(&result);
    result
}

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
    fn of_runs(name: impl Into<String>, values: &[f64], unit: &'static str) -> Self {
        let (least, most) = (quantile(values, 0.0), quantile(values, 1.0));
        let runs = (values.len() > 1).then_some(Spread { count: values.len(), least, most });
        Self { runs, ..Self::told(name, median(values), unit) }
    }

    /// The same value, judged.
    fn bounded(self, bound: Bound) -> Self {
        Self { bound: Some(bound), held: bound.holds(self.value), ..self }
    }
}

/// What a case gives: values, and what is better seen than read.
#[derive(Debug, Default)]
struct Findings {
    measurements: Vec<Measurement>,
    charts: Vec<Chart>,
}

impl From<Vec<Measurement>> for Findings {
    fn from(measurements: Vec<Measurement>) -> Self {
        Self { measurements, charts: Vec::new() }
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
    /// What the page draws beside them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Chart>,
    /// Why it could not be measured.
    pub problem: Option<String>,
}

impl CaseResult {
    /// Closes the books on a case.
    pub fn new(case: impl Into<String>, took: Duration, outcome: anyhow::Result<Vec<Measurement>>) -> Self {
        let (measurements, problem) = match outcome {
            Ok(measurements) => (measurements, None),
            Err(error) => (Vec::new(), Some(format!("{error:#}"))),
        };
        Self {
            case: case.into(),
            about: String::new(),
            seconds: took.as_secs_f64(),
            measurements,
            charts: Vec::new(),
            problem,
        }
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
    finding: Option<String>,
}

impl Results {
    /// The results of a room's cases.
    pub fn new(bench: &'static str, ground: Ground, quick: bool, cases: Vec<CaseResult>) -> Self {
        Self { bench, ground, quick, cases, finding: None }
    }

    /// The same, with what was found in a few words.
    #[must_use]
    pub fn with_finding(self, finding: impl Into<String>) -> Self {
        Self { finding: Some(finding.into()), ..self }
    }

    /// Whether everything was measured and every bound was kept.
    pub fn held(&self) -> bool {
        self.cases.iter().all(CaseResult::held)
    }

    /// How many values were judged, and how many of them broke their bound.
    fn judged(&self) -> (usize, usize) {
        let measurements = || self.cases.iter().flat_map(|case| &case.measurements);
        let judged = measurements().filter(|measurement| measurement.bound.is_some()).count();
        (judged, measurements().filter(|measurement| !measurement.held).count())
    }

    /// What was found, in a few words.
    fn finding(&self) -> String {
        let (judged, broken) = self.judged();
        let usual = || match broken {
            0 if judged == 0 => format!("{}: told, nothing was judged", self.bench),
            0 => format!("{}: all {judged} bounds kept", self.bench),
            broken => format!("{}: {broken} of {judged} bounds broken", self.bench),
        };
        self.finding.clone().unwrap_or_else(usual)
    }

    /// A value by its name; not a number where it was not measured.
    fn value(&self, name: &str) -> f64 {
        let mut all = self.cases.iter().flat_map(|case| &case.measurements);
        all.find(|measurement| measurement.name == name).map_or(f64::NAN, |measurement| measurement.value)
    }

    /// What a reader has to know before he believes a figure.
    fn warnings(&self) -> Vec<String> {
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
    fn json(&self) -> serde_json::Result<String> {
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

/// A count as a value; beyond four thousand million it is no longer told apart from infinity.
fn number(count: impl TryInto<u32>) -> f64 {
    count.try_into().map_or(f64::INFINITY, f64::from)
}

/// Bytes as a value in megabytes, of a million bytes each.
fn megabytes(bytes: u64) -> f64 {
    number(bytes / 1_000) / 1_000.0
}

/// A duration as a value in microseconds.
fn microseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e6
}

/// A duration as a value in milliseconds.
fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

/// The value below which `share` (0 to 1) of the values lie, by nearest rank; not a number when there are none.
fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let below = |rank: &usize| number(*rank) < share * number(sorted.len());
    let rank = (1..sorted.len()).take_while(below).count();
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}

/// The quantile in the middle.
fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
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
    fn quantiles_are_values_that_were_measured() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        let found: Vec<f64> = [0.0, 0.2, 0.5, 0.95, 1.0].iter().map(|share| quantile(&values, *share)).collect();
        assert_eq!(found, [1.0, 1.0, 3.0, 5.0, 5.0]);
        assert_eq!(median(&[7.0]).to_string(), "7");
    }

    #[test]
    fn results_hold_when_every_case_was_measured_and_no_bound_broken() {
        let case = |outcome| CaseResult::new("a", Duration::from_secs(1), outcome);
        let kept = case(Ok(vec![Measurement::judged("requests", 2.0, "", Bound::Exactly(2.0))]));
        let told = case(Ok(vec![Measurement::told("requests", 2.0, "")]));
        let broken = case(Ok(vec![Measurement::judged("requests", 3.0, "", Bound::Exactly(2.0))]));
        let failed = case(Err(anyhow::anyhow!("no handler")));
        let results = |cases| Results::new("locks", Ground::new("debug"), true, cases);
        assert!(results(vec![kept.clone(), told]).held());
        assert!(!results(vec![kept.clone(), broken]).held());
        assert!(!results(vec![kept, failed]).held());
    }
}
