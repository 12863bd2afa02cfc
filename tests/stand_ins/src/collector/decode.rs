//! Converts OTLP's protobuf into the collector's types. Other fields are dropped.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{HistogramDataPoint, Metric, NumberDataPoint};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1 as wire;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;

use super::{MetricKind, Point, Span};

type Attributes = BTreeMap<String, String>;

/// The spans of a request, and its resource.
pub(super) fn spans(body: &[u8]) -> Option<(Attributes, Vec<Span>)> {
    let request = ExportTraceServiceRequest::decode(body).ok()?;
    let resource = resource(request.resource_spans.first().and_then(|of_one| of_one.resource.as_ref()));
    let scopes = request.resource_spans.into_iter().flat_map(|of_one| of_one.scope_spans);
    Some((resource, scopes.flat_map(|scope| scope.spans).map(span).collect()))
}

/// The series of a request, and its resource.
pub(super) fn points(body: &[u8]) -> Option<(Attributes, Vec<Point>)> {
    let request = ExportMetricsServiceRequest::decode(body).ok()?;
    let resource = resource(request.resource_metrics.first().and_then(|of_one| of_one.resource.as_ref()));
    let scopes = request.resource_metrics.into_iter().flat_map(|of_one| of_one.scope_metrics);
    Some((resource, scopes.flat_map(|scope| scope.metrics).flat_map(series).collect()))
}

fn resource(resource: Option<&Resource>) -> Attributes {
    attributes(resource.map(|resource| &resource.attributes[..]).unwrap_or_default())
}

fn span(span: wire::Span) -> Span {
    Span {
        trace: hex(&span.trace_id),
        id: hex(&span.span_id),
        parent: (!span.parent_span_id.is_empty()).then(|| hex(&span.parent_span_id)),
        kind: format!("{:?}", span.kind()),
        attributes: attributes(&span.attributes),
        failed: span.status.is_some_and(|status| status.code() == StatusCode::Error),
        name: span.name,
        began: span.start_time_unix_nano,
        ended: span.end_time_unix_nano,
    }
}

fn series(metric: Metric) -> Vec<Point> {
    let (name, unit) = (metric.name, metric.unit);
    let point = |kind, labels: &[KeyValue], count: u64, sum: f64| Point {
        name: name.clone(),
        kind,
        unit: unit.clone(),
        attributes: attributes(labels),
        count,
        sum,
    };
    let number = |kind| {
        let point = &point;
        move |of: &NumberDataPoint| point(kind, &of.attributes, value(of), 0.0)
    };
    let histogram =
        |of: &HistogramDataPoint| point(MetricKind::Histogram, &of.attributes, of.count, of.sum.unwrap_or_default());
    match metric.data {
        Some(Data::Gauge(gauge)) => gauge.data_points.iter().map(number(MetricKind::Gauge)).collect(),
        Some(Data::Sum(sum)) => {
            let kind = if sum.is_monotonic { MetricKind::Counter } else { MetricKind::Gauge };
            sum.data_points.iter().map(number(kind)).collect()
        }
        Some(Data::Histogram(of)) => of.data_points.iter().map(histogram).collect(),
        Some(Data::ExponentialHistogram(_) | Data::Summary(_)) | None => Vec::new(),
    }
}

fn value(point: &NumberDataPoint) -> u64 {
    match point.value {
        Some(Number::AsInt(number)) => u64::try_from(number).unwrap_or_default(),
        Some(Number::AsDouble(_)) | None => 0,
    }
}

fn attributes(wire: &[KeyValue]) -> Attributes {
    wire.iter().map(|pair| (pair.key.clone(), pair.value.as_ref().map(text).unwrap_or_default())).collect()
}

fn text(value: &AnyValue) -> String {
    match &value.value {
        Some(Value::StringValue(text)) => text.clone(),
        Some(Value::IntValue(number)) => number.to_string(),
        Some(Value::BoolValue(flag)) => flag.to_string(),
        Some(Value::DoubleValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a string cannot fail");
        text
    })
}
