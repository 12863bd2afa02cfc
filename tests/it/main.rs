//! The program as its users meet it: the real `handler` process in the sandbox's world, over real sockets.
//!
//! A test that needs Azurite starts it, and fails when it cannot.

mod bench;
mod caller;
mod canary;
mod chaos;
mod client;
mod contract;
mod crash;
mod credentials;
mod dead_letters;
mod doctor;
mod fuzz;
mod http;
mod locks;
mod main_job;
mod one_contact;
mod order;
mod outage;
mod outcomes;
mod process;
mod queue;
mod sas;
mod simulation;
mod staged;
mod storage_access;
mod telemetry;
mod transcript;
mod troubleshooting;
mod trust;
mod verify;
mod waiting;

use std::path::PathBuf;

use sandbox::world::{Options, World};

/// A setting: what fails goes back at once, instead of waiting in place for better times.
const AT_ONCE: (&str, &str) = ("SYNC_HOLD_SECONDS", "0");

/// The executable that cargo built for these tests.
fn handler() -> PathBuf {
    env!("CARGO_BIN_EXE_handler").into()
}

/// Stand-ins that behave, on the embedded storage.
async fn world() -> World {
    world_with(Options::default()).await
}

/// The same with other options.
async fn world_with(options: Options) -> World {
    World::start(Options { handler: handler(), ..options }).await.expect("the sandbox starts")
}
