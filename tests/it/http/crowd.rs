//! More calls at a time than there are connections.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::caller::printed;
use crate::waiting::TIMEOUT;

/// As many as the handler accepts.
const MAX_CONNECTIONS: usize = 512;

/// Makes a call with a body of one byte, of which `length` are announced, and reads its answer until the connection closes.
async fn call(port: u16, length: usize) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.expect("it listens");
    let request = format!("POST /api/records HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n{{");
    stream.write_all(request.as_bytes()).await.expect("it is open");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("text");
    answer
}

#[tokio::test]
async fn calls_beyond_half_of_the_connections_are_refused_unread_and_queue_messages_find_one() {
    let (world, host, _) = start(&[]).await;
    let mut calls = JoinSet::new();
    for _ in 0..2 * MAX_CONNECTIONS {
        calls.spawn(call(host.port_of_handler(), 1_000));
    }
    for _ in 0..2 * MAX_CONNECTIONS - MAX_CONNECTIONS / 2 {
        let answer =
            timeout(TIMEOUT, calls.join_next()).await.expect("it is answered").expect("a call").expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("too many calls at once"), "{answer}");
    }
    let whole = timeout(TIMEOUT, call(host.port_of_handler(), 1)).await.expect("it is answered and closed");
    assert!(whole.starts_with("HTTP/1.1 503 "), "{whole}");
    let detail = r#"detail="too many calls at once; nothing of this one was read""#;
    eventually("the operator's line", async || printed(&host, detail).then_some(())).await;
    world.put(&contact("Q1", &json!({ "firstname": "Ada" })).to_string()).await.expect("the queue takes it");
    eventually("the message's row", async || world.dataverse.row("contacts", &[("employeeid", "Q1")])).await;
    calls.shutdown().await;
    let later = async || {
        let answer = answer(http_client().post(at_handler(&host, "/api/records")).body("[]")).await;
        (answer.status == 200).then_some(())
    };
    eventually("a call once the others have left", later).await;
}
