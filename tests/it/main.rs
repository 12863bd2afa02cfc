//! Integration tests: the real `handler` process against the stand-ins, over real sockets.
//!
//! A test that needs Azurite starts it, and fails if it cannot.

mod batches;
mod bench;
mod caller;
mod canary;
mod chaos;
mod client;
mod command;
mod contract;
mod credentials;
mod dead_letters;
mod doctor;
mod dynamics_web_api;
mod endless;
mod fuzz;
mod help;
mod http;
mod in_process;
mod locks;
mod main_job;
mod memory;
mod outage;
mod outcomes;
mod process;
mod queue;
mod sas;
mod send;
mod simulation;
mod staged;
mod status;
mod storage_access;
mod supply;
mod telemetry;
mod tenant;
mod terminal;
mod transcript;
mod troubleshooting;
mod trust;
mod verify;
mod waiting;

use std::path::PathBuf;

use sandbox::world::{Options, World};

/// Returns a failed message to the host at once instead of retrying in place.
const AT_ONCE: (&str, &str) = ("SYNC_HOLD_SECONDS", "0");

/// No server listens on this port.
const UNREACHABLE_URL: &str = "http://127.0.0.1:1";

/// The executable that cargo built for these tests.
fn handler() -> PathBuf {
    env!("CARGO_BIN_EXE_handler").into()
}

/// The stand-ins with default options, on the embedded storage.
async fn world() -> World {
    world_with(Options::default()).await
}

/// The stand-ins with these options and this handler.
async fn world_with(options: Options) -> World {
    World::start(Options { handler: handler(), ..options }).await.expect("the sandbox starts")
}
