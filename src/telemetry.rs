//! Logs, in the way that survives the Functions host.
//!
//! The host takes each line of stdout for information, and of stderr for a warning if it contains "warn" anywhere, else for
//! an error. So information goes to stdout, and warnings, which say WARN, and errors to stderr.
//!
//! <https://learn.microsoft.com/azure/azure-functions/functions-custom-handlers>

use std::io::{IsTerminal as _, stderr, stdout};

use tracing::Level;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use crate::config::Problem;

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

/// Starts logging what `filter` lets through.
pub fn start(filter: EnvFilter) {
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(stdout().is_terminal() && stderr().is_terminal())
        .with_target(false)
        .with_writer(stderr.with_max_level(Level::WARN).or_else(stdout))
        .init();
}
