//! What is checked before execution: tokens, service protection, faults, the control requests.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::super::{BodyForm, Dataverse, Effect, Fault, Limits, Options, Status};
use super::{Bench, EMPLOYEE, WIDE};
use crate::identity::{Identity, Options as IdentityOptions};
use crate::net::Tls;

#[tokio::test]
async fn a_token_has_to_be_good_for_this_very_organisation() {
    let identity = Identity::start(IdentityOptions::default()).await.expect("loopback has a free port");
    let options = Options { tokens: Some(identity.tokens()), ..Options::default() };
    let mut bench = Bench::start(options).await;
    let url = bench.dataverse.url();
    bench.token = identity.tokens().issue(&format!("{url}/"), "app").0;
    assert_eq!(bench.get("WhoAmI").await.status, 200);
    bench.token = identity.tokens().issue("https://elsewhere.example", "app").0;
    let refused = bench.get("WhoAmI").await;
    assert_eq!(refused.status, 401);
    let challenge = refused.header("www-authenticate");
    assert!(challenge.starts_with("Bearer authorization_uri=https://login.microsoftonline.com/11111111-"));
    assert!(challenge.ends_with(&format!("/oauth2/authorize, resource_id={url}/")));
    bench.token = identity.tokens().issue(&url, "app").0;
    assert_eq!(bench.get("WhoAmI").await.status, 200);
    identity.revoke_all();
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 401);
    assert_eq!(bench.dataverse.journal()[0].looked_up, None);
}

#[tokio::test]
async fn an_expired_token_is_named_as_such_and_none_is_refused() {
    let options = IdentityOptions { lifetime: Duration::ZERO, ..IdentityOptions::default() };
    let identity = Identity::start(options).await.expect("loopback has a free port");
    let mut bench = Bench::start(Options { tokens: Some(identity.tokens()), ..Options::default() }).await;
    bench.token = identity.tokens().issue(&bench.dataverse.url(), "app").0;
    assert_eq!(bench.get("WhoAmI").await.verdict(), (401, "0x8004A101"));
    let bench = Bench::quick().await;
    let bare = bench.http.get(format!("{}/api/data/v9.2/contacts", bench.dataverse.url())).send().await;
    assert_eq!(bare.expect("an answer").status(), 401);
}

#[tokio::test]
async fn limits_refuse_with_a_wait_and_the_headers_tell_what_is_left() {
    let limits = Limits { requests: 2, ..Limits::default() };
    let bench = Bench::start(Options { limits: Some(limits), race_window: Duration::ZERO, ..Options::default() }).await;
    let first = bench.patch(EMPLOYEE, &json!({})).await;
    assert_eq!(first.header("x-ms-ratelimit-burst-remaining-xrm-requests"), "1");
    assert_eq!(first.header("x-ms-ratelimit-time-remaining-xrm-requests"), "1,200.00");
    assert_eq!((first.header("x-ms-dop-hint"), first.header("odata-version")), ("8", "4.0"));
    assert!(first.header("set-cookie").starts_with("ARRAffinity="));
    assert!(!first.header("x-ms-service-request-id").is_empty());
    bench.patch(EMPLOYEE, &json!({})).await;
    let refused = bench.patch(EMPLOYEE, &json!({})).await;
    assert_eq!(refused.verdict(), (429, "0x80072322"));
    let wait: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((290..=300).contains(&wait));
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_refused() {
    let limits = Limits { concurrent: 1, ..Limits::default() };
    let bench = Bench::start(Options { limits: Some(limits), race_window: WIDE, ..Options::default() }).await;
    let body = json!({});
    let (a, b) = tokio::join!(bench.patch(EMPLOYEE, &body), bench.patch("contacts(employeeid='E2')", &body));
    let mut verdicts = [a.verdict(), b.verdict()];
    verdicts.sort_unstable();
    assert_eq!(verdicts, [(204, ""), (429, "0x80072326")]);
}

#[tokio::test]
async fn a_status_fault_comes_in_the_form_that_was_asked_for() {
    let bench = Bench::quick().await;
    let mut status = Status::new(503, "0x8004A001", "busy");
    status.retry_after = Some(7);
    bench.dataverse.fault(Fault::new(Effect::Status(status.clone())).method("PATCH"));
    assert_eq!(bench.get("contacts").await.status, 200);
    let struck = bench.patch(EMPLOYEE, &json!({})).await;
    assert_eq!((struck.verdict(), struck.header("retry-after")), ((503, "0x8004A001"), "7"));
    status.form = BodyForm::Html;
    bench.dataverse.fault(Fault::new(Effect::Status(status)));
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.header("content-type"), "text/html; charset=utf-8");
    bench.dataverse.fault(Fault::new(Effect::Deadlock));
    let victim = bench.patch(EMPLOYEE, &json!({})).await;
    assert_eq!(victim.verdict(), (500, "0x80044150"));
    assert!(victim.body["error"]["message"].as_str().expect("a text").contains("Sql Number: 1205"));
    assert!(bench.dataverse.rows("contacts").is_empty());
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
}

#[tokio::test]
async fn a_dropped_connection_tells_nothing_about_the_row() {
    let bench = Bench::quick().await;
    let send = || async { bench.try_send(Method::PATCH, EMPLOYEE, &[], Some(&json!({}))).await };
    bench.dataverse.fault(Fault::new(Effect::DropBefore));
    assert_eq!(send().await.expect_err("dropped").status(), None);
    assert!(bench.contact("E1").is_none());
    bench.dataverse.fault(Fault::new(Effect::DropAfterCommit));
    assert_eq!(send().await.expect_err("dropped").status(), None);
    assert!(bench.contact("E1").is_some());
    let journal = bench.dataverse.journal();
    assert_eq!((journal[0].commit, journal[0].status), (None, None));
    assert!(journal[1].commit.is_some() && journal[1].status.is_none());
}

#[tokio::test]
async fn a_hanging_request_hangs_alone() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::Hang).key("E1").until_cleared());
    let body = json!({});
    let hung = bench.patch(EMPLOYEE, &body);
    let other = bench.patch("contacts(employeeid='E2')", &body);
    tokio::select! {
        biased;
        answer = hung => panic!("it should hang: {answer:?}"),
        answer = other => assert_eq!(answer.status, 204),
    }
    bench.dataverse.clear_faults();
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 204);
}

#[tokio::test]
async fn a_write_can_be_made_and_get_no_response() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::HangAfterCommit).key("E1"));
    let body = json!({});
    let other = async {
        while bench.dataverse.journal().is_empty() {
            tokio::task::yield_now().await;
        }
        bench.patch("contacts(employeeid='E2')", &body).await
    };
    tokio::select! {
        biased;
        answer = bench.patch(EMPLOYEE, &body) => panic!("it should hang: {answer:?}"),
        answer = other => assert_eq!(answer.status, 204),
    }
    assert!(bench.contact("E1").is_some());
    assert_eq!(bench.dataverse.journal()[0].status, None);
}

#[tokio::test]
async fn a_write_goes_on_when_its_caller_hangs_up() {
    let bench = Bench::quick().await;
    bench.dataverse.fault(Fault::new(Effect::Slow(WIDE)).set("contacts"));
    let impatient = bench.http.patch(format!("{}/api/data/v9.2/{EMPLOYEE}", bench.dataverse.url()));
    let impatient = impatient.bearer_auth("any").header("content-type", "application/json").body("{}");
    let error = impatient.timeout(WIDE / 2).send().await.expect_err("it takes longer");
    assert!(error.is_timeout());
    while bench.dataverse.journal().is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(bench.contact("E1").is_some());
}

#[tokio::test]
async fn the_control_shows_the_journal_and_rows_and_takes_faults() {
    let bench = Bench::quick().await;
    let url = format!("{}/_sandbox", bench.dataverse.url());
    let fault = r#"{"method":"PATCH","effect":{"status":{"status":502}}}"#;
    let set = bench.http.post(format!("{url}/faults")).body(fault).send().await.expect("an answer");
    assert_eq!(set.status(), 204);
    assert_eq!(bench.patch(EMPLOYEE, &json!({})).await.status, 502);
    assert_eq!(bench.http.delete(format!("{url}/faults")).send().await.expect("an answer").status(), 204);
    bench.patch(EMPLOYEE, &json!({})).await;
    let text = async |path: &str| {
        let answer = bench.http.get(format!("{url}/{path}")).send().await.expect("an answer");
        answer.text().await.expect("a body")
    };
    assert!(text("journal").await.ends_with("}]\n"), "a prompt begins on the next line");
    let journal: serde_json::Value = serde_json::from_str(&text("journal").await).expect("JSON");
    assert_eq!((&journal[0]["status"], &journal[1]["change"]), (&json!(502), &json!("created")));
    assert!(text("rows/contacts").await.contains(r#""employeeid":"E1""#));
    assert_eq!(text("rows/nothing").await, "{\"error\":\"there is no table nothing\"}\n");
    let wrong = bench.http.post(format!("{url}/faults")).body("{}").send().await.expect("an answer");
    assert_eq!(wrong.status(), 400);
}

#[tokio::test]
async fn http_2_is_served_to_clients_that_know_and_over_tls_to_those_that_offer_it() {
    // Another test of this process may have installed the same provider already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let plain = Dataverse::start(Options::default()).await.expect("loopback has a free port");
    let knows = reqwest::Client::builder().no_proxy().tls_certs_only([]).http2_prior_knowledge();
    let knows = knows.build().expect("the settings are valid");
    let tls = Tls::generate().expect("a key pair can always be made");
    let authority = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).expect("the authority is PEM");
    let offers =
        reqwest::Client::builder().no_proxy().tls_certs_only([authority]).build().expect("the settings are valid");
    let options = |tls| Options { tls: Some(tls), ..Options::default() };
    let secure = Dataverse::start(options(tls.clone().with_http2())).await.expect("loopback has a free port");
    let only_1 = Dataverse::start(options(tls)).await.expect("loopback has a free port");
    for (dataverse, client, protocol) in
        [(&plain, &knows, "HTTP/2.0"), (&secure, &offers, "HTTP/2.0"), (&only_1, &offers, "HTTP/1.1")]
    {
        let request = client.patch(format!("{}/api/data/v9.2/{EMPLOYEE}", dataverse.url()));
        let request = request.bearer_auth("any").header("content-type", "application/json").body("{}");
        let answer = request.send().await.expect("an answer");
        assert_eq!((answer.status().as_u16(), format!("{:?}", answer.version())), (204, protocol.to_owned()));
        assert_eq!(dataverse.journal()[0].protocol, protocol);
    }
}
