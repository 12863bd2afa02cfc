//! A collector that is down, slow or refusing does not affect messages, and causes one log line.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use stand_ins::collector::Behaviour;

use super::{ExportingHandler, NEVER, SOON};
use crate::caller::contact;
use crate::waiting::eventually;

const WARNING: &str = "does not accept traces or metrics";

impl ExportingHandler {
    async fn work(&self, records: u32) {
        let settled = join_all((0..records).map(async |number| {
            let record = contact(&format!("C{number}"), &json!({ "firstname": "Ada" }));
            self.post(&record).await.status
        }));
        assert!(settled.await.iter().all(|status| *status == 200));
    }

    /// The number of warnings about the collector.
    fn warnings(&self) -> usize {
        self.handler.printed().lines().filter(|line| line.contains("WARN") && line.contains(WARNING)).count()
    }

    async fn deliveries(&self, count: usize) {
        eventually("deliveries", async || (self.collector.deliveries().len() >= count).then_some(())).await;
    }
}

#[tokio::test]
async fn a_collector_that_refuses_is_logged_once_and_so_is_its_recovery() {
    let exporting = ExportingHandler::start(&SOON).await;
    exporting.collector.behaviour(Behaviour::Refuses(StatusCode::INTERNAL_SERVER_ERROR));
    exporting.work(10).await;
    exporting.deliveries(20).await;
    exporting.work(10).await;
    assert_eq!(exporting.warnings(), 1, "{}", exporting.handler.printed());
    exporting.collector.behaviour(Behaviour::Takes);
    eventually("its recovery", async || {
        exporting.handler.printed().contains("accepts traces and metrics again").then_some(())
    })
    .await;
    exporting.collector.behaviour(Behaviour::Refuses(StatusCode::SERVICE_UNAVAILABLE));
    let so_far = exporting.collector.deliveries().len();
    exporting.deliveries(so_far + 10).await;
    assert_eq!(exporting.warnings(), 1, "a collector that comes and goes does not fill the log");
    assert_eq!(exporting.stop().await.2, 143);
}

#[tokio::test]
async fn while_a_collector_hangs_spans_are_lost_and_no_message_and_the_handler_ends() {
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")];
    let exporting = ExportingHandler::start(&[SOON, small].concat()).await;
    exporting.collector.behaviour(Behaviour::Hangs);
    exporting.work(1).await;
    // From now on the exporting threads hang.
    exporting.deliveries(2).await;
    exporting.work(200).await;
    let (world, collector, code) = exporting.stop().await;
    assert_eq!((code, world.dataverse.rows("contacts").len()), (143, 200));
    assert_eq!(collector.spans(), []);
}

#[tokio::test]
async fn a_handler_that_cannot_export_the_rest_logs_that_and_ends() {
    let exporting = ExportingHandler::start(&NEVER).await;
    exporting.collector.behaviour(Behaviour::Hangs);
    exporting.work(3).await;
    exporting.handler.signal("TERM").await;
    eventually("the last line", async || {
        exporting.handler.printed().contains("could not be sent in time").then_some(())
    })
    .await;
    assert_eq!(exporting.handler.ended().await.code(), Some(143));
}
