//! Turns an event into a [`Line`]: its own fields first, then those of its spans from the inside out. Events of other crates name
//! their `target`. A line that waits for the answer of its invocation ([`captured`](super::captured)) is not written here.

use std::fmt;

use serde_json::Value;
use time::OffsetDateTime;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::Format;
use super::captured::Buffer;
use super::fields::Fields;
use super::line::Line;

/// Most bytes of a printed line: Application Insights keeps so much.
/// <https://learn.microsoft.com/azure/azure-monitor/app/data-model-complete#trace>
pub(super) const MAX_PRINTED_BYTES: usize = 32 * 1024;

/// The crates of this program.
const OWN: [&str; 2] = ["dataverse_sync", "handler"];

/// The one format of events, as text or JSON.
#[derive(Clone, Copy)]
pub(super) struct EventFormat {
    pub(super) format: Format,
    /// Whether the level has a colour, for a terminal.
    pub(super) ansi: bool,
}

impl EventFormat {
    /// The line that stands where so many lines were dropped, with its line break.
    pub(super) fn gap(self, dropped: u64) -> String {
        let mut line = Line::new(self.format, Level::WARN, OffsetDateTime::now_utc(), self.ansi);
        line.message("log lines were dropped here, because this stream was not read");
        line.field("dropped", &dropped.into());
        line.whole() + "\n"
    }
}

impl<S, N> FormatEvent<S, N> for EventFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
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
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            for (name, value) in extensions.get::<Fields>().into_iter().flat_map(Fields::iter) {
                line.field(name, value);
            }
            captured = captured.or_else(|| extensions.get::<Buffer>().cloned());
        }
        if captured.is_some_and(|buffer| buffer.push(&line, level)) {
            return Ok(());
        }
        writeln!(out, "{}", line.shortened(MAX_PRINTED_BYTES).unwrap_or_else(|| line.whole()))
    }
}
