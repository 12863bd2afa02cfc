//! The world around the handler when Azure is not there: what tests, benchmarks and `cargo sandbox` run against, over real
//! sockets and with the real `handler` process.
//!
//! - [`dataverse`]: a stand-in for the Web API, with a journal of every write as its oracle.
//! - [`identity`]: the managed-identity endpoint and an Entra authority.
//! - [`collector`]: an OTLP collector that keeps what it gets.
//! - [`storage`]: an embedded store with the parts of the Blob and Queue services that are needed; [`azurite`] starts the real
//!   emulator in its place.
//! - [`host`]: a small Functions host that runs a staged app; [`queue`] is the client it reads queues with.
//! - [`stage`]: lays out the app.
//! - [`world`]: all of it together.
//! - [`demo`]: the main job, shown and checked: `cargo sandbox`.
//! - [`mod@bench`]: what the program promises in numbers: `cargo sandbox bench`.
//! - [`chaos`]: a seeded storm over all of it, and a ledger that must balance: `cargo sandbox chaos`.
//!
//! The handler never knows that it is in a sandbox: it sees addresses and settings. The stand-ins behave as the services are
//! documented to, also where that is inconvenient.

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
