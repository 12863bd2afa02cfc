//! The standard settings, the log filter beside them, and the export at shutdown.

use std::collections::BTreeSet;

use serde_json::json;

use super::{ENDPOINT, ExportingHandler, NEVER, SOON, names};
use crate::caller::contact;
use crate::waiting::eventually;

#[tokio::test]
async fn what_is_left_is_exported_when_the_handler_stops() {
    let exporting = ExportingHandler::start(&NEVER).await;
    assert_eq!(exporting.post(&contact("C1", &json!({}))).await.status, 200);
    assert_eq!(exporting.collector.deliveries().len(), 0);
    let (_world, collector, code) = exporting.stop().await;
    assert_eq!(code, 143);
    assert_eq!(names(&collector.spans()), BTreeSet::from(["SyncHttp", "lock", "release", "token", "write"]));
    assert!(collector.points().iter().any(|point| point.name == "dataverse_sync.records" && point.count == 1));
}

#[tokio::test]
async fn the_log_filter_does_not_affect_traces_and_no_trace_span_is_logged() {
    for filter in ["error,handler=info", "trace,hyper=off,h2=off"] {
        let exporting = ExportingHandler::start(&[SOON[0], SOON[1], ("RUST_LOG", filter)]).await;
        assert_eq!(exporting.post(&contact("C1", &json!({}))).await.status, 200);
        eventually("the spans", async || {
            let spans = exporting.collector.spans();
            names(&spans).is_superset(&BTreeSet::from(["SyncHttp", "lock", "write"])).then_some(())
        })
        .await;
        let printed = exporting.handler.printed();
        for trace_of in ["faas.", "otel.", "http.route", "dataverse_sync::telemetry::trace"] {
            assert!(!printed.contains(trace_of), "{trace_of} under {filter}:\n{printed}");
        }
    }
}

#[tokio::test]
async fn standard_variables_have_their_specified_meaning() {
    let exporting = ExportingHandler::start(&[
        SOON[0],
        SOON[1],
        ("OTEL_SERVICE_NAME", "crm-sync"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "api-key=k%20y,,x-team=integration"),
        ("OTEL_TRACES_SAMPLER", "parentbased_always_on"),
    ])
    .await;
    let unsampled = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00";
    let sampled = "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01";
    for parent in [unsampled, sampled] {
        assert_eq!(exporting.post_within(&contact("C1", &json!({})), &[("traceparent", parent)]).await.status, 200);
    }
    let spans = super::whole_trace(&exporting.collector, &sampled[3..35], "SyncHttp").await;
    assert!(!spans.is_empty());
    assert_eq!(exporting.collector.trace(&unsampled[3..35]), [], "the parent decides where the operator says so");
    let service = exporting.collector.resource();
    assert_eq!(service["service.name"], "crm-sync");
    assert_eq!(service["deployment.environment.name"], "test");
    let headers = exporting.collector.deliveries().swap_remove(0).headers;
    assert_eq!((&headers["api-key"] == "k y", &headers["x-team"] == "integration"), (true, true));
}

/// Other unusable settings are tested beside `otlp_settings`.
#[tokio::test]
async fn a_setting_that_only_the_sdk_rejects_is_one_warning_and_messages_are_processed() {
    let exporting = ExportingHandler::start(&[SOON[0], SOON[1], (ENDPOINT, "http://localhost:4318/canary ")]).await;
    assert_eq!(exporting.post(&contact("C1", &json!({}))).await.status, 200);
    let printed = exporting.handler.printed();
    let warnings: Vec<_> = printed.lines().filter(|line| line.contains("OpenTelemetry settings")).collect();
    let [warning] = warnings[..] else { panic!("one warning: {printed}") };
    assert!(warning.contains(" WARN ") && warning.contains(ENDPOINT) && !printed.contains("canary"), "{printed}");
    assert_eq!(exporting.stop().await.1.deliveries().len(), 0);
}
