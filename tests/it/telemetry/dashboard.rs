//! The Grafana dashboard shows every metric that the handler exports, by the names that Prometheus gives metrics and labels.
//!
//! <https://opentelemetry.io/docs/specs/otel/compatibility/prometheus_and_openmetrics/#otlp-metric-points-to-prometheus>

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use regex_lite::Regex;
use serde_json::Value;
use stand_ins::collector::{MetricKind, Point};

/// Checks the dashboard against all metrics of the handler.
pub(super) fn check(points: &[Point]) {
    let exported = exported(points);
    let mut shown = BTreeSet::new();
    for (expression, legend) in queries() {
        let metrics = found(r#"([a-z_]+)\{job=~"\$job""#, &expression);
        let labels = metrics.iter().map(|metric| {
            exported.get(metric).unwrap_or_else(|| panic!("{metric} is not exported: {:?}", exported.keys()))
        });
        let labels: BTreeSet<String> = labels.flatten().cloned().chain(["job".to_owned()]).collect();
        let used = used_labels(&expression, &legend);
        assert!(!metrics.is_empty() && used.is_subset(&labels), "{expression}, {legend}: {used:?}");
        shown.extend(metrics);
    }
    for point in points {
        assert!(series(point).iter().any(|name| shown.contains(name)), "{} is in no panel", point.name);
    }
}

/// The series that Prometheus makes of the handler's metrics, with their labels.
fn exported(points: &[Point]) -> BTreeMap<String, BTreeSet<String>> {
    let mut exported: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for point in points {
        for name in series(point) {
            let bucket = name.ends_with("_bucket").then(|| "le".to_owned());
            let labels = point.attributes.keys().map(|label| label.replace('.', "_"));
            exported.entry(name).or_default().extend(labels.chain(bucket));
        }
    }
    exported
}

fn series(point: &Point) -> Vec<String> {
    let unit = match point.unit.as_str() {
        "s" => "_seconds",
        unit if unit.starts_with('{') => "",
        unit => panic!("{unit} of {} has no name here", point.name),
    };
    let suffixes: &[&str] = match point.kind {
        MetricKind::Counter => &["_total"],
        MetricKind::Gauge => &[""],
        MetricKind::Histogram => &["_bucket", "_count", "_sum"],
    };
    suffixes.iter().map(|suffix| format!("{}{unit}{suffix}", point.name.replace('.', "_"))).collect()
}

/// Each expression of the dashboard with its legend.
fn queries() -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("functions/infra/grafana.json");
    let dashboard = fs::read_to_string(path).expect("it can be read");
    let dashboard: Value = serde_json::from_str(&dashboard).expect("it is JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let targets = panels.iter().flat_map(|panel| panel["targets"].as_array().expect("targets"));
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    targets.map(|target| (text(&target["expr"]), text(&target["legendFormat"]))).collect()
}

/// The labels of an expression's matchers and groups, and of its legend.
fn used_labels(expression: &str, legend: &str) -> BTreeSet<String> {
    let groups = found(r"by \(([^)]*)\)", expression);
    let groups = groups.iter().flat_map(|group| group.split(", ")).map(str::to_owned);
    groups.chain(found(r#"(\w+)=~?""#, expression)).chain(found(r"\{\{(\w+)\}\}", legend)).collect()
}

fn found(pattern: &str, text: &str) -> BTreeSet<String> {
    let pattern = Regex::new(pattern).expect("a pattern");
    pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
}
