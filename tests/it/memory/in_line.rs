//! Waiting for slots and for memory, with the server in this process and a paused clock.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::record::RecordKey;
use dataverse_sync::shutdown::Cause;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};

use crate::in_process::Server;

/// Writes of `contacts` take a second; those of `mutes` are never answered.
#[derive(Debug)]
struct SlowStore;

#[async_trait]
impl Store for SlowStore {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        if change.record.table == "mutes" {
            pending::<()>().await;
        }
        sleep(Duration::from_secs(1)).await;
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        Ok(None)
    }

    fn parallelism(&self) -> Option<u32> {
        Some(64)
    }
}

/// A response, and when it had come.
struct Response {
    text: String,
    at: Instant,
}

impl Response {
    fn body(&self) -> Value {
        let (_, body) = self.text.split_once("\r\n\r\n").expect("a whole head");
        serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    /// Sends a request with only this part of its body.
    async fn begin(&self, path: &str, length: usize, body: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let head = format!("POST {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
        stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it is sent");
        stream
    }

    async fn call(&self, path: &str, body: &Value) -> Response {
        let body = body.to_string();
        ended(self.begin(path, body.len(), &body).await).await
    }

    /// Sends 100 records with keys of their own.
    async fn array(&self, name: &str) -> Response {
        let record = |n| json!({ "table": "contacts", "key": { "k": format!("{name}-{n}") }, "columns": {} });
        self.call("/api/records", &(0..100).map(record).collect()).await
    }
}

async fn ended(mut stream: TcpStream) -> Response {
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it is answered");
    Response { text, at: Instant::now() }
}

fn delivery(table: &str, key: &str, text: &str) -> Value {
    let record = json!({ "table": table, "key": { "k": key }, "columns": { "text": text } });
    json!({ "Data": { "record": record }, "Metadata": {} })
}

#[tokio::test(start_paused = true)]
async fn arrays_take_turns_and_begin_no_more_records_than_admission_admits() {
    let server = Server::with_slots(Arc::new(SlowStore), 2).await;
    let begun = Instant::now();
    let most = async {
        let mut most = 0;
        for _ in 0..30 {
            sleep(Duration::from_millis(500)).await;
            let [_, in_flight, waiting] = server.admission.figures();
            most = most.max(in_flight + waiting);
        }
        most
    };
    let message = async {
        sleep(Duration::from_millis(5_100)).await;
        let sent = Instant::now();
        server.call("/SyncQueue", &delivery("contacts", "C1", "")).await.at - sent
    };
    let (first, second, message, most) = tokio::join!(server.array("a"), server.array("b"), message, most);
    assert!(message <= Duration::from_secs(3), "a queue message beside them took {message:?}");
    assert_eq!(most, 3, "records that have begun");
    for answer in [first, second] {
        assert!(answer.at - begun <= Duration::from_secs(22), "{:?}", answer.at - begun);
        let body = answer.body();
        let counts = ["applied", "retry"].map(|outcome| body["summary"][outcome].as_u64().unwrap_or_default());
        assert!((18..=22).contains(&counts[0]) && counts[0] + counts[1] == 100, "{counts:?}");
        let last = &body["results"][99];
        assert_eq!((&last["reason"], last["key"]["k"].is_string()), (&json!("throttled"), true), "{last}");
    }
}

/// Its last record is not answered for long after that.
#[tokio::test(start_paused = true)]
async fn an_array_whose_time_is_over_takes_no_further_slot() {
    let server = Server::with_slots(Arc::new(SlowStore), 2).await;
    let record = |n: usize| json!({ "table": if n == 0 { "mutes" } else { "contacts" }, "key": { "k": n.to_string() }, "columns": {} });
    // So a record is under way when the time is over.
    let one = record(100);
    let before = server.call("/api/records", &one);
    let first = async {
        sleep(Duration::from_millis(500)).await;
        server.call("/api/records", &(0..100).map(record).collect()).await
    };
    let second = async {
        sleep(Duration::from_secs(25)).await;
        server.array("b").await
    };
    let (_, first, second) = tokio::join!(before, first, second);
    assert!(first.at > second.at, "the record without an answer holds one slot");
    let applied = second.body()["summary"]["applied"].as_u64().unwrap_or_default();
    assert!((18..=22).contains(&applied), "{applied} in the other slot");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_begins_no_further_record_of_an_array() {
    let mut server = Server::with_slots(Arc::new(SlowStore), 2).await;
    let (begun, stop) = (Instant::now(), std::mem::replace(&mut server.stop, oneshot::channel().0));
    let stopping = async {
        sleep(Duration::from_millis(5_500)).await;
        stop.send(Cause::Terminated).expect("the server waits for it");
    };
    let (answer, ()) = tokio::join!(server.array("a"), stopping);
    assert!(answer.at - begun <= Duration::from_secs(7), "{:?}", answer.at - begun);
    assert_eq!(answer.body()["summary"], json!({ "applied": 12, "retry": 88 }));
}

#[tokio::test(start_paused = true)]
async fn a_queue_message_waits_in_line_while_others_are_read_and_bodies_have_a_time_limit() {
    let server = Server::with_slots(Arc::new(SlowStore), 2).await;
    let begun = Instant::now();
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(server.begin("/SyncQueue", 100, "{").await);
    }
    let last = server.call("/SyncQueue", &delivery("contacts", "C1", "")).await;
    assert!(last.text.starts_with("HTTP/1.1 200 "), "{}", last.text);
    let waited = last.at - begun;
    assert!((Duration::from_secs(30)..Duration::from_secs(33)).contains(&waited), "{waited:?}");
    for answer in join_all(stalled.into_iter().map(ended)).await {
        assert!(answer.text.starts_with("HTTP/1.1 500 retry/internal not an invocation"), "{}", answer.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_queue_message_that_waited_in_line_for_too_long_goes_back() {
    let server = Server::with_slots(Arc::new(SlowStore), 32).await;
    // The hint of the first answer makes room for all that follow.
    server.call("/SyncQueue", &delivery("contacts", "C1", "")).await;
    let begun = Instant::now();
    let text = "x".repeat(1_040_000);
    let large = join_all((0..8).map(|n| {
        let (server, text) = (&server, &text);
        async move { server.call("/SyncQueue", &delivery("mutes", &n.to_string(), text)).await }
    }));
    let last = async {
        sleep(Duration::from_secs(1)).await;
        server.call("/SyncQueue", &delivery("contacts", "C2", "")).await
    };
    let (large, last) = tokio::join!(large, last);
    assert!(last.text.starts_with("HTTP/1.1 500 retry/unavailable\r\n"), "{}", last.text);
    assert_eq!((last.at - begun).as_secs(), 61, "the hold, which is none here, and a minute");
    assert!(large.iter().all(|answer| answer.at > last.at), "they held the memory");
}
