//! `handler doctor`: checks everything that has to fit, before the app runs or while it does.
//!
//! Settings, the app's files, the executable, the Entra identity, Dataverse, the lock storage, the queues: each check says what
//! it found and, if that is wrong, the remedy. A check that depends on a failed one is not tried, so that one fault is reported
//! once.
//!
//! It changes only what serving changes: it creates the lock container and one empty blob in it. It writes no row and receives
//! no message. Its output contains no token, key or signature.
//!
//! - [`report`]: the results of the checks, printed.
//! - [`settings`], [`host_json`], [`functions`], [`elf`], [`token`]: checks that need no network. Pure.
//! - [`app`]: the files of the app.
//! - [`environment`], [`storage`]: Dataverse and the storage account.
//! - [`arguments`], [`command`]: the command line.

pub mod arguments;
pub mod command;
pub mod elf;

mod app;
mod environment;
mod functions;
mod host_json;
mod report;
mod settings;
mod storage;
mod token;

pub(crate) use environment::judge_key;
