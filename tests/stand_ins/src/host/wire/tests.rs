//! Responses from a server that sends exactly the given bytes.

use std::sync::Arc;

use axum::Router;
use axum::http::Uri;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

use super::*;
use crate::net::Server;

/// Answers the n-th request with the n-th text; an empty text closes the connection and accepts a new one.
async fn server(answers: Vec<&'static str>) -> (Wire, JoinHandle<usize>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let wire = Wire::new(listener.local_addr().expect("it is bound").port());
    let task = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.expect("the test connects");
        let (mut connection, mut connections) = (BufReader::new(stream), 1);
        for answer in answers {
            if answer.is_empty() {
                drop(connection);
                connection = BufReader::new(listener.accept().await.expect("the test connects again").0);
                connections += 1;
                continue;
            }
            while !http1::read_line(&mut connection).await.expect("a request comes").is_empty() {}
            connection.write_all(answer.as_bytes()).await.expect("the test reads");
        }
        connections
    });
    (wire, task)
}

fn get() -> Request {
    Request { method: "GET".to_owned(), target: "/".to_owned(), headers: Vec::new(), body: Vec::new(), chunked: false }
}

#[tokio::test]
async fn the_reason_phrase_survives() {
    let (wire, _server) = server(vec!["HTTP/1.1 500 parent_missing: retry later\r\nContent-Length: 2\r\n\r\nhi"]).await;
    let response = wire.send(&get()).await.expect("it answers");
    assert_eq!((response.status, response.reason.as_str()), (500, "parent_missing: retry later"));
    assert_eq!(response.body, b"hi");
}

#[tokio::test]
async fn a_chunked_body_is_put_together() {
    let answer =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: t\r\n\r\n";
    let (wire, _server) = server(vec![answer]).await;
    assert_eq!(wire.send(&get()).await.expect("it answers").body, b"abcde");
}

#[tokio::test]
async fn a_connection_is_used_again_after_an_interim_answer() {
    let (wire, server) = server(vec![
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
    ])
    .await;
    assert_eq!(wire.send(&get()).await.expect("it answers").status, 204);
    assert_eq!(wire.send(&get()).await.expect("it answers").reason, "");
    assert_eq!(server.await.expect("it ends"), 1);
}

#[tokio::test]
async fn a_request_whose_connection_breaks_is_not_sent_again() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let wire = Wire::new(listener.local_addr().expect("it is bound").port());
    let server = async {
        let mut connection = BufReader::new(listener.accept().await.expect("the test connects").0);
        while !http1::read_line(&mut connection).await.expect("a request comes").is_empty() {}
        connection.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.expect("the test reads");
        while !http1::read_line(&mut connection).await.expect("a second one comes").is_empty() {}
    };
    let (first, second) = (get(), get());
    let client = async {
        wire.send(&first).await.expect("it answers");
        wire.send(&second).await
    };
    let (answer, ()) = tokio::join!(client, server);
    assert_eq!(answer.expect_err("nothing came").kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn a_kept_connection_that_is_closed_is_not_used() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (wire, server) = server(vec![answer, "", answer]).await;
    wire.send(&get()).await.expect("it answers");
    let idle = wire.take_idle().expect("it is kept");
    idle.get_ref().readable().await.expect("the server closes it");
    wire.idle.lock().expect("no holder panics").push(idle);
    wire.send(&get()).await.expect("it answers");
    assert_eq!(server.await.expect("it ends"), 2);
}

#[tokio::test]
async fn half_an_answer_is_an_error() {
    let (wire, server) = server(vec!["HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"]).await;
    let request = get();
    let (answer, _) = tokio::join!(wire.send(&request), server);
    assert_eq!(answer.expect_err("the body is short").kind(), io::ErrorKind::UnexpectedEof);
}

#[tokio::test]
async fn a_fresh_connection_that_says_nothing_is_an_error() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
    let wire = Wire::new(listener.local_addr().expect("it is bound").port());
    let request = get();
    let hang_up = async { drop(listener.accept().await) };
    let (answer, ()) = tokio::join!(wire.send(&request), hang_up);
    assert_eq!(answer.expect_err("nothing came").kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_requests_at_once_all_get_their_own_answer() {
    let echo = Router::new().fallback(async |uri: Uri, body: String| format!("{uri} {body}"));
    let server = Server::start(echo, 0, None).await.expect("a port is free");
    let wire = Arc::new(Wire::new(server.port()));
    let mut callers = JoinSet::new();
    for caller in 0..32 {
        let wire = wire.clone();
        callers.spawn(async move {
            for turn in 0..50 {
                let (target, body) = (format!("/{caller}"), turn.to_string().into_bytes());
                let headers = vec![("Host".to_owned(), b"handler".to_vec())];
                let request = Request { method: "POST".to_owned(), target, headers, body, chunked: turn % 2 == 0 };
                let response = wire.send(&request).await.expect("it answers");
                assert_eq!(response.body, format!("/{caller} {turn}").into_bytes());
            }
        });
    }
    callers.join_all().await;
}
