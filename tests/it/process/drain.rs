//! Stalled connections and shutdown, with the server in this process and a paused clock.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::lock::{self, Lease, LockName, Locks};
use dataverse_sync::record::RecordKey;
use dataverse_sync::shutdown::Cause;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};

use crate::caller::contact;
use crate::in_process::Server;
use crate::waiting::TIMEOUT;

/// A store that never answers, and notifies when it is called.
#[derive(Debug, Default)]
struct Hanging {
    called: Notify,
}

#[async_trait]
impl Store for Hanging {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        self.called.notify_one();
        std::future::pending().await
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        std::future::pending().await
    }
}

/// A store that accepts every write.
#[derive(Debug)]
struct Accepting;

#[async_trait]
impl Store for Accepting {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        Ok(None)
    }
}

/// Locks that are always free; a release completes when the test allows it.
#[derive(Debug, Default)]
struct SlowToRelease {
    may_release: Notify,
    released: AtomicBool,
}

#[async_trait]
impl Locks for SlowToRelease {
    async fn try_acquire(&self, name: &LockName) -> Result<Option<Lease>, lock::Error> {
        Ok(Some(Lease::new(name.clone(), "lease".to_owned(), Instant::now(), Duration::from_secs(15))))
    }

    async fn renew(&self, _: &mut Lease) -> Result<bool, lock::Error> {
        Ok(true)
    }

    async fn release(&self, _: Lease) {
        self.may_release.notified().await;
        self.released.store(true, Ordering::Release);
    }

    async fn tombstone(&self, _: &LockName) -> Result<Option<String>, lock::Error> {
        Ok(None)
    }

    async fn put_tombstone(&self, _: &LockName, _: &str, _: &str) -> Result<bool, lock::Error> {
        Ok(true)
    }
}

/// A server that holds failed messages for long.
async fn start(store: Arc<dyn Store>, locks: Option<Arc<dyn Locks>>) -> Server {
    Server::start(store, locks, Duration::from_mins(8)).await
}

impl Server {
    /// Opens a connection and sends this text.
    async fn send(&self, text: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(text.as_bytes()).await.expect("it is sent");
        stream
    }

    async fn post(&self) -> String {
        read_all(self.send(&request()).await).await
    }
}

/// A complete request for one record.
fn request() -> String {
    let body = contact("C1", &json!({})).to_string();
    format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Reads until the connection is closed or reset.
async fn read_all(mut stream: TcpStream) -> String {
    let mut text = String::new();
    let _ = stream.read_to_string(&mut text).await;
    text
}

const PARTIAL_HEAD: &str = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
const PARTIAL_BODY: &str = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n{";

#[tokio::test(start_paused = true)]
async fn an_idle_connection_stays_open() {
    let server = start(Arc::new(Accepting), None).await;
    let mut stream = server.send("").await;
    sleep(Duration::from_hours(1)).await;
    stream.write_all(request().as_bytes()).await.expect("it is open");
    assert!(read_all(stream).await.contains("upserted"));
}

#[tokio::test(start_paused = true)]
async fn two_hundred_stalled_connections_delay_neither_another_request_nor_the_shutdown() {
    let server = start(Arc::new(Accepting), None).await;
    let mut stalled = vec![server.send("").await];
    for part in [PARTIAL_HEAD, PARTIAL_BODY].iter().cycle().take(200) {
        stalled.push(server.send(part).await);
    }
    assert!(server.post().await.contains("upserted"));
    let begun = Instant::now();
    server.stop.send(Cause::Terminated).expect("the server waits for it");
    server.task.await.expect("it does not panic");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    drop(stalled);
}

#[tokio::test(start_paused = true)]
async fn work_that_does_not_end_is_left_to_its_lease_before_azure_kills_the_process() {
    let store = Arc::new(Hanging::default());
    let server = start(store.clone(), None).await;
    let _call = server.send(&request()).await;
    store.called.notified().await;

    let begun = Instant::now();
    server.stop.send(Cause::Terminated).expect("the server waits for it");
    let ended = timeout(Duration::from_mins(10), server.task).await.expect("it ends by itself");
    ended.expect("it does not panic");
    assert!((Duration::from_secs(20)..Duration::from_secs(30)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_is_being_released_is_released_before_the_process_ends() {
    let locks = Arc::new(SlowToRelease::default());
    let server = start(Arc::new(Accepting), Some(locks.clone())).await;
    assert!(server.post().await.starts_with("HTTP/1.1 200 "), "answered before the lock is released");
    server.stop.send(Cause::Terminated).expect("the server waits for it");
    let mut task = server.task;
    timeout(Duration::from_secs(10), &mut task).await.expect_err("it ended without releasing its lock");
    locks.may_release.notify_one();
    task.await.expect("it does not panic");
    assert!(locks.released.load(Ordering::Acquire), "the lock was not released");
}

#[tokio::test(start_paused = true)]
async fn once_the_host_is_gone_work_finishes_although_it_takes_longer_than_azure_would_wait() {
    let store = Arc::new(Hanging::default());
    let server = start(store.clone(), None).await;
    let _call = server.send(&request()).await;
    store.called.notified().await;

    let begun = Instant::now();
    server.stop.send(Cause::HostGone).expect("the server waits for it");
    assert_eq!(server.task.await.expect("it does not panic"), Cause::HostGone);
    // Its write is given up after two and a half minutes.
    assert!((Duration::from_mins(2)..Duration::from_mins(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

/// A connection cannot be listened on, so every accept fails with EINVAL.
#[tokio::test]
async fn a_listener_that_is_gone_ends_the_server_with_an_exit_code_that_is_not_0() {
    let peer = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let stream = TcpStream::connect(peer.local_addr().expect("it is bound")).await.expect("it listens");
    let socket = OwnedFd::from(stream.into_std().expect("it is a socket"));
    drop(peer);
    let listener = TcpListener::from_std(socket.into()).expect("the runtime takes it");
    let server = Server::on(listener, Arc::new(Accepting), None, Duration::from_mins(8));
    let cause = timeout(TIMEOUT, server.task).await.expect("it ends").expect("it does not panic");
    assert_eq!((cause, cause.exit_code()), (Cause::ListenerGone, 1));
}
