//! Messages through the whole loop, on the embedded storage.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::*;
use crate::queue::Queue;
use crate::storage::{self, Storage};

const DONE: &str = r#"{"Outputs":{},"Logs":[],"ReturnValue":null}"#;

struct Loop {
    app: StagedApp,
    storage: Storage,
    handler: ScriptedHandler,
    input: Queue,
    poison: Queue,
}

impl Loop {
    async fn start() -> Self {
        let storage = Storage::start(storage::Options::default()).await.expect("loopback has free ports");
        let service = QueueService::from_connection_string(&storage.connection_string()).expect("it is valid");
        let input = service.queue("sync-records");
        input.create_if_missing().await.expect("the storage works");
        let (app, handler) = (StagedApp::new("exit 0"), ScriptedHandler::start().await);
        Self { app, storage, handler, input, poison: service.queue("sync-records-poison") }
    }

    async fn host(&self, change: impl FnOnce(&mut Options)) -> Host {
        let mut options = options(&self.app, &self.storage.connection_string());
        change(&mut options);
        Host::attach(options, self.handler.server.port()).await.expect("it starts")
    }

    async fn put(&self, text: &str) {
        self.input.put(&STANDARD.encode(text)).await.expect("the storage works");
    }

    async fn left(&self) -> u64 {
        self.input.approximate_count().await.expect("the storage works")
    }
}

/// The host settles a message after the response; waits a limited time for the visible effect.
async fn eventually(what: &str, mut seen: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if seen().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never: {what}");
}

#[tokio::test]
async fn a_message_reaches_the_handler_and_its_output_the_other_queue() {
    let mut world = Loop::start().await;
    let host = world.host(|_| {}).await;
    world.put(r#"{"table":"contacts"}"#).await;
    let call = world.handler.next().await;
    assert_eq!((call.uri.path(), host.stats().in_flight), ("/SyncQueue", 1));
    assert!(!call.headers.contains_key("traceparent"));
    let body: Value = serde_json::from_slice(&call.body).expect("it is JSON");
    assert_eq!(body["Data"]["record"], r#""{\"table\":\"contacts\"}""#);
    assert_eq!(body["Metadata"]["DequeueCount"], "1");
    call.answer(200, r#"{"Outputs":{"deadLetter":{"reason":"exists"}},"Logs":["seen"],"ReturnValue":null}"#);
    eventually("the message is deleted", async || world.left().await == 0).await;
    let dead = world.poison.peek(1).await.expect("the host made the queue");
    assert_eq!(STANDARD.decode(&dead[0].text).expect("it is base64"), b"{\n  \"reason\": \"exists\"\n}");
    let record = &host.invocations()[0];
    assert_eq!(record.outputs, [("deadLetter".to_owned(), "{\n  \"reason\": \"exists\"\n}".to_owned())]);
    let log =
        LogLine { severity: Severity::Information, category: Category::Invocation(record.id), text: "seen".to_owned() };
    assert!(host.logs().contains(&log));
}

#[tokio::test]
async fn a_failed_message_comes_back_and_its_last_failure_poisons_it() {
    let mut world = Loop::start().await;
    let host = world.host(|_| {}).await;
    world.put("{}").await;
    for _ in 0..2 {
        world.handler.next().await.answer(503, "");
    }
    eventually("the message is poisoned", async || host.stats().poisoned == 1 && world.left().await == 0).await;
    let dead = world.poison.peek(2).await.expect("the host made the queue");
    assert_eq!((dead.len(), dead[0].text.as_str()), (1, "e30="));
    let records = host.invocations();
    let text = "Response status code does not indicate success: 503 (Service Unavailable).";
    assert_eq!(records.iter().map(|record| record.dequeue_count).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(records[1].result, InvocationResult::Failed(text.to_owned()));
}

#[tokio::test]
async fn an_empty_answer_hangs_until_the_function_timeout() {
    let mut world = Loop::start().await;
    let host = world.host(|options| options.function_timeout = Some(Duration::from_secs(1))).await;
    world.put("{}").await;
    world.handler.next().await.answer(200, "");
    world.handler.next().await.answer(200, DONE);
    eventually("the second delivery is done", async || host.stats().succeeded == 1).await;
    let results: Vec<_> = host.invocations().into_iter().map(|record| record.result).collect();
    assert_eq!(results, [InvocationResult::TimedOut, InvocationResult::Succeeded]);
}

#[tokio::test]
async fn a_running_message_stays_hidden_and_a_stopped_host_leaves_it_to_the_next() {
    let mut world = Loop::start().await;
    let first = world.host(|options| options.invisibility = Some(Duration::from_secs(3))).await;
    world.put("{}").await;
    let held = world.handler.next().await;
    eventually("it is renewed twice", async || world.storage.counts().update_message >= 2).await;
    let next = tokio::time::timeout(Duration::ZERO, world.handler.next()).await;
    assert!(next.is_err(), "the message was delivered twice");
    first.stop().await;
    let second = world.host(|_| {}).await;
    world.handler.next().await.answer(200, DONE);
    eventually("the second host is done", async || second.stats().succeeded == 1 && world.left().await == 0).await;
    assert_eq!(second.invocations()[0].dequeue_count, 2);
    held.answer(200, DONE);
}

#[tokio::test]
async fn a_message_that_is_not_base64_is_poisoned_without_an_invocation() {
    let world = Loop::start().await;
    let host = world.host(|_| {}).await;
    world.input.put("{plain}").await.expect("the storage works");
    eventually("the message is poisoned", async || host.stats().poisoned == 1 && world.left().await == 0).await;
    assert_eq!(world.poison.peek(1).await.expect("the host made the queue")[0].text, "{plain}");
    assert!(host.invocations().is_empty());
}

#[tokio::test]
async fn no_more_run_at_once_than_a_batch_and_the_threshold() {
    let mut world = Loop::start().await;
    let host = StagedApp::HOST.replace("\"maxDequeueCount\":2", "\"batchSize\":2,\"newBatchThreshold\":1");
    world.app.write("host.json", &host);
    for _ in 0..6 {
        world.put("{}").await;
    }
    let host = world.host(|_| {}).await;
    let first = world.handler.next().await;
    let mut held = vec![world.handler.next().await];
    // Two run, more than the threshold: the next batch waits for one of them.
    first.answer(200, DONE);
    held.push(world.handler.next().await);
    held.push(world.handler.next().await);
    eventually("three run", async || host.stats().in_flight == 3).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), world.handler.next()).await.is_err());
}
