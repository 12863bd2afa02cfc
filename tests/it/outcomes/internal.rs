//! `retry/internal`: only a defect of this program causes it and none is known, so the server here uses a store that
//! panics.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::admission::Admission;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::pipeline::Pipeline;
use dataverse_sync::record::{OnConflict, RecordKey};
use dataverse_sync::server::{self, QueuePolicy};
use serde_json::{Value, json};
use stand_ins::net::http_client;
use tokio::net::TcpListener;

use crate::caller::{answer, contact};

#[derive(Debug)]
struct Defect;

#[async_trait]
impl Store for Defect {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        panic!("a defect, as this test wants it")
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        panic!("a defect, as this test wants it")
    }
}

/// The URL of a server whose store panics; it runs as long as the test's runtime.
async fn server_url() -> String {
    let sync = Pipeline {
        store: Arc::new(Defect),
        locks: None,
        admission: Admission::new(1),
        on_conflict: OnConflict::default(),
        version_column: None,
        unknown_codes: Mutex::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let queue = QueuePolicy { hold: Duration::ZERO, max_deliveries: None };
    tokio::spawn(server::run(listener, sync, queue, std::future::pending()));
    url
}

#[tokio::test]
async fn a_defect_is_internal_and_affects_no_other_call() {
    let url = format!("{}/api/records", server_url().await);
    for _ in 0..2 {
        let request = http_client().post(&url).header("content-type", "application/json");
        let answer = answer(request.body(contact("C1", &json!({})).to_string())).await;
        let detail = answer.is_problem(503, &json!({ "outcome": "retry", "reason": "internal", "attempts": 1 }));
        assert_eq!(detail, "the handler panicked");
        assert_eq!(answer.header("retry-after"), Some("10"), "and the only slot is free again");
    }
}

#[tokio::test]
async fn on_the_queue_a_defect_and_an_invalid_envelope_are_internal() {
    let url = format!("{}/SyncQueue", server_url().await);
    let record = contact("C1", &json!({}));
    for (body, phrase) in [
        (json!({ "Data": { "record": record }, "Metadata": {} }), "retry/internal"),
        (json!({ "Data": { "item": record }, "Metadata": {} }), "retry/internal not an invocation"),
        (Value::Null, "retry/internal not an invocation"),
    ] {
        let answer = answer(http_client().post(&url).body(body.to_string())).await;
        assert_eq!((answer.status, answer.text.trim_end()), (500, phrase), "{body}");
    }
}
