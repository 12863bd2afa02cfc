//! The handler on the stand-ins: what `cargo sandbox` and `cargo stage` do.
//!
//! - [`stage`]: builds the handler and lays out the app.
//! - [`world`]: all stand-ins together, with hosts that run the staged app.
//! - [`demo`]: the demonstration of the main job: `cargo sandbox`.
//! - [`mod@bench`]: benchmarks with bounds: `cargo sandbox bench`.
//! - [`functions_host`]: the host's stand-in as a process: `cargo sandbox host`.
//! - [`chaos`]: randomised fault injection: `cargo sandbox chaos`.

pub mod bench;
pub mod chaos;
pub mod demo;
pub mod functions_host;
mod progress;
pub mod stage;
pub mod world;
