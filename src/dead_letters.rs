//! `handler dead-letters`: lists, shows, exports, replays and drops the messages of the poison queue.
//!
//! No message is lost: one is deleted only after its copy is on the other queue, so an interruption at any moment leaves it in
//! one of the two queues or, where that cannot be avoided, in both. The only setting needed is the queues' connection.
//!
//! The queue holds dead letters written by this program ([`crate::host::DeadLetter`]) and messages that the host moved:
//! <https://learn.microsoft.com/azure/azure-functions/functions-bindings-storage-queue-trigger#poison-messages>
//!
//! - [`entry`], [`record_summary`], [`encoding`]: a message of the poison queue, read and shown. Pure.
//! - [`filter`], [`summary`], [`report`]: which messages, how many of which kind, what a command prints. Pure.
//! - [`queue`]: the client; the only user of `azure_storage_queue`.
//! - [`scan`]: receiving the messages of a queue, deleting them, and giving them back.
//! - [`replay`], [`rate`]: returning messages to the other queue.
//! - [`arguments`], [`account`], [`command`], [`progress`]: the command line. Progress goes to stderr, results to stdout.

pub mod arguments;
pub mod command;

pub(crate) mod account;
pub(crate) mod entry;
pub(crate) mod filter;
pub(crate) mod queue;
pub(crate) mod summary;

mod encoding;
mod progress;
mod rate;
mod record_summary;
mod replay;
mod report;
mod scan;

use time::OffsetDateTime;

use crate::host::MessageEncoding;
pub(crate) use arguments::queue_name;
pub(crate) use encoding::{encode, resolve as message_encoding};
use entry::Entry;
pub(crate) use progress::Progress;
use queue::{Receipt, Received};
pub(crate) use rate::{Rate, parse_rate};
use summary::Summary;

/// What `show`, `export` and `list` print of a message with this text; public for the fuzz target.
pub fn render(text: &str, encoding: MessageEncoding) -> [String; 3] {
    let received = Received {
        receipt: Receipt { message_id: "id".into(), pop_receipt: "receipt".into() },
        text: text.to_owned(),
        inserted: OffsetDateTime::UNIX_EPOCH,
        expires: OffsetDateTime::UNIX_EPOCH,
        dequeued: 1,
    };
    let entry = Entry::read(received, encoding);
    let mut summary = Summary::default();
    summary.add(&entry);
    [entry.to_string(), entry.to_json(), summary.table(None)]
}
