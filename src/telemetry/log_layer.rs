//! Logs each event as a [`Line`]: its own fields first, then those of its spans from the inside out. Events of other crates name
//! their `target`. A line that waits for the answer of its invocation ([`captured`](super::captured)) is not written here.

use serde_json::Value;
use time::OffsetDateTime;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use super::captured::Buffer;
use super::fields::Fields;
use super::line::Line;
use super::output::Sink;

/// Most bytes of a printed line: Application Insights keeps so much.
/// <https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete#trace>
pub(super) const MAX_PRINTED_BYTES: usize = 32 * 1024;

/// The crates of this program.
const OWN: [&str; 2] = ["dataverse_sync", "handler"];

/// The one format of lines, as text or JSON.
#[derive(Clone, Copy)]
pub(super) struct LineFormat {
    pub(super) format: Format,
    /// Whether the level has a colour, for a terminal.
    pub(super) ansi: bool,
}

impl LineFormat {
    fn line(self, level: Level) -> Line {
        Line::new(self.format, level, OffsetDateTime::now_utc(), self.ansi)
    }

    /// The line that stands where so many lines were dropped, with its line break.
    pub(super) fn gap(self, dropped: u64) -> String {
        let mut line = self.line(Level::WARN);
        line.message("log lines were dropped here, because this stream was not read");
        line.field("dropped", &dropped.into());
        line.whole() + "\n"
    }
}

/// Writes the events, and keeps the [`Fields`] of each span in its extensions.
pub(super) struct LogLayer {
    pub(super) format: LineFormat,
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
        let mut line = self.format.line(level);
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
        if captured.is_none_or(|buffer| !buffer.push(&line, level)) {
            self.sink.write(level, &line.shortened(MAX_PRINTED_BYTES).unwrap_or_else(|| line.whole()));
        }
    }
}
