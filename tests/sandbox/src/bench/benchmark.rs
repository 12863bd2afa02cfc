//! What all benchmarks share: selection of cases, the command line, output as a table, a page and JSON, and the exit code.
//!
//! A [`Benchmark`] only measures. A case that could not be measured is a result as well, and the other cases still run.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::machine::Machine;
use super::results::Findings;
use super::{CaseResult, Environment, Results, report};
use crate::stage::{self, Build};

/// The executable that is measured.
#[derive(Debug, Clone)]
pub struct Handler {
    /// Its path.
    pub path: PathBuf,
    /// How it was built; `None` with `--handler`.
    pub built: Option<Build>,
}

/// A benchmark with its parameters.
pub trait Benchmark: Sized {
    /// Its name on the command line.
    const NAME: &'static str;
    /// Its cases, in the order in which they are measured.
    type Case: ValueEnum + fmt::Debug + Send + Sync + 'static;
    /// Its own options.
    type Options: clap::Args + fmt::Debug;

    /// Creates it from its options for this executable.
    fn plan(handler: Handler, options: Self::Options) -> anyhow::Result<Self>;

    /// Whether it is too short for the bounds.
    fn is_short(&self) -> bool;

    /// A note to print before and after, such as how times are scaled; may be empty.
    fn remark(&self) -> String {
        String::new()
    }

    /// Measures one case and updates the progress bar.
    fn measure(&self, case: &Self::Case, bar: &ProgressBar) -> impl Future<Output = anyhow::Result<Findings>>;

    /// A summary of the main values; by default the number of kept bounds.
    fn finding(&self, _: &Results) -> Option<String> {
        None
    }
}

/// The command line of a benchmark.
#[derive(Debug, clap::Args)]
pub struct Arguments<B: Benchmark> {
    /// Measures this case alone; may be given several times.
    #[arg(long, value_name = "CASE", value_enum, hide_possible_values = true)]
    only: Vec<B::Case>,
    #[command(flatten)]
    options: B::Options,
    #[command(flatten)]
    common: CommonOptions,
}

/// The options of every benchmark.
#[derive(Debug, clap::Args)]
struct CommonOptions {
    /// Uses a development build of the handler instead of a release build.
    #[arg(long)]
    debug: bool,
    /// Uses this handler executable instead of building one.
    #[arg(long, value_name = "PATH", conflicts_with = "debug")]
    handler: Option<PathBuf>,
    /// Writes the results as JSON to this path instead of target/bench; `-` writes JSON to stdout and the table to stderr.
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
}

impl<B: Benchmark> Arguments<B> {
    /// Builds the handler, measures and reports; returns whether every bound was kept.
    pub(super) async fn run(self) -> anyhow::Result<bool> {
        let (handler, environment) = self.common.handler()?;
        let benchmark = B::plan(handler, self.options)?;
        let remark = benchmark.remark();
        if !remark.is_empty() {
            eprintln!("{remark}");
        }
        let all = B::Case::value_variants();
        let cases = measure(&benchmark, if self.only.is_empty() { all } else { &self.only }).await;
        let results = Results::new(B::NAME, environment, benchmark.is_short(), cases);
        let finding = benchmark.finding(&results);
        let results = Results { finding, ..results };
        report::publish(&results, self.common.json, &remark)?;
        Ok(results.held())
    }
}

impl CommonOptions {
    /// The handler to measure, given or built now.
    fn handler(&self) -> anyhow::Result<(Handler, Environment)> {
        // Measured before the build, which itself loads the machine.
        let ran_on = Machine::look();
        if let Some(path) = &self.handler {
            return Ok((Handler { path: path.clone(), built: None }, Environment { handler: "given", ran_on }));
        }
        let build = Build { release: !self.debug, ..Build::default() };
        let path = stage::build(&build)?;
        let name = if build.release { "release" } else { "debug" };
        Ok((Handler { path, built: Some(build) }, Environment { handler: name, ran_on }))
    }
}

/// Measures these cases in sequence and prints how each ended.
pub async fn measure<B: Benchmark>(benchmark: &B, cases: &[B::Case]) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        results.push(measured(benchmark, case).await);
    }
    results
}

/// Measures one case with its own progress bar.
async fn measured<B: Benchmark>(benchmark: &B, case: &B::Case) -> CaseResult {
    let value = case.to_possible_value().expect("no case is hidden");
    let about = value.get_help().map(ToString::to_string).unwrap_or_default();
    let (begun, bar) = (Instant::now(), report::bar(value.get_name()));
    let outcome = benchmark.measure(case, &bar).await;
    bar.finish_and_clear();
    let result = CaseResult::new(value.get_name(), about, begun.elapsed(), outcome);
    report::ended(&result);
    result
}
