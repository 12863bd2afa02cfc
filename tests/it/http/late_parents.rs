//! Rows that appear during a call, with the server in this process, one slot and a paused clock.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::record::RecordKey;
use dataverse_sync::shutdown::Cause;
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use crate::in_process::Server;

const SECOND: Duration = Duration::from_secs(1);

/// The rows `as(k=<seconds>)` come into being after so many seconds, all others when they are written. A write takes 10 ms.
#[derive(Debug)]
struct LateRows {
    begun: Instant,
    written: Mutex<BTreeMap<String, u32>>,
    requests: Mutex<u32>,
}

#[async_trait]
impl Store for LateRows {
    async fn write(&self, change: &Change<'_>) -> Result<Written, Error> {
        sleep(SECOND / 100).await;
        *self.requests.lock().expect("no test panics with it") += 1;
        let mut written = self.written.lock().expect("no test panics with it");
        let is_there = |address: &str| match address.strip_prefix("/as(k=").and_then(|rest| rest.strip_suffix(')')) {
            Some(seconds) => self.begun.elapsed() >= SECOND * seconds.parse().expect("a number"),
            None => written.contains_key(address),
        };
        let columns = change.columns.list();
        let named =
            columns.iter().map(|column| serde_json::from_str::<String>(column.value.get()).expect("an address"));
        if !named.collect::<Vec<_>>().iter().all(|address| is_there(address)) {
            let (status, code, message) = (404, Some(0x8006_0891), Some(String::new()));
            return Err(Error::Answered { status, code, message, request_id: None, retry_after: None, sent_at: None });
        }
        let key = change.record.key.columns()[0].value.to_string();
        *written.entry(format!("/contacts(k={key})")).or_default() += 1;
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        Ok(None)
    }

    fn parallelism(&self) -> Option<u32> {
        Some(64)
    }
}

struct Call {
    outcomes: Vec<String>,
    took: Duration,
    requests: u32,
}

async fn start() -> (Server, Arc<LateRows>) {
    let rows = Arc::new(LateRows { begun: Instant::now(), written: Mutex::default(), requests: Mutex::default() });
    (Server::start(rows.clone(), None, Duration::from_mins(8)).await, rows)
}

/// Sends contacts, each with its key and the addresses that it refers to.
async fn call(address: SocketAddr, rows: &LateRows, records: &[(usize, &[String])]) -> Call {
    let record = |(key, names): &(usize, &[String])| {
        let columns: BTreeMap<_, _> =
            names.iter().enumerate().map(|(number, name)| (format!("n{number}@odata.bind"), name)).collect();
        json!({ "table": "contacts", "key": { "k": key }, "columns": columns })
    };
    let body = records.iter().map(record).collect::<Value>().to_string();
    let (begun, before) = (Instant::now(), *rows.requests.lock().expect("no test panics with it"));
    let mut stream = TcpStream::connect(address).await.expect("it listens");
    let head = format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await.expect("it is sent");
    let mut text = String::new();
    stream.read_to_string(&mut text).await.expect("it is answered");
    let (_, body) = text.split_once("\r\n\r\n").expect("a whole head");
    let body: Value = serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {text}"));
    let results = body["results"].as_array().expect("results");
    let outcomes = results.iter().map(|result| result["reason"].as_str().expect("a reason").to_owned()).collect();
    let requests = *rows.requests.lock().expect("no test panics with it") - before;
    Call { outcomes, took: begun.elapsed(), requests }
}

fn after(seconds: usize) -> String {
    format!("/as(k={seconds})")
}

#[tokio::test(start_paused = true)]
async fn what_misses_its_parent_is_tried_again_until_twenty_seconds_after_the_call_began() {
    let (server, rows) = start().await;
    let [early, late, never] = [2, 12, 10_000].map(|seconds| [after(seconds)]);
    let records: [(usize, &[String]); 4] = [(1, &early), (2, &never), (3, &late), (4, &[])];
    let call = call(server.address, &rows, &records).await;
    assert_eq!(call.outcomes, ["upserted", "parent_missing", "upserted", "upserted"]);
    assert!((20 * SECOND..21 * SECOND).contains(&call.took), "{:?}", call.took);
    assert!(call.requests <= 30, "{} requests", call.requests);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_records_of_a_chain_are_sent_once_each_although_there_is_one_slot() {
    let (server, rows) = start().await;
    let parents: Vec<_> = (1..=1_000).map(|key| [format!("/contacts(k={key})")]).collect();
    let chained = parents.iter().enumerate().map(|(key, parent)| (key, &parent[..]));
    let records: Vec<(usize, &[String])> = chained.take(999).chain([(999, &[][..])]).collect();
    let call = call(server.address, &rows, &records).await;
    assert!(call.outcomes.iter().all(|reason| reason == "upserted"));
    assert_eq!(call.requests, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_call_ends_as_soon_as_all_its_records_have() {
    let (server, rows) = start().await;
    let (late, parent) = ([after(3)], ["/contacts(k=1)".to_owned()]);
    let records: [(usize, &[String]); 3] = [(2, &parent), (1, &late), (1, &[])];
    let call = call(server.address, &rows, &records).await;
    assert_eq!(call.outcomes, ["upserted"; 3]);
    assert!(call.took < 8 * SECOND, "{:?}", call.took);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_records_whose_parents_never_come_cost_a_few_requests_more_than_they_are() {
    let (server, rows) = start().await;
    let never = [after(10_000)];
    let records: Vec<(usize, &[String])> = (0..1_000).map(|key| (key, &never[..])).collect();
    let call = call(server.address, &rows, &records).await;
    assert!(call.outcomes.iter().all(|reason| reason == "parent_missing"));
    assert!((20 * SECOND..22 * SECOND).contains(&call.took), "{:?}", call.took);
    println!("1,000 records whose parents never come: {} requests in {:?}", call.requests, call.took);
    assert!(call.requests <= 1_900, "{} requests", call.requests);
}

#[tokio::test(start_paused = true)]
async fn records_that_wait_for_a_parent_leave_the_only_slot_to_others() {
    let (server, rows) = start().await;
    let never = [after(10_000)];
    let waiting = async {
        let records: Vec<(usize, &[String])> = (0..50).map(|key| (key, &never[..])).collect();
        call(server.address, &rows, &records).await
    };
    let other = async {
        sleep(2 * SECOND).await;
        let records: Vec<(usize, &[String])> = (100..200).map(|key| (key, &[][..])).collect();
        call(server.address, &rows, &records).await
    };
    let (waiting, other) = tokio::join!(waiting, other);
    assert!(waiting.outcomes.iter().all(|reason| reason == "parent_missing"));
    assert!(other.outcomes.iter().all(|reason| reason == "upserted"));
    assert!(other.took < 6 * SECOND, "{:?}", other.took);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_stops_answers_what_waits_for_a_parent_at_once() {
    let (server, rows) = start().await;
    let (never, parent) = ([after(10_000)], ["/contacts(k=1)".to_owned()]);
    let Server { address, stop, task, .. } = server;
    let stopping = async {
        sleep(5 * SECOND).await;
        stop.send(Cause::Terminated).expect("the server waits for it");
        task.await.expect("it does not panic")
    };
    let records: [(usize, &[String]); 3] = [(1, &never), (2, &parent), (1, &[])];
    let (call, cause) = tokio::join!(call(address, &rows, &records), stopping);
    assert_eq!((call.outcomes, cause), (vec!["parent_missing".to_owned(); 3], Cause::Terminated));
    assert!(call.took < 6 * SECOND, "{:?}", call.took);
}

#[tokio::test(start_paused = true)]
async fn arrays_that_wait_for_a_parent_make_room_for_the_one_that_brings_it() {
    let (server, rows) = start().await;
    let parent = ["/contacts(k=0)".to_owned()];
    // Ten arrays of 1,000 records are all that the process takes. Those of one key are tried one after the other.
    let waiting = (1..=10).map(|key| {
        let (records, rows, address) = (vec![(key, &parent[..]); 1_000], rows.clone(), server.address);
        async move { call(address, &rows, &records).await }
    });
    let bringing = async {
        sleep(5 * SECOND).await;
        call(server.address, &rows, &[(0, &[][..])]).await
    };
    let (waiting, bringing) = tokio::join!(join_all(waiting), bringing);
    assert_eq!(bringing.outcomes, ["upserted"]);
    for call in waiting {
        assert!(call.outcomes.iter().all(|reason| reason == "parent_missing"), "{:?}", call.outcomes);
        assert!(call.took < 7 * SECOND, "{:?}", call.took);
    }
}
