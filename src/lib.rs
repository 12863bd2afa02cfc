//! Writes records to Microsoft Dataverse from Azure Functions: one writer per record at a time, every refusal understood.
//!
//! # One message
//! ```text
//! host ──POST──▶ server ─▶ host::Invocation ─▶ pipeline
//!                                              │ record::decode        bytes    → Record
//!                                              │ admission.enter       –        → Permit      (a record's)
//!                                              │ locks.acquire(key)    RecordKey→ HeldLock | Busy
//!                                              │ store.write(change)   Change   → Written     (alone, or in a batch)
//!                                              │ classify::judge       Error    → Verdict
//!                                              ▼
//! host ◀──200/500── server ◀─ host::Answer ◀─ Outcome
//! ```
//!
//! # The map
//! A module uses only modules above it in this list; a test checks the imports. Facts flow up, and the verdict is made once, in
//! [`classify`].
//!
//! - [`json`]: objects in the order sent, exact numbers, duplicate members refused. Pure.
//! - [`sanitize`]: foreign text made safe to print. Pure.
//! - [`names`]: names that resemble an unknown one. Pure.
//! - [`files`]: the files that settings and the app name, read up to a cap; who may write them.
//! - [`settings`]: which settings there are, where they come from, how one is read, and what can be wrong with it.
//! - [`outcome`]: the result of a message, with stable codes.
//! - [`record`]: a message as a validated record, its canonical key, the alternate keys that it uses, and the tables that may be
//!   written. Pure.
//! - [`host`]: the custom-handler protocol: an invocation in, an answer out.
//! - [`http`]: the HTTP client.
//! - [`identity`]: the Entra credential, chosen by the settings, and its tokens.
//! - [`storage`]: storage connections by name, with a shared key or a token.
//! - [`telemetry`]: logs, traces and metrics.
//! - [`lock`]: one writer per record: [`lock::local_queue`] within this process, [`lock::blob`] across processes.
//! - [`dataverse`]: rows by key: [`dataverse::client`] over HTTPS, in batches where requests wait, [`dataverse::verify`] compares
//!   sent and stored values, [`dataverse::suggestion`] finds names that resemble an unknown one.
//! - [`classify`]: the meaning of a refusal; the only policy. Pure.
//! - [`admission`]: concurrency limit, `Retry-After` pause, circuit breaker, wait queue.
//! - [`pipeline`]: one record to its outcome; it sees locks and the store as traits.
//! - [`process_limits`]: no core dump; as many open files as allowed, and how many connections and requests they allow.
//! - [`shutdown`]: why the process stops serving, how long it drains, and its exit code.
//! - [`server`]: routes, tracked tasks, the memory that messages may take, drain.
//! - [`config`]: the settings as one value, or every problem at once.
//! - [`terminal`]: what a command prints, and tables that fit the terminal.
//! - [`settings_report`]: the command `handler settings`.
//! - [`dead_letters`]: the command `handler dead-letters`.
//! - [`doctor`]: the command `handler doctor`.
//! - [`send`]: the command `handler send`.
//! - [`status`]: the command `handler status`.
//! - [`docs`]: the documents for users; no code.

pub mod admission;
pub mod classify;
pub mod config;
pub mod dataverse;
pub mod dead_letters;
pub mod docs;
pub mod doctor;
pub mod files;
pub mod host;
pub mod http;
pub mod identity;
pub mod json;
pub mod lock;
pub mod names;
pub mod outcome;
pub mod pipeline;
pub mod process_limits;
pub mod record;
pub mod sanitize;
pub mod send;
pub mod server;
pub mod settings;
pub mod settings_report;
pub mod shutdown;
pub mod status;
pub mod storage;
pub mod telemetry;
pub mod terminal;

#[cfg(test)]
mod tests;
