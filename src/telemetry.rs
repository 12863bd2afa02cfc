//! Logs, in the way that survives the Functions host; traces and metrics, to a collector ([`otlp`]).
//!
//! The host takes each line of stdout for information, and of stderr for a warning if it contains "warn" in any letter case
//! anywhere, else for an error. So information goes to stdout; warnings, which say WARN, and errors go to stderr; one event is
//! one line; and the line of an error never holds that word: where a text has it, the second letter is escaped (`w\u0061rn`),
//! as in JSON, and nothing is lost.
//!
//! The spans of [`crate::telemetry::trace`] go to the collector and never into the log, everything else goes into the log alone: `RUST_LOG` has
//! no say in what is traced.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

mod captured;
mod escape;
mod fields;
mod layer;
mod line;
pub mod metrics;
pub mod otlp;
mod otlp_client;
pub mod otlp_settings;
mod panic;
pub mod trace;

use std::io::{IsTerminal as _, stderr, stdout};
use std::sync::Arc;

use tracing::Level;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use self::layer::{Lines, Stream, print};
use self::otlp::Export;
use crate::settings::{Lookup, Problem, non_empty};

pub use captured::CapturedLogs;

/// Chatter of the libraries below this program stays out by default.
const DEFAULT: &str = "info,azure_core=warn,azure_identity=warn,typespec_client_core=warn,hyper=warn,reqwest=warn";

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// A sentence and `name=value`.
    #[default]
    Text,
    /// A JSON object.
    Json,
}

/// What is logged, and how.
#[derive(Debug)]
pub struct Settings {
    filter: EnvFilter,
    format: Format,
}

impl Settings {
    /// Reads the settings `RUST_LOG` and `SYNC_LOG_FORMAT`; an empty value counts as not set.
    ///
    /// # Errors
    /// Every problem.
    pub fn read(lookup: &Lookup) -> Result<Self, Vec<Problem>> {
        match (format(lookup), filter(lookup)) {
            (Ok(format), Ok(filter)) => Ok(Self { filter, format }),
            (format, filter) => Err(format.err().into_iter().chain(filter.err()).collect()),
        }
    }

    /// For a process that only says what is wrong with its settings: errors, in the format that is set if it is one.
    pub fn of_a_complaint(lookup: &Lookup) -> Self {
        Self { filter: EnvFilter::new("error"), format: format(lookup).unwrap_or_default() }
    }
}

fn format(lookup: &Lookup) -> Result<Format, Problem> {
    const NAME: &str = "SYNC_LOG_FORMAT";
    match non_empty(lookup, NAME).as_deref() {
        None | Some("text") => Ok(Format::Text),
        Some("json") => Ok(Format::Json),
        Some(_) => Err(Problem::new(NAME, "must be text or json")),
    }
}

fn filter(lookup: &Lookup) -> Result<EnvFilter, Problem> {
    const NAME: &str = "RUST_LOG";
    match non_empty(lookup, NAME).as_deref() {
        None | Some("info") => Ok(EnvFilter::new(DEFAULT)),
        Some(text) => EnvFilter::try_new(text).map_err(|_| {
            Problem::new(NAME, "must be a level such as info, or a filter such as info,dataverse_sync=debug")
        }),
    }
}

/// Starts logging to stderr alone, as text: what an operator's command prints on stdout is its result.
pub fn start_on_stderr(settings: Settings) {
    let out = Arc::new(|_, line: &str| print(Stream::Err, line));
    let lines = Lines { format: Format::Text, colours: stderr().is_terminal(), out };
    tracing_subscriber::registry().with(lines.with_filter(settings.filter)).init();
}

/// Starts logging to stdout and stderr, by level, panics as well, and tracing to `export` where there is one.
pub fn start(settings: Settings, export: Option<&Export>) {
    panic::install();
    let colours = stdout().is_terminal() && stderr().is_terminal();
    let lines = Lines { format: settings.format, colours, out: Arc::new(print) };
    let filter = settings.filter.add_directive(trace::TARGET_IS_OFF.parse().expect("it is a directive"));
    let log = tracing_subscriber::registry().with(lines.with_filter(filter));
    let Some(export) = export else {
        // Without a second layer, and not with one that is `None`: that would have every call site ask each time.
        return log.init();
    };
    let spans = tracing_opentelemetry::layer()
        .with_tracer(export.tracer())
        .with_context_activation(false)
        .with_location(false)
        .with_target(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(Targets::new().with_target(trace::TARGET, Level::INFO));
    log.with(spans).init();
}

#[cfg(test)]
mod tests;
