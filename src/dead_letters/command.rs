//! The commands: each reads the queue, may change it, and prints a report.

mod confirm;
mod output;

use std::io::{self, IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::path::PathBuf;

use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::arguments::{self, Arguments, Command, Query};
use super::encoding;
use super::entry::Entry;
use super::progress::{Progress, say};
use super::queue::Error;
use super::queue_scan::{Deleted, QueueScan};
use super::replay::Replay;
use super::report::{Details, Report};
use super::scan::{Selection, StopReason, read};
use super::summary::Summary;
use crate::settings::{Lookup, Problem};
use confirm::confirmed;
use output::{create, print};

/// Why a command has no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used; nothing was sent.
    #[error("{} of the settings cannot be used", .0.len())]
    Settings(Vec<Problem>),
    /// The arguments do not fit together: why, and what to do instead.
    #[error("{0}")]
    Usage(String),
    /// A queue cannot be read.
    #[error("{0}")]
    Queue(String),
    /// A file, or stdout.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

impl From<Vec<Problem>> for Failure {
    fn from(problems: Vec<Problem>) -> Self {
        Self::Settings(problems)
    }
}

/// Runs a command; returns whether it succeeded. `stop` ends it early, and the messages that it holds are given back.
///
/// # Errors
/// When there is no report.
pub async fn run(arguments: Arguments, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    match arguments.command {
        Command::List { query } => list(&mut Session::open(query, None, lookup, stop).await?).await,
        Command::Show { max, query } => show(&mut Session::open(query, Some(max), lookup, stop).await?).await,
        Command::Export { max, output, query } => {
            export(&mut Session::open(query, max, lookup, stop).await?, output).await
        }
        Command::Replay(arguments) => replay(arguments, lookup, stop).await,
        Command::Drop { max, yes, query } => {
            if !yes && !(stdin().is_terminal() && stderr().is_terminal()) {
                let problem =
                    "drop asks before it deletes, and there is no terminal to ask on; --yes skips the question";
                return Err(Failure::Usage(problem.to_owned()));
            }
            drop(&mut Session::open(query, max, lookup, stop).await?, yes).await
        }
    }
}

/// An open queue, and which of its messages are selected.
struct Session {
    account: Account,
    scan: QueueScan,
    selection: Selection,
    stop: CancellationToken,
    json: bool,
}

impl Session {
    async fn open(
        query: Query,
        max: Option<usize>,
        lookup: &Lookup<'_>,
        stop: CancellationToken,
    ) -> Result<Self, Failure> {
        let Query { filter, source } = query;
        let encoding = encoding::resolve(source.encoding, lookup).map_err(|problem| vec![problem]);
        let (account, encoding) = match (Account::open(&source.connection, lookup), encoding) {
            (Ok(account), Ok(encoding)) => (account, encoding),
            (account, encoding) => {
                let problems = [account.err(), encoding.err()];
                return Err(problems.into_iter().flatten().flatten().collect::<Vec<_>>().into());
            }
        };
        let queue = account.queue(&source.queue)?;
        let scan = QueueScan::begin(queue).await.map_err(|error| failed(&account, &source.queue, &error))?;
        let selection = Selection { filter, max, encoding };
        Ok(Self { account, scan, selection, stop, json: source.json })
    }

    fn progress(&self, done: &'static str) -> Progress {
        Progress::new(done, self.scan.start.counted)
    }

    /// Passes each selected message to `take`; returns their number.
    async fn read(&mut self, progress: Progress, take: impl FnMut(&Entry) -> io::Result<()>) -> (usize, StopReason) {
        read(&mut self.scan, &self.selection, &self.stop, &progress, take).await
    }

    /// Gives back what is held, and reports.
    async fn finish(&mut self, matching: usize, reason: &StopReason, details: Option<Details>) -> Report {
        let held = self.scan.receipts.len();
        if matches!(reason, StopReason::Interrupted) && held > 0 {
            say(&format!(
                "interrupted: giving {held} messages back; after a second signal they reappear by themselves\n"
            ));
        }
        let still_hidden = self.scan.give_back(&Progress::new("given back", held)).await;
        let mut report = Report {
            queue: self.scan.queue.name().to_owned(),
            counted: self.scan.start.counted,
            seen: self.scan.seen,
            matching,
            complete: false,
            interrupted: false,
            still_hidden,
            problem: None,
            hidden: self.scan.hidden,
            details,
        };
        report.end(reason);
        if let Some(problem) = &report.problem {
            say(&format!("error: {}, queue {}: {problem}\n", self.account.name(), report.queue));
        }
        report
    }
}

fn failed(account: &Account, queue: &str, error: &Error) -> Failure {
    Failure::Queue(format!("{}, queue {queue}: {error}", account.name()))
}

async fn list(session: &mut Session) -> Result<bool, Failure> {
    let mut summary = Summary::default();
    let (matching, reason) = session
        .read(session.progress("read"), |entry| {
            summary.add(entry);
            Ok(())
        })
        .await;
    let report = session.finish(matching, &reason, Some(Details::Listed(summary))).await;
    print(session.json, &report)?;
    Ok(report.is_good())
}

/// Shows messages in full. The report goes to stderr.
async fn show(session: &mut Session) -> Result<bool, Failure> {
    let json = session.json;
    let format = |entry: &Entry| if json { entry.to_json() } else { format!("{entry}\n") };
    let report = write(session, Box::new(stdout()), stdout().is_terminal(), "read", format).await;
    say(&report.to_string());
    Ok(report.is_good())
}

/// Writes messages as JSON lines, to a new file or to stdout. Without a file the report goes to stderr.
async fn export(session: &mut Session, file: Option<PathBuf>) -> Result<bool, Failure> {
    let Some(path) = file else {
        let report = write(session, Box::new(stdout()), stdout().is_terminal(), "exported", Entry::to_json).await;
        say(&report.to_string());
        return Ok(report.is_good());
    };
    let out = create(&path).map_err(|error| {
        let path = path.display();
        Failure::Usage(format!("--output {path} cannot be created: {error}; an existing file is never overwritten"))
    })?;
    let report = write(session, Box::new(out), false, "exported", Entry::to_json).await;
    print(session.json, &report)?;
    Ok(report.is_good())
}

async fn write(
    session: &mut Session,
    out: Box<dyn io::Write>,
    to_terminal: bool,
    done: &'static str,
    format: impl Fn(&Entry) -> String,
) -> Report {
    let mut out = io::BufWriter::new(out);
    let progress = if to_terminal { Progress::hidden() } else { session.progress(done) };
    let (matching, reason) = session.read(progress, |entry| writeln!(out, "{}", format(entry))).await;
    session.finish(matching, &output::flush(out, reason), None).await
}

async fn replay(arguments: arguments::Replay, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    let arguments::Replay { to, dry_run, rate, max, query } = arguments;
    if to == query.source.queue {
        return Err(Failure::Usage("--to is the queue that the messages are in".to_owned()));
    }
    let mut session = Session::open(query, max, lookup, stop.clone()).await?;
    let queue = session.account.queue(&to)?;
    // Before anything is received: if the queue does not exist, nothing is touched.
    queue.stats().await.map_err(|error| failed(&session.account, &to, &error))?;
    if dry_run {
        let is_good = list(&mut session).await?;
        say(&format!("dry run: nothing was sent to {to}\n"));
        return Ok(is_good);
    }
    let replay = Replay::new(queue, rate, &stop, session.progress("replayed"));
    let (replayed, reason) = replay.run(&mut session.scan, &session.selection).await;
    if let Some(problem) = &replayed.problem {
        say(&format!("error: a message could not be replayed: {problem}\n"));
    }
    let report = session.finish(replayed.matching, &reason, Some(Details::Replayed(replayed))).await;
    print(session.json, &report)?;
    Ok(report.is_good())
}

/// Reads and holds all selected messages, and deletes exactly those: not what arrives meanwhile.
async fn drop(session: &mut Session, yes: bool) -> Result<bool, Failure> {
    let (mut ids, mut summary) = (Vec::new(), Summary::default());
    let (matching, mut reason) = session
        .read(session.progress("read"), |entry| {
            ids.push(entry.id.clone());
            summary.add(entry);
            Ok(())
        })
        .await;
    let mut deleted = Deleted::default();
    // An incomplete count is not a basis for deleting.
    let is_counted = matches!(reason, StopReason::EndOfQueue | StopReason::LimitReached);
    if is_counted && matching > 0 {
        say(&summary.to_string());
        if yes || agreed(session, matching).await {
            let progress = Progress::new("dropped", matching);
            let (result, ended) = session.scan.delete(&ids, &session.stop, &progress).await;
            deleted = result;
            reason = ended.unwrap_or(reason);
        } else if session.stop.is_cancelled() {
            reason = StopReason::Interrupted;
        }
    }
    let report = session.finish(matching, &reason, Some(Details::Dropped(deleted))).await;
    print(session.json, &report)?;
    Ok(report.is_good())
}

async fn agreed(session: &mut Session, messages: usize) -> bool {
    say(&format!("Drop these {messages} messages for good? Type yes: "));
    let agreed = confirmed(&mut session.scan, &session.stop).await;
    if !agreed {
        say("nothing is dropped\n");
    }
    agreed
}
