//! Events become lines, and lines go where the host gives them their level.
//!
//! An event that is filtered out costs nothing here. One that is not is formatted once, without the fields of its spans being
//! formatted again, and written by one call. Events of other crates name their `target`.

use std::cell::Cell;
use std::fmt;
use std::io::{Write as _, stderr, stdout};
use std::sync::Arc;

use time::OffsetDateTime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::fields::{Message, OfSpan, Rest};
use super::line::{Kind, Line};
use super::{Format, captured};

/// The crates of this program.
const OWN: [&str; 2] = ["dataverse_sync", "handler"];

/// Beyond this the memory of a line is not kept for the next one.
const MOST_SPARE_BYTES: usize = 64 * 1024;

/// The two ways out of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stream {
    /// The host takes every line of it for information.
    Out,
    /// The host takes a line of it for a warning if it contains "warn", else for an error.
    Err,
}

impl Stream {
    /// Where the host gives a line of this level the right one.
    pub(super) fn of(level: Level) -> Self {
        if level <= Level::WARN { Self::Err } else { Self::Out }
    }
}

/// Writes a line, which has its line break.
pub(super) type Out = Arc<dyn Fn(Stream, &str) + Send + Sync>;

/// Writes to the process's own streams, by one call.
pub(super) fn print(stream: Stream, line: &str) {
    let written = match stream {
        Stream::Out => stdout().lock().write_all(line.as_bytes()),
        Stream::Err => stderr().lock().write_all(line.as_bytes()),
    };
    // Whoever closed the stream does not want the line.
    drop(written);
}

/// The layer.
pub(super) struct Lines {
    pub(super) format: Format,
    pub(super) colours: bool,
    pub(super) out: Out,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("format", &self.format).finish_non_exhaustive()
    }
}

/// Memory that one event after the other uses.
#[derive(Default)]
struct Spare {
    line: Line,
    value: String,
}

thread_local! {
    /// Taken while in use, so that a value which logs while it is formatted finds room of its own.
    static SPARE: Cell<Option<Box<Spare>>> = const { Cell::new(None) };
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = OfSpan::default();
        attributes.record(&mut Rest(&mut fields, &mut String::new()));
        span.extensions_mut().replace(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<OfSpan>() {
            values.record(&mut Rest(fields, &mut String::new()));
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut spare = SPARE.take().unwrap_or_default();
        self.write(event, &context, &mut spare);
        if spare.line.whole().len() <= MOST_SPARE_BYTES {
            SPARE.set(Some(spare));
        }
    }
}

impl Lines {
    fn write<S>(&self, event: &Event<'_>, context: &Context<'_, S>, spare: &mut Spare)
    where
        S: Subscriber + for<'a> LookupSpan<'a>,
    {
        let Spare { line, value } = spare;
        let level = *event.metadata().level();
        line.begin(self.format, level, OffsetDateTime::now_utc(), self.colours);
        value.clear();
        event.record(&mut Message(value));
        line.message(value);
        event.record(&mut Rest(line, value));
        let target = event.metadata().target();
        if !OWN.contains(&target.split("::").next().unwrap_or_default()) {
            line.field("target", target, Kind::Text);
        }
        let mut kept = None;
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            if let Some(fields) = extensions.get::<OfSpan>() {
                fields.add_to(line);
            }
            kept = kept.or_else(|| extensions.get::<captured::Shared>().cloned());
        }
        line.end();
        if !kept.is_some_and(|kept| kept.offer(line, level, &self.out)) {
            (self.out)(Stream::of(level), line.whole());
        }
    }
}
