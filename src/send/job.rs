//! One file: its check, and its way to the queue.

use std::io;
use std::sync::Arc;
use std::thread;

use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::arguments::OutputOptions;
use super::check::{Checked, check};
use super::input::{Input, InputFile};
use super::put::{Read, Sender, Sent, Stop};
use super::source::{Lines, Plan};
use super::state::{State, StateError, fingerprint};
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
        let Some(checked) = self.check(lines).await? else { return Ok(interrupted()) };
        self.levels(&checked);
        let Checked { records, problems, .. } = checked;
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
            let mut lines = Some(lines);
            let open = move || lines.take().ok_or_else(|| io::ErrorKind::UnexpectedEof.into());
            let sent = self.put(open, Vec::new(), &target, &output, None, None).await?;
            return self.report(&sent, &target, None);
        }
        let mut state = State::open(&self.file.path, options).map_err(|error| Failure::Usage(error.to_string()))?;
        let Some(checked) = self.check(lines).await? else { return Ok(interrupted()) };
        let Checked { records, problems, .. } = &checked;
        if !problems.is_empty() {
            let wrong = problems.lines;
            say(&format!("{problems}error: {wrong} of {records} records cannot be sent; nothing was put\n"));
            return Ok(false);
        }
        let (file, checked_file, records) = (self.file.clone(), state.file().clone(), *records);
        let open = move || {
            if fingerprint(&file.path)? == checked_file {
                return file.open();
            }
            Err(io::Error::other("it was changed after the command had begun"))
        };
        let (levels, left) = (self.levels(&checked), records.saturating_sub(state.put()));
        drop(checked);
        let sent = self.put(open, levels, &target, &output, Some(&mut state), Some(left)).await?;
        if sent.end.is_ok() {
            state.delete().map_err(|error| Failure::Service(error.to_string()))?;
        }
        self.report(&sent, &target, Some(records))
    }

    /// `None` where it was interrupted.
    async fn check(&self, lines: Lines<Input>) -> Result<Option<Checked>, Failure> {
        let (plan, stop) = (self.plan.clone(), self.stop.clone());
        let checked = on_thread(&self.stop, move || check(lines, &plan, &stop)).await;
        let checked = checked.transpose().map_err(|error| unreadable(&self.file, &error))?;
        Ok(checked.filter(|_| !self.stop.is_cancelled()))
    }

    /// The levels of the records, after what is to be said about them; a stream has none.
    fn levels(&self, checked: &Checked) -> Vec<u32> {
        let (levels, text) = if self.file.is_stream() { (Vec::new(), String::new()) } else { checked.levels() };
        say(&format!("{}{text}", checked.repetitions()));
        levels
    }

    /// Puts what follows those that the state says are put: `left` records, where that is known.
    async fn put(
        &self,
        open: impl FnMut() -> io::Result<Lines<Input>> + Send + 'static,
        levels: Vec<u32>,
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
        let begin = state.as_ref().map(|state| state.put()).unwrap_or_default();
        let mut save = |put| state.as_mut().map_or(Ok(()), |state| state.save(put));
        // Fails now, and not after the first messages, where no state can be written.
        save(begin).map_err(|error: StateError| Failure::Usage(error.to_string()))?;
        say(&begin_text(name, begin, left));
        let (sender, records) = mpsc::channel(READ_AHEAD);
        let plan = self.plan.clone();
        thread::spawn(move || {
            if let Err(stop) = read(open, &plan, &levels, begin, &sender) {
                // Without a receiver it does not matter.
                let _ = sender.blocking_send(Err(stop));
            }
        });
        let progress = Progress::new("put", left.map(|left| usize::try_from(left).unwrap_or(usize::MAX)));
        let (rate, stop) = (Rate::new(output.rate), self.stop.clone());
        let sender = Sender { queue, rate, retry_for: output.retry_for, stop };
        Ok(sender.run(records, begin, save, || progress.add(1)).await)
    }

    /// Prints what has been put, and how to go on.
    fn report(&self, sent: &Sent, target: &Target, total: Option<u64>) -> Result<bool, Failure> {
        let Sent { put, maybe_twice, again, done, end } = sent;
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

fn begin_text(name: &str, begin: u64, left: Option<u64>) -> String {
    let records = left.map_or("records".to_owned(), |left| format!("{left} records"));
    match begin {
        0 => format!("Putting {records} on {name}.\n"),
        done => format!("{done} records are put already; putting {records} on {name}.\n"),
    }
}

/// Reads the records behind the first `begin` ones, level by level, until the receiver is dropped.
fn read(
    mut open: impl FnMut() -> io::Result<Lines<Input>>,
    plan: &Plan,
    levels: &[u32],
    mut begin: u64,
    records: &mpsc::Sender<Read>,
) -> Result<(), Stop> {
    for level in 0..=levels.iter().copied().max().unwrap_or_default() {
        let (mut lines, mut levels) = (open().map_err(Stop::Input)?, levels.iter());
        while let Some(line) = lines.next().map_err(Stop::Input)? {
            if *levels.next().unwrap_or(&0) != level {
                continue;
            }
            if begin > 0 {
                begin -= 1;
                continue;
            }
            let message = plan.message(&lines, line).map_err(Stop::Line)?;
            if records.blocking_send(Ok(message)).is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
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
