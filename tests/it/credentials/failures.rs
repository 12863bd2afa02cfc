//! Refused credentials, expired tokens and unreachable authorities lose no message.

use std::time::Duration;

use reqwest::StatusCode;
use sandbox::world;
use stand_ins::host::{Host, InvocationResult};
use stand_ins::identity::{Credential, Fault, Options};

use super::tenant::{SECRET, Tenant};
use crate::AT_ONCE;
use crate::one_contact::{UPSERTED, contact, printed, send};
use crate::waiting::wait_until;

const UNAUTHORIZED: (u16, &str, &str) = (503, "retry", "unauthorized");
const UNAVAILABLE: (u16, &str, &str) = (503, "retry", "unavailable");

/// Waits until a probe has got a new token and succeeded.
async fn recovers(host: &Host, key: &str) {
    wait_until("the handler has recovered", async || send(host, key).await.verdict() == UPSERTED).await;
}

#[tokio::test]
async fn a_wrong_secret_goes_back_to_the_host_and_the_right_one_applies_the_message() {
    let tenant = Tenant::start(vec![Credential::Secret(SECRET.to_owned())]).await;
    let host = tenant.host(&[("AZURE_CLIENT_SECRET", "mistyped-secret"), AT_ONCE]).await;
    let answer = send(&host, "T-1").await;
    assert_eq!(answer.verdict(), UNAUTHORIZED, "{answer:?}");
    assert!(answer.body["detail"].as_str().is_some_and(|detail| detail.contains("AADSTS7000215")), "{answer:?}");
    assert!(!printed(&host, "mistyped-secret") && !answer.body.to_string().contains("mistyped-secret"));

    tenant.world.put(&contact("T-2").to_string()).await.expect("the queue takes it");
    let failed = || host.invocations().into_iter().find(|invocation| invocation.message_id.is_some());
    wait_until("the message is delivered", async || failed().is_some()).await;
    let failed = failed().expect("just seen");
    assert!(failed.outputs.is_empty(), "no dead letter: {failed:?}");
    let InvocationResult::Failed(text) = &failed.result else { panic!("not a failure: {failed:?}") };
    assert!(text.contains("500 (retry/unauthorized"), "{text}");
    host.stop().await;

    let host = tenant.host(&[("AZURE_CLIENT_SECRET", SECRET)]).await;
    let written = || tenant.world.dataverse.row("contacts", &[("employeeid", "T-2")]).is_some();
    wait_until("the message is applied", async || written()).await;
    assert_eq!(tenant.world.dead_letters().await.expect("the queue answers"), [""; 0]);
    drop(host);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once_and_the_write_goes_through() {
    let world = crate::world().await;
    let host = world.host("one", &[]).await.expect("the handler starts");
    assert_eq!(send(&host, "T-3").await.verdict(), UPSERTED);
    world.identity.revoke_all();
    assert_eq!(send(&host, "T-3").await.verdict(), UPSERTED);
    assert_eq!(send(&host, "T-3").await.verdict(), UPSERTED);
    let requests = world.dataverse.requests();
    assert_eq!((requests.of("PATCH", 401), requests.of("PATCH", 204)), (1, 3));
    assert_eq!(world.identity.tokens_issued(), 2);
}

#[tokio::test]
async fn a_token_for_another_audience_is_requested_twice_and_costs_no_message() {
    let world = crate::world().await;
    let host = world.host("one", &[AT_ONCE]).await.expect("the handler starts");
    world.identity.fault(Fault::WrongAudience);
    let answer = send(&host, "T-4").await;
    assert_eq!(answer.verdict(), UNAUTHORIZED, "{answer:?}");
    assert_eq!(answer.body["dataverse"]["status"], 401);
    assert_eq!(world.dataverse.requests().of("PATCH", 401), 2, "one fresh token is tried, and no more");
    world.identity.clear_faults();
    assert_eq!(send(&host, "T-4").await.verdict(), UPSERTED, "the operator fixed it");
}

#[tokio::test]
async fn a_token_that_ends_soon_is_not_used_again() {
    for (lifetime, expected) in [(Duration::from_mins(1), 3), (Duration::from_hours(1), 1)] {
        let identity = Options { lifetime, ..Options::default() };
        let world = crate::world_with(world::Options { identity, ..Default::default() }).await;
        let host = world.host("one", &[]).await.expect("the handler starts");
        for key in ["T-5", "T-6", "T-7"] {
            assert_eq!(send(&host, key).await.verdict(), UPSERTED);
        }
        assert_eq!(world.identity.tokens_issued(), expected, "tokens that live for {lifetime:?}");
        assert_eq!(world.dataverse.requests().of("PATCH", 401), 0);
    }
}

#[tokio::test]
async fn a_managed_identity_that_fails_is_an_outage_until_it_recovers() {
    let world = crate::world().await;
    let host = world.host("one", &[AT_ONCE]).await.expect("the handler starts");
    for status in [StatusCode::INTERNAL_SERVER_ERROR, StatusCode::SERVICE_UNAVAILABLE, StatusCode::TOO_MANY_REQUESTS] {
        world.identity.fault(Fault::Status(status));
        let answer = send(&host, "T-8").await;
        assert_eq!(answer.verdict(), UNAVAILABLE, "{status}: {answer:?}");
        world.identity.clear_faults();
    }
    recovers(&host, "T-8").await;
}

#[tokio::test]
async fn an_entra_authority_that_fails_is_an_outage_even_when_a_proxy_answers() {
    let tenant = Tenant::start(vec![Credential::Secret(SECRET.to_owned())]).await;
    let host = tenant.host(&[("AZURE_CLIENT_SECRET", SECRET), AT_ONCE]).await;
    // The body is plain text, which Entra itself never sends.
    tenant.world.identity.fault(Fault::Status(StatusCode::BAD_GATEWAY));
    let answer = send(&host, "T-9").await;
    assert_eq!(answer.verdict(), UNAVAILABLE, "{answer:?}");
    tenant.world.identity.clear_faults();
    recovers(&host, "T-9").await;
}

#[tokio::test]
async fn a_token_request_to_an_identity_endpoint_that_hangs_times_out() {
    let world = crate::world().await;
    let host = world.host("one", &[AT_ONCE]).await.expect("the handler starts");
    world.identity.fault(Fault::Hang);
    let answer = send(&host, "T-10").await;
    assert_eq!(answer.verdict(), UNAVAILABLE, "{answer:?}");
    world.identity.clear_faults();
    recovers(&host, "T-10").await;
}

#[tokio::test]
async fn an_identity_endpoint_that_is_down_is_an_outage() {
    let world = crate::world().await;
    // Nothing listens on port 1.
    let settings = [("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token"), AT_ONCE];
    let host = world.host("one", &settings).await;
    let host = host.expect("the handler starts without a token");
    let answer = send(&host, "T-11").await;
    assert_eq!(answer.verdict(), UNAVAILABLE, "{answer:?}");
}
