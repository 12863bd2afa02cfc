//! `handler send`: puts the records of a file on the queue.
//!
//! A CSV file's header names columns, and each line of an NDJSON file is a record or an object of columns. Every line is read by
//! the serving handler's own decoder first. A file is checked in full before anything is put; standard input line by line.
//!
//! Parents are put before the records whose lookups name them, level by level, each level and each key in the order of the file. How
//! many records have been put is kept in a file beside the input, so that an interrupted command goes on where it was. Like the
//! queue itself, this delivers at least once.
//!
//! - [`kind`], [`lookup`], [`columns`], [`message`]: a line's fields as the text of a record. Pure.
//! - [`definition`]: the kinds of columns, from the table's definition in Dataverse.
//! - [`input`], [`text`], [`csv_file`], [`ndjson_file`], [`source`]: a file as records, one at a time.
//! - [`check`], [`problems`], [`state`]: in which order the records go, which lines cannot be sent, and how far the file has been put.
//! - [`put`]: puts messages on the queue.
//! - [`arguments`], [`command`], [`job`]: the command line.

pub mod arguments;
pub mod command;

mod check;
mod columns;
mod csv_file;
mod definition;
mod input;
mod job;
mod kind;
mod lookup;
mod message;
mod ndjson_file;
mod problems;
mod put;
mod source;
mod state;
mod text;
