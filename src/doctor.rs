//! `handler doctor`: for the operator whose app does not do what it should, before it runs or while it does.
//!
//! It looks at everything that has to fit: settings, the app's files, the executable, the Entra identity, Dataverse, the lock
//! storage, the queues. Each check says what it found and, where that is wrong, how to mend it. One that rests on another that
//! failed is not tried, so that one fault is not told ten times.
//!
//! It changes nothing but what serving would: it creates the lock container and one empty blob in it. It writes no row and takes
//! no message. Tokens, keys and signatures are in none of its words.
//!
//! # The map
//! - [`finding`], [`report`]: what a check says, and all of them printed. Pure.
//! - [`settings`], [`host_json`], [`functions`], [`elf`], [`token`]: what is judged without asking anybody. Pure.
//! - [`app`]: the files of the app, read.
//! - [`environment`], [`storage`], [`queues`]: Dataverse and the storage account, asked.
//! - [`arguments`], [`command`]: the command line.

pub mod app;
pub mod arguments;
pub mod command;
pub mod elf;
pub mod environment;
pub mod finding;
pub mod functions;
pub mod host_json;
pub mod queues;
pub mod report;
pub mod settings;
pub mod storage;
pub mod token;
