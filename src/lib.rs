//! Writes records into Microsoft Dataverse from Azure Functions: one writer per record at a time, every refusal understood.
//!
//! # The way of a message
//! ```text
//! host ──POST──▶ server ─▶ host::Invocation ─▶ sync
//!                                              │ record::decode        bytes    → Record
//!                                              │ gate.enter            –        → Permit
//!                                              │ locks.acquire(key)    name     → Held | Busy
//!                                              │ store.write(change)   Change   → Written
//!                                              │ classify::judge       Fault    → Verdict
//!                                              ▼
//! host ◀──200/500── server ◀─ host::Answer ◀─ Outcome
//! ```
//!
//! # The map
//! - [`outcome`]: what became of a message, with stable codes.
//! - [`record`]: a message as a validated value; the canonical key. Pure.
//! - [`trace`], [`metrics`]: a message's spans, and what is counted; where nobody collects them, next to nothing.
//! - [`lock`]: one writer per record, across processes; [`lock::local`] within one, [`lock::blob`] as leases on blobs.
//! - [`dataverse`]: rows by key; [`dataverse::client`] over HTTPS, [`dataverse::look`] at a row: [`dataverse::compare`] sent
//!   against stored, by the table's [`dataverse::definition`]; [`dataverse::error_body`] what a refusal says for itself.
//! - [`classify`]: what a refusal means; the only policy. Pure.
//! - [`gate`]: so many at once, none during a `Retry-After`, one at a time in an outage.
//! - [`sync`]: the pipeline; knows traits only.
//! - [`visible`]: text from elsewhere, made safe to print. Pure.
//! - [`config`], [`http`], [`identity`], [`connection`], [`telemetry`]: what `main` puts together first.
//! - [`host`]: the custom-handler envelope.
//! - [`server`]: routes, tracked tasks, drain.
//! - [`letters`]: `handler dead-letters`, for the operator; the serving path knows nothing of it.
//! - [`doctor`]: `handler doctor`, which checks that all of it fits together.
//!
//! A module uses only what stands above it in this list. Facts flow up, and the verdict is made once, in [`classify`].

pub mod classify;
pub mod config;
pub mod connection;
pub mod dataverse;
pub mod doctor;
pub mod gate;
pub mod host;
pub mod http;
pub mod identity;
pub mod letters;
pub mod lock;
pub mod metrics;
pub mod outcome;
pub mod record;
pub mod server;
pub mod sync;
pub mod telemetry;
pub mod trace;
pub mod visible;
