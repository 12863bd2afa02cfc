//! The handler on the stand-ins: what `cargo sandbox` and `cargo stage` do.
//!
//! - [`stage`]: builds the handler and lays out the app.
//! - [`world`]: all stand-ins together, with hosts that run the staged app.
//! - [`demo`]: the demonstration of the main job: `cargo sandbox`.
//! - [`up`]: all of it kept running: `cargo sandbox up`; [`dataverse`]: the Dataverse stand-in alone.
//! - [`mod@bench`]: benchmarks with bounds: `cargo sandbox bench`.
//! - [`functions_host`]: the host's stand-in as a process: `cargo sandbox host`.
//! - [`chaos`]: randomised fault injection: `cargo sandbox chaos`.
//! - [`screen`], [`progress`]: what commands print; [`signals`]: what ends them.

pub mod bench;
pub mod chaos;
pub mod dataverse;
pub mod demo;
pub mod functions_host;
pub mod progress;
pub mod screen;
pub mod signals;
pub mod stage;
mod tables;
pub mod up;
pub mod world;
