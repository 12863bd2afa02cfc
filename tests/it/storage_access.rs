//! The real handler with every kind of access to its lock storage: account key, shared access signature or Entra token,
//! with and without TLS, on the embedded store and Azurite. A refusal by the storage loses no message.
//!
//! `UseDevelopmentStorage=true` implies fixed ports, so it is tested in `storage`.

mod lock_storage;
mod proxy;

use lock_storage::{LockStorage, NAME};
use proxy::Proxy;
use serde_json::json;
use stand_ins::dataverse::{Effect, Fault};
use stand_ins::storage::EMULATOR_KEY as KEY;
use stand_ins::{identity, storage as stand_in};

use super::AT_ONCE;
use super::caller::{UPSERTED, contact, printed, send};
use super::sas;
use super::waiting::wait_until;

const STORAGE_UNAVAILABLE: (u16, &str, &str) = (503, "retry", "storage_unavailable");

/// Asserts that a record is applied under a lease of `storage`, and that the log names the kind of access.
async fn opens(storage: &LockStorage, settings: &[(&str, &str)], access: &str) {
    let container = access.replace('_', "-");
    let host = storage.host(&container, &[settings, &[("RUST_LOG", "trace")]].concat()).await;
    let answer = send(&host, access).await;
    assert_eq!(answer.verdict(), UPSERTED, "{answer:?}");
    assert!(printed(&host, &format!("locks={access}")), "{:?}", host.logs());
    // The lease is released after the response is sent.
    wait_until("the lock is given back", async || storage.lease_states(&container).await == ["available"]).await;

    storage.world.dataverse.fault(Fault::new(Effect::Hang).method("PATCH"));
    storage.world.put(&contact(access, &json!({})).to_string()).await.expect("the queue takes it");
    wait_until("the lock is held during a write", async || storage.lease_states(&container).await == ["leased"]).await;
    assert!(!printed(&host, KEY), "the key is in no log");
    let signatures = settings.iter().filter_map(|(_, value)| value.split_once("sig="));
    assert!(signatures.into_iter().all(|(_, signature)| !printed(&host, signature)), "no signature is in a log");
    host.stop().await;
    // If the host stopped before the write, the fault is still set and would affect the next one.
    storage.world.dataverse.clear_faults();
}

/// Asserts `storage_unavailable`, by HTTP and by the queue, without a dead letter.
async fn refuses(storage: &LockStorage, settings: &[(&str, &str)]) {
    let host = storage.host("refused", &[settings, &[AT_ONCE]].concat()).await;
    let sent_before = storage.world.dataverse.requests().total();
    let answer = send(&host, "R-1").await;
    assert_eq!(answer.verdict(), STORAGE_UNAVAILABLE, "{settings:?}: {answer:?}");
    assert!(!answer.body.to_string().contains("127.0.0.1"), "no address is shown: {answer:?}");
    storage.world.put(&contact("R-1", &json!({})).to_string()).await.expect("the queue takes it");
    let failed = || host.invocations().into_iter().find(|invocation| invocation.message_id.is_some());
    wait_until("the message is delivered", async || failed().is_some()).await;
    let failed = failed().expect("just seen");
    assert!(failed.outputs.is_empty(), "no dead letter: {failed:?}");
    assert!(format!("{:?}", failed.result).contains("500 (retry/storage_unavailable"), "{failed:?}");
    assert_eq!(storage.world.dataverse.requests().total(), sent_before, "nothing is written without a lock");
    host.stop().await;
    storage.world.queue.clear().await.expect("the queue answers");
}

/// Only the proxy can resolve the two names; the identity endpoint is on a loopback address.
#[tokio::test]
async fn dataverse_and_storage_are_reached_through_the_proxy_of_the_environment_and_local_services_are_not() {
    let storage = LockStorage::embedded().await;
    let proxy = Proxy::start(storage.endpoint()).await;
    let key = storage.with_key().replace(storage.endpoint(), "https://storage.example/devstoreaccount1");
    let (url, name) = (proxy.url(), ("DATAVERSE_URL", "https://dataverse.example"));
    let settings = [(NAME, key.as_str()), name, ("HTTP_PROXY", &url), ("HTTPS_PROXY", &url), AT_ONCE];
    // The server behind the proxy refuses CONNECT.
    for (mode, verdict, line) in [
        ("lease", STORAGE_UNAVAILABLE, "CONNECT storage.example:443 "),
        ("off", (503, "retry", "unavailable"), "CONNECT dataverse.example:443 "),
    ] {
        let host = storage.host("proxied", &[&settings[..], &[("LOCK_MODE", mode)]].concat()).await;
        let answer = send(&host, "P-1").await;
        assert_eq!(answer.verdict(), verdict, "{answer:?}");
        let asked = proxy.asked();
        assert!(asked.iter().any(|asked| asked.starts_with(line)), "{asked:?}");
        assert!(asked.iter().all(|asked| asked.starts_with("CONNECT ") && asked.contains(".example:443")), "{asked:?}");
    }
    assert_eq!(storage.world.identity.tokens_issued(), 1);
}

#[tokio::test]
async fn every_kind_of_access_opens_the_embedded_store_behind_tls() {
    let storage = LockStorage::embedded_behind_tls().await;
    opens(&storage, &[(NAME, &storage.with_key())], "shared_key").await;
    // Leases need only the create and write permissions.
    opens(&storage, &[(NAME, &storage.with_signature("wc", sas::LATER))], "sas").await;
    opens(&storage, &[("Locks__blobServiceUri", storage.endpoint())], "entra").await;
    for fault in [identity::Fault::WrongAudience, identity::Fault::Status(reqwest::StatusCode::FORBIDDEN)] {
        storage.world.identity.fault(fault);
        refuses_token(&storage).await;
        storage.world.identity.clear_faults();
    }
    assert_eq!(storage.lease_states("refused").await, [""; 0]);
}

#[tokio::test]
async fn a_token_that_the_storage_refuses_is_replaced() {
    let storage = LockStorage::embedded_behind_tls().await;
    let settings = [("Locks__blobServiceUri", storage.endpoint()), AT_ONCE];
    let host = storage.host("revoked", &settings).await;
    assert_eq!(send(&host, "V-1").await.verdict(), UPSERTED);
    let issued = storage.world.identity.tokens_issued();
    storage.refuse_a_lease(401, "InvalidAuthenticationInfo");
    assert_eq!(send(&host, "V-2").await.verdict(), STORAGE_UNAVAILABLE);
    wait_until("the storage is asked again", async || send(&host, "V-3").await.verdict() == UPSERTED).await;
    assert_eq!(storage.world.identity.tokens_issued(), issued + 1);
}

#[tokio::test]
async fn every_kind_of_access_opens_azurite_behind_tls() {
    let storage = LockStorage::azurite().await;
    let (key, signature) = (storage.with_key(), storage.with_signature("rwdlac", sas::LATER));
    opens(&storage, &[(NAME, &key)], "shared_key").await;
    opens(&storage, &[(NAME, &signature)], "sas").await;
    opens(&storage, &[("Locks__blobServiceUri", storage.endpoint())], "entra").await;

    storage.world.identity.fault(identity::Fault::WrongAudience);
    refuses_token(&storage).await;
}

async fn refuses_token(storage: &LockStorage) {
    refuses(storage, &[("Locks__blobServiceUri", storage.endpoint())]).await;
}

#[tokio::test]
async fn a_wrong_key_and_a_signature_that_does_not_suffice_are_refused() {
    let storage = LockStorage::embedded().await;
    let read_only = storage.with_signature("rl", sas::LATER);
    for connection in [
        storage.with_key().replace(KEY, "d3Jvbmc="),
        storage.with_signature("rwdlac", "2020-01-01T00:00:00Z"),
        read_only.replace("sp=rl", "sp=rwdlac"),
        read_only,
    ] {
        refuses(&storage, &[(NAME, &connection)]).await;
    }
}

#[tokio::test]
async fn a_store_whose_authority_is_not_trusted_is_unavailable() {
    let stranger = stand_in::Options { tls: Some(crate::trust::authority()), ..stand_in::Options::default() };
    let stranger = stand_in::Storage::start(stranger).await.expect("loopback has free ports");
    let storage = LockStorage::embedded_behind_tls().await;
    refuses(&storage, &[(NAME, &stranger.connection_string())]).await;
    assert_eq!(stranger.counts(), stand_in::Counts::default(), "no request reached it");
}
