//! Callers who are slow or stuck: the edge in this process and a clock that jumps, for nobody waits that long.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dataverse_sync::admission::Gate;
use dataverse_sync::dataverse::{Change, Error, Row, Store, Written};
use dataverse_sync::pipeline::{FirstSeen, Sync};
use dataverse_sync::record::{OnConflict, RecordKey};
use dataverse_sync::server::{self, Terms, Workers};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};

use crate::caller::contact;

/// A store that takes everything.
#[derive(Debug)]
struct Taker;

#[async_trait]
impl Store for Taker {
    async fn write(&self, _: &Change<'_>) -> Result<Written, Error> {
        Ok(Written::Upserted)
    }

    async fn read(&self, _: &str, _: &RecordKey, _: &[String]) -> Result<Option<Row>, Error> {
        Ok(None)
    }
}

struct Edge {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Edge {
    async fn start() -> Self {
        let sync = Sync {
            store: Arc::new(Taker),
            locks: None,
            gate: Gate::new(1),
            on_conflict: OnConflict::default(),
            version_column: None,
            unknown_codes: FirstSeen::default(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move { stopped.await.unwrap_or_default() };
        let terms = Terms { hold: Duration::ZERO, most_deliveries: None };
        Self { address, stop, served: tokio::spawn(server::run(listener, Workers::alone(), sync, terms, shutdown)) }
    }

    /// A connection on which this much was sent, and no more for now.
    async fn sends(&self, part: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        stream.write_all(part.as_bytes()).await.expect("it is taken");
        stream
    }

    /// Posts a record as an honest caller and gives the answer.
    async fn post(&self) -> String {
        let body = contact("C1", &json!({})).to_string();
        let head = format!("POST /api/records HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n", body.len());
        rest(self.sends(&(head + &body)).await).await
    }
}

/// All that comes until the connection is closed.
async fn rest(mut stream: TcpStream) -> String {
    let mut text = String::new();
    // A connection that is cut with something unread is reset.
    let _ = stream.read_to_string(&mut text).await;
    text
}

const HALF_A_HEAD: &str = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ";
const HALF_A_BODY: &str = "POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 5000\r\n\r\n{";

#[tokio::test(start_paused = true)]
async fn a_head_that_is_never_finished_ends_its_connection() {
    let edge = Edge::start().await;
    for part in ["", "P", HALF_A_HEAD] {
        let begun = Instant::now();
        assert_eq!(rest(edge.sends(part).await).await, "", "{part:?}");
        assert!(
            (Duration::from_secs(149)..Duration::from_secs(152)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_head_of_which_a_byte_comes_now_and_then_ends_its_connection_too() {
    let edge = Edge::start().await;
    let (begun, mut stream) = (Instant::now(), edge.sends(HALF_A_HEAD).await);
    while stream.write_all(b"x").await.is_ok() {
        sleep(Duration::from_secs(10)).await;
        assert!(begun.elapsed() < Duration::from_mins(3), "it is cut in the middle");
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_answered_and_its_connection_ended() {
    let edge = Edge::start().await;
    for part in [
        HALF_A_BODY,
        &HALF_A_BODY.replace("Content-Length: 5000", "Transfer-Encoding: chunked").replace('{', "1\r\n{\r\n"),
    ] {
        let begun = Instant::now();
        let answer = rest(edge.sends(part).await).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains("did not come in time"), "{answer}");
        assert!(
            (Duration::from_secs(119)..Duration::from_secs(122)).contains(&begun.elapsed()),
            "{:?}",
            begun.elapsed()
        );
    }
    let queue = HALF_A_BODY.replace("/api/records", "/SyncQueue");
    let answer = rest(edge.sends(&queue).await).await;
    assert!(answer.starts_with("HTTP/1.1 500 retry/internal not an invocation"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_body_of_which_a_byte_comes_now_and_then_is_not_waited_for_for_ever() {
    let edge = Edge::start().await;
    let (mut from, mut to) = edge.sends(HALF_A_BODY).await.into_split();
    let begun = Instant::now();
    let drip = async {
        while to.write_all(b" ").await.is_ok() {
            sleep(Duration::from_mins(1)).await;
        }
    };
    let mut answer = String::new();
    tokio::select! {
        () = drip => panic!("it is answered before it is cut"),
        _ = from.read_to_string(&mut answer) => {}
    }
    assert!(answer.contains("did not come in time"), "{answer}");
    assert!((Duration::from_secs(599)..Duration::from_secs(662)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn many_slow_callers_keep_nobody_else_waiting() {
    let edge = Edge::start().await;
    let mut slow = Vec::new();
    for part in [HALF_A_HEAD, HALF_A_BODY].iter().cycle().take(200) {
        slow.push(edge.sends(part).await);
    }
    assert!(edge.post().await.contains("upserted"));
    drop(slow);
}

#[tokio::test(start_paused = true)]
async fn slow_callers_do_not_stop_the_end() {
    let edge = Edge::start().await;
    let slow = [edge.sends("").await, edge.sends(HALF_A_HEAD).await, edge.sends(HALF_A_BODY).await];
    assert!(edge.post().await.contains("upserted"));
    let told = Instant::now();
    edge.stop.send(()).expect("the edge waits for it");
    edge.served.await.expect("it does not panic");
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    let [.., body] = slow;
    assert!(rest(body).await.contains("did not come in time"), "who was at his body is told");
}
