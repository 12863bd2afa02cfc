//! One file: its check, and its way to the queue.

use std::io::{self, BufRead};
use std::sync::Arc;
use std::thread;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::arguments::OutputOptions;
use super::input::{Input, InputFile};
use super::problems::{Checked, check};
use super::put::{Read, Sender, Sent, Stop};
use super::source::{Lines, Plan, Source};
use super::state::{Checkpoint, State, StateError};
use crate::dead_letters::command::Failure;
use crate::dead_letters::queue::{Queue, describe};
use crate::dead_letters::{Progress, Rate};
use crate::terminal::{print, say};

/// Records that are read ahead.
const READ_AHEAD: usize = 16;

/// A file, and what is done with it.
pub(super) struct Job {
    pub(super) file: InputFile,
    pub(super) plan: Arc<Plan>,
    pub(super) stop: CancellationToken,
}

/// The queue, and its name in messages.
pub(super) struct Target {
    pub(super) queue: Queue,
    pub(super) name: String,
}

impl Job {
    /// Checks the whole file and prints what is wrong in it.
    pub(super) async fn dry_run(&self, lines: Lines<Input>) -> Result<bool, Failure> {
        let Some(Checked { records, problems, .. }) = self.check(lines, 0).await? else { return Ok(interrupted()) };
        let (file, wrong) = (self.file.path.display(), problems.lines);
        let good = records - wrong;
        print(&format!(
            "{problems}{file}: {records} records read; {good} can be sent, {wrong} cannot. Dry run: nothing was put.\n"
        ))?;
        Ok(problems.is_empty())
    }

    /// Puts the file's records. Where the file can be read twice, all of them are checked first.
    pub(super) async fn send(
        &self,
        lines: Lines<Input>,
        target: Target,
        output: OutputOptions,
        options: Map<String, Value>,
    ) -> Result<bool, Failure> {
        if self.file.is_stream() {
            let sent = self.put(lines, &target, &output, None, None).await?;
            return self.report(&sent, &target, None);
        }
        let mut state = State::open(&self.file.path, options).map_err(|error| Failure::Usage(error.to_string()))?;
        let Some(checked) = self.check(lines, state.checkpoint().offset).await? else { return Ok(interrupted()) };
        let Checked { records, left, problems } = checked;
        if !problems.is_empty() {
            let wrong = problems.lines;
            say(&format!("{problems}error: {wrong} of {records} records cannot be sent; nothing was put\n"));
            return Ok(false);
        }
        let lines = self.file.open().map_err(|error| unreadable(&self.file, &error))?;
        let sent = self.put(lines, &target, &output, Some(&mut state), Some(left)).await?;
        if sent.end.is_ok() {
            state.delete().map_err(|error| Failure::Service(error.to_string()))?;
        }
        self.report(&sent, &target, Some(records))
    }

    /// `None` where it was interrupted.
    async fn check(&self, lines: Lines<Input>, offset: u64) -> Result<Option<Checked>, Failure> {
        let (source, stop) = (self.source(lines), self.stop.clone());
        let checked = on_thread(&self.stop, move || check(source, offset, &stop)).await;
        let checked = checked.transpose().map_err(|error| unreadable(&self.file, &error))?;
        Ok(checked.filter(|_| !self.stop.is_cancelled()))
    }

    fn source(&self, lines: Lines<Input>) -> Source<Input> {
        Source { lines, plan: self.plan.clone() }
    }

    /// Puts what follows the state's checkpoint: `left` records, where that is known.
    async fn put(
        &self,
        lines: Lines<Input>,
        target: &Target,
        output: &OutputOptions,
        mut state: Option<&mut State>,
        left: Option<u64>,
    ) -> Result<Sent, Failure> {
        let Target { queue, name } = target;
        let failed = |error| Failure::Service(format!("{name}: {}", describe(&error)));
        if queue.create_if_missing().await.map_err(failed)? {
            say(&format!("{name} did not exist; it was created.\n"));
        }
        let begin = state.as_ref().map(|state| state.checkpoint()).unwrap_or_default();
        let mut save = |checkpoint: Checkpoint| state.as_mut().map_or(Ok(()), |state| state.save(checkpoint));
        // Fails now, and not after the first messages, where no state can be written.
        save(begin).map_err(|error: StateError| Failure::Usage(error.to_string()))?;
        say(&begin_text(name, begin, left));
        let (sender, records) = mpsc::channel(READ_AHEAD);
        let source = self.source(lines);
        thread::spawn(move || read(source, begin.offset, &sender));
        let progress = Progress::new("put", left.map(|left| usize::try_from(left).unwrap_or(usize::MAX)));
        let (rate, stop) = (output.rate.map(Rate::new), self.stop.clone());
        let sender = Sender { queue, rate, retry_for: output.retry_for, stop };
        Ok(sender.run(records, begin, save, || progress.add(1)).await)
    }

    /// Prints what has been put, and how to go on.
    fn report(&self, sent: &Sent, target: &Target, total: Option<u64>) -> Result<bool, Failure> {
        let Sent { put, maybe_twice, again, checkpoint, end } = sent;
        let name = &target.name;
        let Err(stop) = end else {
            print(&format!("{put} messages put on {name}; {maybe_twice} may be there twice.\n"))?;
            return Ok(true);
        };
        match stop {
            Stop::Interrupted => say("interrupted\n"),
            Stop::Line(wrong) => say(&format!("error: line {}: {}\n", wrong.line, wrong.problem)),
            Stop::Input(error) => say(&format!("error: {}: {error}\n", self.file.path.display())),
            Stop::Queue { error, line } => say(&format!("error: line {line}: {name}: {}\n", describe(error))),
            Stop::State(error) => say(&format!("error: {error}\n")),
        }
        let done = checkpoint.records;
        let so_far = match total {
            Some(total) => format!("{done} of {total} records are put; run the same command again for the rest."),
            None => format!("The first {done} records are put; send the input again from the one after them."),
        };
        let twice = match (again, maybe_twice) {
            (0, 0) => String::new(),
            _ => {
                format!("{again} that follow are put as well and will come again; {maybe_twice} may be there twice.\n")
            }
        };
        print(&format!("{so_far}\n{twice}"))?;
        Ok(false)
    }
}

fn begin_text(name: &str, begin: Checkpoint, left: Option<u64>) -> String {
    let records = left.map_or("records".to_owned(), |left| format!("{left} records"));
    match begin.records {
        0 => format!("Putting {records} on {name}.\n"),
        done => format!("{done} records are put already; putting {records} on {name}.\n"),
    }
}

/// Reads the records that end behind `offset`, until the receiver is dropped.
fn read<R: BufRead>(mut source: Source<R>, offset: u64, records: &mpsc::Sender<Read>) {
    loop {
        let record = match source.next() {
            Ok(None) => return,
            Ok(Some(Ok(message))) if message.position.end <= offset => continue,
            Ok(Some(Ok(message))) => Ok(message),
            Ok(Some(Err(wrong))) => Err(Stop::Line(wrong)),
            Err(error) => Err(Stop::Input(error)),
        };
        let is_last = record.is_err();
        if records.blocking_send(record).is_err() || is_last {
            return;
        }
    }
}

/// Works on a thread of its own; a read that blocks there does not keep the process from ending. `None` where `stop` comes first.
pub(super) async fn on_thread<T: Send + 'static>(
    stop: &CancellationToken,
    work: impl FnOnce() -> T + Send + 'static,
) -> Option<T> {
    let (sender, result) = oneshot::channel();
    thread::spawn(move || sender.send(work()));
    tokio::select! { result = result => result.ok(), () = stop.cancelled() => None }
}

pub(super) fn unreadable(file: &InputFile, error: &io::Error) -> Failure {
    Failure::Usage(format!("{}: {error}", file.path.display()))
}

/// Before anything is put.
pub(super) fn interrupted() -> bool {
    say("interrupted; nothing was put\n");
    false
}
