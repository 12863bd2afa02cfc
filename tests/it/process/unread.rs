//! A handler whose output is not read.

use std::process::ExitStatus;
use std::time::Duration;

use futures::{StreamExt as _, stream};
use sandbox::world::World;
use serde_json::json;
use stand_ins::net::http_client;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Child;
use tokio::time::{Instant, timeout};

use super::running::{listening, signal};
use crate::caller::contact;
use crate::command::command;
use crate::waiting::TIMEOUT;

/// A handler that logs everything into pipes that are not read once it listens.
async fn start(world: &World) -> (Child, String) {
    let mut command = command(&[], &world.settings);
    command.env("FUNCTIONS_CUSTOMHANDLER_PORT", "0").env("RUST_LOG", "trace").env("LOCK_MODE", "off");
    let mut child = command.spawn().expect("the handler can be started");
    let mut lines = BufReader::new(child.stdout.as_mut().expect("it is piped")).lines();
    loop {
        let line = lines.next_line().await.expect("it is readable").expect("the handler starts");
        if let Some(address) = listening(&line) {
            return (child, format!("http://{address}"));
        }
    }
}

async fn stop(mut child: Child) -> (ExitStatus, Duration) {
    let begun = Instant::now();
    signal("TERM", child.id().expect("it runs")).await;
    let ended = timeout(TIMEOUT, child.wait()).await.expect("it ends").expect("it is our child");
    (ended, begun.elapsed())
}

#[tokio::test(flavor = "multi_thread")]
async fn output_that_is_not_read_delays_neither_two_thousand_messages_nor_the_end() {
    let world = crate::world().await;
    let (child, url) = start(&world).await;
    let http = http_client();
    let invoke = |number: usize| {
        let record = contact(&format!("C{}", number % 100), &json!({ "firstname": "Ada" }));
        let body = json!({ "Data": { "record": record.to_string() }, "Metadata": {} }).to_string();
        let request = http.post(format!("{url}/SyncQueue")).body(body);
        async move { request.send().await.expect("the handler answers").status().as_u16() }
    };
    let answers = stream::iter(0..2_000).map(invoke).buffer_unordered(48).collect::<Vec<_>>();
    let answers = timeout(TIMEOUT, answers).await.expect("all are answered");
    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 2_000);
    let (status, took) = stop(child).await;
    assert_eq!(status.code(), Some(143));
    // A second for the last responses to leave, and one for a reader.
    assert!(took < Duration::from_secs(20), "{took:?}");
}
