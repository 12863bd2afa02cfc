//! Writes records into Microsoft Dataverse from Azure Functions: one writer per record at a time, every refusal understood.
//!
//! # The way of a message
//! ```text
//! host ──POST──▶ server ─▶ host::Invocation ─▶ pipeline
//!                                              │ record::decode        bytes    → Record
//!                                              │ admission.enter       –        → Permit
//!                                              │ locks.acquire(key)    name     → Held | Busy
//!                                              │ store.write(change)   Change   → Written
//!                                              │ classify::judge       Error    → Verdict
//!                                              ▼
//! host ◀──200/500── server ◀─ host::Answer ◀─ Outcome
//! ```
//!
//! # The map
//! - [`json`]: objects in the order sent, exact numbers, duplicate members refused. Pure.
//! - [`sanitize`]: text from elsewhere, made safe to print. Pure.
//! - [`settings`]: how a setting is read, and what can be wrong with one.
//! - [`outcome`]: what became of a message, with stable codes.
//! - [`record`]: a message as a validated value; the canonical key. Pure.
//! - [`host`]: the custom-handler protocol: an invocation in, an answer out.
//! - [`http`]: the HTTP client.
//! - [`identity`]: which Entra credential, from settings.
//! - [`storage`]: storage connections by name, signed requests.
//! - [`telemetry`]: logs, traces, metrics.
//! - [`lock`]: one writer per record, across processes; [`lock::local_queue`] within one, [`lock::blob`] as leases on blobs.
//! - [`dataverse`]: rows by key; [`dataverse::client`] over HTTPS, [`dataverse::verify`] compares what was sent with what is stored.
//! - [`classify`]: what a refusal means; the only policy. Pure.
//! - [`admission`]: concurrency limit, pause during a `Retry-After`, circuit breaker.
//! - [`pipeline`]: one record to its outcome; knows traits only.
//! - [`server`]: routes, tracked tasks, drain.
//! - [`config`]: settings become a configuration, or all the problems at once.
//! - [`dead_letters`]: `handler dead-letters`, for the operator.
//! - [`doctor`]: `handler doctor`, which checks that all of it fits together.
//!
//! A module uses only what stands above it in this list. Facts flow up, and the verdict is made once, in [`classify`].

pub mod admission;
pub mod classify;
pub mod config;
pub mod dataverse;
pub mod dead_letters;
pub mod doctor;
pub mod host;
pub mod http;
pub mod identity;
pub mod json;
pub mod lock;
pub mod outcome;
pub mod pipeline;
pub mod record;
pub mod sanitize;
pub mod server;
pub mod settings;
pub mod storage;
pub mod telemetry;
