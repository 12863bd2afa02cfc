//! What every benchmark does alike: its cases by name, the command line, the way to a table, a page, JSON and an exit code.
//!
//! A [`Room`] says what it measures and nothing more. What could not be measured is a result too, and holds nothing up.

use std::fmt;
use std::path::PathBuf;

use clap::ValueEnum;
use indicatif::ProgressBar;
use tokio::time::Instant;

use super::machine::Machine;
use super::results::Findings;
use super::{CaseResult, Ground, Results, report};
use crate::stage::{self, Build};

/// The executable that is measured.
#[derive(Debug, Clone)]
pub struct Handler {
    /// Where it lies.
    pub path: PathBuf,
    /// How it was built; `None`: it was given.
    pub built: Option<Build>,
}

/// A benchmark that knows what it is going to measure, and how long.
pub trait Room: Sized {
    /// Its name on the command line.
    const NAME: &'static str;
    /// Its cases, in the order in which they are measured.
    type Case: ValueEnum + fmt::Debug + Send + Sync + 'static;
    /// What it alone is told on the command line.
    type Options: clap::Args + fmt::Debug;

    /// What these options mean for this executable.
    fn plan(handler: Handler, options: Self::Options) -> anyhow::Result<Self>;

    /// Whether it is less than the bounds are meant for.
    fn is_short(&self) -> bool;

    /// What has to be known before and after: how times are scaled. Empty: nothing.
    fn remark(&self) -> String {
        String::new()
    }

    /// Measures one case, and shows on the bar how far it is.
    fn measure(&self, case: &Self::Case, bar: &ProgressBar) -> impl Future<Output = anyhow::Result<Findings>>;

    /// What was found, in the words of the figures that the bounds are for; `None`: how many bounds were kept.
    fn finding(&self, _: &Results) -> Option<String> {
        None
    }
}

/// A room's command line.
#[derive(Debug, clap::Args)]
pub struct Arguments<R: Room> {
    /// Measures this case alone; may be given several times.
    #[arg(long, value_name = "CASE", value_enum, hide_possible_values = true)]
    only: Vec<R::Case>,
    #[command(flatten)]
    options: R::Options,
    #[command(flatten)]
    frame: Frame,
}

/// What every room is told on the command line.
#[derive(Debug, clap::Args)]
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

impl<R: Room> Arguments<R> {
    /// Builds the handler, measures, reports; gives whether every bound was kept.
    pub(super) async fn run(self) -> anyhow::Result<bool> {
        let (handler, ground) = self.frame.handler()?;
        let room = R::plan(handler, self.options)?;
        let remark = room.remark();
        if !remark.is_empty() {
            eprintln!("{remark}");
        }
        let all = R::Case::value_variants();
        let cases = measure(&room, if self.only.is_empty() { all } else { &self.only }).await;
        let results = Results::new(R::NAME, ground, room.is_short(), cases);
        let finding = room.finding(&results);
        let results = Results { finding, ..results };
        report::publish(&results, self.frame.json, &remark)?;
        Ok(results.held())
    }
}

impl Frame {
    /// The handler to measure and what build it is: the one that is given, or a new one.
    fn handler(&self) -> anyhow::Result<(Handler, Ground)> {
        // Before the build, which keeps the machine busy itself.
        let ran_on = Machine::look();
        if let Some(path) = &self.handler {
            return Ok((Handler { path: path.clone(), built: None }, Ground { handler: "given", ran_on }));
        }
        let build = Build { release: !self.debug, ..Build::default() };
        let path = stage::build(&build)?;
        let name = if build.release { "release" } else { "debug" };
        Ok((Handler { path, built: Some(build) }, Ground { handler: name, ran_on }))
    }
}

/// Measures these cases one after the other, and says on the way how each ended.
pub async fn measure<R: Room>(room: &R, cases: &[R::Case]) -> Vec<CaseResult> {
    let mut results = Vec::with_capacity(cases.len());
    for case in cases {
        results.push(measured(room, case).await);
    }
    results
}

/// Measures one case under a bar of its own.
async fn measured<R: Room>(room: &R, case: &R::Case) -> CaseResult {
    let value = case.to_possible_value().expect("no case is hidden");
    let about = value.get_help().map(ToString::to_string).unwrap_or_default();
    let (begun, bar) = (Instant::now(), report::bar(value.get_name()));
    let outcome = room.measure(case, &bar).await;
    bar.finish_and_clear();
    let result = CaseResult::new(value.get_name(), about, begun.elapsed(), outcome);
    report::ended(&result);
    result
}
