//! `handler dead-letters`: for the operator who finds the poison queue full.
//!
//! It shows what is there and why, puts messages back once their cause is mended, or drops them. It loses none: a letter is
//! deleted only after its copy is on the queue, and whoever interrupts it at any moment finds each message in one of the two
//! queues, or, where that cannot be helped, in both. It needs no setting but the connection that the queues are in.
//!
//! What strangers wrote is printed so that no terminal obeys it. Progress goes to stderr, results to stdout.
//!
//! # The map
//! - [`letter`], [`subject`], [`found`]: a message of the poison queue, read and shown. Pure.
//! - [`encoding`]: text in and out of a queue. Pure.
//! - [`filter`], [`tally`], [`report`]: which letters, how many of what, what is said in the end. Pure.
//! - [`holds`]: what is kept hidden from other readers, and until when. Pure.
//! - [`queue`]: the client; the only user of `azure_storage_queue`.
//! - [`sweep`], [`pass`]: one way through a queue.
//! - [`replay`], [`discard`]: what changes something.
//! - [`arguments`], [`desk`], [`command`], [`progress`]: the command line.
//!
//! The letters are those of [`crate::host::Answer`]; the queue's own are messages that the host moved, see
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages>.

pub mod account;
pub mod arguments;
pub mod command;
pub mod delete;
pub mod encoding;
pub mod entry;
pub mod filter;
pub mod letter;
pub mod progress;
pub mod queue;
pub mod queue_scan;
pub mod receipts;
pub mod record_summary;
pub mod replay;
pub mod report;
pub mod scan;
pub mod summary;
