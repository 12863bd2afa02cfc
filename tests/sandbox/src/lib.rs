//! Stand-ins for the services around the handler: tests, benchmarks and `cargo sandbox` run against them, over real sockets and with
//! the real `handler` process.
//!
//! - [`dataverse`]: a stand-in for the Web API, with a journal of every write.
//! - [`identity`]: the managed-identity endpoint and an Entra authority.
//! - [`collector`]: an OTLP collector that keeps what it receives.
//! - [`storage`]: an embedded storage with the needed parts of the Blob and Queue services; [`azurite`] starts the real emulator in
//!   its place.
//! - [`host`]: a small Functions host that runs a staged app; [`queue`] is its queue client.
//! - [`stage`]: builds the handler and lays out the app.
//! - [`world`]: all of it together.
//! - [`demo`]: the demonstration of the main job: `cargo sandbox`.
//! - [`mod@bench`]: benchmarks with bounds: `cargo sandbox bench`.
//! - [`chaos`]: randomised fault injection: `cargo sandbox chaos`.
//!
//! The handler cannot detect the sandbox: it gets addresses and settings. The stand-ins behave as the services are documented to, also
//! where that is inconvenient.

pub mod azurite;
pub mod bench;
pub mod chaos;
pub mod collector;
pub mod connection_reset;
pub mod dataverse;
pub mod demo;
pub mod host;
pub mod identity;
pub mod net;
pub mod queue;
pub mod stage;
pub mod storage;
pub mod world;
