//! `retry/internal`: only a defect of this program causes it and none is known, so the server here uses a store that
//! panics.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::record::RecordKey;
use serde_json::{Value, json};
use stand_ins::net::http_client;

use crate::caller::{answer, contact};
use crate::in_process::Server;

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

#[tokio::test]
async fn a_defect_and_an_invalid_envelope_are_internal_and_affect_no_other_call() {
    let server = Server::start(Arc::new(Defect), None, Duration::ZERO).await;
    let url = |path: &str| format!("http://{}{path}", server.address);
    let record = contact("C1", &json!({}));
    for _ in 0..2 {
        let request = http_client().post(url("/api/records")).header("content-type", "application/json");
        let answer = answer(request.body(record.to_string())).await;
        let detail = answer.is_problem(503, &json!({ "outcome": "retry", "reason": "internal", "attempts": 1 }));
        assert_eq!(detail, "the handler panicked");
        assert_eq!(answer.header("retry-after"), Some("10"), "and the only slot is free again");
    }
    for (body, phrase) in [
        (json!({ "Data": { "record": record }, "Metadata": {} }), "retry/internal"),
        (json!({ "Data": { "item": record }, "Metadata": {} }), "retry/internal not an invocation"),
        (Value::Null, "retry/internal not an invocation"),
    ] {
        let answer = answer(http_client().post(url("/SyncQueue")).body(body.to_string())).await;
        assert_eq!((answer.status, answer.text.trim_end()), (500, phrase), "{body}");
    }
}
