//! What all benchmarks share: the command line, runs in turn, and the exit code.
//!
//! The handler and the baseline alternate run by run, so that other load on the machine affects both alike. A case that could not
//! be measured is a result as well, and the other cases still run.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use indicatif::ProgressBar;

use super::report;
use super::results::{CaseResult, Environment, Outcome, Results};
use super::samples::Samples;
use super::target::Target;
use crate::stage::{self, Build};

/// A benchmark, as the enum of its cases.
pub trait Benchmark: ValueEnum + fmt::Debug + Copy + Send + Sync + 'static {
    /// Its name on the command line.
    const NAME: &'static str;
    /// How often each case runs; with fewer runs the results are those of a smoke test.
    const RUNS: u64;
    /// The factor by which its times are scaled down; `None` if they are not.
    const FACTOR: Option<u32> = None;

    /// Runs this case once.
    fn run(self, context: &Context<'_>, samples: &mut Samples) -> impl Future<Output = anyhow::Result<()>>;
}

/// How a benchmark is run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The handler, then the baseline if there is one.
    pub(super) targets: Vec<Target>,
    /// How often each case runs; `None`: as often as the benchmark says.
    runs: Option<u64>,
    /// Whether it is a smoke test with few messages and short times.
    quick: bool,
    /// The factor by which times are scaled down; `None`: the benchmark's.
    factor: Option<u32>,
}

/// The input of a case.
#[derive(Debug)]
pub struct Context<'a> {
    /// The executable to measure.
    pub(super) target: &'a Target,
    /// Whether it is a smoke test with few messages and short times.
    pub(super) quick: bool,
    /// The factor by which times are scaled down.
    pub(super) factor: u32,
    /// For the progress of a single run.
    pub(super) bar: &'a ProgressBar,
}

impl Context<'_> {
    /// `full`, or `quick` in a smoke test.
    pub(super) fn or_quick<T>(&self, full: T, quick: T) -> T {
        if self.quick { quick } else { full }
    }
}

impl Plan {
    /// A smoke test of this handler.
    pub fn quick(handler: &Path) -> Self {
        Self { targets: vec![Target::new("handler", handler)], runs: Some(1), quick: true, factor: None }
    }

    /// Whether it is too short for the bounds.
    fn is_short<B: Benchmark>(&self) -> bool {
        self.quick || self.runs.is_some_and(|runs| runs < B::RUNS) || self.factor > B::FACTOR
    }
}

/// The command line of a benchmark.
#[derive(Debug, clap::Args)]
pub struct Arguments<B: Benchmark> {
    /// Measures this case alone; may be given several times.
    #[arg(long, value_name = "CASE", value_enum, hide_possible_values = true)]
    only: Vec<B>,
    /// The number of runs of each case; values are their medians.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    runs: Option<u64>,
    /// The handler of another commit: it gets the same load in alternating runs, and the relative bounds are checked against it.
    #[arg(long, value_name = "PATH")]
    baseline: Option<PathBuf>,
    /// Scales times down by this factor (gate, bulk and outage).
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=30))]
    factor: Option<u32>,
    /// A smoke test: one run with few messages and short times.
    #[arg(long, conflicts_with_all = ["runs", "factor"])]
    quick: bool,
    /// Uses this handler executable instead of a release build.
    #[arg(long, value_name = "PATH")]
    handler: Option<PathBuf>,
}

impl<B: Benchmark> Arguments<B> {
    /// Builds the handler, measures and reports; returns whether every bound was kept.
    pub(super) async fn run(self) -> anyhow::Result<bool> {
        ensure!(self.factor.is_none() || B::FACTOR.is_some(), "--factor is for gate, bulk and outage");
        // Before the build, which itself loads the machine.
        let environment = Environment::new(if self.handler.is_some() { "given" } else { "release" });
        let plan = self.plan().await?;
        let cases = measure(&plan, if self.only.is_empty() { B::value_variants() } else { &self.only }).await;
        let results = Results::new(B::NAME, environment, plan.is_short::<B>(), cases);
        report::publish(&results)?;
        Ok(results.held)
    }

    async fn plan(&self) -> anyhow::Result<Plan> {
        let handler = match &self.handler {
            Some(path) => path.canonicalize().context("--handler")?,
            None => stage::build_async(&Build { release: true, ..Build::default() }).await?,
        };
        let mut targets = vec![Target::new("handler", &handler)];
        if let Some(path) = &self.baseline {
            targets.push(Target::new("baseline", &path.canonicalize().context("--baseline")?));
        }
        let runs = if self.quick { Some(1) } else { self.runs };
        Ok(Plan { targets, runs, quick: self.quick, factor: self.factor })
    }
}

/// Measures these cases in sequence and prints how each ended.
pub async fn measure<B: Benchmark>(plan: &Plan, cases: &[B]) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        let value = case.to_possible_value().expect("no case is hidden");
        let (begun, bar) = (Instant::now(), report::bar(value.get_name()));
        let outcome = in_turn(plan, *case, &bar).await;
        bar.finish_and_clear();
        let result = CaseResult::new(value.get_name(), begun.elapsed(), outcome);
        report::ended(&result);
        results.push(result);
    }
    results
}

/// Runs a case once for each target in turn, as often as planned. Returns the samples by target.
async fn in_turn<B: Benchmark>(plan: &Plan, case: B, bar: &ProgressBar) -> Outcome {
    let mut by_target: Vec<_> = plan.targets.iter().map(|target| (target.name, Samples::default())).collect();
    let (runs, factor) = (plan.runs.unwrap_or(B::RUNS), plan.factor.or(B::FACTOR).unwrap_or(1));
    let of_runs = if B::RUNS > 1 { bar.clone() } else { ProgressBar::hidden() };
    report::begin(&of_runs, runs.saturating_mul(u64::try_from(plan.targets.len())?), "runs");
    for _ in 0..runs {
        for (target, (_, samples)) in plan.targets.iter().zip(&mut by_target) {
            case.run(&Context { target, quick: plan.quick, factor, bar }, samples).await?;
            of_runs.inc(1);
        }
    }
    Ok(by_target)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    static TURN: AtomicU32 = AtomicU32::new(1);

    #[derive(Debug, Clone, Copy, ValueEnum)]
    enum Turns {
        /// Counts the turns.
        Counted,
    }

    impl Benchmark for Turns {
        const NAME: &'static str = "turns";
        const RUNS: u64 = 2;

        async fn run(self, _: &Context<'_>, samples: &mut Samples) -> anyhow::Result<()> {
            samples.add("turn", "", TURN.fetch_add(1, Ordering::Relaxed).into());
            Ok(())
        }
    }

    #[tokio::test]
    async fn the_handler_and_the_baseline_take_turns() {
        let targets = ["handler", "baseline"].map(|name| Target::new(name, Path::new(""))).to_vec();
        let plan = Plan { targets, runs: None, quick: false, factor: None };
        let results = measure(&plan, &[Turns::Counted]).await;
        let turns: Vec<_> = results[0].measurements.iter().map(|found| &*found.runs).collect();
        assert_eq!(turns[..2], [[1.0, 3.0], [2.0, 4.0]]);
        assert!(!plan.is_short::<Turns>() && Plan { runs: Some(1), ..plan }.is_short::<Turns>());
    }
}
