//! Traces and metrics, as a collector receives them from the real handler.

mod collector_outages;
mod dashboard;
mod metrics;
mod settings;
mod traces;

use std::collections::BTreeSet;

use sandbox::world::World;
use serde_json::Value;
use stand_ins::collector::{Collector, Span};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::net::http_client;

use crate::caller::{Answer, answer};
use crate::process::running::Running;
use crate::waiting::eventually;

/// Exports soon enough for a test.
const SOON: [(&str, &str); 2] = [("OTEL_BSP_SCHEDULE_DELAY", "50"), ("OTEL_METRIC_EXPORT_INTERVAL", "100")];

/// Longer than any test takes, so everything is exported at shutdown.
const NEVER: [(&str, &str); 2] = [("OTEL_BSP_SCHEDULE_DELAY", "3000000"), ("OTEL_METRIC_EXPORT_INTERVAL", "3000000")];

const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";

/// A handler and the collector that it exports to.
struct ExportingHandler {
    world: World,
    collector: Collector,
    handler: Running,
}

impl ExportingHandler {
    async fn start(settings: &[(&str, &str)]) -> Self {
        let world = crate::world().await;
        let collector = Collector::start().await.expect("the collector starts");
        let endpoint = collector.endpoint();
        let mut all = vec![(ENDPOINT, endpoint.as_str())];
        all.extend(settings);
        let handler = Running::in_world(&world, &all).await;
        Self { world, collector, handler }
    }

    async fn post(&self, records: &Value) -> Answer {
        self.post_within(records, &[]).await
    }

    /// Like `post`, with these headers.
    async fn post_within(&self, records: &Value, headers: &[(&str, &str)]) -> Answer {
        let mut request = http_client().post(self.handler.url("/api/records")).body(records.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        answer(request).await
    }

    /// Refuses the next write of any contact with this status.
    fn refuse(&self, status: Status) {
        self.world.dataverse.fault(Fault::new(Effect::Status(status)).method("PATCH"));
    }

    /// Stops the handler; returns its exit code.
    async fn stop(self) -> (World, Collector, i32) {
        self.handler.signal("TERM").await;
        let status = self.handler.ended().await;
        (self.world, self.collector, status.code().expect("it was not killed"))
    }
}

/// The results of an acquired lock, which has to be released.
const ACQUIRED: [&str; 2] = ["storage", "handed_on"];

/// A trace's spans, once they include `last` and a release for each acquired lock.
async fn whole_trace(collector: &Collector, id: &str, last: &str) -> Vec<Span> {
    eventually("a whole trace", async || {
        let spans = collector.trace(id);
        let acquired =
            |span: &&Span| span.name == "lock" && ACQUIRED.contains(&attribute(span, "dataverse_sync.lock.result"));
        let released = spans.iter().filter(|span| span.name == "release").count();
        let is_whole = spans.iter().any(|span| span.name == last) && spans.iter().filter(acquired).count() == released;
        is_whole.then_some(spans)
    })
    .await
}

fn names(spans: &[Span]) -> BTreeSet<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

/// The only span with that name.
fn only<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    let [span] = found[..] else { panic!("{} spans are named {name}: {spans:#?}", found.len()) };
    span
}

/// An attribute's text, or an empty one.
fn attribute<'a>(span: &'a Span, name: &str) -> &'a str {
    span.attributes.get(name).map(String::as_str).unwrap_or_default()
}
