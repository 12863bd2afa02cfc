//! Metrics: exactly those that the documents list, with their values.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use stand_ins::collector::Point;
use stand_ins::dataverse::Status;

use super::{ExportingHandler, SOON, dashboard};
use crate::caller::contact;
use crate::contract::documents;
use crate::waiting::eventually;

/// A handler after one event of every kind: a record applied, one rejected, a pause begun and ended.
async fn eventful() -> ExportingHandler {
    let exporting = ExportingHandler::start(&SOON).await;
    let contact = |key: &str| contact(key, &json!({ "firstname": "Ada" }));
    assert_eq!(exporting.post(&contact("C1")).await.status, 200);
    exporting.refuse(Status::new(400, "0x80040203", "Not like this."));
    assert_eq!(exporting.post(&contact("C2")).await.status, 422);
    exporting.refuse(Status { retry_after: Some(1), ..Status::new(429, "0x80072322", "Too many.") });
    assert_eq!(exporting.post(&contact("C3")).await.status, 200);
    exporting
}

/// The metrics, once they cover all three records and the release of their locks: four attempts, each under its own lock.
async fn figures(exporting: &ExportingHandler) -> Vec<Point> {
    eventually("the figures of three records", async || {
        let points = exporting.collector.points();
        let count = |name: &str| points.iter().filter(|point| point.name == name).map(|point| point.count).sum::<u64>();
        (count("dataverse_sync.records") == 3 && count("dataverse_sync.lock.hold") == 4).then_some(points)
    })
    .await
}

/// The metrics after a call with more records than are sent at once.
async fn with_batches(exporting: &ExportingHandler) -> Vec<Point> {
    let records: Vec<_> = (0..60).map(|number| contact(&format!("B{number}"), &json!({}))).collect();
    assert_eq!(exporting.post(&records.into()).await.status, 200);
    eventually("a batch", async || {
        let points = exporting.collector.points();
        points.iter().any(|point| point.name == "dataverse_sync.batch.size").then_some(points)
    })
    .await
}

fn one<'a>(points: &'a [Point], name: &str, labels: &[(&str, &str)]) -> &'a Point {
    let labels: BTreeMap<_, _> = labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let found = points.iter().find(|point| point.name == name && point.attributes == labels);
    found.unwrap_or_else(|| panic!("no {name} with {labels:?} in {points:#?}"))
}

#[tokio::test]
async fn the_metrics_are_those_of_the_documents_with_their_units_labels_and_values() {
    let exporting = eventful().await;
    let points = figures(&exporting).await;
    let with_batches = with_batches(&exporting).await;
    let mut sent: BTreeMap<&str, (&str, BTreeSet<&str>)> = BTreeMap::new();
    for point in &with_batches {
        let entry = sent.entry(&point.name).or_insert_with(|| (&point.unit, BTreeSet::new()));
        entry.1.extend(point.attributes.keys().map(String::as_str));
    }
    let table = documents::table("src/docs/telemetry.md", "Metrics");
    let mut promised = BTreeMap::new();
    for row in &table {
        let [name, unit, labels, _] = &row[..] else { panic!("{row:?} has other columns") };
        let [name] = documents::quoted(name)[..] else { panic!("{name} is not a name") };
        let labels: BTreeSet<_> = documents::quoted(labels).into_iter().collect();
        promised.insert(name, (unit.trim_matches('`'), labels));
    }
    assert_eq!(sent, promised);
    dashboard::check(&with_batches);
    check_values(&exporting, &points).await;
}

async fn check_values(exporting: &ExportingHandler, points: &[Point]) {
    let record = |outcome, reason| {
        let labels =
            [("faas.name", "SyncHttp"), ("dataverse_sync.outcome", outcome), ("dataverse_sync.reason", reason)];
        one(points, "dataverse_sync.records", &labels).count
    };
    assert_eq!((record("applied", "upserted"), record("rejected", "invalid_data")), (2, 1));
    let labels = [("faas.name", "SyncHttp"), ("dataverse_sync.outcome", "applied")];
    let durations = one(points, "dataverse_sync.record.duration", &labels);
    assert!(durations.count == 2 && durations.sum >= 1.0, "one of them waited through the pause: {durations:?}");

    let server: std::net::SocketAddr = exporting.world.dataverse.url()["http://".len()..].parse().expect("an address");
    let port = server.port().to_string();
    let writes = |more: &[(&str, &str)]| {
        let server = [("http.request.method", "PATCH"), ("server.address", "127.0.0.1"), ("server.port", &*port)];
        let labels: Vec<_> = server.into_iter().chain(more.iter().copied()).collect();
        one(points, "http.client.request.duration", &labels).count
    };
    assert_eq!(writes(&[("http.response.status_code", "204")]), 2);
    assert_eq!(writes(&[("http.response.status_code", "400"), ("error.type", "400")]), 1);
    assert_eq!(writes(&[("http.response.status_code", "429"), ("error.type", "429")]), 1);

    assert_eq!(one(points, "dataverse_sync.lock.wait", &[("dataverse_sync.lock.result", "storage")]).count, 4);
    let pause = [("dataverse_sync.gate.closed_by", "pause"), ("dataverse_sync.reason", "throttled")];
    assert_eq!(one(points, "dataverse_sync.gate.closings", &pause).count, 1);
    let lasted = one(points, "dataverse_sync.gate.closed.duration", &pause);
    assert!(lasted.count == 1 && lasted.sum >= 1.0, "{lasted:?}");
    assert!(one(points, "dataverse_sync.gate.width", &[]).count >= 1);
    assert_eq!(one(points, "dataverse_sync.log.dropped", &[]).count, 0);
    let idle = eventually("an empty gate", async || {
        let points = exporting.collector.points();
        (one(&points, "dataverse_sync.gate.in_flight", &[]).count == 0).then_some(points)
    })
    .await;
    assert_eq!(one(&idle, "dataverse_sync.gate.waiting", &[]).count, 0);
}

#[tokio::test]
async fn a_hold_is_counted_when_it_begins_and_measured_when_it_ends() {
    let exporting = ExportingHandler::start(&SOON).await;
    exporting.world.identity.fault(stand_ins::identity::Fault::Status(reqwest::StatusCode::SERVICE_UNAVAILABLE));
    let held = [("dataverse_sync.gate.closed_by", "hold"), ("dataverse_sync.reason", "unavailable")];
    let record = contact("C1", &json!({ "firstname": "Ada" }));
    let outage = async {
        eventually("a hold", async || {
            let points = exporting.collector.points();
            points.iter().any(|point| point.name == "dataverse_sync.gate.closings").then_some(())
        })
        .await;
        assert_eq!(one(&exporting.collector.points(), "dataverse_sync.gate.closings", &held).count, 1);
        exporting.world.identity.clear_faults();
    };
    let (answer, ()) = tokio::join!(exporting.post(&record), outage);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let lasted = eventually("its end", async || {
        let points = exporting.collector.points();
        points.into_iter().find(|point| point.name == "dataverse_sync.gate.closed.duration")
    })
    .await;
    assert_eq!(lasted.count, 1);
    assert!(lasted.sum > 0.0);
}
