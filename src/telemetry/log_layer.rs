//! Turns an event into a [`Line`]: its own fields first, then those of its spans from the inside out. Events of other crates name
//! their `target`. A line that waits for the answer of its invocation ([`captured`](super::captured)) is not written here.

use serde_json::Value;
use time::OffsetDateTime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use super::captured::Buffer;
use super::fields::Fields;
use super::line::Line;
use super::output::Sink;

/// The crates of this program.
const OWN: [&str; 2] = ["dataverse_sync", "handler"];

/// Writes events to the log, as text or JSON, and keeps the [`Fields`] of each span in its extensions.
pub(super) struct LogLayer {
    pub(super) format: Format,
    /// Whether the level has a colour, for a terminal.
    pub(super) ansi: bool,
    pub(super) sink: Sink,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for LogLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        context.span(id).map(|span| span.extensions_mut().replace(fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (level, target) = (*event.metadata().level(), event.metadata().target());
        let mut line = Line::new(self.format, level, OffsetDateTime::now_utc(), self.ansi);
        let mut fields = Fields::default();
        event.record(&mut fields);
        let (message, fields): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| *name == "message");
        line.message(message.first().and_then(|(_, message)| message.as_str()).unwrap_or_default());
        for (name, value) in fields {
            line.field(name, value);
        }
        if !OWN.contains(&target.split("::").next().unwrap_or_default()) {
            line.field("target", &Value::from(target));
        }
        let mut captured = None;
        for span in context.event_scope(event).into_iter().flatten() {
            let extensions = span.extensions();
            for (name, value) in extensions.get::<Fields>().into_iter().flat_map(Fields::iter) {
                line.field(name, value);
            }
            captured = captured.or_else(|| extensions.get::<Buffer>().cloned());
        }
        if !captured.is_some_and(|buffer| buffer.push(&line, level)) {
            self.sink.write(level, &line.whole());
        }
    }
}
