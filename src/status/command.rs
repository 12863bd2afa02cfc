//! The command: one sample, or one after another until it is stopped.

use std::io;

use console::Term;
use indicatif::HumanDuration;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::arguments::Arguments;
use super::history::History;
use super::sample::Sample;
use super::screen::{Screen, draw};
use super::sources::Sources;
use super::view::View;
use crate::dead_letters::command::Failure;
use crate::sanitize::sanitize;
use crate::settings::Lookup;
use crate::terminal::{is_closed, print};

/// The columns of a terminal that are used, and those of a file.
const WIDTH: usize = 80;

/// A narrower screen shows only the beginning of each line.
const MIN_WIDTH: usize = 40;

/// Runs the command; returns whether nothing needed a person in the last sample. `stop` ends it.
///
/// # Errors
/// When there is no result. A reader that closes its end early, such as `head`, is not an error.
pub async fn run(arguments: &Arguments, lookup: &Lookup<'_>, stop: CancellationToken) -> Result<bool, Failure> {
    let sources = Sources::open(&arguments.place, lookup).map_err(Failure::Settings)?;
    let history = arguments.watch.then(History::default);
    let mut status = Status { arguments, sources, history, is_well: false, last: Vec::new() };
    let done = stop.run_until_cancelled(Box::pin(status.run())).await.unwrap_or(Ok(()));
    match done.and_then(|()| status.leave()) {
        Err(error) if !is_closed(&error) => Err(error.into()),
        Err(_) | Ok(()) => Ok(status.is_well),
    }
}

/// The rows and columns of the terminal.
fn size() -> (usize, usize) {
    let size = Term::stdout().size_checked();
    size.map_or((usize::MAX, WIDTH), |(rows, columns)| (usize::from(rows), usize::from(columns)))
}

struct Status<'a> {
    arguments: &'a Arguments,
    sources: Sources,
    /// The samples so far, under `--watch`.
    history: Option<History>,
    is_well: bool,
    /// The lines on the alternate screen.
    last: Vec<String>,
}

impl Status<'_> {
    async fn run(&mut self) -> io::Result<()> {
        let is_screen = self.arguments.watch && !self.arguments.json && console::user_attended() && !console::is_dumb();
        let _screen = is_screen.then(Screen::enter).transpose()?;
        if is_screen {
            draw(&[format!("asking {} …", self.sources.names.host)], &self.hint(), size())?;
        }
        let mut ticks = interval(self.arguments.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let sample = self.sources.sample().await;
            self.is_well = sample.attention(&self.sources.names, self.arguments.older_than).is_empty();
            if let Some(history) = &mut self.history {
                history.add(sample.length());
            }
            self.print(&sample, is_screen)?;
            if !self.arguments.watch {
                return Ok(());
            }
        }
    }

    fn print(&mut self, sample: &Sample, is_screen: bool) -> io::Result<()> {
        if self.arguments.json {
            return print(&format!("{}\n", self.json(sample)));
        }
        let (rows, columns) = size();
        let view = View {
            names: &self.sources.names,
            older_than: self.arguments.older_than,
            history: self.history.as_ref(),
            colours: console::colors_enabled(),
            // A terminal may break a line that fills its width.
            width: columns.clamp(MIN_WIDTH, WIDTH) - 1,
        };
        if is_screen {
            let (body, verdict) = (view.body(sample), view.verdict(sample));
            self.last = [&body[..], &verdict].concat();
            return draw(&body, &[&verdict[..], &self.hint()].concat(), (rows, columns));
        }
        let text = if self.arguments.watch { view.line(sample) } else { view.lines(sample).join("\n") };
        print(&format!("{text}\n"))
    }

    fn hint(&self) -> [String; 2] {
        [String::new(), format!("every {}; Ctrl-C ends", HumanDuration(self.arguments.interval))]
    }

    fn json(&self, sample: &Sample) -> String {
        let json = sample.to_json(&self.sources.names, self.arguments.older_than, self.history.as_ref());
        sanitize(&json.to_string()).into_owned()
    }

    /// Leaves the last sample behind, once the alternate screen is gone.
    fn leave(&self) -> io::Result<()> {
        if self.last.is_empty() { Ok(()) } else { print(&format!("{}\n", self.last.join("\n"))) }
    }
}
