//! The commands: what was asked for, done with the queues, and its result printed.

mod change;
mod output;

use std::io::{IsTerminal as _, stdout};

use tokio_util::sync::CancellationToken;

use super::account::Desk;
use super::arguments::{Arguments, Command, Export, List, Place, Show};
use super::entry::moment;
use super::filter::Filter;
use super::progress::{Progress, say};
use super::queue::Error;
use super::queue_scan::Sweep;
use super::report::{Listed, Report};
use super::scan::{End, Selection, read};
use super::summary::Tally;
use crate::settings::{Lookup, Problem};
use output::{Lines, print_either};

/// Why a command has no result.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The arguments or the settings cannot be used; nothing was sent.
    #[error("{} of the settings cannot be used", problems.len())]
    Settings {
        /// Each with its name.
        problems: Vec<Problem>,
    },
    /// The command cannot be given this way; nothing was sent.
    #[error("{problem}")]
    Usage {
        /// Why, and what to do instead.
        problem: String,
    },
    /// A queue.
    #[error("{connection}, queue {queue}")]
    Queue {
        /// The connection's name and host.
        connection: String,
        /// The queue's name.
        queue: String,
        /// What is wrong.
        source: Error,
    },
    /// A file, or stdout.
    #[error("the output cannot be written")]
    Output(#[from] std::io::Error),
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Settings { problems }
    }
}

/// Carries out a command; says whether all went well. `stop` ends it early, and what it holds is given back.
///
/// # Errors
/// When there is no result to print.
pub async fn run(arguments: Arguments, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    match arguments.command {
        Command::List(list) => self::list(list, lookup, &stop).await,
        Command::Show(show) => self::show(show, lookup, &stop).await,
        Command::Export(export) => self::export(export, lookup, &stop).await,
        Command::Replay(replay) => change::replay(replay, lookup, stop).await,
        Command::Drop(drop) => change::drop(drop, lookup, &stop).await,
    }
}

/// A queue opened and looked at, and which of its letters are meant.
struct Work {
    desk: Desk,
    sweep: Sweep,
    selection: Selection,
}

impl Work {
    async fn begin(place: &Place, filter: Filter, max: Option<u64>, lookup: &Lookup<'_>) -> Result<Self, Failure> {
        let desk = Desk::open(place, lookup)?;
        let queue = desk.queue(&place.queue)?;
        let sweep = Sweep::begin(queue).await.map_err(|source| failed(&desk, &place.queue, source))?;
        let selection = Selection { filter, max, encoding: desk.encoding() };
        Ok(Self { desk, sweep, selection })
    }

    fn progress(&self, doing: &'static str) -> Progress {
        Progress::begin(doing, self.sweep.start().counted)
    }

    /// Gives back what is held, and says how it went.
    async fn finish(&mut self, matching: u64, end: &End) -> Report {
        let held = u64::try_from(self.sweep.held()).expect("usize fits u64");
        if matches!(end, End::Stopped) && held > 0 {
            say(&format!("interrupted: giving {held} letters back; a second time, and they come back by themselves\n"));
        }
        let mut progress = if held > 0 { Progress::begin("given back", held) } else { Progress::nothing() };
        let still_hidden = self.sweep.give_back(|| progress.add(1)).await;
        let mut report = Report {
            queue: self.sweep.queue().name().to_owned(),
            counted: self.sweep.start().counted,
            seen: self.sweep.seen(),
            matching,
            complete: false,
            interrupted: false,
            still_hidden,
            problem: None,
            hidden: self.sweep.hidden(),
        };
        report.ended(end);
        if let Some(problem) = &report.problem {
            say(&format!("error: {}, queue {}: {problem}\n", self.desk.name(), report.queue));
        }
        report
    }
}

fn failed(desk: &Desk, queue: &str, source: Error) -> Failure {
    Failure::Queue { connection: desk.name(), queue: queue.to_owned(), source }
}

async fn list(list: List, lookup: &Lookup<'_>, stop: &CancellationToken) -> Result<bool, Failure> {
    let mut work = Work::begin(&list.place, list.filter, None, lookup).await?;
    let (tally, report) = count(&mut work, stop).await;
    print_listed(&report, &tally, list.place.json)?;
    Ok(report.is_good())
}

/// Reads all that is meant, by group, and gives everything back.
async fn count(work: &mut Work, stop: &CancellationToken) -> (Tally, Report) {
    let mut tally = Tally::default();
    let mut progress = work.progress("read");
    let (matching, end) = read(&mut work.sweep, &work.selection, stop, &mut progress, |found| {
        tally.add(found);
        Ok(())
    })
    .await;
    progress.end();
    let report = work.finish(matching, &end).await;
    (tally, report)
}

fn print_listed(report: &Report, tally: &Tally, json: bool) -> std::io::Result<()> {
    let space = if report.matching > 0 { "\n" } else { "" };
    let expires = tally.next_to_expire().map(moment);
    let expires = expires.map(|time| format!("The queue forgets the first of them at {time}.\n")).unwrap_or_default();
    let words = format!("{tally}{space}{}{expires}", report.in_words());
    print_either(json, &Listed::new(report, tally), &words)
}

async fn show(show: Show, lookup: &Lookup<'_>, stop: &CancellationToken) -> Result<bool, Failure> {
    let mut work = Work::begin(&show.place, show.filter, Some(show.max), lookup).await?;
    let mut lines = Lines::stdout();
    let json = show.place.json;
    let mut progress = if stdout().is_terminal() { Progress::nothing() } else { work.progress("read") };
    let (matching, end) = read(&mut work.sweep, &work.selection, stop, &mut progress, |found| {
        lines.write(&if json { found.to_json() } else { format!("{found}\n") })
    })
    .await;
    progress.end();
    let end = lines.finish(end);
    let report = work.finish(matching, &end).await;
    say(&report.in_words());
    Ok(report.is_good())
}

async fn export(export: Export, lookup: &Lookup<'_>, stop: &CancellationToken) -> Result<bool, Failure> {
    let mut work = Work::begin(&export.place, export.filter, export.max, lookup).await?;
    let to_terminal = export.output.is_none() && stdout().is_terminal();
    let mut lines = match &export.output {
        Some(path) => Lines::new_file(path).map_err(|error| unusable(path, &error))?,
        None => Lines::stdout(),
    };
    let mut progress = if to_terminal { Progress::nothing() } else { work.progress("exported") };
    let (matching, end) =
        read(&mut work.sweep, &work.selection, stop, &mut progress, |found| lines.write(&found.to_json())).await;
    progress.end();
    let end = lines.finish(end);
    let report = work.finish(matching, &end).await;
    match export.output {
        Some(_) => print_either(export.place.json, &report, &report.in_words())?,
        None => say(&report.in_words()),
    }
    Ok(report.is_good())
}

fn unusable(path: &std::path::Path, error: &std::io::Error) -> Failure {
    let problem =
        format!("--output {} cannot be made: {error}; an existing file is never written over", path.display());
    Failure::Usage { problem }
}
