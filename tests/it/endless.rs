//! Services whose answers do not end: no more is read than a cap, and a slow one ends at the request's time-out.
//!
//! What the developer tools print is tested beside `identity`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use azure_core::credentials::TokenCredential as _;
use dataverse_sync::identity::{Choice, Identity};
use serde_json::json;
use stand_ins::net::Tls;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, pause, sleep};

use crate::caller::{Caller, contact};
use crate::command::{CommandOutput, command};
use crate::locks::{Account, LeaseStore as _, fresh};
use crate::{AT_ONCE, trust};

const KIB: usize = 1024;

/// What the buffers of the two sockets take beyond what is read, at first; they grow with it.
const BUFFERS: usize = 1024 * KIB;

/// hyper reads so much of the headers.
const HEADERS: usize = 8 * KIB + 400 * KIB;

/// An answer: its beginning, and what follows without end.
#[derive(Debug, Clone)]
struct Answer {
    head: &'static str,
    piece: String,
    /// Between two pieces.
    pause: Option<Duration>,
}

/// The body as a length announces it, in chunks, and until the connection is closed; as a success and as an error.
fn bodies() -> [Answer; 3] {
    let text = "x".repeat(8 * KIB);
    let chunk = format!("{:x}\r\n{text}\r\n", text.len());
    [
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", text.clone()),
        ("HTTP/1.1 500 Internal Server Error\r\nTransfer-Encoding: chunked\r\n\r\n", chunk),
        ("HTTP/1.1 403 Forbidden\r\nConnection: close\r\n\r\n", text),
    ]
    .map(|(head, piece)| Answer { head, piece, pause: None })
}

/// Many headers, and one.
fn headers() -> [Answer; 2] {
    let many = format!("x-endless: {}\r\n", "x".repeat(KIB));
    [("HTTP/1.1 200 OK\r\n", many), ("HTTP/1.1 200 OK\r\nx-endless: ", "x".repeat(KIB))].map(|(head, piece)| Answer {
        head,
        piece,
        pause: None,
    })
}

/// Interim answers, headers and a body that come a little at a time.
fn slow() -> [Answer; 3] {
    [
        ("", "HTTP/1.1 100 Continue\r\n\r\n"),
        ("HTTP/1.1 200 OK\r\nx-slow: ", "x"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n", "x"),
    ]
    .map(|(head, piece)| Answer { head, piece: piece.to_owned(), pause: Some(Duration::from_millis(100)) })
}

/// A server that answers every request in this way; dropping it closes every connection.
struct Endless {
    address: SocketAddr,
    /// The bytes that the sockets took of one answer, at most.
    most: Arc<AtomicUsize>,
    requests: watch::Receiver<usize>,
    _task: JoinSet<()>,
}

impl Endless {
    fn start(answer: Answer, tls: Option<&Tls>) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        // Accepted sockets have it too.
        socket.set_send_buffer_size(16 * 1024).expect("a size that every system allows");
        socket.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("loopback has free ports");
        let listener = socket.listen(64).expect("it is bound");
        let address = listener.local_addr().expect("it is bound");
        let (most, (sender, requests)) = (Arc::new(AtomicUsize::new(0)), watch::channel(0));
        let (taken, acceptor) = (most.clone(), tls.map(Tls::acceptor));
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut open = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, taken, sender, acceptor) =
                    (answer.clone(), taken.clone(), sender.clone(), acceptor.clone());
                open.spawn(async move {
                    let ended = match acceptor {
                        None => send_endlessly(stream, &answer, &taken, &sender).await,
                        Some(acceptor) => match acceptor.accept(stream).await {
                            Ok(stream) => send_endlessly(stream, &answer, &taken, &sender).await,
                            Err(error) => Err(error),
                        },
                    };
                    ended.expect_err("only the client ends it");
                });
            }
        });
        Self { address, most, requests, _task: task }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A storage account at this address.
    fn account(&self) -> String {
        let url = self.url();
        format!("AccountName=acc;AccountKey=a2V5;BlobEndpoint={url}/acc;QueueEndpoint={url}/acc")
    }

    /// Asserts that there was a request, and that no answer was read beyond `cap`, the buffers aside.
    fn read_at_most(&self, cap: usize, what: &Answer) {
        let (most, requests) = (self.most.load(Ordering::SeqCst), *self.requests.borrow());
        println!("{most} bytes of {requests} answers, cap {cap}: {:?}", what.head);
        assert!(requests > 0 && most <= 2 * cap + BUFFERS, "{most} bytes of {requests} answers: {:?}", what.head);
    }

    /// Pauses the test's clock at the first request, so that it advances to each timer; returns `work`'s result, and its duration
    /// from then on.
    async fn fast_forward<T>(&self, work: impl Future<Output = T>) -> (T, Duration) {
        let mut requests = self.requests.clone();
        let fast_forward = async {
            requests.wait_for(|count| *count > 0).await.expect("the server runs as long as this value");
            pause();
            Instant::now()
        };
        let (done, begun) = tokio::join!(work, fast_forward);
        (done, begun.elapsed())
    }
}

async fn send_endlessly(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    answer: &Answer,
    most: &AtomicUsize,
    requests: &watch::Sender<usize>,
) -> io::Result<()> {
    let mut request = vec![0; 16 * KIB];
    if stream.read(&mut request).await? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    requests.send_modify(|count| *count += 1);
    stream.write_all(answer.head.as_bytes()).await?;
    let mut taken = 0;
    loop {
        let length = stream.write(answer.piece.as_bytes()).await?;
        stream.write_all(&answer.piece.as_bytes()[length..]).await?;
        stream.flush().await?;
        taken += answer.piece.len();
        most.fetch_max(taken, Ordering::SeqCst);
        if let Some(pause) = answer.pause {
            sleep(pause).await;
        }
    }
}

async fn lease(server: &Endless) -> String {
    let locks = Account(server.account()).locks("sync-locks");
    locks.try_acquire(&fresh()).await.expect_err("no lease is granted").to_string()
}

#[tokio::test]
async fn of_an_answer_to_a_lease_request_64_kib_are_read() {
    for (answer, cap) in
        bodies().map(|answer| (answer, 64 * KIB)).into_iter().chain(headers().map(|answer| (answer, HEADERS)))
    {
        let server = Endless::start(answer.clone(), None);
        lease(&server).await;
        server.read_at_most(cap, &answer);
    }
}

#[tokio::test]
async fn a_slow_answer_to_a_lease_request_ends_at_its_time_out() {
    for answer in slow() {
        let server = Endless::start(answer.clone(), None);
        let (error, took) = server.fast_forward(lease(&server)).await;
        assert!(error.starts_with("the storage cannot be reached"), "{error}");
        assert!(took < Duration::from_secs(20), "{took:?} for three requests of 5 s: {:?}", answer.head);
        tokio::time::resume();
    }
}

/// Requests a token from an Entra authority that answers so.
async fn token(server: &Endless, tls: &Tls) -> String {
    let authority = format!("https://{}", server.address);
    let settings = |name: &str| match name {
        "AZURE_TENANT_ID" | "AZURE_CLIENT_ID" | "AZURE_CLIENT_SECRET" => Some("canary".to_owned()),
        "AZURE_AUTHORITY_HOST" => Some(authority.clone()),
        _ => None,
    };
    let choice = Choice::from_settings(&settings).expect("the settings are complete");
    let identity = Identity::open(choice, &trust::client(tls).into()).expect("the settings are valid");
    identity.get_token(&["https://contoso.crm.dynamics.com/.default"], None).await.expect_err("no token").to_string()
}

#[tokio::test]
async fn of_an_answer_of_entra_64_kib_are_read() {
    let tls = trust::authority();
    for (answer, cap) in
        bodies().map(|answer| (answer, 64 * KIB)).into_iter().chain(headers().map(|answer| (answer, HEADERS)))
    {
        let server = Endless::start(answer.clone(), Some(&tls));
        token(&server, &tls).await;
        server.read_at_most(cap, &answer);
    }
}

#[tokio::test]
async fn a_slow_answer_of_entra_ends_at_its_time_out() {
    let tls = trust::authority();
    for answer in slow() {
        let server = Endless::start(answer.clone(), Some(&tls));
        let (error, took) = server.fast_forward(token(&server, &tls)).await;
        assert_eq!(error, "no answer in time");
        assert!(took <= Duration::from_secs(31), "{took:?}: {:?}", answer.head);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn of_an_answer_of_the_identity_endpoint_64_kib_are_read() {
    let world = crate::world().await;
    // A row each: the host before may have ended with its lock held.
    for (row, answer) in bodies().into_iter().enumerate() {
        let server = Endless::start(answer.clone(), None);
        let settings = [("IDENTITY_ENDPOINT", &*format!("{}/msi", server.url())), AT_ONCE];
        let host = world.host("instance-1", &settings).await.expect("the host starts");
        let reply = Caller::of(&host).post(&contact(&format!("C{row}"), &json!({ "firstname": "Ada" }))).await;
        assert_eq!(reply.verdict(), (503, "retry", "unavailable"), "{reply:?}");
        server.read_at_most(64 * KIB, &answer);
    }
}

/// After a success that is not Dataverse's the row is read.
#[tokio::test]
async fn of_a_row_16_mib_are_read_and_of_a_refusal_by_dataverse_64_kib() {
    let world = crate::world().await;
    for (row, (answer, cap)) in bodies().into_iter().zip([16 * KIB * KIB, 64 * KIB, 64 * KIB]).enumerate() {
        let server = Endless::start(answer.clone(), None);
        let url = server.url();
        let host = world.host("instance-1", &[("DATAVERSE_URL", &url), AT_ONCE]).await.expect("the host starts");
        let reply = Caller::of(&host).post(&contact(&format!("C{row}"), &json!({ "firstname": "Ada" }))).await;
        assert_eq!((reply.status, reply.body["outcome"].as_str()), (503, Some("retry")), "{reply:?}");
        server.read_at_most(cap, &answer);
    }
}

#[tokio::test]
async fn of_an_answer_to_a_queue_request_4_mib_are_read() {
    for answer in bodies() {
        let server = Endless::start(answer.clone(), None);
        let command = command(&["dead-letters", "list"], [("AzureWebJobsStorage", server.account())]);
        let output = CommandOutput::of(command).await;
        assert_eq!(output.code, Some(1), "{output:?}");
        server.read_at_most(4 * KIB * KIB, &answer);
    }
}

#[tokio::test]
async fn an_answer_of_a_collector_is_not_read() {
    let world = crate::world().await;
    for (row, answer) in bodies().into_iter().enumerate() {
        let server = Endless::start(answer.clone(), None);
        let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", &*server.url()), ("OTEL_BSP_SCHEDULE_DELAY", "50")];
        let host = world.host("instance-1", &settings).await.expect("the host starts");
        let reply = Caller::of(&host).post(&contact(&format!("C{row}"), &json!({ "firstname": "Ada" }))).await;
        assert!(matches!(reply.status, 200 | 201), "{reply:?}");
        let exported = server.requests.clone().wait_for(|count| *count > 0).await.is_ok();
        host.stop().await;
        assert!(exported);
        server.read_at_most(0, &answer);
    }
}
