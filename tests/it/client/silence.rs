//! Requests without an answer: the error says whether they may have arrived, and none is repeated.

use std::time::Duration;

use dataverse_sync::dataverse::Error;
use stand_ins::identity::{Fault, Options};
use tokio::time::{Instant, pause};

use super::{Act, Answered, Fixture, answer, client, refusal, unanswered};

#[tokio::test]
async fn an_unanswered_request_may_have_arrived() {
    let half_a_head = b"HTTP/1.1 204 No Con".to_vec();
    let garbage = b"SSH-2.0-OpenSSH_9.6\r\n\r\n".to_vec();
    let no_status = b"HTTP/1.1 abc\r\n\r\n".to_vec();
    for act in [
        Act::Reset,
        Act::SendAndClose(Vec::new()),
        Act::SendAndClose(half_a_head),
        Act::SendAndClose(garbage.clone()),
        Act::Send(garbage),
        Act::Send(no_status),
        // The request may have been sent before the connection broke.
        Act::Refuse,
    ] {
        let fixture = Fixture::with(act.clone()).await;
        assert_eq!(unanswered(fixture.upsert().await), (true, "the connection broke"), "{act:?}");
        let (seen, requests) = (fixture.seen(), usize::from(!matches!(act, Act::Refuse)));
        assert_eq!((seen.connections, seen.requests.len()), (1, requests), "{act:?}: nothing is repeated");
    }
}

#[tokio::test]
async fn a_pooled_connection_that_breaks_is_not_retried() {
    for act in [Act::Reset, Act::SendAndClose(Vec::new())] {
        let fixture = Fixture::start(vec![Act::Send(answer("204 No Content", "", "")), act.clone()]).await;
        fixture.upsert().await.expect("a success");
        assert_eq!(unanswered(fixture.upsert().await), (true, "the connection broke"), "{act:?}");
        let seen = fixture.seen();
        assert_eq!((seen.connections, seen.requests.len()), (1, 2), "{act:?}");
    }
}

#[tokio::test]
async fn a_request_that_finds_no_server_was_not_sent() {
    let mut fixture = Fixture::start(Vec::new()).await;
    // Nothing listens on port 1.
    (fixture.client, fixture.tenant) = client(1, "secret", Options::default()).await;
    assert_eq!(unanswered(fixture.upsert().await), (false, "no connection"));
}

/// Runs `request`, and advances the test's clock once the server has received it.
async fn after_hours<T>(
    fixture: &Fixture,
    request: impl Future<Output = Result<T, Error>>,
) -> (Result<T, Error>, Duration) {
    let sent = async {
        fixture.server.received(1).await;
        pause();
        Instant::now()
    };
    let (result, sent) = tokio::join!(request, sent);
    (result, sent.elapsed())
}

#[tokio::test]
async fn a_write_times_out_after_the_longest_plug_in() {
    let fixture = Fixture::with(Act::SendAndHang(Vec::new())).await;
    let (result, waited) = after_hours(&fixture, fixture.upsert()).await;
    assert_eq!(unanswered(result), (true, "no answer in time"));
    assert!((140..=151).contains(&waited.as_secs()), "{waited:?}: plug-ins may run for 2 minutes and 20 seconds");
    assert_eq!(fixture.seen().requests.len(), 1);
}

#[tokio::test]
async fn a_read_times_out_sooner() {
    let fixture = Fixture::with(Act::SendAndHang(b"HTTP/1.1 200 O".to_vec())).await;
    let (result, waited) = after_hours(&fixture, fixture.read()).await;
    assert_eq!(unanswered(result), (true, "no answer in time"));
    assert!(waited <= Duration::from_secs(31), "{waited:?}");
}

#[tokio::test]
async fn an_error_whose_body_never_arrives_keeps_its_status() {
    let head = b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 500\r\n\r\n{".to_vec();
    let fixture = Fixture::with(Act::SendAndHang(head)).await;
    let (result, waited) = after_hours(&fixture, fixture.upsert()).await;
    assert_eq!(Answered::of(result), Answered::new(412, None, None));
    assert!(waited <= Duration::from_secs(151), "{waited:?}");
}

#[tokio::test]
async fn a_token_request_that_hangs_times_out() {
    // The 401 makes the client request another token over its open connection.
    let denied = Act::Send(refusal("401 Unauthorized", "", "0x80040277", "no"));
    let fixture = Fixture::start(vec![Act::Send(answer("204 No Content", "", "")), denied]).await;
    fixture.upsert().await.expect("a success");
    fixture.tenant.fault(Fault::Hang);
    let refused = async {
        fixture.server.received(2).await;
        pause();
        Instant::now()
    };
    let (result, sent) = tokio::join!(fixture.upsert(), refused);
    assert!(matches!(&result, Err(Error::NoToken { refused: false, .. })), "{result:?}");
    assert!((15..=21).contains(&sent.elapsed().as_secs()), "{:?}", sent.elapsed());
}
