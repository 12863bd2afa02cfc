//! The handler's memory is bounded: excess work is refused or waits.

mod in_line;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use reqwest::{Body, Client};
use serde_json::json;
use stand_ins::dataverse::Options as DataverseOptions;
use stand_ins::net::http_client;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::caller::{Answer, answer, contact};
use crate::process::running::Running;
use crate::waiting::TIMEOUT;

/// What the process may allocate, in KiB: less than the smallest instance has for the host and the handler together.
const DATA_KIB: u32 = 320 * 1024;

/// An array of 1,000 records in about 64 KB.
fn array(call: usize) -> String {
    let mut text = String::from("[");
    for record in 0..1_000 {
        let comma = if record == 0 { "" } else { "," };
        write!(text, r#"{comma}{{"table":"contacts","key":{{"employeeid":"{call}-{record}"}},"columns":{{}}}}"#)
            .expect("a string takes everything");
    }
    text + "]"
}

/// A record of 8 MiB.
fn large(call: usize) -> String {
    let mut record = contact(&format!("large-{call}"), &json!({ "firstname": "" })).to_string();
    let text = "x".repeat(8 * 1024 * 1024 - record.len());
    record.insert_str(record.find(r#""firstname":""#).expect("it is there") + r#""firstname":""#.len(), &text);
    record
}

async fn post(http: Client, url: String, body: Bytes) -> Answer {
    answer(http.post(url).body(body)).await
}

/// A delivery of this record, in chunks as the host sends it.
async fn deliver(http: &Client, url: String, key: &str) -> Answer {
    let item = contact(key, &json!({ "firstname": "Ada" })).to_string();
    let body = json!({ "Data": { "record": json!(item).to_string() }, "Metadata": { "DequeueCount": "1" } });
    let chunks = stream::iter([Ok::<_, std::io::Error>(body.to_string())]);
    answer(http.post(url).body(Body::wrap_stream(chunks))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_than_the_memory_holds_is_refused_and_a_queue_message_beside_it_is_settled() {
    let dataverse = DataverseOptions { latency: Duration::from_millis(80), ..DataverseOptions::default() };
    let world = crate::world_with(sandbox::world::Options { dataverse, ..Default::default() }).await;
    // So few at a time leave this machine's processor to the queue message also in a debug build; how soon it is settled is tested in
    // `in_line`.
    let settings = [("SYNC_MAX_CONCURRENCY", "8"), ("LOCK_LEASE_SECONDS", "60")];
    let handler = Running::limited(&world, DATA_KIB, &settings).await;
    let (http, url) = (http_client(), handler.url("/api/records"));
    let at_rest = handler.memory();
    let arrays = (0..70).map(array);
    let keys = (70..80).map(array);
    let bodies: Vec<Bytes> = arrays.chain(keys).chain((0..24).map(large)).map(Bytes::from).collect();
    let mut calls = JoinSet::new();
    for body in bodies {
        calls.spawn(post(http.clone(), url.clone(), body));
    }
    for message in 0..5 {
        sleep(Duration::from_millis(500)).await;
        let delivered = deliver(&http, handler.url("/SyncQueue"), &format!("queue-{message}")).await;
        assert_eq!(delivered.status, 200, "{}", delivered.text);
    }
    let answers = timeout(TIMEOUT, calls.join_all()).await.expect("they end");
    let mut statuses = BTreeMap::<u16, usize>::new();
    for answer in &answers {
        *statuses.entry(answer.status).or_default() += 1;
    }
    let figures = format!("{statuses:?}, {at_rest}, then {}", handler.memory());
    assert_eq!(statuses.keys().copied().collect::<Vec<_>>(), [207, 422, 503], "{figures}");
    let refused: Vec<_> = answers.iter().filter(|answer| answer.status == 503).collect();
    for answer in refused {
        assert!(
            answer.is_problem(503, &json!({ "outcome": "retry", "reason": "unavailable" })).contains("memory limit")
        );
        assert_eq!(answer.header("retry-after"), Some("10"));
    }
    assert_eq!(answer(http.get(handler.url("/"))).await.status, 200, "it is alive");
}
