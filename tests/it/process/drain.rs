//! The end of a handler whose work does not end: the edge in this process and a clock that jumps, for nobody waits that long.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::gate::Gate;
use dataverse_sync::record::{OnConflict, RecordKey};
use dataverse_sync::server::{self, Terms};
use dataverse_sync::sync::{FirstSeen, Sync};
use sandbox::net::http_client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, timeout};

use crate::caller::contact;

/// A store that never answers, and says when it was asked.
#[derive(Debug, Default)]
struct Silent {
    asked: Notify,
}

#[async_trait]
impl Store for Silent {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        self.asked.notify_one();
        std::future::pending().await
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_left_to_its_lease_before_azure_loses_patience() {
    let store = Arc::new(Silent::default());
    let sync = Sync {
        store: store.clone(),
        locks: None,
        gate: Gate::new(1),
        on_conflict: OnConflict::default(),
        version_column: None,
        unknown_codes: FirstSeen::default(),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}/api/records", listener.local_addr().expect("it is bound"));
    let (stop, stopped) = oneshot::channel::<()>();
    let shutdown = async move { stopped.await.unwrap_or_default() };
    let terms = Terms { hold: Duration::from_mins(8), most_deliveries: None };
    let edge = tokio::spawn(server::run(listener, sync, terms, shutdown));
    let call = tokio::spawn(http_client().post(url).body(contact("C1", &json!({})).to_string()).send());
    store.asked.notified().await;

    let told = Instant::now();
    stop.send(()).expect("the edge waits for it");
    let ended = timeout(Duration::from_mins(10), edge).await.expect("it ends by itself");
    ended.expect("it does not panic");
    assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&told.elapsed()), "{:?}", told.elapsed());
    call.abort();
}
