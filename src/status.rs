//! `handler status`: how long the queues are, what the dead letters are about, how many locks are held, and whether something
//! needs a person.
//!
//! It changes nothing: it counts messages, peeks at the first 32 of each queue, and lists the lock container. Receiving would hide
//! messages from the handler. It needs no settings but those of the storage.
//!
//! - [`sample`]: what was seen at one moment, and what in it needs a person; as JSON. Pure.
//! - [`history`]: the length of the queue over time: its rate, when it will be empty, and a sparkline. Pure.
//! - [`view`]: a sample as lines of text. Pure.
//! - [`sources`]: the requests to the storage.
//! - [`screen`]: redrawing without flicker.
//! - [`arguments`], [`command`]: the command line.

pub mod arguments;
pub mod command;

mod history;
mod sample;
mod screen;
mod sources;
mod view;
