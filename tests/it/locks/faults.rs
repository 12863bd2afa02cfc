//! Storage failures are never mistaken for contention or for an acquired lock.

use std::time::Duration;

use dataverse_sync::lock::Error;
use dataverse_sync::lock::local_queue::Acquired;
use reqwest::{Method, StatusCode};
use stand_ins::storage::{Effect, Fault, Op, Storage};

use super::{Account, LONG, LeaseStore as _, acquire, embedded, fresh, held};
use crate::sas;

/// A request times out after 5 s, so this is short enough to prevent a retry.
const SHORT: Duration = Duration::from_millis(50);

fn status(code: u16, error_code: &'static str) -> Effect {
    Effect::Status { code, error_code, retry_after: None }
}

#[tokio::test]
async fn faults_are_errors_and_never_busy() {
    let (storage, locks) = embedded().await;
    for (effect, expected) in [
        (status(503, "ServerBusy"), "the storage answered 503 ServerBusy"),
        (status(500, "InternalError"), "the storage answered 500 InternalError"),
        (status(403, "AuthorizationFailure"), "the storage refuses access (403 AuthorizationFailure)"),
        (status(401, "InvalidAuthenticationInfo"), "the storage refuses access (401 InvalidAuthenticationInfo)"),
        (status(409, "AccountBeingCreated"), "the storage answered 409 AccountBeingCreated"),
        (status(412, "LeaseIdMissing"), "the storage answered 412 LeaseIdMissing"),
        (Effect::DropBefore, "the storage cannot be reached: the connection broke"),
    ] {
        storage.fault(Fault::until_cleared(Op::AnyBlob, effect.clone()));
        let error = acquire(&locks, &fresh(), SHORT).await.expect_err("a fault");
        assert_eq!(error.to_string(), expected, "{effect:?}");
        storage.clear_faults();
    }
    for op in [Op::CreateContainer, Op::PutBlob] {
        storage.fault(Fault::until_cleared(op, status(503, "ServerBusy")));
        let error = acquire(&locks, &fresh(), SHORT).await.expect_err("a fault");
        assert!(matches!(error, Error::Service { status: 503, .. }), "{op:?}: {error}");
        storage.clear_faults();
        held(&locks, &fresh(), LONG).await;
    }
    let closed = Account("AccountName=acc;AccountKey=a2V5;BlobEndpoint=http://127.0.0.1:1/acc".to_owned());
    let error = acquire(&closed.locks("sync-locks"), &fresh(), SHORT).await.expect_err("no listener");
    assert_eq!(error.to_string(), "the storage cannot be reached: no connection");
}

#[tokio::test]
async fn a_fault_while_waiting_for_a_lock_is_an_error() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let _lease = held(&locks, &name, LONG).await;
    let mut waiter = Box::pin(acquire(&locks, &name, LONG));
    let asked = storage.counts().acquire;
    let met = async { crate::waiting::wait_until("it was busy", async || storage.counts().acquire > asked).await };
    tokio::select! {
        early = &mut waiter => panic!("the lock is held: {early:?}"),
        () = met => storage.fault(Fault::until_cleared(Op::AnyBlob, status(403, "AuthorizationFailure"))),
    }
    assert!(matches!(waiter.await, Err(Error::Refused { status: 403, .. })));
}

#[tokio::test]
async fn a_failed_renewal_is_an_error_and_not_a_lost_lease() {
    let (storage, locks) = embedded().await;
    let mut lease = held(&locks, &fresh(), LONG).await;
    for effect in [status(503, "ServerBusy"), status(403, "AuthorizationFailure"), Effect::DropBefore] {
        let deadline = lease.deadline();
        storage.fault(Fault::once(Op::Renew, effect.clone()));
        locks.renew(&mut lease).await.expect_err("a fault");
        assert_eq!(lease.deadline(), deadline, "{effect:?}: it may not have been renewed");
    }
    assert!(locks.renew(&mut lease).await.expect("the storage answers again"));
}

#[tokio::test]
async fn a_blob_that_a_policy_protects_is_an_error_and_not_a_lost_lease() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let mut lease = held(&locks, &name, LONG).await;
    for code in ["BlobImmutableDueToPolicy", "BlobArchived"] {
        let expected = format!("the storage answered 409 {code}");
        storage.fault(Fault::once(Op::OtherBlob, status(409, code)));
        let error = locks.put_tombstone(&name, lease.id(), "8").await.expect_err("it is refused");
        assert_eq!(error.to_string(), expected);
        storage.fault(Fault::once(Op::Renew, status(409, code)));
        assert_eq!(locks.renew(&mut lease).await.expect_err("it is refused").to_string(), expected);
    }
    assert!(locks.put_tombstone(&name, lease.id(), "8").await.expect("the storage answers"), "the lease is alive");
}

#[tokio::test]
async fn deleting_the_blob_of_a_held_lock_ends_its_lease() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let mut lease = held(&locks, &name, LONG).await;
    assert_eq!(storage.break_leases(None), 1, "a leased blob cannot be deleted");
    assert_eq!(delete(&storage, &format!("sync-locks/{}", name.as_str()), "").await, StatusCode::ACCEPTED);
    assert!(!locks.renew(&mut lease).await.expect("the storage answers"));
    locks.release(lease).await;
    // An account's lifecycle rule may delete any free blob; the next acquire recreates it.
    assert!(matches!(acquire(&locks, &name, Duration::ZERO).await, Ok(Acquired::Held(_))));
}

#[tokio::test]
async fn a_container_that_is_being_deleted_is_an_error() {
    let (storage, locks) = embedded().await;
    let name = fresh();
    let mut lease = held(&locks, &name, LONG).await;
    assert_eq!(delete(&storage, "sync-locks", "restype=container&").await, StatusCode::ACCEPTED);
    assert!(!locks.renew(&mut lease).await.expect("the storage answers"));
    // A deleted container's name is unusable for half a minute.
    let error = acquire(&locks, &name, SHORT).await.expect_err("there is no container");
    assert_eq!(error.to_string(), "the storage answered 409 ContainerBeingDeleted");
}

#[tokio::test]
async fn a_blob_that_cannot_be_created_is_an_error_with_its_code() {
    let (storage, locks) = embedded().await;
    for (status_code, code) in
        [(409, "ContainerBeingDeleted"), (409, "BlobImmutableDueToPolicy"), (412, "AppendPositionConditionNotMet")]
    {
        storage.fault(Fault::until_cleared(Op::PutBlob, status(status_code, code)));
        let error = acquire(&locks, &fresh(), SHORT).await.expect_err("there is no blob");
        assert_eq!(error.to_string(), format!("the storage answered {status_code} {code}"));
        storage.clear_faults();
    }
    held(&locks, &fresh(), LONG).await;
}

/// Deletes a blob or container as an operator would.
async fn delete(storage: &Storage, path: &str, query: &str) -> StatusCode {
    let url = format!("{}/{path}?{query}{}", storage.blob_endpoint(), sas::everything());
    let answer = stand_ins::net::http_client().request(Method::DELETE, url).send().await;
    answer.expect("the store answers").status()
}
