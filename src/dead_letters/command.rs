//! The commands: each reads the queue, may change it, and prints a report.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, IsTerminal as _, Write as _, stderr, stdin, stdout};
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use futures::FutureExt as _;
use tokio::sync::oneshot;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::account::Account;
use super::arguments::{self, Arguments, Command, Query};
use super::encoding;
use super::entry::Entry;
use super::progress::Progress;
use super::queue::describe;
use super::replay;
use super::report::{Dropped, Replayed, Report};
use super::scan::{Scan, Selection, Stop};
use super::summary::Summary;
use crate::sanitize::sanitize;
use crate::settings::{Lookup, Problem, both};
use crate::storage::Error;
use crate::terminal;
use crate::terminal::{print, say};

/// Why a command has no report.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The settings cannot be used; nothing was sent.
    #[error("{} of the settings cannot be used", .0.len())]
    Settings(Vec<Problem>),
    /// The arguments do not fit together: why, and what to do instead.
    #[error("{0}")]
    Usage(String),
    /// A queue or Dataverse cannot be read.
    #[error("{0}")]
    Service(String),
    /// A file, or stdout.
    #[error("the output cannot be written")]
    Output(#[from] io::Error),
}

/// Runs a command; returns whether it succeeded. `stop` ends it early, and the messages that it holds are given back.
///
/// # Errors
/// When there is no report.
pub async fn run(arguments: Arguments, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    match arguments.command {
        Command::List { query } => Session::open(query, None, lookup, stop).await?.list().await,
        Command::Show { max, query } => Session::open(query, Some(max), lookup, stop).await?.show().await,
        Command::Export { max, output, query } => Session::open(query, max, lookup, stop).await?.export(output).await,
        Command::Replay(arguments) => replay(arguments, lookup, stop).await,
        Command::Drop { yes: false, .. } if !(stdin().is_terminal() && stderr().is_terminal()) => {
            let problem = "drop asks before it deletes, and there is no terminal to ask on; --yes skips the question";
            Err(Failure::Usage(problem.to_owned()))
        }
        Command::Drop { max, yes, query } => {
            let mut session = Session::open(query, max, lookup, stop).await?;
            say(&format!("{}: dropping from {}\n", session.account.name(), session.scan.queue.name()));
            session.drop_selected(yes).await
        }
    }
}

async fn replay(arguments: arguments::Replay, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    let arguments::Replay { to, dry_run, rate, max, query } = arguments;
    if to == query.source.queue {
        let problem = "--to is the queue that the messages are in; name another one, such as sync-records";
        return Err(Failure::Usage(problem.to_owned()));
    }
    let mut session = Session::open(query, max, lookup, stop).await?;
    say(&format!("{}: replaying from {} to {to}\n", session.account.name(), session.scan.queue.name()));
    let queue = session.account.queue(&to).map_err(Failure::Settings)?;
    // Before anything is received: if the queue does not exist, nothing is touched.
    queue.stats().await.map_err(|error| failed(&session.account, &to, &error))?;
    if dry_run {
        let is_good = session.list().await?;
        say(&format!("dry run: nothing was sent to {to}\n"));
        return Ok(is_good);
    }
    session.show_progress("replayed");
    session.scan.report.replayed = Some(Replayed { to, ..Replayed::default() });
    session.run_and_print(async |scan| replay::replay(queue, rate, scan).await).await
}

fn failed(account: &Account, queue: &str, error: &Error) -> Failure {
    let next = if error.is_missing() {
        "name another one by --connection, --queue or --to; the host creates a poison queue with its first message"
    } else {
        "`handler doctor` checks the storage account"
    };
    Failure::Service(format!("{}, queue {queue}: {}; {next}", account.name(), describe(error)))
}

/// An open queue, and how its messages are printed.
struct Session {
    account: Account,
    scan: Scan,
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
        let opened = both(Account::open(&source.connection, lookup), encoding);
        let (account, (encoding, is_known)) = opened.map_err(Failure::Settings)?;
        let queue = account.queue(&source.queue).map_err(Failure::Settings)?;
        let scan = Scan::begin(queue, Selection { filter, max, encoding, is_known }, stop).await;
        let scan = scan.map_err(|error| failed(&account, &source.queue, &error))?;
        Ok(Self { account, scan, json: source.json })
    }

    async fn list(&mut self) -> Result<bool, Failure> {
        let list = async |scan: &mut Scan| {
            let mut summary = Summary::default();
            let end = scan.read(|entry| {
                summary.add(&entry);
                Ok(())
            });
            let end = end.await;
            scan.report.summary = Some(summary);
            end
        };
        self.run_and_print(list).await
    }

    async fn show(&mut self) -> Result<bool, Failure> {
        let json = self.json;
        let format = |entry: &Entry| if json { entry.to_json() } else { format!("{entry}\n") };
        self.write_to_stdout(format).await
    }

    /// Writes messages as JSON lines, to a new file or to stdout.
    async fn export(&mut self, file: Option<PathBuf>) -> Result<bool, Failure> {
        self.show_progress("exported");
        let Some(path) = file else { return self.write_to_stdout(Entry::to_json).await };
        let out = create(&path).map_err(|error| {
            let path = path.display();
            Failure::Usage(format!("--output {path} cannot be created: {error}; an existing file is never overwritten"))
        })?;
        self.run_and_print(async |scan| write(scan, out, Entry::to_json).await).await
    }

    /// Reads and holds all selected messages, and deletes exactly those: not what arrives meanwhile.
    async fn drop_selected(&mut self, yes: bool) -> Result<bool, Failure> {
        self.scan.report.dropped = Some(Dropped::default());
        self.run_and_print(async |scan| read_and_delete(scan, yes).await).await
    }

    fn show_progress(&mut self, done: &'static str) {
        self.scan.progress = Progress::new(done, self.scan.report.counted);
    }

    /// Prints messages; the report goes to stderr.
    async fn write_to_stdout(&mut self, format: impl Fn(&Entry) -> String) -> Result<bool, Failure> {
        if stdout().is_terminal() {
            self.scan.progress = Progress::hidden();
        }
        let report = self.run(async |scan| write(scan, stdout(), format).await).await;
        if !report.is_closed || report.still_hidden > 0 {
            say(&report.to_string());
        }
        Ok(report.is_good())
    }

    /// Does the work of a command, and gives back what is held, however the work ends.
    async fn run(&mut self, work: impl AsyncFnOnce(&mut Scan) -> Result<(), Stop>) -> Report {
        let end = AssertUnwindSafe(work(&mut self.scan)).catch_unwind().await.unwrap_or(Err(Stop::Panicked));
        let report = self.scan.finish(end).await;
        if let Some(problem) = report.replayed.as_ref().and_then(|replayed| replayed.problem.as_ref()) {
            say(&format!("error: a message could not be replayed: {problem}\n"));
        }
        if let Some(problem) = &report.problem {
            let (account, queue) = (self.account.name(), &report.queue);
            say(&format!(
                "error: {account}, queue {queue}: {problem}; the other messages are unchanged, run it again\n"
            ));
        }
        report
    }

    async fn run_and_print(&mut self, work: impl AsyncFnOnce(&mut Scan) -> Result<(), Stop>) -> Result<bool, Failure> {
        let report = self.run(work).await;
        let text = if self.json {
            let json = serde_json::to_string(&report).expect("a report is plain data");
            format!("{}\n", sanitize(&json))
        } else {
            report.to_string()
        };
        print(&text)?;
        Ok(report.is_good())
    }
}

/// A reader that closes its end early, such as `head`, ends this like any other output error, but silently.
async fn write(scan: &mut Scan, out: impl io::Write, format: impl Fn(&Entry) -> String) -> Result<(), Stop> {
    let mut out = io::BufWriter::new(out);
    let end = scan.read(|entry| writeln!(out, "{}", format(&entry))).await;
    out.flush().map_err(Stop::Output).and(end)
}

/// Deletes nothing when the count is incomplete.
async fn read_and_delete(scan: &mut Scan, yes: bool) -> Result<(), Stop> {
    let (mut ids, mut summary) = (Vec::new(), Summary::default());
    let read = scan.read(|entry| {
        summary.add(&entry);
        ids.push(entry.received.receipt.message_id);
        Ok(())
    });
    read.await?;
    scan.progress = Progress::new("dropped", ids.len());
    say(&summary.table(terminal::width()));
    if ids.is_empty() || !(yes || is_confirmed(scan, ids.len()).await?) {
        return Ok(());
    }
    scan.delete(&ids).await
}

/// Creates a file that must not exist; on Unix only its owner can read it.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Asks before `messages` are dropped, and keeps them hidden meanwhile.
async fn is_confirmed(scan: &mut Scan, messages: usize) -> Result<bool, Stop> {
    say(&format!("Drop these {messages} messages for good? Type yes: "));
    let (stop, mut answer) = (scan.stop.clone(), line());
    let is_confirmed = loop {
        tokio::select! {
            line = &mut answer => break line.is_ok_and(|line| line.trim().eq_ignore_ascii_case("yes")),
            () = stop.cancelled() => break false,
            () = sleep(scan.report.hidden / 4) => scan.extend_due().await,
        }
    };
    if !is_confirmed {
        say("nothing is dropped\n");
    }
    if stop.is_cancelled() && !is_confirmed { Err(Stop::Interrupted) } else { Ok(is_confirmed) }
}

/// Reads on a thread of its own: a read from the keyboard cannot be cancelled, and the runtime would wait for it at its end.
fn line() -> oneshot::Receiver<String> {
    let (sender, receiver) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        if stdin().lock().read_line(&mut line).is_ok() {
            // After a signal there is no receiver.
            let _ = sender.send(line);
        }
    });
    receiver
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::dead_letters::scan::tests::scan;

    #[tokio::test]
    async fn a_panic_ends_a_command_like_an_error_and_everything_is_given_back() {
        let (_storage, poison, account, scan) = scan(3).await;
        let mut session = Session { account, scan, json: false };
        let broken = |_: &Entry| panic!("a defect");
        let report = session.run(async |scan| write(scan, io::sink(), broken).await).await;
        assert_eq!(report.problem.as_deref(), Some("it failed by a defect of this program"));
        assert!(!report.is_good() && !report.complete);
        assert_eq!((report.seen, report.still_hidden), (3, 0));
        let visible = poison.receive(32, Duration::from_mins(1)).await.expect("the queue answers");
        assert_eq!(visible.len(), 3, "nothing stays hidden");
    }
}
