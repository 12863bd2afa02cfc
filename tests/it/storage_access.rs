//! The real handler with every kind of access to its lock storage: account key, shared access signature or Entra token,
//! with and without TLS, on the embedded store and Azurite. A refusal by the storage loses no message.
//!
//! `UseDevelopmentStorage=true` implies fixed ports, so it is tested in `storage`.

mod place;
mod proxy;

use place::{KEY, NAME, Place};
use proxy::Proxy;
use stand_ins::dataverse::{Effect, Fault};
use stand_ins::{identity, storage};

use super::AT_ONCE;
use super::one_contact::{UPSERTED, contact, printed, send};
use super::sas;
use super::waiting::wait_until;

const STORAGE_UNAVAILABLE: (u16, &str, &str) = (503, "retry", "storage_unavailable");

/// Asserts that a record is applied under a lease of `place`, and that the log names the kind of access.
async fn opens(place: &Place, settings: &[(&str, &str)], access: &str) {
    let container = access.replace('_', "-");
    let host = place.host(&container, settings).await;
    let answer = send(&host, access).await;
    assert_eq!(answer.verdict(), UPSERTED, "{answer:?}");
    assert!(printed(&host, &format!("locks={access}")), "{:?}", host.logs());
    // The lease is released after the response is sent.
    wait_until("the lock is given back", async || place.lease_states(&container).await == ["available"]).await;

    place.world.dataverse.fault(Fault::new(Effect::Hang).method("PATCH"));
    place.world.put(&contact(access).to_string()).await.expect("the queue takes it");
    wait_until("the lock is held during a write", async || place.lease_states(&container).await == ["leased"]).await;
    assert!(!printed(&host, KEY), "the key is in no log");
    let signatures = settings.iter().filter_map(|(_, value)| value.split_once("sig="));
    assert!(signatures.into_iter().all(|(_, signature)| !printed(&host, signature)), "no signature is in a log");
    host.stop().await;
    // If the host stopped before the write, the fault is still set and would affect the next one.
    place.world.dataverse.clear_faults();
}

/// Asserts `storage_unavailable`, by HTTP and by the queue, without a dead letter.
async fn refuses(place: &Place, settings: &[(&str, &str)]) {
    let host = place.host("refused", &[settings, &[AT_ONCE]].concat()).await;
    let sent_before = place.world.dataverse.requests().total();
    let answer = send(&host, "R-1").await;
    assert_eq!(answer.verdict(), STORAGE_UNAVAILABLE, "{settings:?}: {answer:?}");
    assert!(!answer.body.to_string().contains("127.0.0.1"), "no address is shown: {answer:?}");
    place.world.put(&contact("R-1").to_string()).await.expect("the queue takes it");
    let failed = || host.invocations().into_iter().find(|invocation| invocation.message_id.is_some());
    wait_until("the message is delivered", async || failed().is_some()).await;
    let failed = failed().expect("just seen");
    assert!(failed.outputs.is_empty(), "no dead letter: {failed:?}");
    assert!(format!("{:?}", failed.result).contains("500 (retry/storage_unavailable"), "{failed:?}");
    assert_eq!(place.world.dataverse.requests().total(), sent_before, "nothing is written without a lock");
    host.stop().await;
    place.world.queue.clear().await.expect("the queue answers");
}

#[tokio::test]
async fn an_account_key_opens_the_embedded_store() {
    let place = Place::embedded(None).await;
    opens(&place, &[(NAME, &place.with_key())], "shared_key").await;
}

#[tokio::test]
async fn a_shared_access_signature_opens_the_embedded_store() {
    let place = Place::embedded(None).await;
    opens(&place, &[(NAME, &place.with_signature("rwdlac", sas::LATER))], "sas").await;
}

#[tokio::test]
async fn storage_is_reached_through_the_proxy_of_the_environment_and_local_services_are_not() {
    let place = Place::embedded(None).await;
    let proxy = Proxy::start(place.endpoint()).await;
    // Only the proxy can resolve this name; Dataverse and the identity endpoint are on loopback addresses.
    let key = place.with_key().replace(place.endpoint(), "http://storage.example/devstoreaccount1");
    opens(&place, &[(NAME, &key), ("HTTP_PROXY", &proxy.url())], "shared_key").await;
    let asked = proxy.asked();
    assert!(asked.iter().all(|line| line.starts_with("PUT http://storage.example/devstoreaccount1/")), "{asked:?}");
    assert!(!asked.is_empty());
}

#[tokio::test]
async fn dataverse_is_reached_through_the_proxy_of_the_environment_and_local_services_are_not() {
    let place = Place::embedded(None).await;
    let proxy = Proxy::start(&place.world.dataverse.url()).await;
    let (key, url) = (place.with_key(), proxy.url());
    // Only the proxy can resolve this name; the lock storage and the identity endpoint are on loopback addresses.
    let name = ("DATAVERSE_URL", "https://dataverse.example");
    let settings = [(NAME, key.as_str()), name, ("HTTP_PROXY", &url), ("HTTPS_PROXY", &url), AT_ONCE];
    let host = place.host("proxied", &settings).await;
    // The server behind the proxy refuses CONNECT.
    let answer = send(&host, "P-1").await;
    assert_eq!(answer.verdict(), (503, "retry", "unavailable"), "{answer:?}");
    let asked = proxy.asked();
    assert!(asked.iter().all(|line| line.starts_with("CONNECT dataverse.example:443 ")), "{asked:?}");
    assert!(!asked.is_empty());
    assert_eq!((place.lease_states("proxied").await.len(), place.world.identity.tokens_issued()), (1, 1));
    host.stop().await;
}

#[tokio::test]
async fn an_account_key_opens_the_embedded_store_behind_tls() {
    let place = Place::embedded_behind_tls().await;
    opens(&place, &[(NAME, &place.with_key())], "shared_key").await;
}

#[tokio::test]
async fn a_shared_access_signature_opens_the_embedded_store_behind_tls() {
    let place = Place::embedded_behind_tls().await;
    // Leases need only the create and write permissions.
    opens(&place, &[(NAME, &place.with_signature("wc", sas::LATER))], "sas").await;
}

#[tokio::test]
async fn an_entra_token_opens_the_embedded_store() {
    let place = Place::embedded_behind_tls().await;
    opens(&place, &[("Locks__blobServiceUri", place.endpoint())], "entra").await;
}

#[tokio::test]
async fn every_kind_of_access_opens_azurite_behind_tls() {
    let place = Place::azurite().await;
    let (key, signature) = (place.with_key(), place.with_signature("rwdlac", sas::LATER));
    opens(&place, &[(NAME, &key)], "shared_key").await;
    opens(&place, &[(NAME, &signature)], "sas").await;
    opens(&place, &[("Locks__blobServiceUri", place.endpoint())], "entra").await;

    place.world.identity.fault(identity::Fault::WrongAudience);
    refuses_token(&place).await;
}

#[tokio::test]
async fn a_token_for_another_audience_is_refused_and_costs_no_message() {
    let place = Place::embedded_behind_tls().await;
    place.world.identity.fault(identity::Fault::WrongAudience);
    refuses_token(&place).await;
    assert_eq!(place.lease_states("refused").await, [""; 0]);
}

async fn refuses_token(place: &Place) {
    refuses(place, &[("Locks__blobServiceUri", place.endpoint())]).await;
}

#[tokio::test]
async fn without_a_token_the_storage_is_unavailable() {
    let place = Place::embedded_behind_tls().await;
    place.world.identity.fault(identity::Fault::Status(reqwest::StatusCode::FORBIDDEN));
    refuses_token(&place).await;
}

#[tokio::test]
async fn a_wrong_key_and_a_signature_that_does_not_suffice_are_refused() {
    let place = Place::embedded(None).await;
    let wrong_key = place.with_key().replace(KEY, "d3Jvbmc=");
    let expired = place.with_signature("rwdlac", "2020-01-01T00:00:00Z");
    let read_only = place.with_signature("rl", sas::LATER);
    let forged = place.with_signature("rl", sas::LATER).replace("sp=rl", "sp=rwdlac");
    for connection in [wrong_key, expired, read_only, forged] {
        refuses(&place, &[(NAME, &connection)]).await;
    }
}

#[tokio::test]
async fn a_store_whose_authority_is_not_trusted_is_unavailable() {
    let stranger = storage::Options { tls: Some(crate::trust::authority()), ..storage::Options::default() };
    let stranger = storage::Storage::start(stranger).await.expect("loopback has free ports");
    let place = Place::embedded_behind_tls().await;
    refuses(&place, &[(NAME, &stranger.connection_string())]).await;
    assert_eq!(stranger.counts(), storage::Counts::default(), "no request reached it");
}
