//! The end of a handler whose work does not end: the edge in this process and a clock that jumps, for nobody waits that long.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::admission::Gate;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::lock::local_queue::Local;
use dataverse_sync::lock::{self, Asked, Buried, Lease, LockName, Locks, Renewed};
use dataverse_sync::pipeline::{FirstSeen, Sync};
use dataverse_sync::record::{OnConflict, RecordKey};
use dataverse_sync::server::{self, Terms, Workers};
use sandbox::net::http_client;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{Notify, oneshot};
use tokio::task::JoinHandle;
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

/// A store that takes everything.
#[derive(Debug)]
struct Willing;

#[async_trait]
impl Store for Willing {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        Ok(None)
    }
}

/// Locks that are free for everybody, and given back when the test says so.
#[derive(Debug, Default)]
struct SlowToRelease {
    let_go: Notify,
    released: AtomicBool,
}

#[async_trait]
impl Locks for SlowToRelease {
    async fn ask(&self, name: &LockName) -> Result<Asked, lock::Error> {
        Ok(Asked::Granted(Lease::new(name.clone(), "lease".to_owned(), Instant::now(), Duration::from_secs(15))))
    }

    async fn renew(&self, _: &mut Lease) -> Result<Renewed, lock::Error> {
        Ok(Renewed::Extended)
    }

    async fn release(&self, _: Lease) {
        self.let_go.notified().await;
        self.released.store(true, Ordering::Release);
    }

    async fn tombstone(&self, _: &LockName) -> Result<Option<String>, lock::Error> {
        Ok(None)
    }

    async fn bury(&self, _: &LockName, _: &str, _: &str) -> Result<Buried, lock::Error> {
        Ok(Buried::Done)
    }
}

/// An edge in this process, and what stops it.
struct Edge {
    url: String,
    task: JoinHandle<()>,
    stop: oneshot::Sender<()>,
}

async fn edge(store: Arc<dyn Store>, locks: Option<Arc<dyn Locks>>) -> Edge {
    let sync = Sync {
        store,
        locks: locks.map(|locks| (Local::new(locks), Duration::from_secs(10))),
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
    Edge { url, task: tokio::spawn(server::run(listener, Workers::alone(), sync, terms, shutdown)), stop }
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_left_to_its_lease_before_azure_loses_patience() {
    let store = Arc::new(Silent::default());
    let edge = edge(store.clone(), None).await;
    let call = tokio::spawn(http_client().post(edge.url).body(contact("C1", &json!({})).to_string()).send());
    store.asked.notified().await;

    let told = Instant::now();
    edge.stop.send(()).expect("the edge waits for it");
    let ended = timeout(Duration::from_mins(10), edge.task).await.expect("it ends by itself");
    ended.expect("it does not panic");
    assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&told.elapsed()), "{:?}", told.elapsed());
    call.abort();
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_on_its_way_back_arrives_before_the_process_ends() {
    let locks = Arc::new(SlowToRelease::default());
    let edge = edge(Arc::new(Willing), Some(locks.clone())).await;
    let answer = http_client().post(edge.url).body(contact("C1", &json!({})).to_string()).send().await;
    assert_eq!(answer.expect("an answer, although the lock is not given back yet").status(), 200);
    edge.stop.send(()).expect("the edge waits for it");
    let mut task = edge.task;
    timeout(Duration::from_secs(10), &mut task).await.expect_err("it ended without its lock");
    locks.let_go.notify_one();
    task.await.expect("it does not panic");
    assert!(locks.released.load(Ordering::Acquire), "the lock was left behind");
}
