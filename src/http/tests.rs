use std::pin::pin;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, pause, timeout};

use super::response::TransportError;
use super::*;

async fn listener(scheme: &str) -> (TcpListener, String) {
    let server = TcpListener::bind("127.0.0.1:0").await.expect("loopback has free ports");
    let url = format!("{scheme}://{}", server.local_addr().expect("it is bound"));
    (server, url)
}

async fn accept(server: &TcpListener) -> TcpStream {
    server.accept().await.expect("it connects").0
}

fn http() -> Http {
    Http::new().expect("the settings are valid")
}

#[test]
fn loopback_and_link_local_addresses_bypass_the_proxy() {
    for (url, expected) in [
        ("http://127.0.0.1:10000/devstoreaccount1", true),
        ("http://127.9.9.9/", true),
        ("http://localhost:4318/", true),
        ("http://collector.localhost/", true),
        ("http://[::1]/", true),
        ("http://169.254.169.254/metadata/identity/oauth2/token", true),
        ("http://[fe80::1]/", true),
        ("http://10.0.0.1/", false),
        ("https://contoso.crm.dynamics.com/", false),
        ("https://localhost.example/", false),
    ] {
        assert_eq!(is_local(&Url::parse(url).expect("an address")), expected, "{url}");
        let http = http();
        let client = std::ptr::from_ref(http.to(url));
        assert_eq!(client == std::ptr::from_ref(http.direct()), expected, "{url}");
    }
}

#[tokio::test]
async fn offers_http_2_and_then_1_1() {
    let (server, url) = listener("https").await;
    let hello = async {
        let mut hello = vec![0; 4_096];
        let length = accept(&server).await.read(&mut hello).await.expect("a ClientHello");
        hello.truncate(length);
        hello
    };
    let (_, hello) = tokio::join!(http().direct().get(url).send(), hello);
    let offered = b"\x02h2\x08http/1.1";
    assert!(hello.windows(offered.len()).any(|window| window == offered), "{hello:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tls_handshake_that_is_not_answered_times_out() {
    let (_server, url) = listener("https").await;
    let sent = timeout(CONNECT_TIMEOUT + Duration::from_secs(1), http().direct().get(url).send()).await;
    let error = sent.expect("it times out").expect_err("there is no handshake");
    assert!(matches!(error.into(), TransportError::NoConnection(_)));
}

#[tokio::test]
async fn closes_the_http_1_connection_of_a_request_that_is_dropped() {
    let (server, url) = listener("http").await;
    let received = async {
        let mut stream = accept(&server).await;
        assert_ne!(stream.read(&mut [0; 4_096]).await.expect("a request"), 0);
        stream
    };
    let http = http();
    let mut stream = tokio::select! {
        sent = http.direct().get(url).send() => panic!("there is no answer: {sent:?}"),
        stream = received => stream,
    };
    assert_eq!(stream.read(&mut [0; 16]).await.expect("an orderly end"), 0);
}

/// Reads an HTTP/2 connection's preface, and its frames up to the first request.
async fn read_request(stream: &mut TcpStream) {
    const HEADERS: u8 = 1;
    stream.read_exact(&mut [0; 24]).await.expect("the preface");
    let mut head = [0; 9];
    while head[3] != HEADERS {
        stream.read_exact(&mut head).await.expect("a frame");
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; usize::try_from(length).expect("frames are small")];
        stream.read_exact(&mut payload).await.expect("the whole frame");
    }
}

#[tokio::test]
async fn a_dead_http_2_connection_ends_by_its_pings_within_25_seconds() {
    let (server, url) = listener("http").await;
    let client = builder(tls()).no_proxy().http2_prior_knowledge().build().expect("the settings are valid");
    let serve = async {
        let mut stream = accept(&server).await;
        let empty_settings = b"\0\0\0\x04\0\0\0\0\0";
        stream.write_all(empty_settings).await.expect("it is connected");
        read_request(&mut stream).await;
        pause();
        // The connection stays open, but nothing more is sent.
        (stream, Instant::now())
    };
    let sent = pin!(async { (client.get(url).send().await, Instant::now()) });
    let ((sent, ended), (_stream, begun)) = tokio::join!(sent, serve);
    let error = sent.expect_err("there is no answer").into();
    assert!(matches!(error, TransportError::Broken(_)), "{error:?}");
    let took = ended - begun;
    assert!((PING_TIMEOUT..=Duration::from_secs(26)).contains(&took), "{took:?}");
}

#[tokio::test]
async fn tells_apart_what_was_not_sent() {
    let http = http();
    let error =
        |url: String| async { TransportError::from(http.direct().get(url).send().await.expect_err("no answer")) };
    let too_long = error(format!("http://127.0.0.1:1/{}", "x".repeat(70_000))).await;
    assert!(matches!(too_long, TransportError::NotSendable(_)), "{too_long:?}");
    let refused = error("http://127.0.0.1:1/hush".to_owned()).await;
    assert!(matches!(refused, TransportError::NoConnection(_)), "{refused:?}");
    assert!(!format!("{refused:?}").contains("hush"), "{refused:?}");
}
