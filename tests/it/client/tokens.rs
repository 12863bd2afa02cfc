//! Tokens of an application: when a new one is requested, and what Entra ID's answers mean.

use std::time::Duration;

use dataverse_sync::dataverse::Error;
use reqwest::StatusCode;
use stand_ins::identity::{Fault, Options};

use super::scripted::Act;
use super::{Fixture, answer};
use crate::waiting::wait_until;

fn no_content() -> Act {
    Act::Send(answer("204 No Content", "", ""))
}

#[tokio::test]
async fn a_token_is_used_until_it_expires_while_no_other_can_be_had() {
    let options = Options { lifetime: Duration::from_secs(200), ..Options::default() };
    let fixture = Fixture::start_with("secret", options, vec![no_content(), no_content()]).await;
    fixture.upsert().await.expect("a success");
    fixture.tenant.fault(Fault::Status(StatusCode::SERVICE_UNAVAILABLE));
    fixture.upsert().await.expect("the token is good for minutes");
    assert_eq!(fixture.tenant.tokens_issued(), 1);
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_request_for_its_token_to_the_next() {
    let fixture = Fixture::with(no_content()).await;
    fixture.tenant.fault(Fault::Held);
    let is_asked = wait_until("the token is requested", async || fixture.tenant.requests() == 1);
    tokio::select! {
        result = fixture.upsert() => panic!("there is no token yet: {result:?}"),
        () = is_asked => {}
    }
    let release = async {
        tokio::task::yield_now().await;
        fixture.tenant.clear_faults();
    };
    let (result, ()) = tokio::join!(fixture.upsert(), release);
    result.expect("a success");
    assert_eq!((fixture.tenant.requests(), fixture.tenant.tokens_issued()), (1, 1));
}

/// The answer's status and body, whether it refuses the identity, and what the error says.
const ANSWERS: [(u16, &str, bool, &str); 16] = [
    (
        401,
        r#"{"error":"invalid_client","error_description":"AADSTS7000222: The provided client secret keys for app \u0027a\u0027 are expired.\r\nTrace ID: 1\r\nCorrelation ID: 2","error_codes":[7000222]}"#,
        true,
        "Entra ID refuses this identity: AADSTS7000222: The provided client secret keys for app 'a' are expired.",
    ),
    // The code stands in the text alone.
    (
        400,
        r#"{"error":"unauthorized_client","error_description":"AADSTS700016: \"a\" was not found."}"#,
        true,
        "AADSTS700016",
    ),
    (401, r#"{"error":"invalid_client"}"#, true, "Entra ID refuses this identity: invalid_client"),
    // Nothing in it controls a terminal, and a token is not quoted.
    (
        400,
        r#"{"error":"invalid_request","error_description":"AADSTS50027: \u001b[2J eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln is malformed","error_codes":[50027]}"#,
        true,
        r"AADSTS50027: \u001b[2J … is malformed",
    ),
    (
        400,
        r#"{"error":"server_error","error_description":"AADSTS90033: A transient error has occurred.\r\n","error_codes":[90033]}"#,
        false,
        "Entra ID answered 400: AADSTS90033: A transient",
    ),
    (
        400,
        r#"{"error":"invalid_grant","error_description":"AADSTS50196: A client loop","error_codes":[50196]}"#,
        false,
        "AADSTS50196",
    ),
    (400, r#"{"error":"temporarily_unavailable"}"#, false, "temporarily_unavailable"),
    (429, r#"{"error":"invalid_request","error_description":"AADSTS90055: Too many."}"#, false, "AADSTS90055"),
    (503, r#"{"error":"invalid_client","error_description":"AADSTS1: busy"}"#, false, "503"),
    (403, "<html>Forbidden by the proxy</html>", false, "Entra ID answered 403, which is not understood"),
    (400, r#"{"error":"invalid_cl"#, false, "400, which is not understood"),
    (200, "<html>Sign in</html>", false, "Entra ID answered 200, which is not understood"),
    (200, r#"{"access_token":"e"#, false, "200, which is not understood"),
    (200, "{}", false, "200, which is not understood"),
    (200, r#"{"token_type":"Bearer","expires_in":3599,"access_token":""}"#, false, "200, which is not understood"),
    (200, r#"{"token_type":"Bearer","expires_in":"soon","access_token":"a"}"#, false, "200, which is not understood"),
];

#[tokio::test]
async fn an_answer_refuses_the_identity_or_is_an_outage_and_is_quoted_in_one_line() {
    for (status, body, expected, words) in ANSWERS {
        let fixture = Fixture::start(Vec::new()).await;
        fixture.tenant.fault(Fault::Answer(StatusCode::from_u16(status).expect("a status"), body));
        let result = fixture.upsert().await;
        let Err(Error::NoToken { refused, problem }) = result else { panic!("{status} {body}: {result:?}") };
        assert_eq!(refused, expected, "{status} {body}: {problem}");
        assert!(problem.contains(words), "{status} {body}: {problem}");
        let is_safe = !problem.contains(|c: char| c.is_control()) && !problem.contains("Trace ID");
        assert!(is_safe && problem.chars().count() < 400, "{problem}");
        assert_eq!(fixture.seen().connections, 0, "nothing is sent without a token");
    }
}

#[tokio::test]
async fn a_long_answer_is_cut() {
    let fixture = Fixture::start(Vec::new()).await;
    let text = format!(r#"{{"error":"invalid_client","error_description":"AADSTS1: {}"}}"#, "x".repeat(5_000));
    fixture.tenant.fault(Fault::Answer(StatusCode::UNAUTHORIZED, text.leak()));
    let result = fixture.upsert().await;
    let Err(Error::NoToken { refused: true, problem }) = result else { panic!("{result:?}") };
    assert!(problem.chars().count() < 400 && problem.ends_with('…'), "{problem}");
}
