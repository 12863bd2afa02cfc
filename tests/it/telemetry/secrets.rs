//! A collector receives neither secrets nor record data.

use sandbox::world::Backing;
use serde_json::{Value, json};
use stand_ins::dataverse::{Effect, Fault, Status};
use stand_ins::storage;

use super::{NEVER, Scene};
use crate::caller::{answer, contact};

const COLUMN: &str = "canary-column-value";
const KEY: &str = "canary-key-value";
const HEADER: &str = "canary-header-value";
const COLLECTORS: &str = "canary-collectors-key";

impl Scene {
    async fn reason(&self, operation: &str, key: &str) -> Value {
        let mut record = contact(key, &json!({ "firstname": COLUMN, "emailaddress1": COLUMN }));
        record["operation"] = json!(operation);
        self.post(&record).await.body["reason"].take()
    }

    /// Posts one record after the other, each with a different outcome.
    async fn everything_goes_wrong(&self) {
        assert_eq!(self.reason("upsert", KEY).await, "upserted");
        assert_eq!(self.reason("create", KEY).await, "exists");
        assert_eq!(self.reason("upsert", &format!("{KEY}-2")).await, "key_collision");
        assert_eq!(self.reason("update", &format!("{KEY}/3")).await, "not_found");
        for (status, reason) in
            [(400, "invalid_data"), (403, "unauthorized"), (503, "unavailable"), (412, "already_written")]
        {
            self.refuse(Status::new(status, "", &format!("Not with {COLUMN} for {KEY}.")));
            assert_eq!(self.reason("upsert", KEY).await, reason);
        }
        assert_eq!(self.reason("upsert", KEY).await, "upserted");
        for _ in 0..2 {
            self.world.dataverse.fault(Fault::new(Effect::DropBefore).method("PATCH"));
        }
        assert_eq!(self.reason("upsert", &format!("{KEY}-5")).await, "unavailable");
        assert_eq!(self.reason("upsert", &format!("{KEY}-5")).await, "lock_busy");
        let broken = json!({ "table": COLUMN, "key": KEY, COLUMN: COLUMN });
        assert_eq!(self.post(&broken).await.body["reason"], "invalid_message");
        let lines = json!([broken, contact(KEY, &json!({ "firstname": COLUMN }))]);
        assert_eq!(self.post(&lines).await.status, 207);
        for body in
            [json!({ "Data": COLUMN, "Metadata": KEY }), json!({ "Data": { "record": COLUMN }, "Metadata": {} })]
        {
            let invoke = stand_ins::net::http_client().post(self.handler.url("/SyncQueue"));
            answer(invoke.body(body.to_string())).await;
        }
        let Backing::Embedded(store) = &self.world.storage else { panic!("this world is on the embedded storage") };
        store.fault(storage::Fault::until_cleared(storage::Op::AnyBlob, storage::Effect::DropBefore));
        assert_eq!(self.reason("upsert", &format!("{KEY}-6")).await, "storage_unavailable");
    }
}

#[tokio::test]
async fn exports_contain_no_secret_key_or_value_whatever_goes_wrong() {
    let headers = json!({ "CallerObjectId": HEADER }).to_string();
    let collectors = format!("api-key={COLLECTORS}");
    let settings: Vec<_> = [
        ("SYNC_HEADERS", headers.as_str()),
        ("OTEL_EXPORTER_OTLP_HEADERS", &collectors),
        ("LOCK_WAIT_SECONDS", "1"),
        ("RUST_LOG", "trace"),
        crate::AT_ONCE,
    ]
    .into_iter()
    .chain(NEVER)
    .collect();
    let scene = Scene::start(&settings).await;
    scene.everything_goes_wrong().await;
    let connection = scene.world.settings["AzureWebJobsStorage"].clone();
    let account = connection.split(';').find_map(|part| part.strip_prefix("AccountKey=")).expect("it has a key");
    let identity = scene.world.identity.header().to_owned();
    assert!(!scene.handler.printed().contains(COLLECTORS), "the key of the collector is in the log");
    let (_world, collector, code) = scene.stop().await;
    assert_eq!(code, 0);
    let deliveries = collector.deliveries();
    assert!(deliveries.iter().all(|delivery| delivery.headers["api-key"] == COLLECTORS));
    let sent: Vec<u8> = deliveries.into_iter().flat_map(|delivery| delivery.body).collect();
    let sent = String::from_utf8_lossy(&sent);
    for expected in ["contacts", "storage_unavailable", "key_collision", "invalid_message", "lock_busy", "unauthorized"]
    {
        assert!(sent.contains(expected), "{expected} is missing");
    }
    for secret in ["canary", account, &identity, "Bearer", "eyJ", "employeeid", "emailaddress1"] {
        assert!(!sent.contains(secret), "{secret} was exported");
    }
}
