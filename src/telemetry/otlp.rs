//! Traces and metrics to a collector, by OTLP over HTTP with protobuf; off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! The OpenTelemetry SDK does the work, on threads of its own: a bounded queue of spans, an interval for metrics. It reads its standard
//! environment variables itself. One default differs: without `OTEL_TRACES_SAMPLER` every message is traced, because the Functions host
//! passes a `traceparent` that says "not sampled" also where Application Insights records the invocation.
//!
//! Invariants: a message never waits for a collector; one that is down costs a log line and the spans that the queue cannot hold.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, MetricExporter, RetryPolicy, SpanExporter, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::metrics;
use super::otlp_client::OtlpClient;
use super::otlp_settings::{ENDPOINT, OtlpSettings};
use crate::settings::Problem;

/// The longest time for the last export: a host that stops does not wait for long.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// The name of this program in traces and metrics.
const SCOPE: &str = env!("CARGO_PKG_NAME");

/// Collects traces and metrics and sends them in the background.
pub struct Export {
    traces: Option<SdkTracerProvider>,
    metrics: Option<SdkMeterProvider>,
}

impl Export {
    /// Starts what the settings turn on, if anything, in the runtime that this is called in.
    ///
    /// # Errors
    /// When the SDK rejects its environment variables.
    pub(super) fn start(settings: &OtlpSettings) -> Result<Option<Self>, Problem> {
        if !settings.traces && !settings.metrics {
            return Ok(None);
        }
        // The SDK's text may quote a URL, in which some collectors take their key.
        Self::build(settings).map(Some).map_err(|_| Problem::new(ENDPOINT, "was rejected by the OpenTelemetry SDK"))
    }

    /// Failed exports are not repeated: newer data would wait for them.
    fn build(settings: &OtlpSettings) -> Result<Self, ExporterBuildError> {
        let (client, resource) = (Arc::new(OtlpClient::new(settings.timeout)), resource());
        let mut export = Self { traces: None, metrics: None };
        if settings.traces {
            let exporter = SpanExporter::builder().with_http().with_shared_http_client(client.clone());
            let exporter = exporter.with_retry_policy(RetryPolicy::disabled()).build()?;
            let provider = SdkTracerProvider::builder()
                .with_span_processor(BatchSpanProcessor::builder(exporter).build())
                .with_resource(resource.clone());
            let provider = if settings.has_sampler { provider } else { provider.with_sampler(Sampler::AlwaysOn) };
            export.traces = Some(provider.build());
        }
        if settings.metrics {
            let exporter = MetricExporter::builder().with_http().with_shared_http_client(client);
            let reader = PeriodicReader::builder(exporter.with_retry_policy(RetryPolicy::disabled()).build()?).build();
            let provider = SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build();
            metrics::install(&provider.meter(SCOPE));
            export.metrics = Some(provider);
        }
        Ok(export)
    }

    /// Takes the spans, if traces are on.
    pub(super) fn tracer(&self) -> Option<SdkTracer> {
        self.traces.as_ref().map(|traces| traces.tracer(SCOPE))
    }

    /// Also collects admission's limit, messages in flight and messages waiting, as `figures` returns them.
    pub fn observe_admission(&self, figures: impl Fn() -> [u64; 3] + Clone + Send + Sync + 'static) {
        if let Some(metrics) = &self.metrics {
            metrics::observe_admission(&metrics.meter(SCOPE), figures);
        }
    }

    /// Also collects how many lines of the log were dropped, as `figure` returns it.
    pub(super) fn observe_dropped_lines(&self, figure: impl Fn() -> u64 + Send + Sync + 'static) {
        if let Some(metrics) = &self.metrics {
            metrics::observe_dropped_lines(&metrics.meter(SCOPE), figure);
        }
    }

    /// Sends what is left, within a few seconds or not at all.
    pub async fn finish(self) {
        let (done, finished) = oneshot::channel();
        // Detached: the SDK's shutdown of metrics has no time limit of its own.
        std::thread::spawn(move || {
            // The client has logged failures.
            let _ = self.traces.map(|traces| traces.shutdown_with_timeout(FLUSH_TIMEOUT));
            let _ = self.metrics.map(|metrics| metrics.shutdown_with_timeout(FLUSH_TIMEOUT));
            let _ = done.send(());
        });
        if timeout(FLUSH_TIMEOUT, finished).await.is_err() {
            tracing::warn!("stopping: the last traces and metrics could not be sent in time");
        }
    }
}

/// Identifies this process. Each instance has its own id: metrics of several instances must not be mistaken for one.
fn resource() -> Resource {
    // `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, or a name for services without one.
    let detected = Resource::builder().build();
    let name = detected.get(&Key::from_static_str("service.name"));
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", Uuid::new_v4().to_string()),
    ]);
    if is_named { resource.build() } else { resource.with_service_name(SCOPE).build() }
}
