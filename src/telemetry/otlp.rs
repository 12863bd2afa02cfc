//! Traces and metrics to a collector, by OTLP over HTTP with protobuf; off unless `OTEL_EXPORTER_OTLP_ENDPOINT` is set.
//!
//! The OpenTelemetry SDK does the work, on threads of its own: a bounded queue of spans, an interval for metrics. Its standard
//! variables mean what they mean elsewhere, but for two things. What it would quietly ignore is a
//! [`Problem`](crate::settings::Problem) here. And without `OTEL_TRACES_SAMPLER` every message is traced, whatever its parent says:
//! the Functions host passes a `traceparent` that says "not sampled" also where Application Insights records the invocation.
//!
//! Invariants: a message never waits for a collector; one that is down costs a line in the log and what the queue cannot hold.
//!
//! <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>,
//! <https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/>

use std::sync::Arc;
use std::time::Duration;

use opentelemetry::metrics::MeterProvider as _;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{
    ExporterBuildError, MetricExporter, Protocol, RetryPolicy, SpanExporter, WithExportConfig as _, WithHttpConfig as _,
};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::metrics::{PeriodicReader, SdkMeterProvider};
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider};
use tokio::sync::oneshot;
use tokio::time::timeout;
use uuid::Uuid;

use super::otlp_client::Courier;
use super::otlp_settings::ExportSettings;
use crate::admission::Admission;
use crate::telemetry::metrics;

/// What is left in the queue is lost if it cannot be sent within this time: a host that stops does not wait for long.
const FLUSH: Duration = Duration::from_secs(3);

/// The name of this program in traces and metrics.
const SCOPE: &str = env!("CARGO_PKG_NAME");

/// What sends traces and metrics.
pub struct Export {
    traces: SdkTracerProvider,
    metrics: SdkMeterProvider,
}

impl Export {
    /// Begins to collect, and to send in the background. To be called within the runtime that will send.
    ///
    /// # Errors
    /// When the SDK refuses the settings.
    pub fn start(settings: &ExportSettings) -> Result<Self, ExporterBuildError> {
        let courier = Arc::new(Courier::new(settings.timeout));
        // The owner of retries is the next interval: what is late is worth less than what it would hold up at the end.
        let spans = SpanExporter::builder()
            .with_http()
            .with_shared_http_client(courier.clone())
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.traces.as_str())
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let figures = MetricExporter::builder()
            .with_http()
            .with_shared_http_client(courier)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.metrics.as_str())
            .with_retry_policy(RetryPolicy::disabled())
            .build()?;
        let resource = resource(settings.is_named);
        let mut traces = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(spans).build())
            .with_resource(resource.clone());
        if !settings.has_sampler {
            traces = traces.with_sampler(Sampler::AlwaysOn);
        }
        let reader = PeriodicReader::builder(figures).build();
        let export = Self {
            traces: traces.build(),
            metrics: SdkMeterProvider::builder().with_reader(reader).with_resource(resource).build(),
        };
        metrics::install(&export.metrics.meter(SCOPE));
        Ok(export)
    }

    /// What spans are handed to.
    pub(super) fn tracer(&self) -> SdkTracer {
        self.traces.tracer(SCOPE)
    }

    /// Collects the figures of admission as well.
    pub fn watch(&self, admission: &Admission) {
        let admission = admission.clone();
        metrics::observe_admission(&self.metrics.meter(SCOPE), move || admission.figures());
    }

    /// Sends what there is still to send, within a few seconds or not at all.
    pub async fn finish(self) {
        let (done, finished) = oneshot::channel();
        // A thread that nobody waits for: the SDK has no bound of its own for metrics.
        std::thread::spawn(move || {
            // What fails now has been told of by the courier.
            let _ = self.traces.shutdown_with_timeout(FLUSH);
            let _ = self.metrics.shutdown_with_timeout(FLUSH);
            let _ = done.send(());
        });
        if timeout(FLUSH, finished).await.is_err() {
            tracing::warn!("stopping: the last traces and metrics could not be sent in time");
        }
    }
}

/// Who we are. Figures that several instances send under one name would be taken for one another, so each has an id of its own.
fn resource(is_named: bool) -> Resource {
    let resource = Resource::builder();
    let resource = if is_named { resource } else { resource.with_service_name(SCOPE) };
    resource
        .with_attribute(opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(opentelemetry::KeyValue::new("service.instance.id", Uuid::new_v4().to_string()))
        .build()
}
