//! A collector that is down, slow or refusing does not affect messages, and causes one log line.

use futures::future::join_all;
use reqwest::StatusCode;
use serde_json::json;
use stand_ins::collector::{Behaviour, Collector};

use super::{ENDPOINT, NEVER, SOON, Scene};
use crate::caller::contact;
use crate::process::running::Running;
use crate::waiting::eventually;

const WARNING: &str = "does not accept traces or metrics";

impl Scene {
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
    let scene = Scene::start(&SOON).await;
    scene.collector.behaviour(Behaviour::Refuses(StatusCode::INTERNAL_SERVER_ERROR));
    scene.work(10).await;
    scene.deliveries(20).await;
    scene.work(10).await;
    assert_eq!(scene.warnings(), 1, "{}", scene.handler.printed());
    scene.collector.behaviour(Behaviour::Takes);
    eventually("its recovery", async || {
        scene.handler.printed().contains("accepts traces and metrics again").then_some(())
    })
    .await;
    scene.collector.behaviour(Behaviour::Refuses(StatusCode::SERVICE_UNAVAILABLE));
    let so_far = scene.collector.deliveries().len();
    scene.deliveries(so_far + 10).await;
    assert_eq!(scene.warnings(), 1, "a collector that comes and goes does not fill the log");
    assert_eq!(scene.stop().await.2, 0);
}

#[tokio::test]
async fn while_a_collector_hangs_spans_are_lost_and_no_message_and_the_handler_ends() {
    let small = [("OTEL_BSP_MAX_QUEUE_SIZE", "8"), ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "8")];
    let scene = Scene::start(&[SOON, small].concat()).await;
    scene.collector.behaviour(Behaviour::Hangs);
    scene.work(1).await;
    // From now on the exporting threads hang.
    scene.deliveries(2).await;
    scene.work(200).await;
    let (world, collector, code) = scene.stop().await;
    assert_eq!((code, world.dataverse.rows("contacts").len()), (0, 200));
    assert_eq!(collector.spans(), []);
}

#[tokio::test]
async fn a_missing_collector_is_logged_once() {
    let gone = Collector::start().await.expect("the collector starts").endpoint();
    let world = crate::world().await;
    let settings: Vec<_> = [(ENDPOINT, gone.as_str())].into_iter().chain(SOON).collect();
    let handler = Running::in_world(&world, &settings).await;
    let scene = Scene { world, collector: Collector::start().await.expect("the collector starts"), handler };
    scene.work(10).await;
    eventually("the warning", async || (scene.warnings() == 1).then_some(())).await;
    let printed = scene.handler.printed();
    let line = printed.lines().find(|line| line.contains(WARNING)).expect("it is there");
    assert!(line.contains("no connection") && !line.contains(&gone), "{line}");
    scene.work(10).await;
    assert_eq!(scene.warnings(), 1);
    assert_eq!(scene.stop().await.2, 0);
}

#[tokio::test]
async fn a_handler_that_cannot_export_the_rest_logs_that_and_ends() {
    let scene = Scene::start(&NEVER).await;
    scene.collector.behaviour(Behaviour::Hangs);
    scene.work(3).await;
    scene.handler.signal("TERM").await;
    eventually("the last line", async || scene.handler.printed().contains("could not be sent in time").then_some(()))
        .await;
    assert_eq!(scene.handler.ended().await.code(), Some(0));
}
