//! Logs, written so that the Functions host files them under the right level; traces and metrics, sent to a collector ([`otlp`]).
//!
//! One event is one line: information goes to stdout, warnings and errors to stderr ([`output`]), while serving by a thread for each,
//! so that no message waits for a reader ([`background_writer`]). The spans of [`trace`] are exported
//! and never logged; all other spans and events are logged and never exported, so `RUST_LOG` does not affect traces.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

mod background_writer;
mod captured;
mod fields;
mod line;
mod log_layer;
pub(crate) mod metrics;
pub mod otlp;
mod otlp_client;
mod otlp_settings;
mod output;
mod panic;
pub(crate) mod trace;

use std::io::{IsTerminal as _, Write as _, stderr, stdout};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tracing::Level;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use self::background_writer::BackgroundWriter;
use self::log_layer::{LineFormat, LogLayer};
use self::otlp::Export;
use self::otlp_settings::OtlpSettings;
use self::output::{Sink, Stream};
use crate::settings::{Lookup, Problem, non_empty, read_resolved};

pub(crate) use captured::CapturedLogs;

/// The longest wait for a reader of the log at the end of the process.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// Libraries below this program log warnings and errors only.
const DEFAULT: &str = "info,azure_core=warn,azure_identity=warn,typespec_client_core=warn,hyper=warn,reqwest=warn";

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Format {
    /// A sentence and `name=value`.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// What is logged and exported, and how.
#[derive(Debug)]
pub struct Settings {
    filter: Targets,
    format: Format,
    otlp: OtlpSettings,
}

impl Settings {
    /// Reads `RUST_LOG`, `SYNC_LOG_FORMAT` and what is checked of OpenTelemetry's variables; an empty value counts as not set.
    ///
    /// # Errors
    /// Every problem with the log. Problems with the export are logged by [`start`].
    pub fn read(lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        let (format, filter) = read_resolved(lookup, |lookup| match (read_format(lookup), read_filter(lookup)) {
            (Ok(format), Ok(filter)) => Ok((format, filter)),
            (format, filter) => Err(format.err().into_iter().chain(filter.err()).collect()),
        })?;
        Ok(Self { filter, format, otlp: OtlpSettings::read(lookup) })
    }

    /// For a process that only logs what is wrong with its settings: errors and warnings, in the format that is set if it is valid.
    pub fn problems_only(lookup: &Lookup) -> Self {
        let format = read_format(lookup).unwrap_or_default();
        Self { filter: Targets::new().with_default(LevelFilter::WARN), format, otlp: OtlpSettings::default() }
    }
}

fn read_format(lookup: &Lookup) -> Result<Format, Problem> {
    const NAME: &str = "SYNC_LOG_FORMAT";
    match non_empty(lookup, NAME).as_deref() {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(_) => Err(Problem::new(NAME, "must be text or json")),
    }
}

fn read_filter(lookup: &Lookup) -> Result<Targets, Problem> {
    const NAME: &str = "RUST_LOG";
    let text = non_empty(lookup, NAME).filter(|text| text != "info").unwrap_or_else(|| DEFAULT.to_owned());
    let mut parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
    parts.try_fold(Targets::new(), with_directive).ok_or_else(|| {
        Problem::new(NAME, "must be a level such as info, or a filter such as info,dataverse_sync=debug")
    })
}

/// `Targets` would parse it, but takes a bare word that is not a level, such as `inof`, for a target.
fn with_directive(filter: Targets, part: &str) -> Option<Targets> {
    let level = |text: &str| text.parse::<LevelFilter>().ok();
    match part.split_once('=') {
        None => Some(filter.with_default(level(part)?)),
        // Filters by span or field, such as `hyper[span]=debug`, are not supported.
        Some((target, _)) if target.contains('[') => None,
        Some((target, of_target)) => Some(filter.with_target(target, level(of_target)?)),
    }
}

/// Starts logging to stderr only, as text: on stdout an operator's command prints its result.
pub fn start_on_stderr(settings: Settings) {
    let format = LineFormat { format: Format::Text, ansi: stderr().is_terminal() };
    // A closed stream must not stop a command, so the result is ignored.
    let sink = Sink::new(|_, line| drop(stderr().write_all(line)));
    tracing_subscriber::registry().with(LogLayer { format, sink }.with_filter(settings.filter)).init();
}

/// The log of a serving process. Dropping it waits until its lines are written, for a second at most; all ways out of the process
/// have to pass here.
#[must_use]
pub struct LogGuard {
    out: BackgroundWriter,
    err: BackgroundWriter,
    /// How many lines were dropped.
    dropped: Arc<AtomicU64>,
}

impl LogGuard {
    fn start(format: LineFormat) -> Self {
        let out = BackgroundWriter::start(stdout(), move |dropped| format.gap(dropped));
        let err = BackgroundWriter::start(stderr(), move |dropped| format.gap(dropped));
        Self { out, err, dropped: Arc::default() }
    }

    fn sink(&self) -> Sink {
        let (out, err, dropped) = (self.out.clone(), self.err.clone(), self.dropped.clone());
        Sink::new(move |stream, line| {
            let is_taken = match stream {
                Stream::Stdout => out.push(line),
                Stream::Stderr => err.push(line),
            };
            if !is_taken {
                dropped.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        let until = Instant::now() + FLUSH_TIMEOUT;
        self.err.flush(until);
        self.out.flush(until);
    }
}

/// Starts logging to stdout and stderr, panics included, and the export if it is set up, in the runtime that this is called in.
pub fn start(settings: Settings) -> (Option<Export>, LogGuard) {
    panic::install();
    let Settings { filter, format, mut otlp } = settings;
    let export = Export::start(&otlp).unwrap_or_else(|problem| {
        otlp.problems.push(problem);
        None
    });
    let format = LineFormat { format, ansi: stdout().is_terminal() && stderr().is_terminal() };
    let filter = filter.with_target(trace::TARGET, LevelFilter::OFF);
    let guard = LogGuard::start(format);
    if let Some(export) = &export {
        let dropped = guard.dropped.clone();
        export.observe_dropped_lines(move || dropped.load(Ordering::Relaxed));
    }
    let log = tracing_subscriber::registry().with(LogLayer { format, sink: guard.sink() }.with_filter(filter));
    match export.as_ref().and_then(Export::tracer) {
        // Without a second layer: a layer that is `None` would make every disabled call site ask each time.
        None => log.init(),
        Some(tracer) => {
            let spans = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_context_activation(false)
                .with_location(false)
                .with_target(false)
                .with_threads(false)
                .with_tracked_inactivity(false)
                .with_filter(Targets::new().with_target(trace::TARGET, Level::INFO));
            log.with(spans).init();
        }
    }
    if !otlp.problems.is_empty() {
        let problems = otlp.problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; ");
        tracing::warn!(problems, "some OpenTelemetry settings cannot be used; messages are not affected");
    }
    (export, guard)
}

#[cfg(test)]
mod tests;
