//! Every answer, however malformed, is reported with the facts that it contains, after one request.

use std::time::Duration;

use dataverse_sync::dataverse::{Error, Write, Written};
use reqwest::StatusCode;
use stand_ins::identity;

use super::{Act, Answered, Fixture, answer, refusal, unanswered};

const DUPLICATE: Option<u32> = Some(0x8004_0237);

#[tokio::test]
async fn an_error_has_the_facts_that_were_sent_after_one_request() {
    let duplicate = r#"{"error":{"code":"0x80040237","message":"taken"}}"#;
    let other_shape = r#"{"Message":"outer","ExceptionMessage":"taken","ErrorCode":"0x80040237"}"#;
    let page = "<html>Bad gateway</html>";
    for (status, body, expected) in [
        ("412 Precondition Failed", duplicate, Answered::new(412, DUPLICATE, Some("taken"))),
        ("412 Precondition Failed", other_shape, Answered::new(412, DUPLICATE, Some("taken"))),
        ("400 Bad Request", r#"{"error":{"code":"0x0","message":"odd"}}"#, Answered::new(400, None, Some("odd"))),
        ("502 Bad Gateway", page, Answered::new(502, None, None)),
        ("503", "", Answered::new(503, None, None)),
        ("304 Not Modified", "", Answered::new(304, None, None)),
        ("599 Odder", "null", Answered::new(599, None, None)),
        ("301 Moved Permanently", "", Answered::new(301, None, None)),
        ("308 Permanent Redirect", "", Answered::new(308, None, None)),
        ("408 Request Timeout", "", Answered::new(408, None, None)),
        ("425 Too Early", "", Answered::new(425, None, None)),
        ("504 X", "", Answered::new(504, None, None)),
    ] {
        let fixture = Fixture::with(Act::Send(answer(status, "Location: /login\r\nRetry-After: 0\r\n", body))).await;
        let found = Answered { retry_after: None, ..Answered::of(fixture.upsert().await) };
        assert_eq!(found, expected, "{status} {body}");
        assert_eq!(fixture.seen().requests.len(), 1, "neither repeated nor redirected: {status}");
    }
}

#[tokio::test]
async fn request_ids_and_delays_come_from_the_headers() {
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    for (headers, id, delay) in [
        // REQ_ID repeats the last of several service request ids: that of the server which did the work.
        ("x-ms-service-request-id: a1\r\nREQ_ID: b2\r\nRetry-After: 17\r\n", Some("b2"), seconds(17)),
        ("x-ms-service-request-id: a1\r\nx-ms-service-request-id: b2\r\n", Some("b2"), None),
        ("x-ms-service-request-id: a1\r\n", Some("a1"), None),
        ("REQ_ID: \r\nx-ms-service-request-id: a1\r\nx-ms-service-request-id: \r\n", Some("a1"), None),
        ("REQ_ID: b2\r\nRetry-After: soon\r\n", Some("b2"), None),
        // What is not an id of at most 64 letters, digits, `-` and `_` counts as none.
        ("REQ_ID: b2 outcome=applied\r\nx-ms-service-request-id: a1\r\n", Some("a1"), None),
        ("REQ_ID: <b>2</b>\r\n", None, None),
        (
            &*format!("REQ_ID: {}\r\nx-ms-service-request-id: {}\r\n", "b".repeat(65), "a".repeat(64)),
            Some(&*"a".repeat(64)),
            None,
        ),
        ("Retry-After: Wed, 01 Jan 2020 00:00:00 GMT\r\n", None, seconds(0)),
        ("Retry-After: -5\r\n", None, None),
        ("", None, None),
    ] {
        let bytes = refusal("429 Too Many Requests", headers, "0x80072322", "slow down");
        let fixture = Fixture::with(Act::Send(bytes)).await;
        let answered = Answered::of(fixture.upsert().await);
        assert_eq!(answered.request_id.as_deref(), id, "{headers}");
        assert_eq!(answered.retry_after, delay, "{headers}");
        assert_eq!(fixture.seen().requests.len(), 1, "a delay never causes a retry here");
    }
}

#[tokio::test]
async fn request_and_status_determine_what_was_written() {
    for (kind, status, method, condition, expected) in [
        (Write::Upsert, "204 No Content", "PATCH", "", Written::Upserted),
        (Write::Upsert, "201 Created", "PATCH", "", Written::Created),
        (Write::Upsert, "200 OK", "PATCH", "", Written::Updated),
        (Write::Create, "204 No Content", "PATCH", "if-none-match: *", Written::Created),
        (Write::Update, "204 No Content", "PATCH", "if-match: *", Written::Updated),
        (Write::UpdateUnchanged("W/\"7\""), "204 No Content", "PATCH", "if-match: W/\"7\"", Written::Updated),
        (Write::Delete, "204 No Content", "DELETE", "", Written::Deleted),
        (Write::DeleteUnchanged("W/\"7\""), "204 No Content", "DELETE", "if-match: W/\"7\"", Written::Deleted),
    ] {
        let fixture = Fixture::with(Act::Send(answer(status, "OData-Version: 4.0\r\n", ""))).await;
        assert_eq!(fixture.write(kind).await.expect("a success"), expected, "{kind:?} {status}");
        let seen = fixture.seen();
        let [request] = &seen.requests[..] else { panic!("one request: {seen:?}") };
        assert!(request.starts_with(&format!("{method} /api/data/v9.2/contacts(employeeid='E1') ")), "{request}");
        let conditions: Vec<_> = request.lines().filter(|line| line.starts_with("if-")).collect();
        assert_eq!(conditions.join(""), condition, "{kind:?}");
    }
}

#[tokio::test]
async fn a_success_that_is_not_dataverses_leaves_the_outcome_unknown() {
    let page = "<html>Sign in to your account</html>";
    for (status, headers, body) in [
        ("200 OK", "Content-Type: text/html\r\n", page),
        ("200 OK", "", ""),
        ("202 Accepted", "", ""),
        ("206 Partial Content", "Content-Type: application/json\r\n", "{}"),
    ] {
        let fixture = Fixture::with(Act::Send(answer(status, headers, body))).await;
        let error = fixture.upsert().await.expect_err("nothing proves that it was written");
        assert!(matches!(error, Error::NoAnswer { sent: true, .. }), "{status} {headers}: {error}");
    }
}

#[tokio::test]
async fn a_write_with_a_truncated_success_body_succeeds() {
    let half = b"HTTP/1.1 201 Created\r\nOData-Version: 4.0\r\nContent-Length: 500\r\n\r\n{\"contactid\"".to_vec();
    let fixture = Fixture::with(Act::SendAndClose(half)).await;
    assert_eq!(fixture.upsert().await.expect("the status says so"), Written::Created);
}

#[tokio::test]
async fn an_error_with_a_truncated_body_keeps_its_status_and_code() {
    let whole = refusal("412 Precondition Failed", "x-ms-service-request-id: a1\r\n", "0x80040237", "taken");
    let fixture = Fixture::with(Act::SendAndClose(whole[..whole.len() - 5].to_vec())).await;
    let expected = Answered { request_id: Some("a1".to_owned()), ..Answered::new(412, DUPLICATE, None) };
    assert_eq!(Answered::of(fixture.upsert().await), expected, "the code is complete, the text is not");
}

#[tokio::test]
async fn reads_chunked_and_slow_bodies_completely() {
    let pieces = [r#"{"error":{"code":"0x"#, r#"80040237","message":"taken"}}"#, ""];
    let chunks: Vec<_> = pieces.iter().map(|piece| format!("{:X};odd=extension\r\n{piece}\r\n", piece.len())).collect();
    let chunked = format!("HTTP/1.1 412 Precondition Failed\r\nTransfer-Encoding: chunked\r\n\r\n{}", chunks.concat());
    let plain = refusal("412 Precondition Failed", "", "0x80040237", "taken");
    for act in [Act::Send(chunked.clone().into()), Act::Dribble(chunked.into()), Act::Dribble(plain)] {
        let fixture = Fixture::with(act).await;
        assert_eq!(Answered::of(fixture.upsert().await), Answered::new(412, DUPLICATE, Some("taken")));
    }
}

#[tokio::test]
async fn does_not_send_cookies() {
    let cookie = "Set-Cookie: ARRAffinity=server-7; Path=/\r\n";
    let fixture = Fixture::start(vec![Act::Send(answer("204 No Content", cookie, "")); 2]).await;
    for _ in 0..2 {
        fixture.upsert().await.expect("a success");
    }
    let seen = fixture.seen();
    assert_eq!(seen.requests.len(), 2);
    assert!(!seen.requests.iter().any(|request| request.to_ascii_lowercase().contains("cookie")), "{seen:?}");
}

#[tokio::test]
async fn refreshes_the_token_once_after_a_401() {
    let denied = || Act::Send(refusal("401 Unauthorized", "", "0x80040277", "no"));
    let fixture = Fixture::start(vec![denied(), Act::Send(answer("204 No Content", "", ""))]).await;
    assert_eq!(fixture.upsert().await.expect("the second token is good"), Written::Upserted);
    let token = |request: &str| request.lines().find(|line| line.starts_with("authorization:")).map(str::to_owned);
    let tokens: Vec<_> = fixture.seen().requests.iter().map(|request| token(request)).collect();
    assert!(tokens.len() == 2 && tokens[0].is_some() && tokens[0] != tokens[1], "{tokens:?}");

    let fixture = Fixture::start(vec![denied(), denied(), denied()]).await;
    assert_eq!(Answered::of(fixture.upsert().await).status, 401);
    assert_eq!((fixture.seen().requests.len(), fixture.tenant.tokens_issued()), (2, 2));
}

#[tokio::test]
async fn without_a_token_nothing_is_sent() {
    let outage = |status| Some(identity::Fault::Status(status));
    for (secret, fault, expected) in [
        ("wrong", None, true),
        // Entra never answers in plain text, so this is an outage and not a refusal.
        ("secret", outage(StatusCode::SERVICE_UNAVAILABLE), false),
        ("secret", outage(StatusCode::FORBIDDEN), false),
    ] {
        let fixture = Fixture::start_as(secret, Vec::new()).await;
        if let Some(fault) = fault {
            fixture.tenant.fault(fault);
        }
        let result = fixture.upsert().await;
        assert!(
            matches!(&result, Err(Error::NoToken { refused, .. }) if *refused == expected),
            "{fault:?}: {result:?}"
        );
        assert_eq!(fixture.seen().connections, 0);
    }
}

#[tokio::test]
async fn caps_bodies_and_messages() {
    let long = "x".repeat(5_000);
    let fixture = Fixture::with(Act::Send(refusal("400 Bad Request", "", "0x80048d19", &long))).await;
    assert_eq!(Answered::of(fixture.upsert().await).message.map(|text| text.len()), Some(1_000));

    let endless = "x".repeat(1024 * 1024);
    let fixture = Fixture::with(Act::Send(refusal("400 Bad Request", "", "0x80048d19", &endless))).await;
    let expected = Answered::new(400, Some(0x8004_8d19), None);
    assert_eq!(Answered::of(fixture.upsert().await), expected, "the text is incomplete");

    let row = serde_json::json!({ "firstname": "x".repeat(17 * 1024 * 1024) }).to_string();
    let fixture = Fixture::with(Act::Send(answer("200 OK", "", &row))).await;
    assert_eq!(unanswered(fixture.read().await), (false, "the answer is too large"));
}

#[tokio::test]
async fn a_missing_row_is_not_an_error_and_every_other_404_is() {
    let missing = |code, text| Act::Send(refusal("404 Not Found", "", code, text));
    for act in [missing("0x80060891", "gone"), missing("0x80040217", "gone"), missing("", "Contact Does Not Exist")] {
        assert!(Fixture::with(act).await.read().await.expect("no error").is_none());
    }
    let unknown_table = Fixture::with(missing("0x8006088a", "no such segment")).await;
    assert_eq!(Answered::of(unknown_table.read().await).status, 404);

    let row = Fixture::with(Act::Send(answer("200 OK", "", r#"{"@odata.etag":"W/\"7\"","firstname":"Ada"}"#))).await;
    let found = row.read().await.expect("a success").expect("a row");
    assert_eq!(found.etag().as_deref(), Some("W/\"7\""));
    let request = row.seen().requests.remove(0);
    assert!(request.starts_with("GET /api/data/v9.2/contacts(employeeid='E1')?$select=firstname "), "{request}");
}

#[tokio::test]
async fn an_unreadable_row_is_an_error_of_a_request_that_changed_nothing() {
    let whole = answer("200 OK", "", r#"{"firstname":"Ada"}"#);
    for (act, problem) in [
        (Act::SendAndClose(whole[..whole.len() - 3].to_vec()), "the answer broke off"),
        (Act::Send(answer("200 OK", "", "<html>")), "the row that came back is not a JSON object"),
        (Act::Send(answer("200 OK", "", "[]")), "the row that came back is not a JSON object"),
        (Act::Send(answer("204 No Content", "", "")), "the row that came back is not a JSON object"),
    ] {
        let fixture = Fixture::with(act).await;
        assert_eq!(unanswered(fixture.read().await), (false, problem));
        assert_eq!(fixture.seen().requests.len(), 1);
    }
}
