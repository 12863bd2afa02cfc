//! Stand-ins for the services around the handler, on loopback: tests, benchmarks and `cargo sandbox` run against them, over real
//! sockets and with the real `handler` process.
//!
//! - [`dataverse`]: the Web API, with a journal of every write.
//! - [`identity`]: the managed-identity endpoint and an Entra authority.
//! - [`storage`]: the parts of the Blob and Queue services that locks and queues need; [`azurite`] starts the real emulator in its
//!   place.
//! - [`host`]: a small Functions host that runs a staged app; [`queue`] is its queue client.
//! - [`collector`]: an OTLP collector that keeps what it receives.
//! - [`net`]: listeners, plain or with TLS; [`connection_reset`] ends a connection without an answer, [`gauge`]
//!   counts connections and requests.
//!
//! They behave as the services are documented to and as captured answers show, also where that is inconvenient. The handler
//! cannot detect them: it gets addresses and settings.

pub mod azurite;
pub mod collector;
pub mod connection_reset;
pub mod dataverse;
pub mod gauge;
pub mod host;
pub mod identity;
pub mod net;
pub mod queue;
pub mod storage;
