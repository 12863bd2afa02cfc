//! Logs, in the way that survives the Functions host; traces and metrics, to a collector ([`otlp`]).
//!
//! The host takes each line of stdout for information, and of stderr for a warning if it contains "warn" anywhere, else for
//! an error. So information goes to stdout, and warnings, which say WARN, and errors to stderr.
//!
//! The spans of [`crate::trace`] go to the collector and never into the log, everything else goes into the log alone: `RUST_LOG` has
//! no say in what is traced.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

mod courier;
pub mod otlp;
pub mod otlp_settings;

use std::io::{IsTerminal as _, stderr, stdout};

use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, Targets, filter_fn};
use tracing_subscriber::fmt::writer::MakeWriterExt as _;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Problem;
use crate::trace;
use otlp::Export;

/// Chatter of the libraries below this program stays out by default.
const DEFAULT: &str = "info,azure_core=warn,azure_identity=warn,typespec_client_core=warn,hyper=warn,reqwest=warn";

/// Reads the setting `RUST_LOG`; an empty one counts as not set.
///
/// # Errors
/// When the filter cannot be read.
pub fn filter(lookup: &dyn Fn(&str) -> Option<String>) -> Result<EnvFilter, Problem> {
    let text = lookup("RUST_LOG").unwrap_or_default();
    match text.trim() {
        "" | "info" => Ok(EnvFilter::new(DEFAULT)),
        text => EnvFilter::try_new(text).map_err(|_| {
            Problem::new("RUST_LOG", "must be a level such as info, or a filter such as info,dataverse_sync=debug")
        }),
    }
}

/// Starts logging to stderr alone: what an operator's command prints on stdout is its result.
pub fn start_on_stderr(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stderr().is_terminal())
        .with_target(false)
        .with_writer(stderr)
        .init();
}

/// Starts logging what `filter` lets through, and tracing to `export` where there is one.
pub fn start(filter: EnvFilter, export: Option<&Export>) {
    let log = tracing_subscriber::fmt::layer()
        .with_ansi(stdout().is_terminal() && stderr().is_terminal())
        .with_target(false)
        .with_writer(stderr.with_max_level(Level::WARN).or_else(stdout));
    let spans = export.map(|export| {
        tracing_opentelemetry::layer()
            .with_tracer(export.tracer())
            .with_context_activation(false)
            .with_location(false)
            .with_target(false)
            .with_threads(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(trace::TARGET, Level::INFO))
    });
    let log = log.with_filter(filter.and(filter_fn(is_for_the_log)));
    tracing_subscriber::registry().with(log).with(spans).init();
}

fn is_for_the_log(metadata: &Metadata<'_>) -> bool {
    metadata.target() != trace::TARGET
}
